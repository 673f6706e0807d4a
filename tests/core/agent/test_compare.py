"""A comparison: one job first, then the rest; each row a branch of the experiment with its verdict; the best third goes on."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from core import events as e
from core.agent.desk import Desk, Settings
from core.clock import Clock
from core.compute.local import LocalCompute
from core.compute.spec import JobSpec
from core.errors import ToolError
from core.evaluation.prompting import Prompting
from core.evaluation.verify import VerifierSpec
from core.journal import Journal
from core.redact import Redactor
from core.report import render_report
from core.state import RunState
from core.tables import TABLES
from core.tools.compare import compare
from core.tools.conclude import start_experiment
from core.tools.train import train
from core.watcher import JobWatcher
from store.log import EventLog

BASE = Path(__file__).parents[3] / "core" / "pocket" / "addition" / "base"
TRAIN = """
import json, pathlib, time
spec = json.loads(pathlib.Path("spec.json").read_text())
if spec["lr"] > 1: raise SystemExit("no such rate")
time.sleep(0.3)
score = round(spec["lr"] * 100 + spec["max_steps"] / 1000, 4)
values = {"loss": 1.0, "dev_score": score, "dev_n": 400}
line = {"kind": "metric", "step": spec["max_steps"], "ts": time.time(), "values": values}
pathlib.Path("metrics.jsonl").write_text(json.dumps(line) + "\\n" + json.dumps({"kind": "result", "model": spec["model"]}) + "\\n")
"""
"""Stands for the recipe: what it learns follows from the rate and the steps."""


class Quick(LocalCompute):
    """Real supervisors and processes; the program is the short one above."""

    def submit(self, spec: JobSpec) -> Any:
        return super().submit(msgspec.structs.replace(spec, kind="script", argv=(sys.executable, "-c", TRAIN)))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "run"
    (folder / "data" / "clean").mkdir(parents=True)
    for part in ("train", "dev"):
        (folder / "data" / "clean" / f"{part}.jsonl").write_text('{"prompt": "1+1=", "answer": "2"}\n' * 8)
    with EventLog.create(folder, TABLES) as log:
        nothing = SimpleNamespace(
            verifier=VerifierSpec(kind="exact"),
            max_new_tokens=8,
            dev_file=None,
            eval_text_files=[],
            evaluate_path=str(tmp_path / "no.py"),
        )
        made = Desk(
            folder=folder, settings=Settings(run="r", goal="g", model=str(BASE), unattended=True, autonomy="workspace"),
            task=cast(Any, nothing), card=cast(Any, None), journal=Journal(log, RunState(), Redactor({})),
            compute=Quick(folder / "jobs"), literature=cast(Any, None), clock=Clock(1 / 6), prompting=Prompting(),
        )  # fmt: skip
        made.emit(
            e.DatasetPrepared(
                name="clean", path=str(folder / "data" / "clean"), rows=8, dev_rows=8, read=16, sources=[]
            )
        )
        watcher = JobWatcher(made.journal, made.compute, folder)
        thread = threading.Thread(target=watcher.run, daemon=True)
        thread.start()
        made.call = "call-1"
        yield made
        watcher.stop()
        thread.join(10)


ASKED = {"experiment": "x", "method": "sft", "data": "clean", "model": "base"}


def concluded(desk: Desk) -> dict[str, str]:
    return {x.id: x.verdict for x in desk.state.experiments.values() if x.verdict}


def test_an_ablation_compares_each_single_change_with_the_job_without_any(desk: Desk) -> None:
    told = cast(
        dict[str, Any],
        compare.run(
            desk,
            **ASKED,
            settings={"lr": 3e-3, "max_steps": 20},
            vary=[{"lr": 6e-3}, {"warmup_ratio": 0.1}, {"lr": 1e-3}],
        ),
    )
    assert [(r["experiment"], r["dev_score"]) for r in told["rows"]] == [
        ("x.2", 0.62),
        ("x.1", 0.32),
        ("x.3", 0.32),
        ("x.4", 0.12),
    ]
    assert concluded(desk) == {"x.1": "no_difference", "x.2": "better", "x.3": "no_difference", "x.4": "worse"}
    branch = desk.state.experiments["x.2"]
    assert (branch.parent, branch.change, branch.jobs) == ("x", "lr 0.006", ["job-2"])
    assert branch.interval is not None
    assert branch.interval[0] > 0.2
    assert "62.0 %, beside the job without a change: 32.0 % (n=400, not paired, Holm p = " in branch.why
    again = compare.run(
        desk,
        **ASKED,
        settings={"lr": 3e-3, "max_steps": 20},
        vary=[{"lr": 6e-3}, {"warmup_ratio": 0.1}, {"lr": 1e-3}],
    )
    assert again == told, "the same call after a crash finds its jobs again"
    assert len(desk.state.jobs) == 4


def test_of_several_rows_one_is_better_by_chance(desk: Desk) -> None:
    rate = {"lr": 3.7e-3}
    compare.run(
        desk, **ASKED, settings={"lr": 3e-3, "max_steps": 20}, vary=[rate, {"warmup_ratio": 0.1}, {"weight_decay": 0.1}]
    )
    assert concluded(desk)["x.2"] == "no_difference"
    assert (desk.state.experiments["x.2"].interval or (0.0, 0.0))[0] > 0, "alone it would be better"
    desk.call = "call-2"
    compare.run(desk, **(ASKED | {"experiment": "alone"}), settings={"lr": 3e-3, "max_steps": 20}, vary=[rate])
    assert concluded(desk)["alone.2"] == "better"
    assert "**alone.2** (from alone) lr 0.0037" in render_report(desk.state)


def test_the_rest_is_not_started_where_the_first_job_fails(desk: Desk) -> None:
    with pytest.raises(ToolError, match="The first job, job-1, failed"):
        compare.run(desk, **ASKED, settings={"lr": 5.0, "max_steps": 20}, vary=[{"lr": 1e-3}, {"lr": 2e-3}])
    assert list(desk.state.jobs) == ["job-1"]
    assert set(concluded(desk).values()) == {"failed"}


def test_successive_halving_gives_the_best_third_three_times_the_steps(desk: Desk) -> None:
    rates = [{"lr": lr} for lr in (1e-3, 5e-3, 2e-3, 3e-3)]
    told = cast(dict[str, Any], compare.run(desk, **ASKED, settings={"max_steps": 10}, vary=rates, halving=True))
    planned = [(j.experiment, j.planned_steps) for j in desk.state.jobs.values()]
    assert planned == [("x.1", 10), ("x.2", 10), ("x.3", 10), ("x.4", 10), ("x.2", 30), ("x.4", 30)]
    assert [r["experiment"] for r in told["rows"]] == ["x.2", "x.4", "x.3", "x.1"]
    assert told["rows"][0]["dev_score"] == pytest.approx(0.53)
    assert concluded(desk) == {"x.3": "worse", "x.1": "worse", "x.4": "worse", "x.2": "no_difference"}
    assert "kept by successive halving, 30 train steps" in desk.state.experiments["x.2"].why


@pytest.mark.parametrize("vary", [[], [3], [{}], [{"lr": 1.0}, {"nothing": 2}], [{"lr": 1e-4}, {"lr": 1e-4}]])
def test_what_is_no_matrix_is_refused_before_a_job(desk: Desk, vary: list[Any]) -> None:
    with pytest.raises(ToolError):
        compare.run(desk, **ASKED, vary=vary, settings={"max_steps": 10})
    assert not desk.state.jobs
    assert not desk.state.experiments


def test_an_experiment_has_a_budget_its_trainings_are_held_to_and_a_parent(desk: Desk) -> None:
    start_experiment.run(desk, experiment="a", hypothesis="more data helps", budget_s=40)
    start_experiment.run(desk, experiment="b", hypothesis="a higher rate helps", parent="a")
    assert (desk.state.experiments["a"].budget_s, desk.state.experiments["b"].parent) == (40.0, "a")
    assert 0 < (desk.state.experiments["b"].budget_s or 0) <= 600
    told = cast(
        dict[str, Any],
        train.run(desk, method="sft", data="clean", model="base", title="t", settings={"max_steps": 9}, experiment="a"),
    )
    assert told["time_limit_s"] <= 40
    spec = json.loads((desk.folder / "jobs" / told["job"] / "spec.json").read_bytes())
    assert spec["time_limit_s"] <= 40
    start_experiment.run(desk, experiment="c", hypothesis="h", budget_s=1)
    desk.call = "call-2"
    with pytest.raises(ToolError, match="The budget of c is used"):
        train.run(desk, method="sft", data="clean", model="base", title="t", settings={"max_steps": 9}, experiment="c")
    with pytest.raises(ToolError, match="No experiment is called 'zz'"):
        start_experiment.run(desk, experiment="d", hypothesis="h", parent="zz")
    told_of_b = render_report(desk.state).partition("a higher rate helps")[2]
    assert "no verdict: the run ended before it" in told_of_b.partition("- **")[0]
    assert "[0]" not in told_of_b


def test_what_an_experiment_took_does_not_count_a_pause(desk: Desk) -> None:
    desk.emit(e.RunCreated(run="r", goal="g", task="t", task_path="", model="m"))
    desk.emit(e.RunStarted(pid=1))
    start_experiment.run(desk, experiment="a", hypothesis="h", budget_s=100)
    began = desk.state.experiments["a"].began_us
    desk.emit(e.RunPaused(reason="asked"))
    time.sleep(0.5)
    desk.emit(e.RunResumed(reason="asked"))
    desk.emit(e.ExperimentConcluded(experiment="a", verdict="failed"))
    assert desk.state.experiments["a"].ended_us - began < 400_000
