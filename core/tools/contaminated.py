"""No training on a file that holds the evaluation's samples, whoever made it and however it was prepared."""

from __future__ import annotations

import hashlib
from pathlib import Path

from core import events as e
from core.agent.desk import Desk
from core.errors import ToolError

ALLOWED = 3
"""Overlapping samples that a benchmark's own check lets pass (2603.08640: more than three count)."""

_CLEAN: set[str] = set()
"""Digests of files and evaluations that were compared in this process: a file is compared once."""


def refuse_contaminated(desk: Desk, data: Path, name: str) -> None:
    """Compare the file that a training would read with the evaluation's samples; the log gets what was found.

    Raises ToolError where it holds more of them than chance gives.
    """
    from core.data.contamination import check_data
    from core.data.files import open_data
    from core.tools.data import evaluation_texts

    texts = evaluation_texts(desk)
    train = data / "train.jsonl"
    if not texts or not train.is_file():
        return
    mark = hashlib.sha256("\0".join(texts).encode() + train.read_bytes()).hexdigest()
    if mark in _CLEAN:
        return
    with open_data(train) as rows:
        found = check_data(rows, texts)
    desk.emit(
        e.ContaminationChecked(
            dataset=name, against=len(texts), rows=found.checked, overlapping=found.contaminated,
            examples=[f.span for f in found.findings[:3]],
        )
    )  # fmt: skip
    if found.samples_hit > ALLOWED:
        raise ToolError(
            f"{name} holds {found.samples_hit} of the evaluation's samples in {found.contaminated} rows: no training on it",
            where=str(train),
            next='Prepare it again with {"drop_contaminated": true}',
        )
    _CLEAN.add(mark)
