"""Whatever stands in papers, data, logs and answers: no screen, no dialog and no theme lets it reach the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from core import events as e
from intern_tui.app import InternApp
from tests.screens import recorded
from tests.screens.memory import live_app, replay_app, text_of
from tests.screens.test_mission import settled, started

CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
HOSTILE = (
    CONTROLS + "\x1b]0;title\x07\x1b]52;c;eA==\x1b\\\x1b[2J\x1b[?1049l\x9b31m\x9d0;x\x9c\x1bP1$r0m\x1b\\"
    "\u202eright\u2066left\u200f[bold red]markup[/][link=http://x]here[/link]e" + "\u0301" * 40 + "宽い한👩‍👩‍👧"
)  # fmt: skip
UNTERMINATED = ("\x1b]0;never ends", "\x1bPnever", "\x1b[38;5", "\x9d8;;http://x", "\x1b_apc", "\x1b")
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def hostile_run(path: Path) -> list[e.Payload]:
    record = {"id": HOSTILE, "prompt": HOSTILE, "completion": HOSTILE * 3, "answer": HOSTILE, "correct": False}
    path.write_bytes(msgspec.json.encode(record))
    long_line = "x\x1b[31m" * 150_000  # a megabyte without a space
    texts = [HOSTILE, *UNTERMINATED, long_line, "宽" * 100_000, "e\u0301" * 10_000]
    return [
        *(e.NoteAdded(text=t, kind=k) for t in texts for k in ("note", "lesson", "title")),
        e.PlanUpdated(steps=[e.PlanStep(id="1", title=HOSTILE, note=HOSTILE, status="doing")]),
        e.PaperRead(paper=HOSTILE, title=HOSTILE, source=HOSTILE, taken=texts),
        e.CitationFollowed(paper=HOSTILE, cites=HOSTILE, title=HOSTILE),
        e.DatasetInspected(dataset=HOSTILE, rows=1, columns=texts, samples=texts,
                           concerns=[e.Concern(kind=HOSTILE, count=1, note=HOSTILE)]),
        e.JobLaunched(job=HOSTILE, kind="training", method=HOSTILE, title=HOSTILE, effect_id="f", folder=HOSTILE, planned_steps=9),
        e.MetricLogged(job=HOSTILE, step=3, values={"reward": 0.4, HOSTILE: 0.1}),
        e.EvaluationFinished(evaluation=HOSTILE, label=HOSTILE, model=HOSTILE, split=HOSTILE, samples=1, score=0.1, interval=(0, 1),
                             decoding=HOSTILE, groups=[e.ErrorGroup(kind=HOSTILE, count=1)], samples_path=str(path)),
        e.FailureDiagnosed(job=HOSTILE, kind=HOSTILE, first_step=1, severity="failing", evidence=texts, causes=texts, remedies=texts),
        e.GpuSampled(index=0, name=HOSTILE, source="nvml", util=0.5, note=HOSTILE),
        e.QuestionAsked(question=HOSTILE, text=HOSTILE, choices=[HOSTILE]),
        e.ApprovalRequested(approval=HOSTILE, call="c", tool=HOSTILE, arguments={HOSTILE: HOSTILE}, arguments_hash="h", tier="spend",
                            reason=HOSTILE, untrusted=[HOSTILE]),
    ]  # fmt: skip


def check(app: InternApp) -> None:
    """Nothing a terminal obeys in any cell; every line as wide as the terminal."""
    shown = text_of(app)
    assert not FORBIDDEN.search(shown), FORBIDDEN.findall(shown)
    for strip in app.screen._compositor.render_strips():
        assert strip.cell_length == app.size.width
        assert all(segment.control is None for segment in strip)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_no_screen_and_no_dialog_lets_it_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    app, feed = live_app(100)
    async with app.run_test(size=size) as pilot:
        await started(pilot)
        for payload in hostile_run(tmp_path / "samples.jsonl"):
            feed.bring(payload)
        await settled(pilot, lambda: app.view is not None and bool(app.view.state.approvals))
        for key in ("1", "2", "3", "4", "5", "6"):
            await pilot.press(key)
            await pilot.pause(0.3)
            check(app)
        await pilot.press("1", "exclamation_mark")
        await pilot.pause(0.2)
        check(app)
        await pilot.press("right")
        await pilot.pause(0.2)
        check(app)
        await pilot.press("escape", "4")
        for _ in range(6):
            await pilot.press("up", "enter")
            await pilot.pause(0.15)
            check(app)
            await pilot.press("escape")
        await pilot.press("x")
        await pilot.pause(0.2)
        check(app)


@pytest.mark.parametrize(
    "theme", ["intern-dark", "intern-light", "intern-contrast", "ansi-dark", "ansi-light", "no-color"]
)
async def test_every_theme_draws_every_screen_and_dialog(
    theme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    if theme == "no-color":
        monkeypatch.setenv("NO_COLOR", "1")
    app = replay_app(to=recorded.seq_of("approval_requested"))
    async with app.run_test(size=(120, 40)) as pilot:
        if theme != "no-color":
            app.theme = theme
        await started(pilot)
        for keys in (
            ("1", "down"),
            ("2", "l", "w"),
            ("3", "down"),
            ("4", "up"),
            ("5",),
            ("6",),
            ("1", "question_mark"),
            ("escape", "t"),
            ("escape", "f"),
            ("escape", "exclamation_mark"),
        ):
            await pilot.press(*keys)
            await pilot.pause()
            strips = app.screen._compositor.render_strips()
            assert any(segment.text.strip() for strip in strips for segment in strip)
