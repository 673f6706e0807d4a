"""A run as an asciinema recording (asciicast v2): the replay, filmed.

The app itself is run without a terminal, moved through the recorded time and filmed a few times a second of the
recording; a frame holds only the lines that changed. What is seen was sanitised by the panes, so a recording can be
played on any terminal. Format: https://docs.asciinema.org/manual/asciicast/v2/ (a header line, then `[time, "o", text]`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from textual.strip import Strip

from core.player import SPEEDS, Player
from core.sanitize import one_line
from intern_tui.app import InternApp
from intern_tui.session import Session, session_for
from store.errors import LogDamaged

FRAMES_PER_S = 4
"""As often as the live screen moves."""
LONGEST_S = 90.0
"""A recording is no longer than this at the speed chosen for it; nobody watches ten hours."""
HOLD_S = 3.0
"""The last picture stays this long."""
OPENING_S = 120.0
"""Longest wait for a run to be read."""


def speed_for(seconds: float) -> float:
    """The slowest usual speed at which `seconds` fit, or as much faster as a longer run needs."""
    return next((float(s) for s in SPEEDS if seconds / s <= LONGEST_S), max(1.0, seconds / LONGEST_S))


def moments(seconds: float, speed: float) -> Iterator[float]:
    """Seconds of the recording at which a frame is taken."""
    frames = int(seconds / speed * FRAMES_PER_S)
    for frame in range(frames):
        yield frame / FRAMES_PER_S
    yield seconds / speed


class Film:
    """Turns whole screens into output that changes only the lines that differ."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._lines: list[str] = []
        self._console = Console(color_system="truecolor", force_terminal=True, legacy_windows=False)

    def head(self, size: tuple[int, int], title: str, timestamp: int) -> None:
        header = {
            "version": 2, "width": size[0], "height": size[1], "timestamp": timestamp, "title": title,
            "env": {"TERM": "xterm-256color"},
        }  # fmt: skip
        self._write(header)
        self._write([0.0, "o", "\x1b[?25l\x1b[2J"])

    def frame(self, at_s: float, strips: list[Strip]) -> None:
        lines = [strip.render(self._console) for strip in strips]
        changed = [y for y, line in enumerate(lines) if y >= len(self._lines) or line != self._lines[y]]
        self._lines = lines
        if changed:
            self._write([round(at_s, 3), "o", "".join(f"\x1b[{y + 1};1H\x1b[0m{lines[y]}\x1b[0m" for y in changed)])

    def end(self, at_s: float) -> None:
        self._write([round(at_s, 3), "o", "\x1b[?25h\x1b[0m\r\n"])

    def _write(self, value: object) -> None:
        self._file.write(msgspec.json.encode(value) + b"\n")


def write_cast(folder: Path, out: Path, *, size: tuple[int, int] = (120, 40), speed: float | None = None) -> Path:
    """Film the run in `folder`. Raises StoreError where it cannot be read, OSError where `out` cannot be written."""
    asyncio.run(_film(folder, out, size, speed))
    return out


async def _film(folder: Path, out: Path, size: tuple[int, int], speed: float | None) -> None:
    session = session_for(folder, replay=True)
    app = InternApp(session, to=1)
    async with app.run_test(size=size) as pilot:
        player = await _opened(session, pilot, folder)
        seconds = (player.end_us - player.start_us) / 1e6
        speed = speed or speed_for(seconds)
        temporary = out.with_name(out.name + ".part")
        with temporary.open("wb") as file:
            film = Film(file)
            title = one_line(session.state.title or session.state.goal or folder.name)
            film.head(size, title, player.start_us // 1_000_000)
            for at_s in moments(seconds, speed):
                player.seek_time(player.start_us + int(at_s * speed * 1e6))
                app.redraw()  # panes draw at once; nothing has to be waited for
                await asyncio.sleep(0)
                film.frame(at_s, screen_strips(app))
            film.end(seconds / speed + HOLD_S)
        temporary.replace(out)


async def _opened(session: Session, pilot: Any, folder: Path) -> Player:
    """The player, once the whole run was read."""
    for _ in range(int(OPENING_S / 0.05)):
        if session.player is not None and not session.loading:
            return session.player
        if session.error:
            raise LogDamaged(session.error, where=str(folder), next=f"intern verify {folder.name}")
        await pilot.pause(0.05)
    raise LogDamaged("the run could not be read in time", where=str(folder), next=f"intern verify {folder.name}")


def screen_strips(app: InternApp) -> list[Strip]:
    """What the screen shows, line by line. Textual offers no public way to it but pictures."""
    return app.screen._compositor.render_strips()
