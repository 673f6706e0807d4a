"""How a cell looks to a terminal (ECMA-48 SGR, OSC 8 links), and the shortest usual way from one look to another."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

RESET = "\x1b[0m"


class Look(NamedTuple):
    """How a cell is drawn."""

    attributes: tuple[str, ...] = ()
    ink: str = "39"
    paper: str = "49"
    link: str = ""


PLAIN = Look()


@lru_cache(maxsize=1024)
def look_of(ansi: str, link: str) -> Look:
    """The codes of a style, taken apart (ECMA-48 SGR, with 38 and 48 for extended colours)."""
    attributes: list[str] = []
    ink, paper = PLAIN.ink, PLAIN.paper
    codes = iter(ansi.split(";") if ansi else ())
    for code in codes:
        number = int(code)
        if number in (38, 48):
            kind = next(codes)
            code = ";".join([code, kind, *(next(codes) for _ in range(3 if kind == "2" else 1))])
        if 30 <= number <= 39 or 90 <= number <= 97:
            ink = code
        elif 40 <= number <= 49 or 100 <= number <= 107:
            paper = code
        else:
            attributes.append(code)
    return Look(tuple(attributes), ink, paper, link)


@lru_cache(maxsize=4096)
def change(old: Look, new: Look) -> str:
    """The shortest usual way from one look to another."""
    link = f"\x1b]8;{new.link or ';'}\x1b\\" if new.link != old.link else ""
    if new[:3] == old[:3]:
        return link
    if new[:3] == PLAIN[:3]:
        return link + RESET
    codes: list[str] = []
    if new.attributes != old.attributes:
        codes = ["0", *new.attributes] if old.attributes else list(new.attributes)
        old = PLAIN if old.attributes else old
    codes += [new.ink] if new.ink != old.ink else []
    codes += [new.paper] if new.paper != old.paper else []
    return f"{link}\x1b[{';'.join(codes)}m"
