"""What the screens show of recorded real runs, cell by cell: a change of a picture is seen before a user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from intern_tui.app import InternApp
from intern_tui.session import session_for
from screens.base import RunScreen
from screens.evals import Detail
from screens.research import Citations
from screens.runs import RunList
from tests.screens.frames import compare, home_with_runs
from tests.screens.memory import text_of
from tests.screens.test_mission import settled, started

SIZES = [(80, 24), (120, 40)]
SCREENS = {"1": "mission", "2": "curves", "3": "evals", "4": "events", "5": "research", "6": "runs"}
PANES_80 = ("plan", "curve", "devices", "deltas", "feed", "diagnosis")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    return home_with_runs(tmp_path)


def ready(app: InternApp, screen: str) -> bool:
    """Everything that is read in the background is there."""
    if not isinstance(app.screen, RunScreen) or screen != app.screen.NAME:
        return False
    if screen == "evals":
        return app.screen.query_one(Detail).answers is not None
    if screen == "runs":
        found = app.screen.query_one(RunList).runs
        return found is not None and len(found) == 2 and all(info.summary.task for info in found)
    if screen == "research":
        return bool(app.screen.query_one(Citations).read.recipes)
    text = text_of(app)
    if screen == "events":
        return f"{app.view.state.seq if app.view else 0} …" not in text and " run failed" in text
    return "reading …" not in text


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
async def test_every_screen_of_a_real_run_is_as_it_was(
    runs: tuple[Path, Path], size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    update, different = bool(request.config.getoption("--update-frames")), ""
    app = InternApp(session_for(runs[1], replay=True))
    async with app.run_test(size=size) as pilot:
        await started(pilot)
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        for key, screen in SCREENS.items():
            await pilot.press(key)
            await settled(pilot, lambda screen=screen: ready(app, screen))
            different += compare(f"failed-{screen}-{size[0]}x{size[1]}", text_of(app), update)
    assert not different, f"{different}\nIf this is meant: --update-frames"


@pytest.mark.parametrize("at", [400, 900, 1399])
async def test_mission_of_a_real_run_at_three_moments(
    runs: tuple[Path, Path], at: int, request: pytest.FixtureRequest
) -> None:
    update, different = bool(request.config.getoption("--update-frames")), ""
    app = InternApp(session_for(runs[0], replay=True), to=at)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: f"#{at}" in text_of(app))
        different += compare(f"finished-{at}-120x40", text_of(app), update)
        await pilot.resize_terminal(80, 24)
        for name in PANES_80:
            await settled(pilot, lambda name=name: getattr(app.focused, "id", "") == name)
            await pilot.pause()
            different += compare(f"finished-{at}-{name}-80x24", text_of(app), update)
            await pilot.press("tab")
    assert not different, f"{different}\nIf this is meant: --update-frames"
