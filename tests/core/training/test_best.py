"""A training that was better before leaves the better weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.training.best import Best
from core.training.callback import InternCallback
from core.training.recipe import Bench, run
from core.training.scoring import DevScore
from core.training.spec import TrainSpec
from core.training.stream import Stream

BASE = Path(__file__).parents[3] / "core" / "pocket" / "addition" / "base"


def score(value: float, n: int = 200) -> DevScore:
    return DevScore(value, n, 3.0, 1.0)


class Training:
    """Stands for a trainer: at each step the model's norm is the step, and the score is the one given for it."""

    def __init__(self, bench: Bench, callback: InternCallback, scores: dict[int, float]) -> None:
        self.bench, self.callback, self.scores = bench, callback, scores
        self.model = bench.model
        self.state = SimpleNamespace(global_step=max(scores))
        self.accelerator = SimpleNamespace(unwrap_model=lambda model: model, wait_for_everyone=lambda: None)

    def remove_callback(self, kind: type) -> None:
        pass

    def train(self, resume_from_checkpoint: str | None) -> None:
        for step, value in self.scores.items():
            with torch.no_grad():
                self.bench.model.model.norm.weight.fill_(float(step))
            self.callback.score = lambda value=value: score(value)
            self.callback._evaluate(step)


def trained(folder: Path, scores: dict[int, float]) -> tuple[float, dict[str, Any], list[str]]:
    """(the saved model's norm, the result line, the notes) of such a training."""
    spec = TrainSpec(kind="sft", model=str(BASE), data="", max_steps=max(scores))
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    bench = Bench(spec, folder, Stream(folder), BASE, "cpu", model, AutoTokenizer.from_pretrained(BASE))
    callback = InternCallback(bench.stream)
    run(bench, Training(bench, callback, scores), callback)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    saved = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    notes = [str(x) for x in lines if x["kind"] == "note"]
    return saved.model.norm.weight[0].item(), next(x for x in lines if x["kind"] == "result"), notes


def test_what_collapsed_late_leaves_its_best_weights(tmp_path: Path) -> None:
    norm, result, notes = trained(tmp_path, {0: 0.9, 10: 0.5, 20: 0.7, 30: 0.1})
    assert norm == 20.0, "and not the base's, though that scored higher: a training that only harms is to be seen"
    assert (result["model_step"], result["steps"], result["dev_score"]) == (20, 30, 0.7)
    assert any("step 20 is kept" in note for note in notes)
    assert not list(tmp_path.rglob("best.*")), "nothing is left of it"


def test_within_its_noise_the_last_weights_are_kept(tmp_path: Path) -> None:
    norm, result, notes = trained(tmp_path, {10: 0.5, 20: 0.7, 30: 0.65})
    assert (norm, result["model_step"], result["dev_score"]) == (30.0, 30, 0.65)
    assert not any("is kept" in note for note in notes)


def test_an_interrupted_training_finds_its_best_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "best.safetensors"
    model = torch.nn.Linear(2, 2)
    assert Best(path).offer(model, 5, score(0.8)) == ""
    before = model.weight.detach().clone()
    again = Best(path)
    assert (again.step, again.score, again.n) == (5, 0.8, 200)
    with torch.no_grad():
        model.weight.zero_()
    again.offer(model, 6, score(0.8))  # no better: the first stays
    assert again.restore(model, score(0.2))
    assert torch.equal(model.weight, before)
    path.write_bytes(path.read_bytes()[:50])
    assert Best(path).step == -1, "a file that was cut off is none"


def test_only_what_is_trained_is_kept(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[0].requires_grad_(False)
    best = Best(tmp_path / "best.safetensors")
    best.offer(model, 1, score(0.5))
    with torch.no_grad():
        model[0].weight.fill_(3.0)
    assert best.restore(model, score(0.1))
    assert cast(torch.Tensor, model[0].weight)[0, 0] == 3.0


def test_where_it_cannot_be_written_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.training.best.save_file", full)
    best = Best(tmp_path / "best.safetensors")
    assert "No space left" in best.offer(torch.nn.Linear(2, 2), 1, score(0.5))
    assert not best.restore(torch.nn.Linear(2, 2), score(0.1))
    shutil.rmtree(tmp_path)
