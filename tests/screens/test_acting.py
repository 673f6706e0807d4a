"""What a person starts, forks, marks and deletes from the screens; clicks; what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key

from core import home
from core.errors import InternError, Refused
from core.remove import delete_run
from intern_tui import bookmarks, said, start
from intern_tui.app import InternApp
from intern_tui.session import session_for
from intern_tui.title import sequence, title_of
from screens.new_run import FIELDS, NewRun, check, check_all
from screens.view import View
from store.log import EventLog
from tests.screens import recorded
from tests.screens.memory import live_app, replay_app, text_of
from tests.screens.test_mission import settled, started


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    return tmp_path


def a_run(root: Path, name: str = recorded.RUN, upto: int = 638) -> Path:
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    with EventLog.create(folder) as log:
        log.append(recorded.appendable(recorded.events()[:upto]))
    s = recorded.state_at(upto)
    home.write_json(
        folder / "summary.json",
        home.Summary(run=name, status=s.status, task=s.task, baseline=s.scores.baseline, best=s.scores.best),
    )
    return folder


# ------------------------------------------------------------------------------------------------------- a run's start


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("task", "pocket/nothing", "no task"), ("task", "/no/such/folder", "task folder"), ("model", "/no/model", "no model"),
        ("brain", "gpt", "gpt"), ("hours", "soon", "no number"), ("hours", "-1", "above 0"), ("hours", "nan", "number"),
        ("usd", "-3", "0 or more"), ("autonomy", "everything", "one of read"),
    ],
)  # fmt: skip
def test_the_form_says_beside_the_field_what_is_wrong(field: str, value: str, words: str) -> None:
    values = {f.id: f.start for f in FIELDS} | {field: value}
    wrong = {f.id: check(f, values) for f in FIELDS if not check(f, values).ok}
    assert field in wrong
    assert words in wrong[field].words


def test_a_wrong_task_is_said_at_the_task_alone() -> None:
    found = check_all({f.id: f.start for f in FIELDS} | {"task": "pocket/nothing", "usd": "-3"})
    assert [id for id, verdict in found.items() if not verdict.ok] == ["task", "usd"]


def test_the_form_as_it_opens_is_right() -> None:
    values = {f.id: f.start for f in FIELDS}
    assert all(check(f, values).ok for f in FIELDS)


async def test_a_form_with_a_wrong_field_does_not_start(own_home: Path) -> None:
    app = InternApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await settled(pilot, lambda: "No runs yet" in text_of(app))
        await pilot.press("n")
        await settled(pilot, lambda: "✓ a fixed policy" in text_of(app))
        await pilot.press(*"x")
        await settled(pilot, lambda: "✗ there is no task" in text_of(app))
        await pilot.press("ctrl+s")
        await settled(pilot, lambda: "not yet: look at task" in text_of(app))
        assert isinstance(app.screen, NewRun)
        await pilot.press("backspace")
        await settled(pilot, lambda: "✗" not in text_of(app))
        await pilot.press("escape")
        assert list(home.run_folders()) == []


# ------------------------------------------------------------------------------------------------ forks and bookmarks


async def test_a_fork_says_what_it_takes_along_and_starts_from_the_moment_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []

    def fork_run(folder: Path, seq: int, steering: str) -> Path:
        asked.append((seq, steering))
        return folder.with_name("forked")

    monkeypatch.setattr(start, "fork_run", fork_run)
    app = replay_app(to=300)
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("f")
        await settled(pilot, lambda: "Fork from event 300" in text_of(app))
        assert "stays as it is" in text_of(app)
        await pilot.press(*"less kl", "enter")
        await settled(pilot, lambda: "forked begins at event 300" in text_of(app))
    assert asked == [(300, "less kl")]


def test_a_fork_that_fails_says_what_the_command_said(own_home: Path) -> None:
    with pytest.raises(InternError, match="did not start"):
        start.fork_run(own_home / "runs" / "none", 3, "")


async def test_bookmarks_are_places_to_go_to_and_are_still_there_next_time(own_home: Path) -> None:
    folder = a_run(own_home)
    app = InternApp(session_for(folder, replay=True), to=300)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "#300" in text_of(app))
        await pilot.press("m")
        await settled(pilot, lambda: "bookmark set at event 300" in text_of(app))
        await pilot.press("home", "end", "left_square_bracket")
        while app.session and app.session.player and app.session.player.seq > 300:
            await pilot.press("left_square_bracket")
        assert app.session is not None
        assert app.session.player is not None
        assert app.session.player.seq == 300
        assert "▾" in text_of(app) or "●" in text_of(app)
        await settled(pilot, lambda: bookmarks.load(folder.name) != ())
    assert [m.seq for m in bookmarks.load(folder.name)] == [300]
    assert not any((folder / x).exists() for x in ("bookmarks", "bookmarks.json"))  # a replay writes nothing into a run


# ------------------------------------------------------------------------------------------------------------ the list


async def test_runs_are_compared_and_deleted_after_asking(own_home: Path) -> None:
    kept, gone = a_run(own_home), a_run(own_home, "20250101-000000-aaaa")
    app = InternApp()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "Runs: 2" in text_of(app))
        await pilot.press("v", "down", "v")
        await settled(pilot, lambda: "Marked runs" in text_of(app) and "highest: " in text_of(app))
        await pilot.press("D")
        await settled(pilot, lambda: "no way back" in text_of(app))
        await pilot.press("n")
        assert gone.exists()
        await pilot.press("D")
        await settled(pilot, lambda: "no way back" in text_of(app))
        await pilot.press("y")
        await settled(pilot, lambda: "Runs: 1" in text_of(app))
    assert not gone.exists()
    assert kept.exists()


def test_only_a_run_nobody_works_on_is_deleted(own_home: Path) -> None:
    import os

    folder = a_run(own_home)
    info = home.HostInfo(
        pid=os.getpid(), started=home.process_started(os.getpid()) or 0.0, boot_id=home.boot_id(), socket=""
    )
    home.write_json(folder / "host.json", info)
    with pytest.raises(Refused, match="running"):
        delete_run(folder)
    with pytest.raises(Refused, match="no run"):
        delete_run(own_home)
    assert folder.exists()


# ---------------------------------------------------------------------------------------------------- mouse and memory


async def test_a_click_on_the_timeline_goes_there_and_one_on_a_key_s_name_does_it() -> None:
    app = replay_app(to=10)
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.click("#timeline", offset=(60, 0))
        await settled(pilot, lambda: "#10 " not in text_of(app).splitlines()[-3])
        assert app.session is not None
        assert app.session.player is not None
        assert 200 < app.session.player.seq < 500
        line = text_of(app).splitlines()[-1]
        await pilot.click("#footer", offset=(line.index("? help"), 0))
        await settled(pilot, lambda: "Mission: what it does" in text_of(app))


async def test_a_click_on_a_tab_shows_its_pane() -> None:
    app, _ = live_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot)
        line = text_of(app).splitlines()[2]
        await pilot.click("#tabs", offset=(line.index("Events") - 1, 0))
        await settled(pilot, lambda: "╭─ Events" in text_of(app))


async def test_what_was_said_is_there_in_the_next_program(own_home: Path) -> None:
    app, feed = live_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("s", *"try rloo", "enter")
        await settled(pilot, lambda: feed.commands != [])
    assert said.load() == ["try rloo"]
    again, _ = live_app()
    async with again.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("s", "up")
        await settled(pilot, lambda: "try rloo" in text_of(again))


@pytest.mark.parametrize("before", [[], ["5"], ["question_mark", "escape"]])
async def test_words_typed_ahead_are_words_and_no_commands(before: list[str]) -> None:
    """All of it comes in one piece, as over a slow line: `p` would pause the run, `q` leave it, `x` stop it."""
    app, feed = live_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        for key in [*before, "s", "p", "space", "q", "space", "x", "enter"]:
            app.post_message(Key(key, {"space": " ", "enter": "\r"}.get(key, key if len(key) == 1 else None)))
        await settled(pilot, lambda: feed.commands != [])
        assert app.is_running
    assert [command[:2] for command in feed.commands] == [("steer", "p q x")]


async def test_copying_writes_a_file_too(own_home: Path) -> None:
    app, _ = live_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("down", "y")
        await settled(pilot, lambda: (own_home / "copied.txt").exists())
    assert (own_home / "copied.txt").read_text().strip()


def test_the_terminal_s_title_says_what_waits_and_nothing_a_terminal_obeys() -> None:
    state = recorded.state_at(recorded.seq_of("approval_requested"))
    state.title = "x\x1b]0;evil\x07\x1b[2J" + "y" * 200
    title = title_of(View(state, state.ts))
    assert title.startswith("! 1 approval")
    assert len(title) <= 80
    assert sequence(title).count("\x1b") == 1
