"""The sweep tool: many trainings by one call, each launched once, on this machine and as one job array on a real Slurm."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from core import events as e
from core.agent.desk import Desk
from core.agent.scope import differences
from core.compute.local import LocalCompute
from core.compute.shared import SharedCompute
from core.compute.slurm import SlurmEngine
from core.compute.spec import JobSpec, JobStatus
from core.errors import JobError, ToolError
from core.tables import TABLES
from core.tasks import load_task
from core.tools.sweep import sweep
from core.watcher import JobWatcher
from store.log import EventLog
from tests.core.agent.test_foreign_jobs import desk_in
from tests.core.run import quick_job
from tests.core.run.quick import make_task
from tests.servers import slurm as slurm_server

RATES = [{"lr": 1e-5}, {"lr": 3e-5}, {"lr": 1e-4}, {"lr": 3e-4}]


class Scene:
    """A desk with data and a base, whose trainings take milliseconds (quick_job.py), and a watcher over its jobs."""

    def __init__(self, folder: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("QUICK_STARTS", str(folder / "starts"))
        self.folder = folder
        self.python = folder / "python"
        self.python.write_text(
            f'#!/bin/sh\ncase "$2" in */job.py) exec {sys.executable} -S -E {quick_job.__file__} "$3";; '
            f'*) exec {sys.executable} -S "$@";; esac\n'
        )
        self.python.chmod(0o755)
        task = make_task(folder)
        base = task / "base"
        self.desk = desk_in(folder / "run", log)
        self.desk.settings = msgspec.structs.replace(self.desk.settings, model=str(base))
        self.desk.task = load_task(str(task))
        data = folder / "data"
        data.mkdir()
        row = {"id": "1", "prompt": "1+1=", "answer": "2"}
        (data / "train.jsonl").write_text(json.dumps(row) + "\n")
        self.desk.journal.emit(e.DatasetPrepared(name="d", sources=[], path=str(data), rows=1, dev_rows=0, read=1))
        self.use(LocalCompute(folder / "run" / "jobs", str(self.python)))

    def use(self, compute: Any) -> None:
        self.desk.compute = compute
        self.watcher = JobWatcher(self.desk.journal, compute, self.desk.folder)

    def sweep(self, vary: list[dict[str, Any]] = RATES, call: str = "call-1", **settings: Any) -> dict[str, Any]:
        """One call of the tool, with the host's watcher beside it."""
        self.desk.call = call
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                self.watcher.poll()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            told = sweep.run(
                self.desk, method="sft", data="d", model="base", title="rates", vary=vary,
                settings={"max_steps": 5, **settings},
            )  # fmt: skip
        finally:
            over.set()
            watching.join()
        return cast(dict[str, Any], told)

    def follow(self, jobs: list[str]) -> list[str]:
        """How they ended."""

        def ended() -> bool:
            self.watcher.poll()
            return all(self.desk.state.jobs[j].status not in ("running", "queued") for j in jobs)

        until(ended)
        return [self.desk.state.jobs[j].status for j in jobs]

    def starts(self) -> list[str]:
        return sorted(Path(line.split()[0]).name for line in (self.folder / "starts").read_text().splitlines())


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    (tmp_path / "run").mkdir()
    with EventLog.create(tmp_path / "run", TABLES) as log:
        yield Scene(tmp_path, log, monkeypatch)


@pytest.fixture
def on_slurm(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    if reason := slurm_server.why_not():
        pytest.skip(reason)
    monkeypatch.setenv("QUICK_STEP_S", "0.1")
    with slurm_server.Slurm(tmp_path / "slurm") as slurm:
        engine = SlurmEngine(python=sys.executable, env=slurm.env)
        scene.use(SharedCompute(scene.desk.folder / "jobs", engine, str(scene.python)))
        yield scene


def test_one_call_launches_every_training_once_also_when_it_is_carried_out_again(scene: Scene) -> None:
    told = scene.sweep()
    jobs = [row["job"] for row in told["jobs"]]
    assert [row["lr"] for row in told["jobs"]] == [v["lr"] for v in RATES]
    assert scene.sweep() == told, "as after a crash"
    assert scene.follow(jobs) == ["finished"] * 4
    assert scene.starts() == sorted(jobs)
    assert [scene.desk.state.jobs[j].config["lr"] for j in jobs] == [v["lr"] for v in RATES]
    assert [row["job"] for row in scene.sweep(call="call-2")["jobs"]] != jobs, "another call is another sweep"


def test_a_call_that_died_after_some_launches_the_others(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = Desk.start, list[str]()

    def dies_after_two(desk: Desk, order: Any) -> None:
        if len(started) == 2:
            raise KeyboardInterrupt
        start(desk, order)
        started.append(order.job)

    monkeypatch.setattr(Desk, "start", dies_after_two)
    with pytest.raises(KeyboardInterrupt):
        scene.sweep()
    monkeypatch.setattr(Desk, "start", start)
    jobs = [row["job"] for row in scene.sweep()["jobs"]]
    assert jobs[:2] == started
    assert scene.follow(jobs) == ["finished"] * 4
    assert scene.starts() == sorted(jobs)


def test_where_the_first_of_an_untried_method_fails_before_a_step_the_others_are_not_started(scene: Scene) -> None:
    scene.python.write_text("#!/bin/sh\ncase $2 in */job.py) exit 1;; esac\n" + scene.python.read_text())
    told = scene.sweep()
    assert len(told["jobs"]) == 1
    assert [row["lr"] for row in told["not_started"]] == [v["lr"] for v in RATES[1:]]
    assert "before its first train step" in told["not_started"][0]["why"]


def test_what_was_taken_before_a_scheduler_refused_the_rest_is_watched(scene: Scene) -> None:
    class Fussy(LocalCompute):
        arrays = True

        def submit_many(self, specs: Sequence[JobSpec]) -> list[JobStatus]:
            self.submit(specs[0])
            raise JobError("the account's limit of jobs is reached")

    scene.use(Fussy(scene.desk.folder / "jobs", str(scene.python)))
    with pytest.raises(JobError, match="limit of jobs"):
        scene.sweep()
    jobs = list(scene.desk.state.jobs)
    assert len(jobs) == 2, "the first, which goes alone, and the one that was taken"
    assert scene.follow(jobs) == ["finished"] * 2


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ([{"lr": 1e-5}], "2 to 32 objects"),
        ([{"lr": 1e-5}, {}], "2 to 32 objects"),
        ([{"lr": 1e-5}, "3e-5"], "2 to 32 objects"),
        ([{"lr": 1e-5}, {"lr": 1e-5}], "the same"),
        ([{"lr": 1e-5}, {"learning": 1}], "learning"),
        ([{"lr": 1e-5}, {"lr": -1}], "lr is -1"),
        ([{"lr": 1e-5}, {"data": "x"}], "data"),
    ],
)
def test_a_sweep_that_does_not_fit_is_refused_before_any_of_it_starts(scene: Scene, vary: Any, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        scene.sweep(vary)
    assert not scene.desk.state.jobs


def test_what_a_person_fixed_holds_for_every_training_of_a_sweep() -> None:
    fixed: dict[str, Any] = {"lora": False, "max_length": 2048, "method": "sft"}
    asked: dict[str, Any] = {"method": "sft", "vary": [{"lr": 1e-5}, {"lora": {"r": 4}}, {"lora": {"r": 8}}]}
    assert differences(fixed, "sweep", asked) == ["lora would be LoRA instead of full weights"]
    cut = {"method": "sft", "settings": {"max_length": 512}, "vary": [{"lr": 1e-5}, {"max_length": 4096}]}
    assert differences(fixed, "compare", cut) == ["max_length would be 512 instead of 2048"]
    assert differences(fixed, "sweep", {"method": "sft", "vary": [{"lr": 1e-5}, {"lr": 1e-4}]}) == []


@pytest.mark.soak
def test_on_slurm_the_first_goes_alone_and_the_others_are_one_array(on_slurm: Scene) -> None:
    scene = on_slurm
    told = scene.sweep()
    jobs = [row["job"] for row in told["jobs"]]
    handles = [scene.desk.compute.inspect(j).handle for j in jobs]
    array = handles[1].partition("_")[0]
    assert handles == [handles[0], f"{array}_1", f"{array}_2", f"{array}_3"]
    assert "_" not in handles[0]
    assert scene.sweep() == told, "as after a crash"
    assert scene.follow(jobs) == ["finished"] * 4
    assert scene.starts() == sorted(jobs)
    more = [row["job"] for row in scene.sweep(call="call-2")["jobs"]]
    assert len({scene.desk.compute.inspect(j).handle.partition("_")[0] for j in more}) == 1, "tried by now: one array"
    assert scene.follow(more) == ["finished"] * 4


@pytest.mark.soak
def test_on_slurm_one_of_a_sweep_is_stopped_alone(on_slurm: Scene) -> None:
    scene = on_slurm
    jobs = [row["job"] for row in scene.sweep(max_steps=80)["jobs"]]
    until(lambda: all((scene.desk.folder / "jobs" / j / "metrics.jsonl").exists() for j in jobs))
    assert scene.desk.compute.cancel(jobs[2], grace_s=20).state == "cancelled"
    assert scene.follow(jobs) == ["finished", "finished", "cancelled", "finished"]
    steps = [(scene.desk.folder / "jobs" / j / "metrics.jsonl").read_text().count("loss") for j in jobs]
    assert steps[2] < 80 == steps[0] == steps[1] == steps[3]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
