"""Numbers out of a paper's tables, each with its table, row and column."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from core.literature.papers import Table

_CELL = re.compile(
    r"^[~≈<>*†‡$\s]*([-+−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+−]?\d*\.?\d+)\s*(%)?(?:\s*(?:±|\\pm|\().*)?[*†‡$\s]*$"
)


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A number in a table."""

    row: str
    column: str
    value: float
    place: str
    """`Table 2, row 'GRPO', column 'GSM8K' (Section 4.2)`."""


def results_of(table: Table, section: str) -> list[Reported]:
    """Every numeric cell that has a heading above it and a name to its left; others could not be cited."""
    columns = _columns(table)
    found: list[Reported] = []
    for row in table.rows[table.header :]:
        names = [cell for cell in row if cell and number_in(cell) is None]
        for at, cell in enumerate(row):
            value = number_in(cell)
            left = [name for name in row[:at] if name and number_in(name) is None]
            if value is None or not left or at >= len(columns) or not columns[at]:
                continue
            name = " / ".join(left) if len(left) <= 3 else names[0]
            place = f"{table.label}, row {name[:60]!r}, column {columns[at][:60]!r} ({section})"
            found.append(Reported(row=name, column=columns[at], value=value, place=place))
    return found


_BASE = re.compile(r"\b(base|baseline|pre-?trained|untuned|zero-?shot)\b", re.IGNORECASE)
_MORE = re.compile(r"\+|\bours?\b|\bw/", re.IGNORECASE)
"""In a row's name: "Qwen-Base + GRPO" is no base."""
_NO_SCORE = re.compile(
    r"#|\b(params?|parameters|size|tokens?|steps?|epochs?|samples|length|len|cost|time|hours?|latency|memory|flops|lr|"
    r"learning rate|rank|year|kl)\b",
    re.IGNORECASE,
)
"""Columns that say what was done, not how well it went."""
_LOWER = re.compile(r"\b(loss|perplexity|ppl|error|errors|wer|cer|mae|rmse|mse|nll|bpb)\b|↓", re.IGNORECASE)


def compared(results: Sequence[Reported]) -> dict[str, Reported]:
    """`baseline` and `result`: in the first column of scores with a row that names a base, that row and the best of the others.

    Best is the largest, of losses and errors the smallest, as far as the column's name tells: it always goes along.
    """
    columns: dict[tuple[str, str], list[Reported]] = {}
    for one in results:
        if not _NO_SCORE.search(one.column):
            columns.setdefault((one.place.split(",")[0], one.column), []).append(one)
    for (_, name), column in columns.items():
        base = next((r for r in column if _is_base(r)), None)
        others = [r for r in column if not _is_base(r)]
        if base is not None and others:
            best = min if _LOWER.search(name) else max
            return {"baseline": base, "result": best(others, key=lambda r: r.value)}
    return {}


def _is_base(one: Reported) -> bool:
    return bool(_BASE.search(one.row)) and not _MORE.search(one.row)


def _columns(table: Table) -> list[str]:
    """The heading of each column: heading rows joined, a spanning heading repeated over the columns it spans."""
    width = max((len(row) for row in table.rows), default=0)
    joined = [""] * width
    for row in table.rows[: table.header]:
        last = ""
        several = table.header > 1
        for at in range(width):
            cell = row[at] if at < len(row) else ""
            last = cell or (last if several else "")
            if last and last not in joined[at].split(" / "):
                joined[at] = f"{joined[at]} / {last}" if joined[at] else last
    return joined


def number_in(cell: str) -> float | None:
    """The number a cell holds, without its sign of error or emphasis; None for words."""
    match = _CELL.match(cell)
    if not match:
        return None
    return float(match.group(1).replace(",", "").replace("−", "-"))
