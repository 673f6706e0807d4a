"""A terminal's screen as a program's output leaves it: cursor moves, SGR, OSC 8, wide and combining characters."""

from __future__ import annotations

import re

from rich.cells import get_character_cell_size

TOKEN = re.compile(r"\x1b\[([?<>=]?)([\d;]*)([@-~])|\x1b\]([^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b[()].|\x1b[^\[\]()]|[\s\S]")
UNFINISHED = re.compile(r"\x1b(?:\[[?<>=]?[\d;]*|\][^\x07\x1b]*\x1b?|[()])?$")

Shown = tuple[str, tuple[str, ...], str, str, str]
"""Text, attributes, ink, paper, link."""
BLANK: Shown = (" ", (), "39", "49", "")


class TerminalModel:
    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows: list[list[Shown]] = [[BLANK] * width for _ in range(height)]
        self.x = self.y = 0
        self._look: tuple[tuple[str, ...], str, str] = ((), "39", "49")
        self._link = ""
        self._rest = ""

    def feed(self, text: str) -> None:
        text = self._rest + text
        unfinished = UNFINISHED.search(text)
        self._rest = unfinished.group() if unfinished else ""
        for token in TOKEN.finditer(text[: len(text) - len(self._rest)]):
            self._obey(token)

    def text(self) -> str:
        return "\n".join("".join(cell[0] for cell in row) for row in self.rows)

    def _obey(self, token: re.Match[str]) -> None:
        private, numbers, final, osc = token.groups()
        if osc is not None:
            self._link = osc.split(";", 2)[2] if osc.startswith("8;") else self._link
        elif final and not private:
            self._control(final, [int(n) if n else 0 for n in numbers.split(";")])
        elif final is None and not token.group().startswith("\x1b"):
            self._write(token.group())

    def _control(self, final: str, numbers: list[int]) -> None:
        if final == "H":
            self.y, self.x = max(numbers[0], 1) - 1, max(numbers[1] if len(numbers) > 1 else 1, 1) - 1
        elif final == "C":
            self.x = min(self.x + max(numbers[0], 1), self.width - 1)
        elif final == "J" and numbers[0] == 2:
            self.rows = [[BLANK] * self.width for _ in range(self.height)]
        elif final == "m":
            self._dress(numbers)

    def _dress(self, numbers: list[int]) -> None:
        attributes, ink, paper = self._look
        codes = iter(numbers)
        for code in codes:
            whole = str(code)
            if code in (38, 48):
                kind = next(codes)
                whole = ";".join(map(str, (code, kind, *(next(codes) for _ in range(3 if kind == 2 else 1)))))
            if code == 0:
                attributes, ink, paper = (), "39", "49"
            elif 30 <= code < 40 or 90 <= code < 98:
                ink = whole
            elif 40 <= code < 50 or 100 <= code < 108:
                paper = whole
            else:
                attributes = tuple(sorted({*attributes, whole}))
        self._look = (attributes, ink, paper)

    def _write(self, character: str) -> None:
        if character == "\n":
            self.y = min(self.y + 1, self.height - 1)
        elif character == "\r":
            self.x = 0
        elif character >= " " and self.y < self.height:
            self._place(character, get_character_cell_size(character))

    def _place(self, character: str, cells: int) -> None:
        row = self.rows[self.y]
        if cells == 0:
            at = max(self.x - 1, 0)
            at -= row[at][0] == "" and at > 0
            row[at] = (row[at][0] + character, *row[at][1:])
            return
        for at in range(self.x, min(self.x + cells, self.width)):
            self._halve(row, at)
            row[at] = (character if at == self.x else "", *self._look, self._link)
        self.x += cells

    def _halve(self, row: list[Shown], at: int) -> None:
        """A wide character that is half written over is gone whole."""
        if row[at][0] == "" and at:
            row[at - 1] = (" ", *row[at - 1][1:])
        if at + 1 < self.width and row[at + 1][0] == "":
            row[at + 1] = (" ", *row[at + 1][1:])
