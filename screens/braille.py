"""A curve in braille dots: a smoothed mean line over the band between minimum and maximum. Pure, no Textual.

Each cell has 2 x 4 dots. The band is a thin lattice of dots, the line is solid; a cell that holds a piece of the line
shows only the line, so the two stay apart without colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from core.series import Series

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
SMOOTHING = 0.3
"""Weight of the newest bin in the exponential mean that is drawn as the line."""


Point = tuple[int, float, float, float]
"""(train step, least, greatest, mean) of a bin."""


class Axis(NamedTuple):
    """What the plot spans."""

    x_end: int
    low: float
    high: float
    x_start: int = 0
    log: bool = False
    """The vertical scale is logarithmic; then `low` is above 0."""

    def share(self, value: float) -> float:
        """Where a value stands between low (0) and high (1)."""
        if not self.log:
            return (value - self.low) / ((self.high - self.low) or 1.0)
        span = math.log10(self.high / self.low) or 1.0
        return math.log10(max(value, self.low) / self.low) / span

    def middle(self) -> float:
        """The value half-way up."""
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2


class Cell(NamedTuple):
    character: str
    role: str


def smooth(values: list[float]) -> list[float]:
    """Exponential mean with the start-up bias removed (as in Adam), so that the first values are not dragged."""
    out: list[float] = []
    mean = weight = 0.0
    for value in values:
        mean += SMOOTHING * (value - mean)
        weight += SMOOTHING * (1 - weight)
        out.append(mean / weight)
    return out


def nice_axis(low: float, high: float) -> tuple[float, float]:
    """Round limits a little outside of [low, high]: they seldom change while a curve grows."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if high <= low:
        pad = abs(high) * 0.1 or 0.5
        low, high = low - pad, high + pad
    step = 10 ** math.floor(math.log10(high - low))
    for part in (0.2, 0.5, 1.0):
        unit = step * part
        if (high - low) / unit <= 8:
            break
    return math.floor(low / unit + 1e-9) * unit, math.ceil(high / unit - 1e-9) * unit


def axis_for(series: list[Series], planned: int | None) -> Axis | None:
    """Limits for all series: the planned train steps, or the next power of two, so that dots stay put."""
    points = [p for s in series for p in s.points()]
    if not points:
        return None
    last = max(s.last_step for s in series)
    x_end = planned if planned and planned >= last else 1 << max(last - 1, 1).bit_length()
    return axis_of(points, 0, x_end)


def axis_of(points: Iterable[Point], x_start: int, x_end: int, log: bool = False) -> Axis:
    """Limits around the points from `x_start` to `x_end`; logarithmic ones in whole decades, if any value allows it."""
    seen = [p for p in points if x_start <= p[0] <= x_end]
    lows, highs = [p[1] for p in seen], [p[2] for p in seen]
    positive = [v for v in (*lows, *highs) if v > 0 and math.isfinite(v)]
    if log and positive:
        low = 10 ** math.floor(math.log10(min(positive)) + 1e-9)
        high = 10 ** math.ceil(math.log10(max(positive)) - 1e-9)
        return Axis(max(x_end, x_start + 1), low, high if high > low else low * 10, x_start, True)
    low, high = nice_axis(min(lows, default=0.0), max(highs, default=1.0))
    return Axis(max(x_end, x_start + 1), low, high, x_start)


def draw(points: list[Point], axis: Axis, width: int, height: int) -> list[list[Cell]]:
    """`height` rows of `width` cells."""
    line = [[0] * width for _ in range(height)]
    band = [[0] * width for _ in range(height)]
    columns, rows = width * 2, height * 4
    means = smooth([p[3] for p in points])
    scale_x = (columns - 1) / (axis.x_end - axis.x_start)

    def y_of(value: float) -> int:
        return min(max(round((1 - axis.share(value)) * (rows - 1)), 0), rows - 1)

    before: tuple[int, int] | None = None
    band_at: dict[int, tuple[int, int]] = {}
    for (step, low, high, _), mean in zip(points, means, strict=True):
        if not axis.x_start <= step <= axis.x_end:
            continue
        x = min(int((step - axis.x_start) * scale_x), columns - 1)
        top, bottom = band_at.get(x, (rows, -1))
        band_at[x] = min(top, y_of(high)), max(bottom, y_of(low))
        here = (x, y_of(mean))
        _segment(line, before or here, here)
        before = here
    _fill(band, band_at)
    return [[_cell(line[r][c], band[r][c]) for c in range(width)] for r in range(height)]


def over(below: list[list[Cell]], above: list[list[Cell]], role: str) -> list[list[Cell]]:
    """A second curve on top of a first: its line in `role`, without its band."""
    return [
        [Cell(a.character, role) if a.role == "line" else b for b, a in zip(lower, upper, strict=True)]
        for lower, upper in zip(below, above, strict=True)
    ]


def _segment(grid: list[list[int]], start: tuple[int, int], end: tuple[int, int]) -> None:
    """Dots from start to end, one a column at least, vertical gaps filled."""
    (x0, y0), (x1, y1) = start, end
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    for i in range(steps + 1):
        x, y = x0 + round((x1 - x0) * i / steps), y0 + round((y1 - y0) * i / steps)
        grid[y // 4][x // 2] |= _DOTS[y % 4][x % 2]


def _fill(grid: list[list[int]], columns: dict[int, tuple[int, int]]) -> None:
    """The band between the extremes of each column; columns between two bins take the left one's."""
    xs = sorted(columns)
    for at, x in enumerate(xs):
        until = xs[at + 1] if at + 1 < len(xs) else x + 1
        top, bottom = columns[x]
        for column in range(x, until):
            for y in range(top, bottom + 1):
                if (column + y) % 2 == 0 and y % 2 == 0:
                    grid[y // 4][column // 2] |= _DOTS[y % 4][column % 2]


def _cell(line: int, band: int) -> Cell:
    if line:
        return Cell(chr(0x2800 | line), "line")
    if band:
        return Cell(chr(0x2800 | band), "band")
    return Cell(" ", "")
