"""The other five screens on the same recorded run, and the pieces they are made of."""

from __future__ import annotations

import math
import time
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

from core import events as e
from core import home
from core.series import Series
from screens.answers import pair, read_records
from screens.braille import axis_for, draw, nice_axis, smooth
from screens.events import EventList
from screens.runs import RunList
from screens.text import MOST_LINES, bar, clock, cut, fit, number, wrap
from screens.widgets.curve import steps_shown
from tests.screens import recorded
from tests.screens.memory import live_app, replay_app, text_of
from tests.screens.test_mission import settled, started


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_screens_switch_by_number_and_show_the_run(size: tuple[int, int]) -> None:
    app = replay_app()
    async with app.run_test(size=size) as pilot:
        await settled(pilot, lambda: "Plan 6/6" in text_of(app))
        seen = {"2": "job-3 GRPO", "3": "zero-shot", "4": "run finished", "5": "DAPO", "1": "Plan 6/6", "6": "Runs"}
        for key, words in seen.items():
            await pilot.press(key)
            await settled(pilot, lambda words=words: words in text_of(app))


async def test_curves_go_through_the_jobs() -> None:
    app = replay_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("2")
        await settled(pilot, lambda: "job-3 GRPO" in text_of(app))
        assert all(name in text_of(app) for name in ("reward", "kl", "entropy", "dev score"))
        await pilot.press("b", "b")
        await settled(pilot, lambda: "job-1 SFT" in text_of(app))
        assert "learning rate" in text_of(app)


async def test_events_are_all_there_and_the_cursor_leaves_the_end() -> None:
    app, feed = live_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        await pilot.press("4")
        await settled(pilot, lambda: "    500 " in text_of(app))
        feed.bring(e.NoteAdded(text="brand new"))
        await settled(pilot, lambda: "brand new" in text_of(app))
        await pilot.press("up", *["pageup"] * 30)
        await settled(pilot, lambda: "run_created" in text_of(app))
        feed.bring(e.NoteAdded(text="another"))
        await pilot.pause(0.4)
        assert "run_created" in text_of(app)
        assert app.screen.query_one(EventList).cursor == 0


async def test_answers_of_an_evaluation_put_wrong_ones_first(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [
        {"id": str(i), "prompt": f"q{i}", "answer": "1", "completion": f"c{i}", "correct": i != 3} for i in range(5)
    ]
    path.write_bytes(b"\n".join(msgspec.json.encode(r) for r in rows) + b"\nbroken {\n[]\n")
    assert [a.prompt for a in pair(read_records(path), [])[0]] == ["q3", "q0", "q1", "q2", "q4"]
    stored = recorded.Recording()
    stored.add(0, e.RunCreated(run="r", goal="g", task="t", task_path="", model="m"))
    stored.add(1, e.EvaluationFinished(evaluation="e", label="base", model="m", split="dev", samples=5, score=0.8,
                                       interval=(0.4, 0.9), samples_path=str(path),
                                       groups=[e.ErrorGroup(kind="wrong_format", count=1)]))  # fmt: skip
    app = replay_app(stored=stored.events)
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("3")
        await settled(pilot, lambda: "c3" in text_of(app))
        assert "wrong format" in text_of(app)
        assert text_of(app).index("q3") < text_of(app).index("q0")


async def test_the_list_of_runs_says_how_to_start_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from intern_tui.app import InternApp

    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    app = InternApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, lambda: "No runs yet." in text_of(app))
        assert "intern run --task pocket/addition" in text_of(app)
        folder = tmp_path / "runs" / "20260101-000000-abcd"
        folder.mkdir(parents=True)
        (folder / home.LOG_NAME).touch()
        summary = home.Summary(run=folder.name, status="finished", goal="Better sums", baseline=0.2, best=0.7)
        home.write_json(folder / "summary.json", summary)
        await settled(pilot, lambda: "Better sums" in text_of(app))
        assert "20.0 % → 70.0 %" in text_of(app)
        assert app.screen.query_one(RunList).chosen is not None


# ------------------------------------------------------------------------------------------------------- the pieces


def series(values: list[float]) -> Series:
    out = Series()
    for step, value in enumerate(values):
        out.add(step, value)
    return out


def test_a_curve_keeps_its_dots_while_it_grows() -> None:
    values = [math.sin(i / 9) for i in range(120)]
    before, after = series(values[:100]), series(values)
    axis = axis_for([after], 200)
    assert axis is not None
    one, two = draw(before.points(), axis, 40, 10), draw(after.points(), axis, 40, 10)
    columns = int(99 / 200 * 79) // 2
    assert [r[:columns] for r in one] == [r[:columns] for r in two]


def test_the_axis_without_a_plan_is_a_power_of_two() -> None:
    axis = axis_for([series([1.0] * 100)], None)
    assert axis is not None
    assert axis.x_end == 128


def test_a_job_that_stopped_early_is_drawn_to_where_it_stopped() -> None:
    job = recorded.state_at(len(recorded.events())).jobs["job-2"]
    assert (job.status, job.planned_steps, steps_shown(job)) == ("cancelled", 300, 130)
    running = recorded.state_at(500).jobs["job-3"]
    assert steps_shown(running) == 300


def test_text_that_is_cut_says_so_with_an_ellipsis() -> None:
    for width in range(5, 30):
        assert wrap("one two three four five six seven eight nine ten", width, 1)[0].endswith("…")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 7.1), (1e-9, 2e-9), (5.0, 5.0), (0.0, 0.0), (1e6, 3e9)])
def test_axes_hold_their_values(low: float, high: float) -> None:
    bottom, top = nice_axis(low, high)
    assert bottom <= low + 1e-12
    assert top >= high - 1e-12
    assert top > bottom


def test_the_smoothed_line_starts_at_the_first_value() -> None:
    assert smooth([4.0, 4.0, 4.0]) == pytest.approx([4.0, 4.0, 4.0])


@pytest.mark.parametrize("width", [5, 9, 20, 60])
def test_wrapping_never_exceeds_the_width_and_loses_no_word(width: int) -> None:
    text = "some words, 日本語のテキストが続く averyveryveryverylongwordwithoutanyspace end"
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert len(wrap(text, width, 2)) <= 2


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "宽" * 300_000, "e\u0301" * 300_000], ids=["plain", "wide", "combining"]
)
def test_a_word_without_end_is_cut_and_measured_once(text: str) -> None:
    """It was measured anew for each of its lines, which took seconds a frame."""
    began = time.process_time()
    lines = wrap(text, 40)
    assert len(lines) == MOST_LINES
    assert lines[-1].endswith("…")
    assert all(cell_len(line) <= 40 for line in lines)
    assert time.process_time() - began < 2.0


def test_cells_are_counted_not_characters() -> None:
    assert cell_len(fit("日本語テキスト", 9)) == 9
    assert cut("short", 9) == "short"
    assert bar(0.5, 8) == "████    "
    assert bar(None, 3) == "···"
    assert clock(3 * 3600 + 12 * 60 + 44) == "3:12:44"
    assert [number(v) for v in (None, 3.0, 0.3312, 1e-6, 123456.7)] == ["n/a", "3", "0.331", "1.0e-6", "1.2e5"]


async def test_the_search_tree_is_drawn_with_what_each_branch_taught() -> None:
    app, feed = live_app()
    async with app.run_test(size=(200, 60)) as pilot:
        await settled(pilot, lambda: "LIVE" in text_of(app))
        await pilot.press("5")
        feed.bring(e.ExperimentStarted(experiment="s", hypothesis="which rate is best", budget_s=600.0))
        feed.bring(e.ExperimentStarted(experiment="s.1", hypothesis="lr 0.001", change="lr 0.001", parent="s"))
        feed.bring(e.ExperimentStarted(experiment="other", hypothesis="more data", change="two sources"))
        feed.bring(e.ExperimentStarted(experiment="s.2", hypothesis="lr 0.003", change="lr 0.003", parent="s"))
        feed.bring(e.ExperimentStarted(experiment="s.2.1", hypothesis="longer", parent="s.2"))
        feed.bring(
            e.ExperimentConcluded(
                experiment="s.1", verdict="worse", why="it learnt slowly", delta=-0.2, interval=(-0.3, -0.1)
            )
        )
        await pilot.press("end")
        await settled(pilot, lambda: "s.2.1: longer" in text_of(app))
        shown = text_of(app)
        assert "└ s.1: lr 0.001" in shown
        assert "  └ s.2.1: longer" in shown
        assert "it learnt slowly" in shown
        heads = ("s: which rate", "└ s.1: lr", "└ s.2: lr", "└ s.2.1: longer", "other: more data")
        assert sorted(heads, key=shown.index) == list(heads), "each behind its parent"
        assert all(words in shown for words in ("10:00", "two sources", "worse, -20.0"))
