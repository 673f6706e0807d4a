"""Curves, evals, events and research in depth: comparison, close-ups, before and after, filters, cause and effect."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from core import events as e
from core.causality import cause_of, effects_of
from core.tables import TABLES
from intern_tui.app import InternApp
from intern_tui.session import session_for
from screens.answers import baselines, find_file, pair
from screens.base import RunScreen
from screens.braille import axis_of, draw
from screens.events import TELLING, EventList, condition, matching
from screens.histories import Asked, read_history
from screens.widgets.timeline import Timeline
from store.log import EventLog
from store.reader import LogFile
from tests.screens import recorded
from tests.screens.memory import MemorySource, replay_app, text_of
from tests.screens.test_mission import settled, started


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recorded run as a real log with its typed rows."""
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    folder = tmp_path / "runs" / recorded.RUN
    folder.mkdir(parents=True)
    with EventLog.create(folder, TABLES) as log:
        log.append(recorded.appendable(recorded.events()))
    return folder


# -------------------------------------------------------------------------------------------------------------- curves


def test_a_history_from_the_log_knows_nothing_of_a_replay_s_future(run: Path) -> None:
    source = LogFile.open(run)
    rows = [x for x in recorded.events() if x.type == "metric_logged"]
    half = rows[len(rows) // 2].seq
    whole = read_history(source, Asked(None, "job-3", 0, 300))
    early = read_history(source, Asked(None, "job-3", 0, 300, half))
    known = [e.payload_of(x) for x in rows if x.seq <= half]
    steps = [p.step for p in known if isinstance(p, e.MetricLogged) and p.job == "job-3"]
    assert len(whole["reward"]) > 128
    assert (max((p[0] for p in early.get("reward", [])), default=0)) <= max(steps, default=0)
    assert read_history(source, Asked(None, "job' OR 1=1 --", 0, 300)) == {}
    source.close()


async def test_the_cursor_reads_values_and_the_window_closes_in(run: Path) -> None:
    app = InternApp(session_for(run, replay=True))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        await pilot.press("2")
        await settled(pilot, lambda: "job-3 GRPO" in text_of(app))
        await pilot.press("l")
        await settled(pilot, lambda: "at 300" in text_of(app))
        await pilot.press("h", "h")
        await settled(pilot, lambda: "at 300" not in text_of(app) and " at 2" in text_of(app))
        await pilot.press("w", "w")
        await settled(pilot, lambda: "steps 225 to 300" in text_of(app))
        await pilot.press("o", "z")
        await settled(pilot, lambda: "log scale" in text_of(app))
        await pilot.press("escape", "o")
        await settled(pilot, lambda: "log scale" not in text_of(app) and "steps 225" not in text_of(app))


async def test_jobs_are_compared_on_one_axis(run: Path) -> None:
    app = InternApp(session_for(run, replay=True))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        await pilot.press("2", "v")
        await settled(pilot, lambda: "Compare with" in text_of(app))
        await pilot.press("down", "space", "enter")
        await settled(pilot, lambda: "━ job-3" in text_of(app) and "━ job-2" in text_of(app))


def test_a_logarithmic_axis_spans_whole_decades_and_survives_what_has_no_logarithm() -> None:
    points = [(0, 0.003, 0.02, 0.01), (10, 2.0, 40.0, 9.0), (20, -1.0, 0.0, 0.0)]
    axis = axis_of(points, 0, 20, log=True)
    assert (axis.log, axis.low, axis.high) == (True, pytest.approx(0.001), pytest.approx(100))
    assert draw(points, axis, 20, 5)
    assert not axis_of([(0, -1.0, 0.0, -0.5)], 0, 20, log=True).log


# --------------------------------------------------------------------------------------------------------------- evals


def answers(correct: dict[str, bool]) -> list[dict[str, object]]:
    return [
        {"id": i, "prompt": f"q{i}", "completion": f"says {i}", "answer": "a", "correct": ok}
        for i, ok in correct.items()
    ]


def test_answers_are_paired_by_id_and_broken_ones_come_first() -> None:
    after = answers({"1": True, "2": False, "3": False, "4": True})
    before = answers({"4": False, "3": False, "2": True, "1": True})
    shown, counts = pair(after, before)
    assert [(a.prompt, a.kind) for a in shown] == [
        ("q2", "broken"),
        ("q3", "still wrong"),
        ("q4", "put right"),
        ("q1", "right"),
    ]
    assert counts == {"broken": 1, "still wrong": 1, "put right": 1, "right": 1}


def test_answers_are_found_where_the_run_was_moved_to(tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "run-1"
    (moved / "jobs").mkdir(parents=True)
    (moved / "jobs" / "x.jsonl").write_text("{}")
    assert find_file("/gone/runs/run-1/jobs/x.jsonl", moved) == moved / "jobs" / "x.jsonl"


def test_baselines_are_the_untrained_model_s_evaluations_on_the_same_split() -> None:
    state = recorded.state_at(638)
    assert [b.label for b in baselines(state, state.evaluations["ev4"])] == ["zero-shot", "few-shot 4"]
    assert baselines(state, state.evaluations["ev5"]) == []


async def test_the_evals_screen_shows_what_was_put_right_and_what_broke(tmp_path: Path) -> None:
    r = recorded.Recording()
    r.add(0, e.RunCreated(run=recorded.RUN, goal="g", task="t", task_path="", model="m"))
    for name, correct in (("base", {"1": True, "2": False, "3": False}), ("sft", {"1": False, "2": True, "3": True})):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"\n".join(msgspec.json.encode(a) for a in answers(correct)))
        r.add(1, e.EvaluationFinished(evaluation=name, label=name, model="m", split="dev", samples=3, score=0.5,
                                      interval=(0.1, 0.9), samples_path=str(path), experiment="" if name == "base" else "x",
                                      against="" if name == "base" else "base"))  # fmt: skip
    app = replay_app(stored=r.events)
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("3")
        await settled(pilot, lambda: "1 broken, 0 still wrong, 2 put right, 0 right" in text_of(app))
        assert "within noise" in text_of(app)
        await pilot.press("c", "c", "c")
        await settled(pilot, lambda: "✗→✓ q2" in text_of(app) and "✓→✗ q1" not in text_of(app))


# -------------------------------------------------------------------------------------------------- events and research


def test_a_filter_fits_every_word_and_its_words_cannot_leave_their_quotes(run: Path) -> None:
    source = LogFile.open(run)
    types = {x.seq: x.type for x in recorded.events()}
    assert {types[s] for s in matching(source, "type:job_*", 638)} == {"job_launched", "job_finished", "job_cancelled"}
    assert matching(source, "type:job_* seq:1-200", 638) == [
        s for s in types if types[s].startswith("job_") and s <= 200
    ]
    failure = recorded.seq_of("failure_diagnosed")
    assert matching(source, f"cause:{failure}", 638) == [recorded.seq_of("remedy_chosen")]
    assert [types[s] for s in matching(source, "actor:user type:approval*", 638)] == ["approval_decided"]
    for text in ("' OR true --", "type:' OR ''='", "seq:1-x", "cause:1;drop", "%", "\\", "'; DELETE FROM events; --"):
        assert len(matching(source, text, 638)) < 638, text
    assert condition("") == "true"
    source.close()


async def test_from_an_event_to_what_it_led_to_and_back() -> None:
    app = replay_app(to=recorded.seq_of("failure_diagnosed"))
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        app.screen.show_event(recorded.seq_of("failure_diagnosed"))  # type: ignore[attr-defined]
        await settled(pilot, lambda: f"e led to ({recorded.seq_of('remedy_chosen')})" in text_of(app))
        await pilot.press("e")
        await settled(pilot, lambda: '"type": "remedy_chosen"' in text_of(app))
        await pilot.press("c")
        await settled(pilot, lambda: '"type": "failure_diagnosed"' in text_of(app))


def test_an_event_without_a_named_cause_comes_from_what_its_payload_names() -> None:
    r = recorded.Recording()
    r.add(0, e.RunCreated(run=recorded.RUN, goal="g", task="t", task_path="", model="m"), "user")
    step = r.add(1, e.StepStarted(step=1))
    asked = r.add(1, e.ModelRequested(step=1, brain="b", messages=1, characters=1, digest=""))
    answered = r.add(2, e.ModelCompleted(step=1, text="train"))
    call = r.add(2, e.ToolRequested(call="1.0", tool="train", arguments={}, step=1))
    began = r.add(2, e.ToolStarted(call="1.0", tool="train"))
    tried = r.add(2, e.ExperimentStarted(experiment="x", hypothesis="h", change="c"))
    launched = r.add(3, e.JobLaunched(job="job-1", kind="training", method="sft", title="t", folder="f", pid=1, started=1.0,
                                      effect_id=f"{recorded.RUN}:1.0"))  # fmt: skip
    done = r.add(3, e.ToolCompleted(call="1.0", tool="train", output="job-1", seconds=1.0))
    said = r.add(3, e.CommandRequested(command="steer", text="slower"), "user")
    applied = r.add(3, e.CommandApplied(command="steer", result="ok"), "host", cause=said)
    logged = r.add(4, e.MetricLogged(job="job-1", step=1, values={"loss": 1.0}), "job:job-1")
    other = r.add(4, e.MetricLogged(job="job-2", step=1, values={"loss": 1.0}), "job:job-2")
    ended = r.add(5, e.JobFinished(job="job-1", seconds=2.0))
    late = r.add(6, e.PlanUpdated(steps=[]))
    source = MemorySource(r.events)

    def cause(seq: int) -> int:
        return cause_of(r.events[seq - 1], source.events)

    def effects(seq: int, most: int = 20) -> list[int]:
        return effects_of(r.events[seq - 1], source.events, most)

    chain = [ended, launched, call, answered, asked, step]
    assert [cause(seq) for seq in chain] == [*chain[1:], 0]
    assert (cause(began), cause(tried), cause(done), cause(logged), cause(applied)) == (
        call,
        call,
        call,
        launched,
        said,
    )
    assert cause(other) == 0, "its job was launched by nothing in this log"
    assert cause(late) == 0, "no call was open when the plan was written"
    assert effects(call) == [began, tried, launched, done]
    assert effects(call, most=2) == [began, tried]
    assert (effects(launched), effects(said), effects(late)) == ([ended], [applied], [])


async def test_from_a_job_s_end_back_to_its_launch() -> None:
    ends = recorded.seq_of("job_finished")
    app = replay_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        app.screen.show_event(ends)  # type: ignore[attr-defined]
        await settled(pilot, lambda: "c cause (" in text_of(app))
        await pilot.press("c")
        await settled(pilot, lambda: '"type": "job_launched"' in text_of(app))
        await settled(pilot, lambda: str(ends) in text_of(app).partition("e led to (")[2].partition(")")[0])


async def test_a_choice_stays_when_another_pane_or_a_dialog_has_the_keys() -> None:
    app = replay_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("3", "down", "down")
        await settled(pilot, lambda: "Answers of zero-shot" in text_of(app))
        await pilot.press("tab", "down")
        assert "Answers of zero-shot" in text_of(app)
        await pilot.press("4", "up", "pageup", "up")
        place = app.screen.query_one(EventList).cursor
        assert place >= 0
        await pilot.press("slash", "escape")
        assert app.screen.query_one(EventList).cursor == place


async def test_a_match_stays_chosen_among_all_events_and_the_next_one_is_a_key_away(run: Path) -> None:
    app = InternApp(session_for(run, replay=True))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "REPLAY" in text_of(app))
        await pilot.press("4")
        pane = app.screen.query_one(EventList)
        await pilot.press("slash", *"type:checkpoint_saved", "enter")
        await settled(pilot, lambda: bool(pane.matches))
        matches = list(pane.matches or [])
        await pilot.press("down", "down", "escape")
        await settled(pilot, lambda: pane.matches is None)
        assert pane.source_seq() == matches[1]
        await pilot.press("n")
        assert pane.source_seq() == matches[2]
        await pilot.press("N", "N")
        assert pane.source_seq() == matches[0]
        await pilot.press("N")
        await settled(pilot, lambda: "no further match" in text_of(app))


async def test_a_cross_stands_only_before_what_is_marked() -> None:
    app = replay_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        await pilot.press("2", "v")
        await settled(pilot, lambda: "Compare with" in text_of(app))
        assert "▐ ▌ job-" in text_of(app)
        assert "X▌" not in text_of(app)
        await pilot.press("space")
        await settled(pilot, lambda: text_of(app).count("▐X▌") == 1)


async def test_a_second_click_on_the_timeline_only_goes_there() -> None:
    app = replay_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot)
        for _ in range(2):
            await pilot.click("#timeline", offset=(60, 0))
            await pilot.pause(0.05)
        assert isinstance(app.screen, RunScreen)
        assert app.screen.query_one(Timeline).cursor < 0


async def test_a_recipe_says_which_works_cite_what_it_is_from() -> None:
    r = recorded.Recording()
    r.add(0, e.RunCreated(run=recorded.RUN, goal="g", task="t", task_path="", model="m"))
    r.add(1, e.PaperRead(paper="sizes", title="Settings by size", source="library", taken=[]))
    r.add(1, e.CitationFollowed(paper="sizes", cites="2305.11206", title="LIMA"))
    for name, paper in (("lima", "2305.11206"), ("rft", "2308.01825")):
        r.add(2, e.RecipeExtracted(recipe=name, paper=paper, title=f"Work {paper}", method="sft"))
    app = replay_app(stored=r.events)
    async with app.run_test(size=(160, 50)) as pilot:
        await started(pilot)
        await pilot.press("5")
        await settled(pilot, lambda: "› lima: Work 2305" in text_of(app))
        assert "cited by Settings by size" in text_of(app)
        assert text_of(app).count("cited by nothing read here") == 1


async def test_research_shows_papers_citations_data_and_what_was_tried() -> None:
    app = replay_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await started(pilot)
        await pilot.press("5")
        await settled(pilot, lambda: "Citations: 1 followed" in text_of(app))
        screen = text_of(app)
        for text in ("clip high 0.28", "└ DeepSeekMath", "wrong answers", "entropy collapse", "› dapo"):
            assert text in screen, text
        await pilot.press("z")
        await settled(pilot, lambda: "Tried" in text_of(app) and "Citations: 1" not in text_of(app))


def test_a_filter_leaves_out_what_has_a_minus_and_a_quote_cannot_leave_it() -> None:
    assert condition("type:job_* -type:job_failed") == (
        "type ILIKE 'job!_%' ESCAPE '!' AND NOT (type ILIKE 'job!_failed' ESCAPE '!')"
    )
    assert "'gpu_sampled'" in condition(TELLING)
    assert condition(TELLING).startswith("type NOT IN (")
    assert "ILIKE '%'';DROP%'" in condition("';DROP")


async def test_events_without_samples_follow_a_run_and_go_back_with_it(tmp_path: Path) -> None:
    """What comes while a filter stands is filtered too; a replay that goes back shows nothing of its future."""
    folder = tmp_path / recorded.RUN
    folder.mkdir()
    with EventLog.create(folder, TABLES) as log:
        log.append(recorded.appendable(recorded.events()))
    app = InternApp(session_for(folder, replay=True), to=100)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "#100" in text_of(app))
        await pilot.press("4", "e")
        await settled(pilot, lambda: "Events without samples" in text_of(app))
        assert "gpu_sampled" not in text_of(app)
        matches = app.screen.query_one(EventList).matches
        assert matches
        assert max(matches) <= 100
        await pilot.press("end")
        await settled(pilot, lambda: " run finished" in text_of(app))
        assert "gpu_sampled" not in text_of(app)
        await pilot.press("home")
        await settled(pilot, lambda: app.screen.query_one(EventList).matches == [1])
        await pilot.press("e")
        await settled(pilot, lambda: "Events: 1 " in text_of(app))
