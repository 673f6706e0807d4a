"""Rows of a pane before they become cells: spans of text with a role, and the event a row's numbers come from.

Panes build rows; `screens/pane.py` sanitises them, gives roles their colours and puts them on the screen. A role names
a meaning (good, bad, waiting, dim, ...), never a colour.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len, get_character_cell_size, set_cell_size

from core.sanitize import clean


class Span(NamedTuple):
    text: str
    role: str = ""


class Row(NamedTuple):
    """One line of a pane."""

    spans: tuple[Span, ...]
    seq: int = 0
    """The event this row's numbers come from; 0 where there is none to show."""


MOST_LINES = 200
"""Lines a text without a limit of its own may take in a pane; all of it is in the event (Enter)."""
Part = str | tuple[str, str]
BLANK = Row(())


def row(*parts: Part, seq: int = 0) -> Row:
    """A row from texts and (text, role) pairs."""
    return Row(tuple(Span(p) if isinstance(p, str) else Span(*p) for p in parts), seq)


def beginning(text: str, width: int) -> str:
    """The beginning of a text that can matter for `width` cells: a line of a megabyte is not looked at whole.

    Eight characters a cell leave room for accents and for sequences that are taken out.
    """
    return text[: 8 * max(width, 1) + 256]


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: cut with an ellipsis or padded. Wide characters count two."""
    text = clean(beginning(text, width))
    if width <= 0:
        return ""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells."""
    short = clean(beginning(text, width))
    return fit(short, width).rstrip() if cell_len(short) > width else short


def wrap(text: str, width: int, limit: int = 0) -> list[str]:
    """`text` in lines of at most `width` cells, at spaces where possible; at most `limit` lines (0: MOST_LINES)."""
    width, limit = max(width, 4), limit or MOST_LINES
    lines: list[str] = []
    line = ""
    for word in clean(beginning(text, width * (limit + 1))).split():
        while not _fits(word, width) and len(lines) <= limit:
            room = width - (cell_len(line) + 1 if line else 0)
            head = _head(word, room if room >= 8 or not line else 0)
            if head:
                line = f"{line} {head}" if line else head
                word = word[len(head) :]
            lines.append(line)
            line = ""
        if len(lines) > limit:
            break
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
        else:
            lines.append(line)
            line = word
    if line:
        lines.append(line)
    if len(lines) > limit:
        lines = lines[:limit]
        last = lines[-1]
        lines[-1] = last + " …" if cell_len(last) + 2 <= width else set_cell_size(last, width - 1).rstrip() + "…"
    return lines


def _fits(word: str, width: int) -> bool:
    """Whether a word takes at most `width` cells; of a long one no more than that is measured."""
    return len(word) <= width if word.isascii() else len(_head(word, width)) == len(word)


def _head(word: str, width: int) -> str:
    """The longest beginning of `word` in `width` cells."""
    used = 0
    for at, character in enumerate(word):
        used += get_character_cell_size(character)
        if used > width:
            return word[:at]
    return word


def clock(seconds: float) -> str:
    """h:mm:ss, the time base of all panes (since the run began)."""
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def span_of(seconds: float) -> str:
    """A duration in few characters: 45 s, 8:12, 3:12:44."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return clock(whole)


def number(value: float | None) -> str:
    """A metric's value in at most about seven characters."""
    if value is None:
        return "n/a"
    size = abs(value)
    if value == int(value) and size < 1e6:
        return str(int(value))
    if size >= 1e5 or size < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.3g}" if size < 1000 else f"{value:.0f}"


def gigabytes(value: int | None) -> str:
    return "n/a" if value is None else f"{value / 2**30:.1f}" if value < 10 * 2**30 else f"{value / 2**30:.0f}"


def bar(fraction: float | None, width: int) -> str:
    """A bar of eighth blocks, `width` cells; middle dots where there is no value."""
    if fraction is None:
        return "·" * width
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width)
