"""Which cells of a line changed. Textual repaints the regions it is told: the smaller they are, the fewer bytes go out.

Over a slow line this is what counts: a clock that moves one digit costs one cell, not its row.
"""

from __future__ import annotations

from rich.style import Style
from textual.strip import Strip

JOIN = 6
"""Runs of changed cells closer than this are one: moving the cursor costs about as many bytes."""

Cell = tuple[str, Style | None]


def changed_cells(old: Strip, new: Strip) -> list[tuple[int, int]]:
    """Runs [start, end) of cells in which two strips of one width differ; the whole line where wide characters are."""
    before, after = _cells(old), _cells(new)
    if before is None or after is None or len(before) != len(after):
        return [(0, new.cell_length)]
    runs: list[tuple[int, int]] = []
    for x, (a, b) in enumerate(zip(before, after, strict=True)):
        if a == b:
            continue
        if runs and x - runs[-1][1] < JOIN:
            runs[-1] = (runs[-1][0], x + 1)
        else:
            runs.append((x, x + 1))
    return runs


def _cells(strip: Strip) -> list[Cell] | None:
    """One entry a cell; None where characters and cells are not the same."""
    cells = [(character, segment.style) for segment in strip for character in segment.text]
    return cells if len(cells) == strip.cell_length else None
