"""A UI left open while the program under it is replaced: every screen and dialog still opens, and it says what happened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from store.log import EventLog
from tests.screens import recorded

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("intern_tui", "screens", "core", "store")
WALK = """
import asyncio, sys
from pathlib import Path
import intern_tui
from intern_tui.app import InternApp
from tests.screens.memory import text_of
from tests.screens.test_mission import settled

PROGRAM = ("intern_tui", "screens", "core", "store", "textual")
KEYS = [("enter",), ("2", "l"), ("v",), ("escape", "3", "down"), ("4", "up", "enter"), ("escape", "slash"), ("escape", "5"),
        ("6",), ("n",), ("escape", "D"), ("escape", "1", "g"), ("escape", "t"), ("escape", "f"), ("escape", "exclamation_mark"),
        ("escape", "question_mark"), ("escape", "ctrl+p"), tuple("theme"), ("escape", "escape", "6", "r"), ("down", "y"), ("x",)]
program = Path(sys.argv[1])
assert Path(intern_tui.__file__).is_relative_to(program), intern_tui.__file__


async def main():
    app = InternApp()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "Runs: 1" in text_of(app))
        while not app.imported_ahead:
            await asyncio.sleep(0.05)
        app.look_at_program_soon()
        await pilot.pause(0.2)
        assert not app.updated
        before = set(sys.modules)
        for path in [p for p in program.rglob("*") if p.suffix in (".py", ".tcss")]:
            path.write_text("raise ImportError('this is of the new version')")
        app.look_at_program_soon()
        await settled(pilot, lambda: "the program was updated: press q and open it again" in text_of(app))
        for keys in KEYS:
            await pilot.press(*keys)
            await pilot.pause(0.2)
        late = sorted(n for n in set(sys.modules) - before if n.split(".")[0] in PROGRAM)
        assert not late, late
    print("whole")


asyncio.run(main())
"""


def test_every_key_works_after_the_program_was_replaced_and_the_screen_says_so(tmp_path: Path) -> None:
    program = tmp_path / "program"
    for name in PROGRAM:
        shutil.copytree(ROOT / name, program / name, ignore=shutil.ignore_patterns("__pycache__"))
    run = tmp_path / "home" / "runs" / recorded.RUN
    run.mkdir(parents=True)
    with EventLog.create(run) as log:
        log.append(recorded.appendable(recorded.events()))
    (tmp_path / "walk.py").write_text(WALK)
    (program / "tests").symlink_to(ROOT / "tests")
    walked = subprocess.run(
        [sys.executable, "-B", str(tmp_path / "walk.py"), str(program)], capture_output=True, text=True,
        env={**os.environ, "INTERN_HOME": str(tmp_path / "home"), "PYTHONPATH": str(program)}, check=False, cwd=program,
    )  # fmt: skip
    assert "whole" in walked.stdout, walked.stdout + walked.stderr
