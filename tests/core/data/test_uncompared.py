"""Where more pairs resemble each other than are compared, the brain, the log and the report are told how many were left."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core import events as e
from core.agent.desk import Desk
from core.data import sieve
from core.data.contamination import check_rows
from core.describe import describe
from core.report import render_report
from core.tables import TABLES
from core.tools.data import inspect_data, prepare_data
from store.log import EventLog
from tests.core.agent.test_foreign_jobs import desk_in

FILLERS = (
    ["Ada", "Ben", "Cleo", "Dora", "Emil", "Finn", "Gisa", "Hugo"],
    ["Rome", "Oslo", "Lima", "Cairo", "Delhi", "Seoul", "Dakar", "Quito"],
    ["pizza", "ramen", "salad", "tacos", "soup", "curry", "pasta", "sushi"],
)
PAIRS = 40
"""Compared at most in these tests; 30,000 in the program."""


def questions(seed: int, count: int) -> list[str]:
    """Draws from one frame whose own words are three fillers: each resembles many others in two of them."""
    r = random.Random(seed)
    frame = "Please tell me how {} from {} cooks a bowl of {} for all of the guests"
    return [frame.format(*map(r.choice, FILLERS)) for _ in range(count)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieve, "ALIKE", PAIRS)


def pairs_compared(rows: list[str], texts: list[str]) -> int:
    return check_rows([(row, "an answer") for row in rows], texts)[0].uncompared


def test_every_pair_beyond_those_compared_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, texts = questions(1, 120), sorted(set(questions(2, 40)))
    assert pairs_compared(rows, texts) == 0
    left = {}
    for most in (1, 20, 60):
        monkeypatch.setattr(sieve, "ALIKE", most)
        left[most] = pairs_compared(rows, texts)
    assert left[1] == left[20] + 19 == left[60] + 59
    assert left[60] > 0
    monkeypatch.setattr(sieve, "ALIKE", left[1] + 1)
    assert pairs_compared(rows, texts) == 0, "exactly as many as are looked at leave none"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    run, task = tmp_path / "run", tmp_path / "task"
    run.mkdir()
    task.mkdir()
    asked = sorted(set(questions(2, 40)))
    (task / "dev.jsonl").write_text("".join(json.dumps({"prompt": q, "answer": "x"}) + "\n" for q in asked))
    rows = sorted(set(questions(1, 200)) - set(asked))
    (task / "train.jsonl").write_text("".join(json.dumps({"prompt": q, "answer": "stew"}) + "\n" for q in rows))
    with EventLog.create(run, TABLES) as log:
        made = desk_in(run, log)
        made.task = cast(
            Any,
            SimpleNamespace(
                path=str(task), eval_text_files=[str(task / "dev.jsonl")], evaluate_path=str(task / "evaluate.py"),
                dev_file=str(task / "dev.jsonl"), data_files=[], verifier=None, max_new_tokens=8,
            ),
        )  # fmt: skip
        made.card = cast(Any, SimpleNamespace(path=str(task)))
        yield made


def looked_at(desk: Desk) -> tuple[dict[str, Any], dict[str, Any], list[e.ContaminationChecked], str]:
    """What the tools answer, what the log has of the checks, and the last one's line in the feed."""
    path = str(Path(desk.task.path) / "train.jsonl")
    desk.call = "1.0"
    seen = cast(dict[str, Any], inspect_data.run(desk, path=path))
    desk.call = "2.0"
    made = cast(dict[str, Any], prepare_data.run(desk, name="clean", sources=[path]))
    events = [(x, e.payload_of(x)) for x in desk.journal.events()]
    checks = [(x, p) for x, p in events if isinstance(p, e.ContaminationChecked)]
    return seen, made, [p for _, p in checks], describe(*checks[-1])[0]


@pytest.mark.usefixtures("few")
def test_the_answers_the_log_and_the_report_say_what_was_not_compared(desk: Desk) -> None:
    seen, made, checks, line = looked_at(desk)
    [left] = {c.uncompared for c in checks}
    assert left > 0
    assert [bool(c.digest) for c in checks] == [False, True]
    told = f"contamination: {left:,} pairs of a row and an evaluation sample that resemble each other were not compared"
    assert any(told in text for text in seen["unchecked"])
    assert any(told in text for text in made["notes"])
    assert f"{left:,} pairs" in render_report(desk.state)
    assert "Not wholly checked:** of `clean`" in render_report(desk.state)
    assert f"{left:,} pairs alike not compared" in line


def test_nothing_is_said_where_every_pair_was_compared(desk: Desk) -> None:
    seen, made, checks, line = looked_at(desk)
    assert {c.uncompared for c in checks} == {0}
    assert "not compared" not in str(seen["unchecked"]) + str(made["notes"]) + render_report(desk.state)
    assert "not compared" not in line
