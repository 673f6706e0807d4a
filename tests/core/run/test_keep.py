"""The best model is kept the moment its evaluation is known, whatever the brain does next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from core import events as e
from core.agent.desk import Desk
from core.errors import ToolError
from core.evaluation.prompting import Prompting
from core.fold import Folder
from core.state import Job, RunState
from core.tools.evaluate import _kept
from core.tools.keep import keep
from store.event import Record
from tests.core.test_solver import BASE, mark_of, model


class ADesk:
    """A run's folder and state; what is emitted is folded as a host does it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.seq = folder, RunState(), 0
        self.folded = Folder(self.state)
        self.prompting, self.max_new_tokens = Prompting(), 8
        shutil.copytree(BASE, folder / "base")
        self.emit(e.RunCreated(run="r", goal="", task="t", task_path="", model=""))

    def emit(self, payload: e.Payload) -> None:
        self.seq += 1
        self.folded.apply(Record(self.seq, self.seq, type(payload).type, 1, "host", None, e.encode(payload)))

    def model_path(self, name: str) -> str:
        return str(self.folder / name)

    def scored(self, name: str, score: float, n: int = 600, shots: int = 0, weights: float = 0.0) -> str:
        """A model and its evaluation; returns the evaluation's id."""
        if name != "base":
            model(self.folder / name, weights)
            self.state.jobs[name] = Job(name, 1, "training", "sft", "", status="finished")
        evaluation = f"{name}-e/greedy"
        out = self.folder / "jobs" / f"{name}-e" / "out"
        out.mkdir(parents=True)
        (out / "result.json").write_text(json.dumps({"variants": [{"name": "greedy", "stop_ids": [2]}]}))
        self.emit(
            e.EvaluationFinished(
                evaluation=evaluation, label=name, model=self.model_path(name), split="dev", samples=n, score=score,
                interval=(0.0, 1.0), decoding="greedy", shots=shots, job=f"{name}-e",
            )
        )  # fmt: skip
        return evaluation


@pytest.fixture
def desk(tmp_path: Path) -> ADesk:
    made = ADesk(tmp_path)
    keep(_as_desk(made), "base", made.state.evaluations[made.scored("base", 0.3)])
    return made


def _as_desk(made: Any) -> Desk:
    return cast("Desk", made)


def test_a_better_training_is_the_final_model_with_its_evaluation(desk: ADesk) -> None:
    evaluation = desk.scored("job-1", 0.5, weights=0.5)
    assert _kept(_as_desk(desk), "job-1", evaluation) == {"final_model": "this one, from now on"}
    assert mark_of(desk.folder / "final_model") == 0.5
    assert (desk.state.scores.best, desk.state.scores.best_evaluation) == (0.5, evaluation)
    before = desk.seq
    assert _kept(_as_desk(desk), "job-1", evaluation) == {"final_model": "this one, from now on"}, "as after a crash"
    keep(
        _as_desk(desk), "job-1", desk.state.evaluations[evaluation]
    )  # the brain promotes it, or a call is taken up again
    assert desk.seq == before


@pytest.mark.parametrize(("score", "shots"), [(0.3, 0), (0.2, 0), (0.9, 3)])
def test_what_is_not_better_by_itself_is_not_kept(desk: ADesk, score: float, shots: int) -> None:
    assert _kept(_as_desk(desk), "job-1", desk.scored("job-1", score, shots=shots, weights=0.5)) == {}
    assert desk.state.scores.best == 0.3


def test_few_samples_do_not_beat_many(desk: ADesk) -> None:
    evaluation = desk.scored("job-1", 0.95, n=20, weights=0.5)
    told = _kept(_as_desk(desk), "job-1", evaluation)
    assert "20 samples, the best so far 600" in told["final_model"]
    with pytest.raises(ToolError, match="all development samples"):
        keep(_as_desk(desk), "job-1", desk.state.evaluations[evaluation])
    assert desk.state.scores.best == 0.3


def test_a_training_that_cannot_be_kept_does_not_spoil_its_evaluation(desk: ADesk) -> None:
    evaluation = desk.scored("job-1", 0.5, weights=0.5)
    (desk.folder / "job-1" / "model.safetensors").write_bytes(b"cut")
    assert _kept(_as_desk(desk), "job-1", evaluation)["final_model"].startswith("not this one: ")
    assert desk.state.scores.best == 0.3


def test_the_base_is_kept_as_the_brain_says(tmp_path: Path) -> None:
    made = ADesk(tmp_path)
    assert _kept(_as_desk(made), "base", made.scored("base", 0.3)) == {}
    assert made.state.scores.best is None
