"""In every theme, with NO_COLOR, and at the smallest size: what stands on the screen can be read, and each key named does something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.color import Color
from rich.style import Style
from textual.widgets import Input, TextArea

from core import events as e
from core.describe import describe
from core.home import RunInfo, Summary
from core.state import Question, RunState
from core.summary import summarise
from intern_tui.app import InternApp
from screens.base import RunScreen
from screens.help import MARKS, help_text, with_titles
from screens.keys import BY_ID
from screens.new_run import FIELDS, check
from screens.runs import RunList
from screens.view import View
from screens.widgets.deltas import Deltas
from screens.widgets.footer import Footer
from store.event import Event
from tests.screens import recorded
from tests.screens.memory import live_app, replay_app, text_of
from tests.screens.test_mission import settled, started

THEMES = ["intern-dark", "intern-light", "intern-contrast", "ansi-dark", "ansi-light", "no-color"]
LEAST = 4.5
"""Contrast of text and ground: WCAG 2.1, AA."""
LEAST_OF_PALETTE = 3.5
"""Of the command palette, whose colours are Textual's."""
SHOTS: tuple[tuple[str, ...], ...] = (
    ("1", "down"), ("2", "l", "w"), ("3", "down"), ("4", "up"), ("5", "down"), ("6", "down"), ("n",), ("escape", "1", "question_mark"),
    ("escape", "t"), ("escape", "f"), ("escape", "exclamation_mark"), ("escape", "g"), ("escape", "ctrl+p"),
)  # fmt: skip


def luminance(color: Color) -> float:
    assert color.triplet is not None
    parts = [v / 255 for v in color.triplet]
    red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(style: Style) -> float:
    """Of ink and paper; where either is the terminal's own, 0 for the same named colour twice and 21 otherwise."""
    ink, paper = style.color, style.bgcolor
    if ink is None or paper is None or ink.triplet is None or paper.triplet is None:
        return 0.0 if ink is not None and paper is not None and ink == paper and not ink.is_default else 21.0
    dark, light = sorted((luminance(ink), luminance(paper)))
    return (light + 0.05) / (dark + 0.05)


def texts(app: InternApp) -> Iterator[tuple[str, Style]]:
    """Words on the screen as the terminal gets them; below a dialog everything is dimmed, and left out."""
    top = app.screen.children[0].region if app.screen.is_modal else app.screen.region
    for y, strip in enumerate(app.screen._compositor.render_strips()):
        if not top.y <= y < top.bottom:
            continue
        segments = list(strip.crop(top.x, top.right))
        for filter in app._filters:
            if filter.enabled:
                segments = filter.apply(segments, app.screen.background_colors[1])
        for segment in segments:
            if any(c.isalnum() for c in segment.text):
                assert segment.style is not None
                yield segment.text.strip(), segment.style


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("theme", THEMES)
async def test_all_text_stands_out_from_its_ground_after_a_change_of_theme_too(
    theme: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    if theme == "no-color":
        monkeypatch.setenv("NO_COLOR", "1")
    app = replay_app(to=recorded.seq_of("approval_requested"))
    async with app.run_test(size=size) as pilot:
        await started(pilot)
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        if theme != "no-color":
            app.theme = theme  # while the screen stands: its panes follow
        for keys in SHOTS:
            await pilot.press(*keys)
            await pilot.pause(0.1)
            least = LEAST_OF_PALETTE if "ctrl+p" in keys else LEAST
            faint = {(words, str(style)) for words, style in texts(app) if contrast(style) < least}
            assert not faint, keys


@pytest.mark.parametrize("theme", ["", "ansi", "light"])
async def test_no_color_sets_no_colour_whatever_the_theme(
    theme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("INTERN_THEME", theme)
    app, _ = live_app(recorded.seq_of("approval_requested"))
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        for keys in SHOTS:
            await pilot.press(*keys)
            await pilot.pause(0.05)
            for words, style in texts(app):
                assert style.color is None or style.color.is_default, (keys, words, style)
                assert style.bgcolor is None or style.bgcolor.is_default, (keys, words, style)


# ------------------------------------------------------------------------------------------------- keys that are named


def named_keys(app: InternApp) -> list[str]:
    """Ids of the keys that stand in the footer."""
    return list(app.screen.query_one(Footer)._ids)


def body(app: InternApp) -> str:
    """Without the clocks: the header and the timeline."""
    lines = text_of(app).splitlines()
    return "\n".join(lines[2:-3] + lines[-2:])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("mode", ["live", "replay"])
@pytest.mark.parametrize("screen", ["1", "2", "3", "4", "5"])
async def test_every_key_in_the_footer_does_something(
    screen: str, mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    at = recorded.seq_of("approval_requested")
    app = live_app(at)[0] if mode == "live" else replay_app(to=at)
    async with app.run_test(size=size) as pilot:
        await started(pilot)
        await settled(pilot, lambda: mode.upper() in text_of(app))
        await pilot.press(screen)
        await settled(pilot, lambda: app.screen.query(Footer).first().current == app.screen.NAME)  # type: ignore[attr-defined]
        await pilot.pause(0.2)
        ids = [id for id in named_keys(app) if id != "detach"]
        assert "help" in ids
        for id in ids:
            seen = body if mode == "live" else text_of  # in a replay that stands still nothing moves by itself
            before, stack = seen(app), len(app.screen_stack)
            await pilot.press(BY_ID[id].keys.split(",")[0])
            await pilot.pause(0.2)
            after = seen(app)
            assert after != before or len(app.screen_stack) != stack, id
            assert not any(words in after for words in ("nothing to zoom", "one pane at a time")), id
            if id == "play":
                await pilot.press("space")
            while len(app.screen_stack) > stack or isinstance(app.focused, TextArea | Input):
                await pilot.press("escape")
                await pilot.pause(0.1)


async def test_the_palette_offers_what_works_on_the_screen_that_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    app, _ = live_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        assert isinstance(app.screen, RunScreen)
        assert "Logarithmic scale, or linear" not in [c.title for c in app.get_system_commands(app.screen)]
        await pilot.press("2")
        await settled(pilot, lambda: "o log" in text_of(app))
        offered = [c.title for c in app.get_system_commands(app.screen)]
        assert "Logarithmic scale, or linear" in offered
        assert "Theme intern-light" in offered


# --------------------------------------------------------------------------------------------- what waits for a person


async def test_what_waits_for_a_person_is_said_in_words_on_every_screen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    app, feed = live_app(recorded.seq_of("approval_requested"))
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot)
        for key in "12345":
            await pilot.press(key)
            await settled(pilot, lambda: "! to decide: launch_training, costs more than $2" in text_of(app))
        feed.bring(e.QuestionAsked(question="q1", text="Drop the rows, or keep the majority?"))
        await settled(pilot, lambda: "! to decide (and 1 more): launch_training" in text_of(app))
        assert "! 1 approval, 1 question" in text_of(app).splitlines()[0]
        asked = next(iter(app.view.state.waiting_approvals())).id if app.view else ""
        feed.bring(e.ApprovalDecided(approval=asked, decision="denied"))
        await settled(pilot, lambda: "! to answer: Drop the rows, or keep the majority?" in text_of(app))
        assert "! 1 question" in text_of(app).splitlines()[0]
        await pilot.press("exclamation_mark")
        await settled(pilot, lambda: "The intern asks:" in text_of(app))
        assert "others" not in text_of(app), "there is only one"


async def test_zoomed_the_answers_have_the_evals_screen_for_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    app, _ = live_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await started(pilot)
        await pilot.press("3")
        await settled(pilot, lambda: "Evaluations" in text_of(app) and "Answers of" in text_of(app))
        await pilot.press("tab", "z")
        await settled(pilot, lambda: "Evaluations" not in text_of(app) and "Answers of" in text_of(app))
        await pilot.press("tab")
        await settled(pilot, lambda: "Evaluations" in text_of(app) and "Answers of" not in text_of(app))
        await pilot.press("z")
        await settled(pilot, lambda: "Evaluations" in text_of(app) and "Answers of" in text_of(app))


def test_metrics_and_calls_are_told_as_a_person_would() -> None:
    values = {"data_time": 0.001, "epoch": 3.0, "grad_norm": 1.94, "loss": 0.361, "entropy": 0.5, "learning_rate": None}
    metric = e.MetricLogged(job="job-6", step=48, values=values)
    assert told(metric) == "job-6 step 48: loss 0.361, entropy 0.5, grad norm 1.94, learning rate n/a"
    given = {"data": "clean", "settings": {"lr": 0.001, "seed": 1}, "rows": [{"a": 1}], "tags": ["x", 2]}
    call = e.ToolRequested(call="c1", tool="train", arguments=given)
    assert told(call) == "train(data=clean, settings={lr: 0.001, seed: 1}, rows=1 item, tags=[x, 2])"


def told(payload: e.Payload) -> str:
    new = e.new(payload, actor="agent")
    return describe(Event(1, 1, new.type, new.v, "agent", None, new.payload, new.id, "0" * 16), payload)[0]


def test_a_run_without_a_host_says_how_to_take_it_up_and_how_long_it_lasted() -> None:
    summary = Summary(
        run="r1", status="running", task="t", title="Title", approvals=2,
        started="2026-11-28T19:00:00Z", updated="2026-11-28T19:04:47Z",
    )  # fmt: skip
    pane = RunList()
    pane.runs = [RunInfo(run="r1", folder="/runs/r1", summary=summary, host=None)]
    view = View(RunState(), 0)
    first, second, *_ = ("".join(s.text for s in r.spans) for r in pane.rows(view, 110, 10))
    assert "interrupted" in first
    assert "in 4:47" in first
    assert "! 2 waiting" in first
    assert second.strip() == "no host works on it: intern resume r1 · Title"


def test_a_questions_run_is_counted_among_those_that_wait() -> None:
    state = recorded.state_at(recorded.seq_of("approval_requested"))
    state.questions["q1"] = Question("q1", state.seq, "Which split?")
    assert summarise(state).approvals == 2
    state.questions["q1"].answer = "dev"
    assert summarise(state).approvals == 1


def test_a_time_limit_is_told_in_minutes_or_hours() -> None:
    hours = next(f for f in FIELDS if f.id == "hours")
    values = {f.id: f.start for f in FIELDS}
    assert check(hours, values).words == "the task's own: 4 minutes"
    assert check(hours, {**values, "hours": "0.01"}).words == "ends after 1 minute at the latest"
    assert check(hours, {**values, "hours": "10"}).words == "ends after 10 hours at the latest"


def test_the_best_score_says_over_what_it_is_better() -> None:
    state = recorded.state_at(recorded.seq_of("approval_requested"))
    best = state.evaluations[state.scores.best_evaluation]
    base = state.evaluations[best.against]
    shown = " ".join("".join(s.text for s in r.spans).strip() for r in Deltas().rows(View(state, state.ts), 60, 30))
    assert f"points over {base.label} (" in shown


def test_the_help_lets_its_groups_stand_out_and_no_line_is_too_long() -> None:
    content = with_titles(help_text("curves"))
    bold = [content.plain[span.start : span.end].strip() for span in content.spans if span.style == "bold"]
    assert bold[:2] == ["Curves", "Screens"]
    assert MARKS not in bold
    keys = [line for line in content.plain.splitlines() if line.startswith(" ")]
    assert max(map(len, keys)) <= 78 - 2 - 4 - 2, "the box, less its borders, padding and scroll bar"
