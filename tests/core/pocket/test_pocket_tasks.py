"""The shipped tasks are what they say: whole, separate splits, flaws of each kind, a base that half knows its task."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from core.evaluation.analysis import analyse
from core.evaluation.benchmark import Request, read_samples, run_benchmark
from core.evaluation.models import check_model
from core.evaluation.verify import check
from core.pocket.make_data import SHARE_DEV, SHARE_HELDOUT, flawed_lines, questions
from core.pocket.worlds import NAMES, prompt_id, split_of, world
from core.tasks import POCKET, load_task


def rows_of(path: Path) -> list[dict[str, str]]:
    out: list[dict[str, str]] = []
    for line in path.read_text().splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            continue
    return out


@pytest.mark.parametrize("name", NAMES)
def test_the_splits_are_parted_by_the_hash_of_the_prompt(name: str) -> None:
    folder = POCKET / name / "evaluation_data"
    dev, heldout = rows_of(folder / "dev.jsonl"), rows_of(folder / "heldout.jsonl")
    assert len(heldout) >= 1000
    assert 500 <= len(dev) <= 1000
    for split, rows in (("dev", dev), ("heldout", heldout)):
        assert len({r["prompt"] for r in rows}) == len(rows)
        assert all(split_of(r["prompt"], SHARE_DEV, SHARE_HELDOUT) == split for r in rows)
        assert all(r["id"] == prompt_id(r["prompt"]) for r in rows)


@pytest.mark.parametrize("name", NAMES)
def test_the_training_data_has_every_kind_of_flaw_and_is_mostly_good(name: str) -> None:
    folder = POCKET / name
    lines = (folder / "data" / "train.jsonl").read_text().splitlines()
    rows = rows_of(folder / "data" / "train.jsonl")
    heldout = {r["prompt"]: r["answer"] for r in rows_of(folder / "evaluation_data" / "heldout.jsonl")}
    assert 0 < len(lines) - len(rows) < 20  # lines that are cut off
    usable = [r for r in rows if r.get("answer")]
    assert len(usable) < len(rows)  # missing, null and empty answers
    assert sum(r["prompt"] in heldout for r in usable) == 60  # leaks
    answers: dict[str, Counter[str]] = {}
    for r in usable:
        answers.setdefault(r["prompt"], Counter())[r["answer"]] += 1
    assert sum(len(c) > 1 for c in answers.values()) > 100  # contradictions
    assert sum(max(c.values()) > 1 for c in answers.values()) > 100  # duplicates
    assert sum(len(c) == 1 for c in answers.values()) > 2000


@pytest.mark.parametrize("name", NAMES)
def test_the_data_is_what_its_maker_makes(name: str) -> None:
    w, folder = world(name), POCKET / name
    heldout = questions(w, "heldout", 1200, 1)
    assert [i.prompt for i in heldout] == [r["prompt"] for r in rows_of(folder / "evaluation_data" / "heldout.jsonl")]
    train = questions(w, "train", 2600, 3)
    assert flawed_lines(w, train, heldout, 4) == (folder / "data" / "train.jsonl").read_text().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_label_is_wrong_and_a_right_one_right(name: str) -> None:
    w, rng = world(name), Random(0)
    verifier = load_task(f"pocket/{name}").verifier
    assert verifier is not None
    for _ in range(300):
        item = w.question(rng)
        assert check(verifier, item.answer, item.answer)
        assert not check(verifier, w.wrong_label(rng, item), item.answer), item


@pytest.mark.parametrize("name", NAMES)
def test_the_base_is_small_whole_and_the_one_that_was_made(name: str) -> None:
    folder = POCKET / name
    card = check_model(folder / "base")
    assert card.params is not None
    assert 500_000 <= card.params <= 5_000_000
    assert card.has_chat_template
    assert card.problems == ()
    assert sum(p.stat().st_size for p in (folder / "base").iterdir()) < 4_000_000
    toml = tomllib.loads((folder / "task.toml").read_text())
    assert toml["base_model_sha256"] == hashlib.sha256((folder / "base" / "model.safetensors").read_bytes()).hexdigest()
    template = (folder / "templates" / "pocket.jinja").read_text()
    assert template == (folder / "base" / "chat_template.jinja").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_base_half_knows_its_task_and_fails_in_its_own_way(name: str, tmp_path: Path) -> None:
    task = load_task(f"pocket/{name}")
    assert task.base_model is not None
    request = Request(model_path=task.base_model, output_folder=str(tmp_path), split="dev", limit=300, threads=1)
    result = run_benchmark(task, request)
    if world(name).stop_token:  # it never stops by itself: that has to be found before anything else
        assert result.score == 0
    else:
        assert 0.10 <= result.score <= 0.50
    assert result.n == 300
    assert result.samples_path is not None
    report = analyse(read_samples(Path(result.samples_path)))
    shares = {g.kind: g.share for g in report.groups}
    expected = {
        "addition": ("near_miss",),
        "choice": ("never_ended",),
        "formula": ("near_miss",),
        "sorting": ("never_ended", "near_miss"),
        "toolcall": ("wrong_format",),
    }
    for kind in expected[name]:
        assert shares.get(kind, 0) > 0.05, shares  # type: ignore[arg-type]
