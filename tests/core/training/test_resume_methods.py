"""A preempted training of any method goes on as if nothing had been: same losses, same step numbers, each metric once.

Compared with a training that was left alone: equal losses after the interruption need the optimiser's state, the schedule, the
order of the data and the random numbers all to have come back.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from core.evaluation.verify import VerifierSpec
from core.training import rejection
from core.training.resume import is_over, newest_checkpoint
from core.training.spec import LoraSpec, RewardSpec, TrainSpec
from core.training.stream import Stream
from tests.core.training.conftest import Lab, read_stream
from tests.core.training.test_training_jobs import run_here, spec_for

STEPS, PREEMPTED_AT = 6, 3


def of_method(lab: Lab, method: str, folder: Path) -> TrainSpec:
    values = {"max_steps": STEPS, "log_every": 1, "eval_every": 2, "eval_samples": 10, "scheduler": "linear"}
    if method == "sft":
        return spec_for(lab, **values)
    if method == "sft with LoRA":
        return spec_for(lab, lora=LoraSpec(r=4), **values)
    if method == "dpo":
        return spec_for(lab, kind="dpo", lr=6e-4, data=str(pairs_of(lab, folder)), **values)
    if method == "grpo":
        rewards = (
            RewardSpec(kind="verifier", verifier=VerifierSpec(kind="exact"), name="right"),
            RewardSpec(kind="format", pattern=r"\d+", weight=0.1, name="digits"),
        )
        return spec_for(lab, kind="grpo", lr=1e-4, num_generations=8, rewards=rewards, beta=0.01, **values)
    return spec_for(lab, kind="rejection", num_generations=4, lr=1e-3, keep_a_prompt=1, **values)


def pairs_of(lab: Lab, folder: Path) -> Path:
    folder.mkdir()
    for name in ("train", "dev"):
        rows = [json.loads(line) for line in (lab.data / f"{name}.jsonl").read_text().splitlines()]
        pairs = [r | {"chosen": r["answer"], "rejected": str(int(r["answer"]) + 1)} for r in rows]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    return folder


def metrics(folder: Path) -> dict[tuple[int, str], float]:
    """{(train step, name): value} of a stream; a value that stands twice is an error. TRL's summary is left out."""
    found: dict[tuple[int, str], float] = {}
    for row in read_stream(folder):
        if row["kind"] != "metric" or "train_runtime" in row["values"]:
            continue
        for name, value in row["values"].items():
            assert (row["step"], name) not in found, "a metric was said twice"
            found[row["step"], name] = float(value)
    return found


def preempt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """As a scheduler does, at that train step: the supervisor's two files, read where the callback reads them."""
    seen = {"step": 0}
    beat = Stream.heartbeat

    def heartbeat(self: Stream, step: int) -> None:
        seen["step"] = step
        beat(self, step)

    monkeypatch.setattr(Stream, "heartbeat", heartbeat)
    monkeypatch.setattr(Stream, "control", lambda self: "stop" if seen["step"] >= step else None)
    monkeypatch.setattr(Stream, "why_stop", lambda self: "preempted")


def of_training(name: str) -> bool:
    """Not of the machine's speed and memory."""
    return not any(part in name for part in ("time", "seconds", "rss", "runtime", "per_second"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "sft with LoRA", "dpo", "grpo", "rejection"])
def test_it_ends_where_it_would_have_ended_left_alone(lab: Lab, tmp_path: Path, method: str) -> None:
    spec = of_method(lab, method, tmp_path / "pairs")
    left_alone = metrics(run_here(tmp_path / "whole", spec))
    folder = tmp_path / "preempted"
    with pytest.MonkeyPatch.context() as patched:
        preempt_at(patched, PREEMPTED_AT)
        run_here(folder, spec)
    saved = newest_checkpoint(folder)
    assert saved is not None
    assert saved.name == f"checkpoint-{PREEMPTED_AT}"
    assert not is_over(folder), "no result of a training that is not over"
    before = metrics(folder)
    assert max(step for step, _ in before) == PREEMPTED_AT
    run_here(folder, spec)
    assert is_over(folder)
    found = metrics(folder)
    assert before.items() <= found.items(), "what was said stays said"
    assert found.keys() == left_alone.keys(), "lost or made up"
    assert {step for step, name in found if name == "loss"} == set(range(1, STEPS + 1))
    for key, value in left_alone.items():
        if of_training(key[1]):
            assert found[key] == pytest.approx(value, rel=1e-3, abs=1e-5, nan_ok=True), key
    result = read_stream(folder)[-1]
    assert (result["status"], result["steps"]) == ("finished", STEPS)
    assert not math.isnan(result["dev_score"])


@pytest.mark.slow
def test_sampling_that_was_interrupted_goes_on_behind_what_was_drawn(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_for(lab, kind="rejection", num_generations=4, lr=1e-3, keep_a_prompt=1, max_steps=2, eval_samples=10)
    whole = run_here(tmp_path / "whole", spec)
    folder = tmp_path / "preempted"
    drawn: list[int] = []
    draw = rejection._draw

    def drawing(bench, rows, stop, seed):
        drawn.append(seed)
        return draw(bench, rows, stop, seed)

    monkeypatch.setattr(rejection, "_draw", drawing)
    (folder).mkdir()
    (folder / "control").write_text("stop\n")
    (folder / "stopping").write_text("preempted\n")
    run_here(folder, spec)
    assert newest_checkpoint(folder) is None, "a training on a part of the answers would be another training"
    assert not (folder / "accepted" / "train.jsonl").exists()
    assert len(drawn) == 1
    for name in ("control", "stopping"):
        (folder / name).unlink()
    run_here(folder, spec)
    assert len(drawn) == len(set(drawn)) > 1, "no prompt is asked twice"
    assert is_over(folder)
    for name in ("accepted/train.jsonl",):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    said = [r["text"] for r in read_stream(folder) if r["kind"] == "note" and "answers drawn" in r["text"]]
    assert said == [r["text"] for r in read_stream(whole) if r["kind"] == "note" and "answers drawn" in r["text"]]
