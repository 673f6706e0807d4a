"""Curves and intervals as inline SVG for the exported page: numbers in, markup out. Colours are CSS classes."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from core.sanitize import clean
from core.series import Series
from core.state import Evaluation
from screens.braille import axis_for, smooth
from screens.text import number

WIDTH, HEIGHT = 420, 170
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 22


class Frame(NamedTuple):
    """Maps values to the plot's pixels."""

    x_end: float
    low: float
    high: float

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(self.x_end, 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(share, 0.0), 1.0))


def curve(series: Series, name: str, steps: int) -> str:
    """A smoothed mean line over the band between minimum and maximum, as on the screen."""
    axis = axis_for([series], steps)
    points = series.points()
    if axis is None or not points:
        return ""
    frame = Frame(axis.x_end, axis.low, axis.high)
    means = smooth([p[3] for p in points])
    line = " ".join(f"{frame.x(p[0]):.1f},{frame.y(m):.1f}" for p, m in zip(points, means, strict=True))
    upper = [f"{frame.x(p[0]):.1f},{frame.y(p[2]):.1f}" for p in points]
    lower = [f"{frame.x(p[0]):.1f},{frame.y(p[1]):.1f}" for p in reversed(points)]
    label = escape(clean(name))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}: last {number(series.last)}">'
        f"{_axes(frame, f'{axis.x_end} steps')}"
        f'<polygon class="band" points="{" ".join(upper + lower)}"/>'
        f'<polyline class="line" points="{line}"/></svg>'
    )


def _axes(frame: Frame, right: str) -> str:
    parts: list[str] = []
    for value in (frame.high, (frame.high + frame.low) / 2, frame.low):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{number(value)}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">0</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{right}</text>')
    return "".join(parts)


def whisker(evaluation: Evaluation, low: float, high: float, baseline: float | None) -> str:
    """One score with its interval on an axis from `low` to `high`; the dashed line is the baseline."""
    width, middle = 260, 9
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return 4 + (width - 8) * min(max((value - low) / span, 0.0), 1.0)

    left, right = (x(v) for v in evaluation.interval)
    base = (
        f'<line class="base" x1="{x(baseline):.1f}" x2="{x(baseline):.1f}" y1="0" y2="18"/>'
        if baseline is not None
        else ""
    )
    return (
        f'<svg class="whisker" viewBox="0 0 {width} 18" role="img" aria-label="95 % interval">{base}'
        f'<line class="line" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<circle class="dot" cx="{x(evaluation.score):.1f}" cy="{middle}" r="4"/></svg>'
    )
