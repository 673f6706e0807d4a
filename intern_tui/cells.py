"""Only changed cells reach the terminal: the difference between what it shows and the next frame.

Textual repaints dirty regions whole. Over a slow line the bytes are what a person waits for, so the cells last written
are kept here, and an update is cut down to those that differ. A strip with wide or combining characters is never cut:
terminals disagree about their widths, so it is written whole whenever anything in it differs.

`ChopsUpdate` and `LayoutUpdate` are private to Textual: its version is pinned, and INTERN_CELL_DIFF=0 turns this off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Size
from textual.strip import Strip

from intern_tui.looks import PLAIN, Look, change, look_of

SHORT_GAP = 4
"""Unchanged cells of the same look up to here are written again: jumping over them takes as many bytes."""


class Cell(NamedTuple):
    text: str
    """One character; in a strip that is not cut, all it writes."""
    look: Look
    at: int = -1
    """The column within a strip that is not cut; -1 for a cell of its own."""


class Frame:
    """What the terminal shows, as far as it is known."""

    def __init__(self) -> None:
        self._size = Size(0, 0)
        self._rows: list[list[Cell | None]] = []

    def forget(self) -> None:
        """The terminal may show anything (resized, resumed, written over): the next update is written whole."""
        self._size = Size(0, 0)

    def difference(self, strips: Iterable[tuple[int, int, Strip]], size: Size, colors: ColorSystem) -> str:
        """What to write so that the strips, each at its column and row, are seen."""
        if size != self._size:
            self._size = size
            self._rows = [[None] * size.width for _ in range(size.height)]
        pen = Pen()
        for x, y, strip in strips:
            if 0 <= y < size.height:
                row, cells = self._rows[y], cells_of(strip, colors)[: size.width - x]
                if row[x : x + len(cells)] != cells:
                    write(pen, row, x, y, cells)
        return pen.written()


class Pen:
    """Writes cells with as few moves and changes of look as it can."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._look = PLAIN
        self._at = (-1, -1)

    def put(self, x: int, y: int, text: str, look: Look) -> None:
        self._move(x, y)
        if look != self._look:
            self._parts.append(change(self._look, look))
            self._look = look
        self._parts.append(text)
        self._at = (x + 1, y)

    def put_whole(self, x: int, y: int, rendered: str) -> None:
        """A strip with its own looks; where the cursor stands afterwards is the terminal's opinion."""
        self._move(x, y)
        self._parts.append(change(self._look, PLAIN) + rendered)
        self._look, self._at = PLAIN, (-1, -1)

    def bridges(self, x: int, y: int, gap: list[Cell | None]) -> bool:
        """Whether the unchanged cells just before `x` are better written again than jumped over."""
        near = len(gap) <= SHORT_GAP and self._at == (x - len(gap), y)
        return near and all(cell is not None and cell.at < 0 and cell.look == self._look for cell in gap)

    def written(self) -> str:
        return "".join(self._parts) + change(self._look, PLAIN)

    def _move(self, x: int, y: int) -> None:
        if self._at == (x, y):
            return
        ahead = x - self._at[0] if self._at[1] == y else 0
        self._parts.append(f"\x1b[{ahead}C" if ahead > 0 else f"\x1b[{y + 1};{x + 1}H")


def write(pen: Pen, row: list[Cell | None], x: int, y: int, cells: list[Cell]) -> None:
    """Bring a row's cells from `x` on up to date."""
    if cells[0].at >= 0:
        pen.put_whole(x, y, cells[0].text)
        row[x : x + len(cells)] = cells
        row[x + len(cells) :] = [None] * (len(row) - x - len(cells))  # a wider drawing may have run into them
        return
    last = x
    for at, cell in enumerate(cells, x):
        if row[at] == cell:
            continue
        if at > last and pen.bridges(at, y, row[last:at]):
            for between in range(last, at):
                pen.put(between, y, cells[between - x].text, cells[between - x].look)
        pen.put(at, y, cell.text, cell.look)
        row[at] = cell
        last = at + 1


def cells_of(strip: Strip, colors: ColorSystem) -> list[Cell]:
    """A strip cell by cell, or, where a character is not one cell wide, in one piece."""
    cells: list[Cell] = []
    for text, style, _ in strip:
        if not single_cells(text):
            rendered = "".join(Strip.render_style(s, t, colors) if s is not None else t for t, s, _ in strip)
            return [Cell(rendered, PLAIN, at) for at in range(strip.cell_length)]
        ansi = Strip.render_ansi(style, colors) if style is not None else ""
        link = f"id={style.link_id};{style.link}" if style is not None and style.link else ""
        cells += cells_like(text, look_of(ansi, link))
    return cells


@lru_cache(maxsize=8192)
def cells_like(text: str, look: Look) -> tuple[Cell, ...]:
    return tuple(Cell(character, look) for character in text)


@lru_cache(maxsize=8192)
def single_cells(text: str) -> bool:
    return all(get_character_cell_size(character) == 1 for character in set(text))


def placed(update: ChopsUpdate | LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    """The strips of an update with the column and row of each."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in line:
                yield x, y, strip
                x += strip.cell_length
        return
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x <= x2 and end > x1:
                yield x, y, strip if end <= x2 else strip.crop(0, x2 - x)


class Difference(CompositorUpdate):
    """An update of Textual's, written as a difference. The frame moves on only when it is really written."""

    def __init__(self, frame: Frame, update: ChopsUpdate | LayoutUpdate, size: Size) -> None:
        self._frame = frame
        self._update = update
        self._size = size

    def render_segments(self, console: Console) -> str:
        colors = console._color_system or ColorSystem.TRUECOLOR
        return self._frame.difference(placed(self._update), self._size, colors)
