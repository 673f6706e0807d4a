"""Single answers of an evaluation, beside those of the model it is compared with. Reading and pairing; no drawing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from core.evaluation.stats import Difference, paired_difference, unpaired_difference
from core.state import Evaluation, RunState

SHOWN = 300
"""Answers shown of one evaluation; wrong ones first."""
KINDS = ("broken", "still wrong", "put right", "right")
"""In the order in which they are looked at. Without a model to compare with: still wrong stands for wrong."""


class Answer(NamedTuple):
    kind: str
    prompt: str
    said: str
    want: str
    before: str
    """What the other model said; empty where that is not known."""


class Answers(NamedTuple):
    shown: list[Answer]
    counts: dict[str, int]
    paired: bool
    against: list[tuple[str, Difference]]
    """The change against each baseline, by its label."""


def find_file(path: str, folder: Path) -> Path:
    """A file of the run; in `folder` where the run was moved since the path was written."""
    written = Path(path)
    if written.exists() or folder.name not in written.parts:
        return written
    at = len(written.parts) - 1 - written.parts[::-1].index(folder.name)
    return folder.joinpath(*written.parts[at + 1 :])


def read_records(path: Path) -> list[dict[str, Any]]:
    """Sample records of an evaluation. Lines that are no record are left out. Raises OSError."""
    records: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for line in file:
            try:
                record = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(record, dict):
                records.append(record)
    return records


def kind_of(record: dict[str, Any], before: dict[str, Any] | None) -> str:
    now = bool(record.get("correct"))
    if before is None:
        return "right" if now else "still wrong"
    was = bool(before.get("correct"))
    return "right" if now and was else "put right" if now else "broken" if was else "still wrong"


def pair(records: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> tuple[list[Answer], dict[str, int]]:
    """Answers in the order of `KINDS`, at most `SHOWN` of a kind, and how many there are of each."""
    known = {str(r["id"]): r for r in earlier if "id" in r}
    answers: list[Answer] = []
    for r in records:
        before = known.get(str(r.get("id")))
        said = str(before.get("completion") or "") if before is not None else ""
        answers.append(
            Answer(
                kind_of(r, before),
                str(r.get("prompt") or ""),
                str(r.get("completion") or ""),
                str(r.get("answer") or ""),
                said,
            )
        )
    counts = Counter(a.kind for a in answers)
    answers.sort(key=lambda a: KINDS.index(a.kind))
    shown: list[Answer] = []
    taken: Counter[str] = Counter()
    for a in answers:
        taken[a.kind] += 1
        if taken[a.kind] <= SHOWN:
            shown.append(a)
    return shown, dict(counts)


def baselines(state: RunState, chosen: Evaluation) -> list[Evaluation]:
    """Evaluations of the untrained model on the same split, but for the chosen one itself."""
    return [
        e
        for e in state.evaluations.values()
        if e.done and e.split == chosen.split and not e.experiment and e.id != chosen.id and e.seq < chosen.seq
    ]


def scores_by_id(records: list[dict[str, Any]]) -> dict[str, float]:
    return {str(r["id"]): float(bool(r.get("correct"))) for r in records if "id" in r}


def read(chosen: Evaluation, against: Evaluation | None, bases: list[Evaluation], folder: Path) -> Answers:
    """Everything the screen says about one evaluation. Raises OSError where its own answers cannot be read."""
    records = read_records(find_file(chosen.samples_path, folder))
    mine = scores_by_id(records)
    earlier = _records_or_none(against, folder)
    changes: list[tuple[str, Difference]] = []
    for base in bases:
        theirs = scores_by_id(_records_or_none(base, folder))
        if mine.keys() & theirs.keys():
            changes.append((base.label, paired_difference(theirs, mine)))
        elif base.samples and chosen.samples:
            changes.append((base.label, unpaired_difference(base.score, base.samples, chosen.score, chosen.samples)))
    shown, counts = pair(records, earlier)
    return Answers(shown, counts, bool(earlier), changes)


def _records_or_none(e: Evaluation | None, folder: Path) -> list[dict[str, Any]]:
    if e is None or not e.samples_path:
        return []
    try:
        return read_records(find_file(e.samples_path, folder))
    except OSError:
        return []
