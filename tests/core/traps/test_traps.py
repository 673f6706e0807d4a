"""Tasks with a trap are what they say, and the rule for claims holds on those where nothing can be gained."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import psutil
import pytest

from core.errors import UsageError
from core.evaluation.verify import check
from core.tasks import load_task
from core.training.preflight import check_light, fitting
from core.training.spec import TrainSpec
from core.traps.make import KINDS, SOURCE, make_trap
from tests.benchmarks.aa_bench import run


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def test_no_way_of_answering_beats_another_where_nothing_can_be_gained(tmp_path: Path) -> None:
    task = load_task(make_trap("nothing", tmp_path / "t", 3))
    assert task.verifier is not None
    rng = random.Random(0)
    held = rows(tmp_path / "t" / "evaluation_data" / "heldout.jsonl")
    ways = {
        "the sum": lambda p: str(eval(p.rstrip("="))),
        "one more": lambda p: str(eval(p.rstrip("=")) + 1),
        "in brackets": lambda p: f"({eval(p.rstrip('='))})",
        "always seven": lambda p: "7",
        "at random": lambda p: str(rng.randrange(200)),
    }
    for name, way in ways.items():
        right = sum(check(task.verifier, way(row["prompt"]), row["answer"]) for row in held) / len(held)
        assert right == pytest.approx(0.3, abs=0.05), name
    prompts = {row["prompt"] for row in held}
    train = rows(tmp_path / "t" / "data" / "train.jsonl")
    assert len(train) > 2000
    assert not prompts & {row["prompt"] for row in train}
    assert (
        make_trap("nothing", tmp_path / "again", 3).joinpath("data/train.jsonl").read_text()
        == (tmp_path / "t" / "data" / "train.jsonl").read_text()
    )


def test_the_other_traps_are_planted(tmp_path: Path) -> None:
    leaky = make_trap("leaky", tmp_path / "leaky")
    held = {row["prompt"] for row in rows(leaky / "evaluation_data" / "heldout.jsonl")}
    train = rows(leaky / "data" / "train.jsonl")
    assert sum(row["prompt"] in held for row in train) > len(train) / 4
    stop = load_task(make_trap("stop", tmp_path / "stop"))
    config = json.loads((Path(stop.base_model or "") / "generation_config.json").read_text())
    assert config["eos_token_id"] != 4
    with pytest.raises(UsageError, match="Known"):
        make_trap("none", tmp_path / "none")
    assert {load_task(tmp_path / k).name for k in KINDS if (tmp_path / k).is_dir()} == {"trap/leaky", "trap/stop"}


def test_a_reward_that_can_be_had_for_brackets(tmp_path: Path) -> None:
    task = load_task(make_trap("reward", tmp_path / "t", 1))
    assert task.verifier is not None
    train = rows(tmp_path / "t" / "data" / "train.jsonl")
    assert len(train) > 2000
    right = [str(eval(re.sub(r"\b0+(?=\d)", "", row["prompt"].rstrip("=")))) for row in train]
    paid = sum(check(task.verifier, answer, row["answer"]) for answer, row in zip(right, train, strict=True)) / len(
        train
    )
    assert paid > 0.7, "a right answer is paid, where the label is right"
    assert all(check(task.verifier, "(7)", row["answer"]) for row in train)
    held = rows(tmp_path / "t" / "evaluation_data" / "heldout.jsonl")
    assert not any(check(task.verifier, f"({row['answer']})", row["answer"]) for row in held), (
        "the evaluation is strict"
    )


def test_the_usual_batch_needs_more_memory_than_there_is_and_a_smaller_one_does_not(tmp_path: Path) -> None:
    folder = make_trap("large", tmp_path / "t", 1)
    task = load_task(folder)
    spec = TrainSpec(kind="sft", model=task.base_model or "", data=str(folder / "data"), batch_size=32)
    with pytest.raises(UsageError, match=r"it needs about .* GB \(logits .*Use batch_size"):
        check_light(spec)
    small, need = fitting(spec, psutil.virtual_memory().available, gpu=False) or (None, None)
    assert small
    assert need
    assert small.batch_size * small.grad_accum == 32
    # most rows are as short as ever: the usual batch would fit, were it not for a few of them
    lengths = sorted(len(row["prompt"]) for row in rows(folder / "data" / "train.jsonl"))
    assert lengths[-7] < 30 < 900 < lengths[-6]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(task.base_model)
    tokenizer = AutoTokenizer.from_pretrained(task.base_model)
    plain = AutoModelForCausalLM.from_pretrained(SOURCE / "base")
    ids = tokenizer("17+25=", return_tensors="pt").input_ids
    assert model(ids).logits[..., : plain.config.vocab_size].allclose(plain(ids).logits, atol=1e-3), (
        "it answers as before"
    )


def test_runs_without_anything_to_gain_claim_nothing() -> None:
    """The real policy and statistics; each seed is another task and other models."""
    results = [run(seed) for seed in range(40)]
    assert sum(r.claim == "better" for r in results) <= 2  # 5 % of 40
    assert sum(r.promotions for r in results) > 0, "the policy did choose among models"
    assert max(r.chosen_gain for r in results) > 0.01, "and was lucky on development samples at times"
