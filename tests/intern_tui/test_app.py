"""The app on real parts: a log file, a served log, a host that dies and comes back; what is imported; the way out."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core import home
from core.errors import UsageError
from core.fold import Folder
from core.state import to_bytes
from intern_tui import app as app_module
from intern_tui.app import InternApp
from intern_tui.keys import load_keymap
from intern_tui.opening import farewell
from intern_tui.session import session_for
from screens.keys import BY_ID, shown
from store.event import NewEvent, now_us
from store.log import EventLog
from store.serve import LogServer
from tests.screens import recorded
from tests.screens.memory import live_app, text_of
from tests.screens.test_mission import settled


class Host:
    """A run's host as the UI sees it: the log served on the run's socket, `state` and `command`."""

    def __init__(self, folder: Path, first: list[NewEvent] | None = None) -> None:
        self.folder = folder
        self.log = EventLog.create(folder) if first is not None else EventLog.open(folder)
        self.folder_state = Folder()
        for event in self.log.events():
            self.folder_state.apply(event)
        self.append(first or [])
        self.server = LogServer(self.log, home.socket_path(folder), {"state": self._state, "command": self._command})
        info = home.HostInfo(pid=os.getpid(), started=home.process_started(os.getpid()) or 0.0,
                             boot_id=home.boot_id(), socket=str(home.socket_path(folder)))  # fmt: skip
        home.write_json(folder / "host.json", info)

    def append(self, events: list[NewEvent]) -> int:
        stored = self.log.append(events) if events else []
        for event in stored:
            self.folder_state.apply(event)
        return stored[-1].seq if stored else 0

    def say(self, payload: e.Payload) -> int:
        return self.append([e.new(payload, actor="host")])

    def _state(self, _: dict[str, Any]) -> dict[str, Any]:
        state = self.folder_state.state
        return {"seq": state.seq, "state": base64.b64encode(to_bytes(state)).decode()}

    def _command(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["command"] == "interrupt":
            return {"ok": False, "error": "nothing is waited for"}
        return {"ok": True, "seq": self.say(e.CommandRequested(command=request["command"], text=request["text"]))}

    def die(self) -> None:
        """As after kill -9: nobody listens any more, the file is free."""
        (self.folder / "host.json").unlink()
        self.server.close()
        self.log.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    path = tmp_path / "runs" / recorded.RUN
    path.mkdir(parents=True)
    return path


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    shift = now_us() - recorded.events()[399].ts
    running = Host(folder, [_moved(x, shift) for x in recorded.appendable(recorded.events()[:400])])
    yield running
    if (folder / "host.json").exists():
        running.die()


def _moved(event: NewEvent, shift: int) -> NewEvent:
    return NewEvent(event.type, event.payload, event.actor, event.cause, event.v, event.id, event.ts + shift)


async def test_a_live_run_is_followed_and_commands_reach_its_host(host: Host) -> None:
    app = InternApp(session_for(host.folder, replay=False))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        host.say(e.NoteAdded(text="seen at once"))
        await settled(pilot, lambda: "seen at once" in text_of(app))
        await pilot.press("p")
        await settled(pilot, lambda: "Pause the agent?" in text_of(app))
        await pilot.press("y")
        await settled(pilot, lambda: "requested, waiting" in text_of(app))
        await pilot.press("i")
        await settled(pilot, lambda: "Interrupt the agent?" in text_of(app))
        await pilot.press("y")
        await settled(pilot, lambda: "rejected: nothing is waited for" in text_of(app))
        await pilot.press("enter")
        await settled(pilot, lambda: '"type": "plan_updated"' in text_of(app))
    assert farewell(app) == f"Run {host.folder.name} goes on. Come back with: intern attach {host.folder.name}"


async def test_what_a_person_waits_for_is_shown_as_it_comes_and_not_at_the_next_tick(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "TICK_S", 3600.0)
    app = InternApp(session_for(host.folder, replay=False))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        asked = host.say(e.CommandRequested(command="steer", text="from another screen"))
        await settled(pilot, lambda: "from another screen" in text_of(app))
        host.append([e.new(e.CommandRejected(command="steer", reason="not now, thanks"), actor="host", cause=asked)])
        await settled(pilot, lambda: "not now, thanks" in text_of(app))


async def test_a_host_that_dies_is_said_so_and_one_that_comes_back_is_found(host: Host) -> None:
    app = InternApp(session_for(host.folder, replay=False))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        host.say(e.NoteAdded(text="last words"))
        host.die()
        await settled(pilot, lambda: "HOST GONE" in text_of(app).splitlines()[0])
        await settled(pilot, lambda: "intern resume" in text_of(app) and "last words" in text_of(app))
        await pilot.press("p")
        await settled(pilot, lambda: "not now: " in text_of(app))
        again = Host(host.folder)
        try:
            again.say(e.NoteAdded(text="back again"))
            await settled(pilot, lambda: "LIVE" in text_of(app) and "back again" in text_of(app))
        finally:
            again.die()


async def test_a_replay_reads_the_file_and_filters_its_events(folder: Path) -> None:
    log = EventLog.create(folder)
    log.append(recorded.appendable(recorded.events()))
    log.close()
    app = InternApp(session_for(folder, replay=True), to=300, speed=9)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "#300" in text_of(app))
        assert "10×" in text_of(app)
        await pilot.press("end", "4", "slash", *"entropy_collapse", "enter")
        await settled(pilot, lambda: "'entropy_collapse': 2 of 638" in text_of(app))
        await pilot.press("n", "enter")
        await settled(pilot, lambda: '"kind": "entropy_collapse"' in text_of(app))
        await pilot.press("q", "slash", *"100%' OR 1=1 --", "enter")
        await settled(pilot, lambda: ": 0 of 638" in text_of(app))
        await pilot.press("escape")
        await settled(pilot, lambda: "Events: 638" in text_of(app))


async def test_a_run_is_opened_from_the_list_and_left_for_another(host: Host) -> None:
    app = InternApp()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: recorded.RUN in text_of(app))
        await pilot.press("enter")
        await settled(pilot, lambda: "LIVE" in text_of(app))
        await pilot.press("6")
        await settled(pilot, lambda: "Runs: 1" in text_of(app))
        await pilot.press("r")
        await settled(pilot, lambda: "REPLAY" in text_of(app))


async def test_a_log_that_cannot_be_read_is_an_error_on_the_screen(folder: Path) -> None:
    (folder / home.LOG_NAME).write_bytes(b"not a database")
    app = InternApp(session_for(folder, replay=True))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "log" in text_of(app).splitlines()[-2])


async def test_a_user_s_own_keys_replace_those_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    assert load_keymap(path) == {}
    path.write_text('[keys]\npause = "f9"\n"pane.zoom" = "w"\n')
    app, feed = live_app()
    app.set_keymap(load_keymap(path))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        await pilot.press("p")
        assert feed.commands == []
        await pilot.press("f9")
        await settled(pilot, lambda: "Pause the agent?" in text_of(app))
        await pilot.press("y")
        await settled(pilot, lambda: [c[0] for c in feed.commands] == ["pause"])
        assert "F9 pause" in text_of(app)
        await pilot.press("question_mark")
        await settled(pilot, lambda: re.search(r"F9 +Pause or resume", text_of(app)) is not None)


def test_an_own_key_is_named_as_the_table_names_its_keys() -> None:
    own = {"pause": "ctrl+full_stop, f9", "stop": "shift+x"}
    assert [shown(BY_ID[id], own) for id in ("pause", "stop", "steer")] == ["Ctrl+. F9", "Shift+x", "s"]


@pytest.mark.parametrize("text", ["[keys]\nnonsense = 'x'\n", "keys = 3\n", "not toml", "[keys]\npause = 4\n"])
def test_a_wrong_key_map_is_an_error_that_says_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=str(path)):
        load_keymap(path)


def test_watching_a_live_run_needs_neither_duckdb_nor_numpy_nor_torch() -> None:
    script = (
        "import intern_tui.app, screens.mission, sys;"
        "print([m for m in ('duckdb', 'numpy', 'torch', 'smolagents', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_said_at_the_end_fits_what_became_of_the_run() -> None:
    app, _ = live_app(638)
    assert app.session is not None
    app.session.tick()
    assert "has finished" in farewell(app)
