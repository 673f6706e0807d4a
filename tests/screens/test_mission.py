"""Mission: what it shows of a real fold, at every size, and that every key does what the table says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from core import events as e
from core.fold import fold
from core.state import RunState, to_bytes
from intern_tui.app import InternApp
from screens.approvals import Approvals
from screens.confirm import Confirm, stop_words
from screens.detail import Detail
from screens.help import Help
from screens.keys import KEYS
from screens.mission import Mission
from screens.pane import Pane
from screens.view import View
from screens.widgets.curve import Curve
from screens.widgets.prompt import Prompt
from tests.screens import recorded
from tests.screens.memory import live_app, replay_app, text_of

WIDE, NARROW = (120, 40), (80, 24)


async def settled(pilot: Pilot[str], until: Callable[[], bool]) -> None:
    """Wait for what threads and timers bring; fails when it does not come."""
    for _ in range(500):
        await pilot.pause(0.02)
        if until():
            await pilot.pause()
            return
    raise AssertionError(text_of(pilot.app))  # type: ignore[arg-type]


async def started(pilot: Pilot[str]) -> None:
    """The first screen is up and drawn: keys before that go nowhere."""
    await settled(pilot, lambda: "detach" in text_of(pilot.app))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ what it shows


async def test_the_screen_answers_what_how_well_and_whether_it_needs_me() -> None:
    app, feed = live_app(recorded.seq_of("approval_requested"))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "gpqa-qwen3" in text_of(app))
        first, second = text_of(app).splitlines()[:2]
        assert "LIVE" in first
        assert "! 1 approval" in first
        assert "$0.40 of $40" in first
        assert "best dev 28.8 % (+14.7)" in second
        feed.bring(e.RunPaused(reason="asked by a person"))
        await settled(pilot, lambda: "PAUSED" in text_of(app))


async def test_six_panes_show_the_recorded_run() -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        text = text_of(app)
        for words in (
            "Reward · job-3, GRPO", "GPU 0  NVIDIA H100 80GB HBM3", "61 of 80 GB (58 ours)", "412 W", "64 °C",
            "Eval deltas (dev, n 400)", "★ GRPO", "Held-out, n 1000, read once", "13.8 % → 32.2 %",
            "+18.4 [+15.2, +21.6]", "Diagnosis (1, none open)", "entropy collapse from step", "clip high .28",
            "better, +4.3 points", "run finished",
        ):  # fmt: skip
            assert words in text, words


async def test_an_empty_run_says_what_will_appear_and_when() -> None:
    app = replay_app(1)
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "No plan yet." in text_of(app))
        text = text_of(app)
        for words in (
            "No curve yet.",
            "Starts with the first",
            "No reading yet.",
            "No score yet.",
            "Nothing went wrong",
        ):
            assert words in text, words


async def test_a_cpu_is_not_called_a_gpu_and_a_fake_is_called_fake() -> None:
    app, feed = live_app(3)
    async with app.run_test(size=WIDE) as pilot:
        feed.bring(
            e.GpuSampled(index=0, name="2 cores", source="psutil", util=0.5, memory_used=2**30, memory_total=2**33)
        )
        await settled(pilot, lambda: "no GPU: measured by psutil" in text_of(app))
        assert "GPU 0" not in text_of(app)
        feed.bring(e.GpuSampled(index=1, name="H100", source="fake", util=0.5))
        await settled(pilot, lambda: "FAKE GPU 1" in text_of(app))


@pytest.mark.parametrize("size", [NARROW, (60, 16), (200, 60), (100, 24), (40, 10)])
async def test_every_size_keeps_header_and_footer(size: tuple[int, int]) -> None:
    app = replay_app()
    async with app.run_test(size=size) as pilot:
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        lines = text_of(app).splitlines()
        assert "help" in lines[-1]
        assert "detach" in lines[-1]
        assert all(len(line) <= size[0] for line in lines)


async def test_narrow_terminals_show_one_pane_and_tab_goes_round() -> None:
    app = replay_app()
    async with app.run_test(size=NARROW) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        seen = []
        for _ in range(6):
            shown = [p for p in app.screen.query(Pane) if p.can_focus and p.display]
            assert len(shown) == 1
            seen.append(shown[0].id)
            await pilot.press("tab")
            await pilot.pause()
        assert seen == ["plan", "curve", "devices", "deltas", "feed", "diagnosis"]


async def test_a_storm_of_resizes_ends_in_the_right_picture() -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        before = text_of(app)
        for size in [(80, 24), (31, 9), (200, 60), (99, 40), (100, 23), (10, 3), (121, 41), (80, 24)] * 2:
            await pilot.resize_terminal(*size)
        await pilot.resize_terminal(*WIDE)
        await settled(pilot, lambda: text_of(app) == before)


async def test_hostile_text_reaches_no_cell() -> None:
    evil = (
        "\x1b]0;owned\x07\x1b[31m[bold]x[/bold]\x9b2J\u202eevil\u200b\x00"
        + "字" * 90
        + "\u0301" * 50
        + "\x1bPunterminated"
    )
    stored = recorded.Recording()
    stored.add(0, e.RunCreated(run="r", goal=evil, task=evil, task_path="", model=evil))
    stored.add(1, e.NoteAdded(text=evil, kind="title"))
    stored.add(2, e.NoteAdded(text=evil, kind="lesson"))
    stored.add(3, e.PlanUpdated(steps=[e.PlanStep(id="a", title=evil, status="doing", note=evil)]))
    stored.add(4, e.JobLaunched(job="j", kind="training", method=evil, title=evil, effect_id="", folder=""))
    stored.add(5, e.MetricLogged(job="j", step=1, values={"loss": 1.0, evil: 2.0}))
    stored.add(6, e.GpuSampled(index=0, name=evil, source="nvml", note=evil))
    stored.add(
        7, e.FailureDiagnosed(job="j", kind=evil, first_step=1, severity="failing", evidence=[evil], causes=[evil])
    )
    stored.add(
        8,
        e.EvaluationFinished(
            evaluation="e", label=evil, model="m", split="dev", samples=9, score=0.5, interval=(0.4, 0.6)
        ),
    )
    for size in (WIDE, NARROW):
        app = replay_app(stored=stored.events)
        async with app.run_test(size=size) as pilot:
            await settled(pilot, lambda app=app: "REPLAY" in text_of(app))
            for _ in range(6):
                text = text_of(app)
                assert not [
                    c for c in text if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u200b"
                ]
                await pilot.press("tab", "down", "down")
                await pilot.pause()
            await pilot.press("enter")
            await settled(pilot, lambda app=app: isinstance(app.screen, Detail))
            assert "\x1b" not in text_of(app)


async def test_without_colour_everything_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        assert "Reward" in text_of(app)


@pytest.mark.parametrize("theme", ["intern-light", "intern-contrast", "ansi-dark", "ansi-light"])
async def test_every_theme_draws(theme: str) -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        app.theme = theme
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))


async def test_what_did_not_change_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        drawn: list[str] = []
        real = Pane.refresh
        monkeypatch.setattr(
            Pane, "refresh", lambda self, *a, **k: drawn.append(type(self).__name__) or real(self, *a, **k)
        )
        app.redraw()
        app.redraw()
        assert drawn == []


# ---------------------------------------------------------------------------------------------------- keys: looking


async def test_enter_shows_the_event_behind_a_row_and_its_cause() -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        await pilot.press("g", "x", "enter")
        await settled(pilot, lambda: isinstance(app.screen, Detail))
        remedy = recorded.seq_of("remedy_chosen")
        assert f"Event {remedy} " in text_of(app)
        assert '"remedy": "clip high .28' in text_of(app)
        await pilot.press("c")
        await settled(pilot, lambda: f"Event {recorded.seq_of('failure_diagnosed')} " in text_of(app))
        await pilot.press("full_stop", "comma", "comma")
        await settled(pilot, lambda: f"Event {recorded.seq_of('failure_diagnosed') - 1} " in text_of(app))
        await pilot.press("q")
        assert isinstance(app.screen, Mission)


async def test_every_pane_can_name_its_event() -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        for pane in app.screen.query(Pane):
            if pane.can_focus:
                assert pane.source_seq() > 0, pane


async def test_jump_zoom_cursor_and_curve_keys() -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        await pilot.press("g", "c")
        assert app.screen.focused is app.screen.query_one(Curve)
        await pilot.press("c")
        assert "Dev score · job-3" in text_of(app)
        await pilot.press("b")
        assert "job-2" in text_of(app)
        await pilot.press("z")
        await pilot.pause()
        assert sum(p.display for p in app.screen.query(Pane) if p.can_focus) == 1
        await pilot.press("z")
        await pilot.pause()
        assert sum(p.display for p in app.screen.query(Pane) if p.can_focus) == 6
        await pilot.press("shift+tab")
        pane = app.screen.focused
        assert isinstance(pane, Pane)
        assert pane.id == "plan"
        await pilot.press("down", "down", "up", "pagedown")
        assert pane.cursor > 0
        await pilot.press("y")
        await pilot.pause()
        assert "copied" in text_of(app)


async def test_help_lists_every_key_of_the_table() -> None:
    from screens.help import help_text

    text = help_text()
    assert all(key.shown in text and key.words in text for key in KEYS)
    app = replay_app()
    async with app.run_test(size=NARROW) as pilot:
        await started(pilot)
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        await pilot.press("question_mark")
        assert not isinstance(app.screen, Help)


async def test_fast_keys_close_a_dialog_once() -> None:
    app = replay_app()
    async with app.run_test(size=NARROW) as pilot:
        await started(pilot)
        await pilot.press("g", "e", "g", "zzz", "question_mark", "escape", "escape", "g", "q")
        assert isinstance(app.screen, Mission)


async def test_the_palette_offers_the_actions() -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await started(pilot)
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        await pilot.press(*"next mark")
        await settled(pilot, lambda: "Next mark" in text_of(app))


# ----------------------------------------------------------------------------------------------------- keys: acting


async def test_steering_goes_from_requested_to_delivered() -> None:
    app, feed = live_app()
    async with app.run_test(size=WIDE) as pilot:
        await started(pilot)
        await pilot.press("s", *"try lr", "ctrl+j", *"lower", "enter")
        await settled(pilot, lambda: "requested, waiting" in text_of(app))
        assert feed.commands == [("steer", "try lr\nlower", {})]
        seq = len(feed.stored)
        feed.bring(e.CommandApplied(command="steer"), cause=seq)
        await settled(pilot, lambda: "reaches the intern" in text_of(app))
        feed.bring(e.ModelRequested(step=1, brain="b", messages=1, characters=1, steering=[seq]))
        await settled(pilot, lambda: "delivered" in text_of(app))


async def test_alt_enter_queues_escape_leaves_and_history_comes_back() -> None:
    app, feed = live_app()
    async with app.run_test(size=WIDE) as pilot:
        await started(pilot)
        Prompt.said.clear()
        await pilot.press("s", *"first", "enter", "s", *"second", "alt+enter")
        await settled(pilot, lambda: len(feed.commands) == 2)
        assert feed.commands[1][:2] == ("queue", "second")
        await pilot.press("s", "up", "up")
        assert app.screen.query_one(Prompt).text == "first"
        await pilot.press("down", "escape")
        assert not app.screen.query_one(Prompt).display
        assert len(feed.commands) == 2
        await pilot.press("p")
        await settled(pilot, lambda: "goes on costing" in text_of(app))
        assert len(feed.commands) == 2
        await pilot.press("y")
        await settled(pilot, lambda: feed.commands[-1][0] == "pause")


async def test_pause_resumes_a_paused_run_and_interrupt_may_be_rejected() -> None:
    app, feed = live_app()
    async with app.run_test(size=WIDE) as pilot:
        feed.bring(e.RunPaused(reason="asked"))
        await settled(pilot, lambda: "PAUSED" in text_of(app))
        await pilot.press("p")
        await settled(pilot, lambda: feed.commands[-1:] == [("resume", "", {})])
        feed.answer = {"ok": False, "error": "nothing is being waited for"}
        await pilot.press("i")
        await settled(pilot, lambda: "decides anew" in text_of(app))
        await pilot.press("y")
        await settled(pilot, lambda: "rejected: nothing is being waited for" in text_of(app))


async def test_approvals_show_exact_arguments_and_take_a_decision() -> None:
    app, feed = live_app(recorded.seq_of("approval_requested"))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "! 1 approval" in text_of(app))
        await pilot.press("exclamation_mark")
        await settled(pilot, lambda: isinstance(app.screen, Approvals))
        text = text_of(app)
        for words in ('"clip_high": 0.28', "cost: $3.50", "UNTRUSTED", "2503.14476", "(spend)"):
            assert words in text, words
        await pilot.press("d")
        await settled(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"too dear", "enter")
        await settled(pilot, lambda: bool(feed.commands))
        assert feed.commands[0] == ("deny", "too dear", {"approval": "a1", "arguments_hash": "9f2c4e0011223344"})
        await pilot.press("a")
        await settled(pilot, lambda: len(feed.commands) == 2)
        assert feed.commands[1][0] == "approve"
        await pilot.press("e")
        await settled(pilot, lambda: isinstance(app.focused, TextArea))
        area = app.screen.query_one(TextArea)
        area.text = "{not json"
        await pilot.press("ctrl+s")
        await settled(pilot, lambda: "not sent" in text_of(app))
        area.text = '{"clip_high": 0.3}'
        await pilot.press("ctrl+s")
        await settled(pilot, lambda: len(feed.commands) == 3)
        assert feed.commands[2] == (
            "edit", "", {"approval": "a1", "arguments": {"clip_high": 0.3}, "arguments_hash": "9f2c4e0011223344"},
        )  # fmt: skip
        feed.bring(e.ApprovalDecided(approval="a1", decision="approved"))
        await settled(pilot, lambda: "Nothing waits for you." in text_of(app))
        await pilot.press("escape")
        assert isinstance(app.screen, Mission)


async def test_always_for_this_kind_says_what_that_means_and_is_not_offered_for_what_cannot_be_taken_back() -> None:
    app, feed = live_app(recorded.seq_of("approval_requested"))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "! 1 approval" in text_of(app))
        await pilot.press("exclamation_mark", "A")
        await settled(pilot, lambda: "tier spend is asked every time" in text_of(app))
        assert feed.commands == []
        feed.bring(e.ApprovalDecided(approval="a1", decision="denied"))
        feed.bring(e.ApprovalRequested(approval="a2", call="c", tool="fetch", arguments={}, arguments_hash="h2",
                                       tier="network", reason="r"))  # fmt: skip
        feed.bring(e.SettingsChanged(autonomy="read"))
        await settled(pilot, lambda: "fetch  (network)" in text_of(app) and autonomy_of(app) == "read")
        await pilot.press("A")
        await settled(pilot, lambda: "every call up to the" in text_of(app) and "so far: up to read" in text_of(app))
        await pilot.press("y")
        await settled(pilot, lambda: len(feed.commands) == 2)
    assert feed.commands[0] == ("autonomy", "network", {"at_least": True}), "it can only raise"
    assert feed.commands[1][0] == "approve"


def autonomy_of(app: InternApp) -> str:
    return app.view.state.autonomy if app.view is not None else ""


async def test_always_never_lowers_what_the_run_may_do_and_is_about_the_call_that_was_shown() -> None:
    """A call of a low tier may be asked about for another reason: it is not what was asked for."""
    app, feed = live_app(recorded.seq_of("approval_requested"))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "! 1 approval" in text_of(app))
        feed.bring(e.ApprovalDecided(approval="a1", decision="denied"))
        feed.bring(e.SettingsChanged(autonomy="spend"))
        for name in ("a2", "a3"):
            feed.bring(e.ApprovalRequested(approval=name, call=name, tool=f"train_{name}", arguments={}, arguments_hash=f"h{name}",
                                           tier="workspace", reason="differs from what was asked for"))  # fmt: skip
        await pilot.press("exclamation_mark")
        await settled(pilot, lambda: "train_a2  (workspace)" in text_of(app) and autonomy_of(app) == "spend")
        await pilot.press("A")
        await settled(pilot, lambda: "up to the tier spend without asking already" in text_of(app))
        assert "differs from what was asked for" in text_of(app)
        feed.bring(e.ApprovalDecided(approval="a2", decision="expired"))
        await pilot.pause(1.3)  # what waits is looked at once a second
        await pilot.press("y")
        await settled(pilot, lambda: feed.commands != [])
    assert [(c[0], c[2]["approval"]) for c in feed.commands] == [("approve", "a2")]


async def test_a_decision_is_about_what_is_shown_even_if_another_request_came_meanwhile() -> None:
    app, feed = live_app(recorded.seq_of("approval_requested"))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "! 1 approval" in text_of(app))
        await pilot.press("exclamation_mark", "d")
        await settled(pilot, lambda: isinstance(app.focused, Input))
        feed.bring(e.ApprovalDecided(approval="a1", decision="approved"))
        feed.bring(e.ApprovalRequested(approval="a2", call="c", tool="rm", arguments={}, arguments_hash="h2",
                                       tier="spend", reason="r"))  # fmt: skip
        await settled(pilot, lambda: app.view is not None and "a2" in app.view.state.approvals)
        await pilot.press(*"no", "enter")
        await settled(pilot, lambda: feed.commands != [])
    assert feed.commands[0][2]["approval"] == "a1"


async def test_a_question_is_answered_where_approvals_are() -> None:
    app, feed = live_app()
    async with app.run_test(size=WIDE) as pilot:
        feed.bring(e.QuestionAsked(question="q1", text="Which split?", choices=["a", "b"]), "agent")
        await settled(pilot, lambda: "! 1 question" in text_of(app))
        await pilot.press("exclamation_mark", "r")
        await settled(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("b", "enter")
        await settled(pilot, lambda: feed.commands == [("answer", "b", {"question": "q1"})])


async def test_stop_says_what_happens_to_jobs_before_it_asks() -> None:
    app, feed = live_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        await pilot.press("x")
        await settled(pilot, lambda: isinstance(app.screen, Confirm))
        text = text_of(app)
        assert "job-3 (GRPO, step 181 of 300" in text
        assert "checkpoint-100" in text
        assert "final_model stays as it is" in text
        assert "Spent so far: $0.40; nothing more is spent." in text
        await pilot.press("n")
        assert feed.commands == []
        await pilot.press("x", "y")
        await settled(pilot, lambda: feed.commands == [("stop", "", {})])


def test_a_stop_without_jobs_and_money_says_so_too() -> None:
    words = stop_words(View(RunState(), 0))
    assert "No job is running." in words
    assert "No money was spent." in words


async def test_detach_leaves_without_a_command() -> None:
    app, feed = live_app()
    async with app.run_test(size=WIDE) as pilot:
        await started(pilot)
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value == "detached"
    assert feed.commands == []


@pytest.mark.parametrize("key", ["s", "p", "i", "x", "P", "u"])
async def test_acting_keys_are_off_in_replay_and_say_why(key: str) -> None:
    app = replay_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        await pilot.press(key)
        await pilot.pause()
        assert "not now: this is a replay" in text_of(app)
        assert isinstance(app.screen, Mission)


# ----------------------------------------------------------------------------------------------------- keys: replay


async def test_replay_keys_move_exactly() -> None:
    app = replay_app(100)
    events = recorded.events()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: app.session is not None and app.session.player is not None)
        assert app.session is not None
        player = app.session.player
        assert player is not None
        marks = [m.seq for m in fold(RunState(), events).marks]
        for keys, seq in (
            (("full_stop",), 101),
            (("comma", "comma"), 99),
            (("right_square_bracket",), next(m for m in marks if m > 99)),
            (("left_square_bracket",), [m for m in marks if m < next(m for m in marks if m > 99)][-1]),
            (("home",), 1),
            (("right_curly_bracket",), recorded.seq_of("plan_updated")),
            (("end",), len(events)),
        ):
            await pilot.press(*keys)
            assert player.seq == seq, keys
            assert to_bytes(app.session.state) == to_bytes(fold(RunState(), events[:seq]))
        before = player.clock_us
        await pilot.press("left")
        assert player.clock_us == before - 10_000_000
        await pilot.press("shift+left", "right", "shift+right")
        assert player.clock_us == before
        await pilot.press("left_curly_bracket")
        assert player.seq == recorded.seq_of("plan_updated", 5)
        await pilot.press("plus", "plus", "minus", "equals_sign")
        assert player.speed == 5
        await pilot.press("t", *"412", "enter")
        await settled(pilot, lambda: player.seq == 412)
        await pilot.press("t", *"nowhere", "enter")
        await pilot.pause()
        assert "not a place" in text_of(app)
        await pilot.press("escape", "space")
        assert player.playing
        await settled(pilot, lambda: player.seq > 412)
        await pilot.press("space")
        assert not player.playing


async def test_a_live_run_can_be_looked_back_at_and_left_again() -> None:
    app, feed = live_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        await pilot.press("left")
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        feed.bring(e.RunPaused(reason="meanwhile"))
        await pilot.press("p")
        await settled(pilot, lambda: "press L for live" in text_of(app))
        await pilot.press("L")
        await settled(pilot, lambda: "PAUSED" in text_of(app))
