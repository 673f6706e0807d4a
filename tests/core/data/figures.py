"""How well inspection and contamination do on planted data: counts by fault, for the tests and for `make bench`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.data.contamination import check_rows
from core.data.files import open_data
from core.data.inspect import flagged, inspect_data
from core.data.verifying import Check
from tests.core.data import everyday, planted, templated
from tests.core.data.planted import Planted


class Maker(NamedTuple):
    """A generator of planted data and the verifier of its answers, where it has one."""

    make: Callable[[int], Planted]
    verifier: Check | None = None


MAKERS = {
    "prose": Maker(planted.prose_data),
    "sums": Maker(planted.sums),
    "calls": Maker(planted.calls),
    "chats": Maker(planted.chats),
    "requests": Maker(everyday.requests),
    "problems": Maker(everyday.problems, everyday.check_problem),
    "dialogues": Maker(everyday.dialogues),
}


class Count(NamedTuple):
    """Pooled over seeds. `alarms` are flags on `clean` rows, those without any planted fault."""

    found: int = 0
    planted: int = 0
    alarms: int = 0
    clean: int = 0

    def plus(self, other: Count) -> Count:
        return Count(*(a + b for a, b in zip(self, other, strict=True)))


def measure(maker: Maker, seeds: tuple[int, ...], folder: Path) -> dict[str, Count]:
    """By fault, over the seeds."""
    total: dict[str, Count] = {}
    for seed in seeds:
        data = maker.make(seed)
        with open_data(data.write(folder / f"{seed}.jsonl")) as opened:
            inspect_data(opened, evaluation_texts=data.evaluation or None, verifier=maker.verifier)
            marked = flagged(opened)
        clean = set(range(len(data.rows))) - data.bad
        for fault in {*data.faults, *marked}:
            rows, hits = data.faults.get(fault, set()), marked.get(fault, set())
            now = Count(len(rows & hits), len(rows), len(hits & clean), len(clean))
            total[fault] = total.get(fault, Count()).plus(now)
    return total


WORDS = 4000


def salad(r: random.Random, vocabulary: list[str], size: int) -> str:
    """Words drawn by a law of Zipf, as in real text, without any grammar."""
    weights = [1 / (i + 5) for i in range(len(vocabulary))]
    return " ".join(r.choices(vocabulary, weights, k=size))


def vocabulary(r: random.Random) -> list[str]:
    return ["".join(r.choice("aeioubcdfghklmnprst") for _ in range(r.randint(2, 9))) for _ in range(WORDS)]


def copies_found(
    seeds: tuple[int, ...], change: Callable[[random.Random, str], str], texts: Callable[[random.Random], list[str]]
) -> Count:
    """Changed copies of evaluation texts among twice as many unrelated texts of the same kind: found, and false alarms."""
    total = Count()
    for seed in seeds:
        r = random.Random(seed)
        made = texts(r)
        samples, others = made[: len(made) // 3], made[len(made) // 3 :]
        rows = [(change(r, sample), "an answer") for sample in samples] + [(other, "an answer") for other in others]
        sure = {n for n, match in check_rows(rows, samples)[1].items() if match.sure}
        hits = sum(n < len(samples) for n in sure)
        total = total.plus(Count(hits, len(samples), len(sure) - hits, len(others)))
    return total


def templated_copies(seeds: tuple[int, ...], kind: templated.Kind, change: templated.Change) -> Count:
    """Changed copies of samples of one kind among rows made by the same frames: found, and false alarms."""
    total = Count()
    for seed in seeds:
        made = templated.mixed(seed, kind, change)
        rows = [(text, "an answer") for text in (*made.copies, *made.others)]
        sure = {n for n, match in check_rows(rows, made.samples)[1].items() if match.sure}
        hits = sum(n < len(made.copies) for n in sure)
        total = total.plus(Count(hits, len(made.copies), len(sure) - hits, len(made.others)))
    return total
