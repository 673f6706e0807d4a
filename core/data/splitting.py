"""Train and development rows: parted by the hash of the prompt, copied by weight, written one JSON object a line."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.data.preparation import Account, PrepareOptions, Row
from core.errors import Refused, UsageError

SMALL_DEV, MINIMUM_DEV = 200, 20
"""Under 200 rows an accuracy is uncertain by over 7 points (95 %): marked. Under 20 it says nothing: refused."""


def split(rows: list[Row], options: PrepareOptions, notes: list[str], account: Account) -> tuple[list[Row], list[Row]]:
    """(dev, train) by the salted hash of the row id: whole prompts, one row of each in dev."""
    ids = sorted({r.id for r in rows}, key=lambda i: _rank(i, options.seed))
    wanted = options.dev_rows if options.dev_rows is not None else round(len(ids) * options.dev_fraction)
    if wanted and (wanted < MINIMUM_DEV or wanted * 2 > len(ids)):
        why = f"{wanted} of {len(ids)} different prompts"
        raise Refused(
            f"The development split would hold {why}", where="dev_rows, dev_fraction",
            next=f"Take at least {MINIMUM_DEV} and at most half of the prompts, or dev_rows=0 for none.",
        )  # fmt: skip
    if wanted == 0:
        notes.append("no development split: nothing to choose a checkpoint by")
    elif wanted < SMALL_DEV:
        notes.append(
            f"small development split: {wanted} rows, an accuracy is uncertain by +-{98 / math.sqrt(wanted):.0f} points"
        )
    chosen = set(ids[:wanted])
    dev: dict[str, Row] = {}
    for row in rows:
        if row.id in chosen and dev.setdefault(row.id, row) is not row:
            account.drop(row, "repeats_dev_prompt")
    train = [r for r in rows if r.id not in chosen]
    return list(dev.values()), train


def _rank(identity: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest()


def weigh(train: list[Row], sources: Sequence[Path], options: PrepareOptions) -> None:
    """Set the copies of each train row; a fractional copy is given to the rows whose hash says so.

    Raises UsageError for a weight that is no source's: a mixture that is silently another one is worse than none.
    """
    if not options.weights and not options.upsample:
        return
    weights = _weights(sources, options.weights)
    for row in train:
        weight = weights[row.source]
        for text, times in options.upsample.items():
            if text in row.prompt or text in row.answer:
                weight *= times
        chance = int(_rank(f"{row.id}:{row.answer}:copies", options.seed)[:8], 16) / 2**32
        row.copies = int(weight) + (chance < weight - int(weight))


def _weights(sources: Sequence[Path], wanted: Mapping[str, float]) -> list[float]:
    """The weight of each source. It is called by its file's name, its path, or, data prepared before, its folder's name."""
    called = [{s.name, str(s), s.parent.name} if s.name == "train.jsonl" else {s.name, str(s)} for s in sources]
    unknown = sorted(set(wanted) - set[str]().union(*called))
    if unknown:
        raise UsageError(
            f"A weight is given to '{unknown[0]}', which is no source", where="weights",
            next=f"Sources: {', '.join(sorted(set[str]().union(*called)))}",
        )  # fmt: skip
    return [next((w for name, w in wanted.items() if name in names), 1.0) for names in called]


def write(path: Path, rows: Iterable[Row], form: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(_record(row, form), ensure_ascii=False) + "\n")


def _record(row: Row, form: str) -> dict[str, Any]:
    record: dict[str, Any] = {"id": row.id, "prompt": row.prompt, "answer": row.answer}
    if form == "messages":
        turns = row.turns or [{"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.answer}]
        system = [{"role": "system", "content": row.system}] if row.system and turns[0]["role"] != "system" else []
        record["messages"] = system + turns
    if form == "preference":
        record |= {"chosen": row.answer, "rejected": row.rejected}
    return record
