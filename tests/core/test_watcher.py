"""The watcher: job files become events once; a job that leaves no model has failed; a hopeless one is stopped early."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from core import events as e
from core.compute.local import LocalCompute
from core.compute.spec import JobExit, JobSpec
from core.errors import UsageError
from core.journal import Journal
from core.redact import Redactor
from core.state import RunState
from core.tables import TABLES
from core.training.log_files import read_run
from core.watcher import JobWatcher, why_failed
from store.log import EventLog


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = EventLog.create(folder, TABLES)
        self.journal = Journal(self.log, RunState(), Redactor({}))
        self.compute = LocalCompute(folder / "jobs")
        self.watcher = JobWatcher(self.journal, self.compute, folder)

    def launch(
        self,
        code: str,
        method: str = "sft",
        steps: int | None = 100,
        limit_s: float | None = None,
        kind: str = "training",
        job: str = "job-1",
    ) -> None:
        folder = self.folder / "jobs" / job
        argv = (sys.executable, "-c", code)
        status = self.compute.submit(
            JobSpec(
                job=job, kind="script", effect_id=f"effect-{job}", folder=str(folder), argv=argv, time_limit_s=limit_s
            )
        )
        self.journal.emit(
            e.JobLaunched(
                job=job,
                kind=kind,
                method=method,
                title="t",
                effect_id=f"effect-{job}",
                folder=str(folder),
                pid=status.pid,
                planned_steps=steps,
            )
        )

    def until_ended(self) -> None:
        deadline = time.monotonic() + 40
        while self.journal.state.jobs["job-1"].status == "running":
            assert time.monotonic() < deadline
            self.watcher.poll()
            time.sleep(0.05)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.log.close()


def writes(lines: Sequence[object], then: str = "") -> str:
    text = "\n".join(json.dumps(line) for line in lines) + "\n"
    return f"import time\nopen('metrics.jsonl', 'a').write({text!r})\n{then}"


def metric(step: int, **values: object) -> dict[str, object]:
    return {"kind": "metric", "step": step, "ts": 1.0, "values": values}


def test_a_training_that_ends_well_without_a_model_has_failed(lab: Lab) -> None:
    lab.launch("pass")
    lab.until_ended()
    job = lab.journal.state.jobs["job-1"]
    assert job.status == "failed"
    assert "no checkpoint" in job.reason


def test_a_crash_is_told_with_its_last_line_and_diagnosed(lab: Lab) -> None:
    lab.launch("raise ValueError('the reward broke')")
    lab.until_ended()
    job = lab.journal.state.jobs["job-1"]
    assert job.status == "failed"
    assert "the reward broke" in job.reason
    assert [f.kind for f in lab.journal.state.failures] == ["crash"]


def test_every_metric_row_becomes_one_event_and_typed_rows_also_for_a_new_host(lab: Lab) -> None:
    rows = [metric(s, loss=1.0 / (s + 1)) for s in range(30)]
    lab.launch(writes(rows, "time.sleep(3)"))
    deadline = time.monotonic() + 20
    while lab.journal.state.jobs["job-1"].metric_rows < 30 and time.monotonic() < deadline:
        lab.watcher.poll()
    lab.watcher = JobWatcher(lab.journal, lab.compute, lab.folder)  # as a host that took over
    lab.until_ended()
    stored = lab.log.sql("select count(*), count(distinct step) from metrics where name = 'loss'").rows
    assert tuple(stored[0]) == (30, 30)


def test_a_value_that_is_not_finite_is_named_and_ends_the_job(lab: Lab) -> None:
    rows = [
        *(metric(s, loss=1.0, grad_norm=1.0) for s in range(5)),
        *(metric(s, loss="NaN", grad_norm="NaN") for s in range(5, 12)),
    ]
    lab.launch(writes(rows, "time.sleep(60)"))
    lab.until_ended()
    failure = next(f for f in lab.journal.state.failures if f.kind == "non_finite")
    assert failure.severity == "failing"
    assert lab.journal.state.jobs["job-1"].status == "cancelled", "a hopeless job is not waited for"
    logged = [e.payload_of(x) for x in lab.log.events() if x.type == "metric_logged"]
    assert any(isinstance(p, e.MetricLogged) and p.nonfinite for p in logged)


@pytest.mark.parametrize("way", ["named", "linked", "own"])
def test_a_brains_script_has_no_model_but_its_own(lab: Lab, tmp_path: Path, way: str) -> None:
    """What a held job says is its own word, and what it names is read and copied with the host's rights."""
    other, folder = tmp_path / "of-somebody", lab.folder / "jobs" / "job-1"
    other.mkdir()
    (other / "config.json").write_text("{}")
    mine = folder / "held" / "model"
    mine.mkdir(parents=True)
    (folder / "held.json").write_text("{}")
    if way == "linked":
        (mine / "config.json").symlink_to(other / "config.json")
    else:
        (mine / "config.json").write_text("{}")
    named = other if way == "named" else mine
    rows = [
        {"kind": "checkpoint", "step": 1, "path": str(named)},
        {"kind": "result", "status": "finished", "model": str(named)},
    ]
    said = "".join(json.dumps(row) + "\n" for row in rows)
    lab.launch(f"open({str(folder / 'metrics.jsonl')!r}, 'w').write({said!r})")
    lab.until_ended()
    assert lab.journal.state.jobs["job-1"].checkpoint == (str(mine) if way == "own" else "")
    assert any("not its own" in note for note in lab.journal.state.notes) == (way != "own")


def test_a_job_that_its_time_limit_ended_says_so_and_is_no_crash(lab: Lab) -> None:
    """The last line of its log is whatever it was doing, and the signal that ended it is not the system's."""
    lab.launch("import time; print('a warning: this or that is deprecated', flush=True); time.sleep(60)", limit_s=0.5)
    lab.until_ended()
    (failed,) = [ev for ev in lab.log.events(1, None) if ev.type == "job_failed"]
    reason = json.loads(failed.payload)["reason"]
    assert "time limit" in reason
    assert "deprecated" not in reason
    assert lab.journal.state.failures == []


def test_the_reason_of_a_crash_is_its_error_not_the_last_line() -> None:
    log = "Traceback (most recent call last):\n  File 'x'\nValueError: no column prompt\n[rank0] warning: destroy_process_group"
    assert why_failed(JobExit(exit_code=1, reason="crashed"), log) == "crashed: ValueError: no column prompt"
    assert why_failed(JobExit(exit_code=1, reason="crashed"), "") == "crashed"
    assert why_failed(None, "the end") == "failed: the end"


def test_a_job_that_fails_and_then_is_beyond_hope_is_stopped_also_by_a_new_host(lab: Lab) -> None:
    dead = [metric(step, reward=0.0, frac_reward_zero_std=1.0, grad_norm=0.0) for step in range(1, 40)]
    lab.launch(writes(dead[:6], f"time.sleep(3)\n{writes(dead[6:], 'time.sleep(60)')}"), "grpo", 100)
    deadline = time.monotonic() + 20
    while not lab.journal.state.failures and time.monotonic() < deadline:
        lab.watcher.poll()
        time.sleep(0.05)
    assert not lab.journal.state.failures[-1].stopped
    lab.watcher = JobWatcher(lab.journal, lab.compute, lab.folder)
    lab.until_ended()
    assert [(f.kind, f.stopped) for f in lab.journal.state.failures] == [
        ("no_learning_signal", False),
        ("no_learning_signal", True),
    ]
    assert lab.journal.state.jobs["job-1"].reason == "no learning signal from step 1: stopped early"


def test_a_script_of_the_brain_is_diagnosed_from_what_it_logs(lab: Lab) -> None:
    dead = [metric(step, reward=0.0, reward_std=0.0, frac_reward_zero_std=1.0, loss=0.0) for step in range(1, 30)]
    lab.launch(writes([{"kind": "plan", "max_steps": 100}, *dead], "time.sleep(60)"), "script", None, kind="script")
    lab.until_ended()
    assert [(f.kind, f.stopped) for f in lab.journal.state.failures] == [
        ("no_learning_signal", False),
        ("no_learning_signal", True),
    ]
    assert lab.journal.state.jobs["job-1"].reason == "no learning signal from step 1: stopped early"
    lab.log.close()
    (log,) = read_run(lab.folder)
    assert (log.name, log.trainer, log.planned) == ("job-1", None, None)


def test_a_script_that_trains_nothing_is_left_alone(lab: Lab) -> None:
    flat = [metric(step, accuracy=0.5) for step in range(1, 200)]
    lab.launch(writes(flat), "script", None, kind="script")
    lab.until_ended()
    assert not lab.journal.state.failures
    assert lab.journal.state.jobs["job-1"].status == "finished"
    lab.log.close()
    with pytest.raises(UsageError, match="no train step"):
        read_run(lab.folder)


@pytest.mark.parametrize("later", [True, False])
def test_a_training_that_another_of_the_run_slows_down_says_which(lab: Lab, later: bool) -> None:
    quick = [metric(step, loss=1.0, step_time=0.2) for step in range(1, 13)]
    slow = [metric(step, loss=1.0, step_time=0.6) for step in range(13, 25)]
    lab.launch(writes(quick, f"time.sleep(2)\n{writes(slow)}"))
    if later:
        lab.launch("import time; time.sleep(8)", job="job-2")
    lab.until_ended()
    drop = next(f for f in lab.journal.state.failures if f.kind == "throughput_drop")
    assert (drop.causes[0] == "job-2 of this run began beside it") is later
