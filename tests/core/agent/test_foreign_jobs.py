"""What a brain brings along: its scripts run held and say so in the log; a model's own code waits for a person."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import ANY

import pytest

from core import events as e
from core.agent.control import Control
from core.agent.desk import Desk, Settings
from core.agent.jobcontrol import pause_job
from core.agent.trust import admit_model
from core.clock import Clock
from core.compute.confinement import probe
from core.compute.local import LocalCompute
from core.errors import ToolError
from core.evaluation.prompting import Prompting
from core.journal import Journal
from core.redact import Redactor
from core.state import RunState
from core.tables import TABLES
from core.tools.script import run_script
from core.tools.train import train
from core.watcher import JobWatcher
from store.log import EventLog

SCRIPT = """
import sys, pathlib
sys.path.insert(0, {root!r})
from core.training.stream import Stream
folder = pathlib.Path(sys.argv[1]).parent
stream = Stream(folder)
for step in range(1, 4): stream.metric(step, {{'loss': 1 / step}})
try: print(open({secret!r}).read())
except OSError as error: print('stopped:', error)
"""


def desk_in(folder: Path, log: EventLog, *, unattended: bool = False, autonomy: str = "workspace") -> Desk:
    (folder / "workspace").mkdir(exist_ok=True)
    return Desk(
        folder=folder, settings=Settings(run="r", goal="g", model="m", unattended=unattended, autonomy=autonomy),
        task=cast(Any, SimpleNamespace(verifier=None, max_new_tokens=8, dev_file=None)), card=cast(Any, None),
        journal=Journal(log, RunState(), Redactor({})), compute=LocalCompute(folder / "jobs"), literature=cast(Any, None),
        clock=Clock(600.0), prompting=Prompting(),
    )  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    (tmp_path / "run").mkdir()
    with EventLog.create(tmp_path / "run", TABLES) as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, log: EventLog) -> Desk:
    return desk_in(tmp_path / "run", log)


def test_a_script_of_the_brain_runs_held_and_the_log_says_at_which_level(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a token of somebody")
    root = str(Path(__file__).resolve().parents[3])
    (desk.folder / "workspace" / "mine.py").write_text(SCRIPT.format(root=root, secret=str(tmp_path / "secret")))
    desk.call = "call-1"
    answer = cast(dict[str, Any], run_script.run(desk, file="mine.py", title="a try"))
    again = cast(dict[str, Any], run_script.run(desk, file="mine.py", title="a try"))
    assert again["job"] == answer["job"], "one call is one job"
    watcher = JobWatcher(desk.journal, desk.compute, desk.folder)
    until = time.monotonic() + 90
    while desk.state.jobs[answer["job"]].status == "running":
        assert time.monotonic() < until
        watcher.poll()
        time.sleep(0.05)
    job = desk.state.jobs[answer["job"]]
    assert (job.status, job.sandbox.partition(",")[0], job.metric_rows) == ("finished", probe().level, 3)
    assert ", network " in job.sandbox
    if probe().level != "limits":
        assert "stopped:" in desk.compute.logs(job.id).text


def test_a_script_that_could_read_samples_of_the_evaluation_is_refused(tmp_path: Path, log: EventLog) -> None:
    desk = desk_in(tmp_path / "run", log, unattended=True)
    asked = [f"What is the capital of the {n}th province of Ruritania, and who founded it?" for n in range(40)]
    dev = tmp_path / "dev.jsonl"
    dev.write_text("".join(json.dumps({"prompt": q, "answer": "x"}) + "\n" for q in asked))
    desk.task = cast(
        Any, SimpleNamespace(eval_text_files=[str(dev)], evaluate_path=str(dev), dev_file=None, verifier=None)
    )
    workspace = desk.folder / "workspace"
    (workspace / "mine.py").write_text("print(1)")
    (workspace / "settings.json").write_text('{"lr": 0.1}')
    (workspace / "made").mkdir()
    rows = workspace / "made" / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": q, "answer": "y"}) + "\n" for q in asked[:3]))
    with pytest.raises(ToolError, match=r"3 of 3 rows of made/rows\.jsonl hold samples of the evaluation"):
        run_script.run(desk, file="mine.py", title="t")
    assert not desk.state.jobs
    rows.write_text('{"prompt": "How many legs has a spider?", "answer": "8"}\n')
    desk.call = "call-2"
    assert run_script.run(desk, file="mine.py", title="t") == {"job": "job-1", "time_limit_s": ANY, "network": "off"}


@pytest.mark.parametrize(
    ("asked", "offline", "got"), [(None, "", "limited"), (True, "", "asked"), (False, "", "off"), (None, "1", "off")]
)
def test_a_script_gets_the_hub_and_the_index_unless_the_run_is_offline_or_it_wants_none(
    tmp_path: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch, asked: bool | None, offline: str, got: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    desk = desk_in(tmp_path / "run", log, autonomy="network")
    (desk.folder / "workspace" / "mine.py").write_text("print('done')")
    desk.call = "call-1"
    answer = cast(dict[str, Any], run_script.run(desk, file="mine.py", title="t", network=asked))
    assert answer["network"] == got
    held = json.loads((desk.folder / "jobs" / answer["job"] / "held.json").read_text())
    assert held.get("wish", "off") == got
    assert bool(held.get("doors")) == (got != "off")
    desk.compute.cancel(answer["job"], grace_s=0.1)


def test_a_script_may_be_asked_for_a_checkpoint(desk: Desk) -> None:
    (desk.folder / "workspace" / "mine.py").write_text("import time\ntime.sleep(60)")
    desk.call = "call-1"
    job = cast(dict[str, Any], run_script.run(desk, file="mine.py", title="t"))["job"]
    assert pause_job(desk, 1, job, {}) == f"{job} is asked for a checkpoint; it stops once that is written"
    desk.compute.cancel(job, grace_s=0.1)


def test_a_script_that_is_not_there_or_no_python_is_refused_before_a_job(desk: Desk) -> None:
    (desk.folder / "workspace" / "slip.py").write_text("def (")
    for file, said in (("nothing.py", "No file"), ("../x.py", "No file"), ("slip.py", "no Python")):
        with pytest.raises(ToolError, match=said):
            run_script.run(desk, file=file, title="t")
    with pytest.raises(ToolError, match="network"):
        run_script.run(desk, file="slip.py", title="t", network=True)
    assert not desk.state.jobs


def test_a_script_is_shown_no_folder_of_the_machine_by_calling_it_a_model(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (desk.folder / "workspace" / "mine.py").write_text("print(1)")
    for name in (str(tmp_path / "keys"), str(desk.folder / "workspace" / ".." / ".." / "keys")):
        with pytest.raises(ToolError, match="not a model of this run"):
            run_script.run(desk, file="mine.py", title="t", model=name)
    assert not desk.state.jobs


@pytest.mark.parametrize("checkpoint", ["/elsewhere/checkpoint-4", "../../x", "job-1/../../../x", 4, ""])
def test_a_training_goes_on_from_checkpoints_of_this_run_only(desk: Desk, checkpoint: object) -> None:
    with pytest.raises(ToolError, match="no checkpoint of this run's jobs" if checkpoint != "" else "prepared data"):
        train.run(desk, method="sft", data="d", model="base", title="t", settings={"resume_from": checkpoint})


def test_a_reward_function_outside_the_workspace_is_refused(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "r.py").write_text("def f(p, c, a): return 1.0")
    data = tmp_path / "data"
    data.mkdir()
    desk.journal.emit(e.DatasetPrepared(name="d", sources=[], path=str(data), rows=0, dev_rows=0, read=0))
    settings = {"rewards": [{"kind": "python", "function": f"{tmp_path}/r.py:f"}]}
    with pytest.raises(ToolError, match="workspace"):
        train.run(desk, method="grpo", data="d", model="base", title="t", settings=settings)


def coded(folder: Path, code: str = "x = 1") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModelForCausalLM": "m.M"}}))
    (folder / "model.safetensors").write_text("w")
    (folder / "m.py").write_text(code)
    return folder


def decide(desk: Desk, decision: str) -> threading.Thread:
    """A person who answers the approval that comes."""
    control = Control(desk)

    def answer() -> None:
        desk.journal.wait(lambda s: bool(s.waiting_approvals()), 20)
        waiting = desk.state.waiting_approvals()[0]
        control.command({"command": decision, "text": "seen", "arguments": {"approval": waiting.id}})

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_code_of_a_model_is_asked_for_once_for_each_revision(desk: Desk, tmp_path: Path) -> None:
    model = coded(tmp_path / "model")
    thread = decide(desk, "approve")
    assert admit_model(desk, str(model)) == ("remote_code",)
    thread.join()
    assert admit_model(desk, str(model)) == ("remote_code",), "the same revision is not asked for again"
    assert len(desk.state.approvals) == 1
    (model / "m.py").write_text("x = 2")
    thread = decide(desk, "deny")
    with pytest.raises(ToolError, match="denied"):
        admit_model(desk, str(model))
    thread.join()
    assert len(desk.state.approvals) == 2


def test_an_unattended_run_takes_no_model_with_code_and_asks_nothing_of_others(tmp_path: Path, log: EventLog) -> None:
    desk = desk_in(tmp_path / "run", log, unattended=True)
    with pytest.raises(ToolError, match="nobody is here"):
        admit_model(desk, str(coded(tmp_path / "model")))
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    (plain / "model.safetensors").write_text("w")
    assert admit_model(desk, str(plain)) == ()
    assert not desk.state.approvals
