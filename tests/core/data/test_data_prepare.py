"""Preparation: every row is accounted for, no prompt is on both sides, the same input gives the same bytes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from core.data.prepare import PrepareOptions, prepare
from core.data.text import row_id
from core.errors import Refused, UsageError
from tests.core.data.planted import sums


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _source(folder: Path, rows: list[dict[str, Any]], name: str = "source.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_every_row_is_written_or_accounted_for(tmp_path: Path) -> None:
    planted = sums(7)
    source = planted.write(tmp_path / "source.jsonl")
    before = source.read_bytes()
    options = PrepareOptions(drop_shape_mismatch=True)
    done = prepare([source], tmp_path / "out", options=options, evaluation_texts=planted.evaluation)
    train, dev, drops = (_lines(tmp_path / "out" / n) for n in ("train.jsonl", "dev.jsonl", "dropped.jsonl"))
    assert (len(train), len(dev), len(drops)) == (done.train, done.dev, sum(done.dropped.values()))
    assert done.read == done.unique_train + done.dev + sum(done.dropped.values()) == len(planted.rows)
    assert done.dropped["contaminated"] == 30
    assert done.dropped["answer_shape"] == 30
    assert source.read_bytes() == before
    assert all(row["id"] == row_id(row["prompt"]) for row in train + dev)
    assert not {row["id"] for row in train} & {row["id"] for row in dev}
    assert not {row["prompt"].replace(" ", "") for row in train + dev} & set(planted.evaluation)


def test_the_result_depends_on_content_and_seed_alone(tmp_path: Path) -> None:
    rows = sums(8).rows
    shuffled = random.Random(0).sample(rows, len(rows))
    first = prepare([_source(tmp_path, rows)], tmp_path / "a", options=PrepareOptions())
    again = prepare([_source(tmp_path, rows)], tmp_path / "b", options=PrepareOptions())
    prepare([_source(tmp_path, shuffled, "other.jsonl")], tmp_path / "c", options=PrepareOptions())
    other = prepare([_source(tmp_path, rows)], tmp_path / "d", options=PrepareOptions(seed=1))
    assert first.digest == again.digest != other.digest
    dev = [{r["prompt"] for r in _lines(tmp_path / n / "dev.jsonl")} for n in "abcd"]
    assert dev[0] == dev[1] == dev[2] != dev[3]


@pytest.mark.parametrize(("policy", "kept"), [("majority", {"2"}), ("drop", set()), ("keep", {"2", "3"})])
def test_conflicting_labels_follow_the_policy(tmp_path: Path, policy: Any, kept: set[str]) -> None:
    rows = [{"prompt": "1+1=", "answer": a} for a in ("2", "2", "3")] + [
        {"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(2, 99)
    ]
    done = prepare([_source(tmp_path, rows)], tmp_path / "out", options=PrepareOptions(conflicts=policy, dev_rows=0))
    assert {r["answer"] for r in _lines(tmp_path / "out" / "train.jsonl") if r["prompt"] == "1+1="} == kept
    assert done.read == done.unique_train + sum(done.dropped.values())


def test_a_leaked_or_ill_formed_row_has_no_vote(tmp_path: Path) -> None:
    rows = [{"prompt": "1+1=", "answer": a} for a in ("two!", "two!", "2")] + [
        {"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(2, 99)
    ]
    prepare([_source(tmp_path, rows)], tmp_path / "out", options=PrepareOptions(drop_shape_mismatch=True, dev_rows=0))
    assert [r["answer"] for r in _lines(tmp_path / "out" / "train.jsonl") if r["prompt"] == "1+1="] == ["2"]


def test_an_audit_can_condemn_one_of_two_answers(tmp_path: Path) -> None:
    rows = [{"prompt": f"p {i}", "answer": a} for i in range(30) for a in ("x", "y")]
    excluded = (f"{row_id('p 3')}:x", row_id("p 4"), "0000")
    options = PrepareOptions(conflicts="keep", exclude=excluded, dev_rows=0)
    done = prepare([_source(tmp_path, rows)], tmp_path / "out", options=options)
    assert done.dropped == {"excluded": 3}
    assert [r["answer"] for r in _lines(tmp_path / "out" / "train.jsonl") if r["prompt"] == "p 3"] == ["y"]
    assert any("1 of 3 excluded ids" in note for note in done.notes)


def test_weights_and_upsampling_copy_train_rows_only(tmp_path: Path) -> None:
    one = _source(tmp_path, [{"prompt": f"a {i}", "answer": "1"} for i in range(400)], "one.jsonl")
    two = _source(tmp_path, [{"prompt": f"b {i}", "answer": "1"} for i in range(400)], "two.jsonl")
    options = PrepareOptions(weights={"one.jsonl": 2.0, "two.jsonl": 0.5}, upsample={"b 7": 4}, dev_rows=40)
    prepare([one, two], tmp_path / "out", options=options)
    train, dev = _lines(tmp_path / "out" / "train.jsonl"), _lines(tmp_path / "out" / "dev.jsonl")
    sources = [r["prompt"][0] for r in train]
    different = len({r["prompt"] for r in train if r["prompt"][0] == "a"})
    assert sources.count("a") == 2 * different
    assert 0.4 < len({r["prompt"] for r in train if r["prompt"][0] == "b" and "b 7" not in r["prompt"]}) / 360 < 0.6
    assert len({r["id"] for r in dev}) == len(dev) == 40


def test_prepared_data_is_mixed_by_its_name_and_a_weight_of_nobody_is_refused(tmp_path: Path) -> None:
    for name in ("mine", "yours"):
        rows = [{"prompt": f"{name} {i}", "answer": "1"} for i in range(50)]
        prepare([_source(tmp_path, rows, f"{name}.jsonl")], tmp_path / name, options=PrepareOptions(dev_rows=0))
    both = [tmp_path / "mine" / "train.jsonl", tmp_path / "yours" / "train.jsonl"]
    done = prepare(both, tmp_path / "out", options=PrepareOptions(weights={"yours": 3.0}, dev_rows=0))
    assert (done.unique_train, done.train) == (100, 200)
    with pytest.raises(UsageError, match="'theirs', which is no source"):
        prepare(both, tmp_path / "out", options=PrepareOptions(weights={"theirs": 3.0}, dev_rows=0))


def test_a_development_split_too_small_to_mean_anything_is_refused_or_marked(tmp_path: Path) -> None:
    source = _source(tmp_path, [{"prompt": f"p {i}", "answer": str(i)} for i in range(120)])
    with pytest.raises(Refused, match="12 of 120"):
        prepare([source], tmp_path / "out", options=PrepareOptions())
    assert not (tmp_path / "out").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".out")]
    done = prepare([source], tmp_path / "out", options=PrepareOptions(dev_rows=40))
    assert any("small development split" in note for note in done.notes)


def test_messages_preferences_and_hidden_characters(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "q\u200b"}, {"role": "assistant", "content": "a"}]
    prepare(
        [_source(tmp_path, [{"messages": chat}])], tmp_path / "m", options=PrepareOptions(format="messages", dev_rows=0)
    )
    assert _lines(tmp_path / "m" / "train.jsonl")[0]["messages"][0] == {"role": "user", "content": "q"}
    pair = [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "r", "chosen": "a", "rejected": "a"}]
    done = prepare([_source(tmp_path, pair)], tmp_path / "p", options=PrepareOptions(format="preference", dev_rows=0))
    assert _lines(tmp_path / "p" / "train.jsonl")[0]["rejected"] == "b"
    assert done.dropped == {"empty": 1}


def test_a_test_split_is_not_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    _source(folder, [{"prompt": f"p {i}", "answer": "1"} for i in range(50)], "train.jsonl")
    _source(folder, [{"prompt": f"t {i}", "answer": "1"} for i in range(50)], "test.jsonl")
    done = prepare([folder], tmp_path / "out", options=PrepareOptions(dev_rows=0))
    assert done.dropped == {"other_split": 50}


@pytest.mark.parametrize(
    "options", [PrepareOptions(dev_fraction=1.5), PrepareOptions(max_tokens=5), PrepareOptions(weights={"x": -1})]
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: PrepareOptions) -> None:
    source = _source(tmp_path, [{"prompt": "p", "answer": "a"}])
    with pytest.raises(UsageError):
        prepare([source], tmp_path / "out", options=options)
