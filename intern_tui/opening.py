"""The ways into the UI from the command line, and the last line on the terminal when a person leaves."""

from __future__ import annotations

import os
from pathlib import Path

from core import home
from intern_tui.app import InternApp
from intern_tui.feed import LiveFeed
from intern_tui.session import Session, session_for


def quiet_animations() -> None:
    """Over a slow line every byte counts; a calm screen needs no animation anywhere."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")


def run_live(folder: Path, socket_path: Path | None = None) -> int:
    """Follow a run until the person leaves; then say how to come back. The run goes on."""
    quiet_animations()
    feed = LiveFeed(folder, socket_path or home.socket_path(folder))
    app = InternApp(Session(folder, feed, "live"), keymap=user_keymap())
    app.run()
    print(farewell(app))
    return app.return_code or 0


def run_replay(folder: Path, to: int | None = None, speed: float = 1) -> int:
    """Replay a run from its log."""
    quiet_animations()
    app = InternApp(session_for(folder, replay=True), to=to, speed=speed, keymap=user_keymap())
    app.run()
    return app.return_code or 0


def run_home() -> int:
    """The list of runs; from there into one of them."""
    quiet_animations()
    app = InternApp(keymap=user_keymap())
    app.run()
    if app.session is not None and app.session.live:
        print(farewell(app))
    return app.return_code or 0


def user_keymap() -> dict[str, str]:
    from intern_tui.keys import load_keymap

    return load_keymap(home.home() / "keys.toml")


def farewell(app: InternApp) -> str:
    """The last line on the terminal: what became of the run, and how to come back to it."""
    session = app.session
    if session is None:
        return ""
    run, state = session.folder.name, session.folder_state.state
    if state.finished_ts:
        return f"Run {run} has {state.status}. Its report: intern report {run}"
    if session.link.kind == "gone":
        return f"Run {run} has no host. Take it up again: intern resume {run}"
    return f"Run {run} goes on. Come back with: intern attach {run}"
