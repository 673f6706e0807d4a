"""The pictures of the README, drawn from the recorded real runs: `python -m tests.screens.frames.pictures [FOLDER]`."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from intern_tui.app import InternApp
from intern_tui.session import session_for
from screens.evals import Detail
from tests.screens.frames import home_with_runs
from tests.screens.memory import text_of
from tests.screens.test_mission import settled, started

DOCS = Path(__file__).resolve().parents[3] / "docs"
MIDDLE = 900
"""The Mission screen is shown at work; the finished run is at this event in the middle of a search for a rate."""


async def draw(run: Path, screens: dict[str, str], to: Path, at: int | None = None) -> None:
    """Write `<name>.svg` of the screens, keys to names, as they are at event `at` (default the last)."""
    app = InternApp(session_for(run, replay=True), to=at)
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        for keys, name in screens.items():
            await pilot.press(*keys.split())
            await settled(pilot, lambda: "reading …" not in text_of(app))
            if name == "evals":
                await settled(pilot, lambda: app.screen.query_one(Detail).answers is not None)
            await pilot.pause(1.0)
            (to / f"{name}.svg").write_text(app.export_screenshot(title="intern"), encoding="utf-8")


async def main(to: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["INTERN_HOME"] = temporary
        finished, failed = home_with_runs(Path(temporary))
        await draw(finished, {"1": "mission"}, to, MIDDLE)
        await draw(finished, {"2 l": "curves", "4 e up up": "events", "5": "research", "6": "runs"}, to)
        await draw(failed, {"3": "evals"}, to)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS))
