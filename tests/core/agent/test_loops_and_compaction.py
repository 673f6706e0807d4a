"""Loops are seen in calls and results; a context that is full loses nothing that matters."""

from __future__ import annotations

import itertools
from typing import Any

from smolagents.memory import ActionStep, TaskStep, ToolCall
from smolagents.monitoring import Timing

from core.agent.compaction import SummaryStep, keep_from, summarise
from core.agent.loops import ADVICE, IDLE_POLLS, KEPT_TURNS, LIMIT, MOST_IDLE_POLLS, Called, LoopDetector
from core.agent.prompt import steering_message
from core.events import PlanStep
from core.redact import Redactor, StreamRedactor
from core.state import Job, RunState, Scores


def repeats(seen: LoopDetector, *calls: tuple[str, Any, str], jobs_running: bool = False) -> list[int]:
    """How often each call had repeated itself when it was made; 0 where that is no sign of a loop. A turn each."""
    signs = [
        seen.saw(tool, asked, told, jobs_running=jobs_running, call=f"{turn}.0")
        for turn, (tool, asked, told) in enumerate(calls, next(_TURNS) * 1000)
    ]
    return [sign.repeats if sign else 0 for sign in signs]


_TURNS = itertools.count()


def test_the_same_call_with_the_same_result_is_a_loop_at_the_third_time() -> None:
    assert repeats(LoopDetector(), *[("read_file", {"path": "a"}, "text")] * 4) == [0, 0, 3, 4]


def test_going_to_and_fro_between_two_calls_is_a_loop() -> None:
    assert repeats(LoopDetector(), *[("read_file", {"path": "ab"[i % 2]}, "text") for i in range(6)])[-2:] == [3, 3]


def test_other_results_and_polls_of_a_running_job_are_no_loop() -> None:
    seen = LoopDetector()
    assert not any(repeats(seen, *[("run_command", {"command": "make"}, f"error {i}") for i in range(8)]))
    poll = ("wait_for_jobs", {"jobs": ["job-1"]}, "same")
    assert not any(repeats(seen, *[poll] * 20, jobs_running=True))
    assert seen.signs == 0
    assert repeats(seen, poll) == [12], "with no job it is one"


BUDGET = '{{"seconds_used":{0},"usd_used":0.0{0},"tokens_used":{0},"jobs_running":["job-1"]}}'


def test_polls_in_a_row_that_tell_nothing_new_are_advised_and_after_many_more_a_loop() -> None:
    seen = LoopDetector()
    polls = [("budget", {}, BUDGET.format(n)) for n in range(40)]
    assert repeats(seen, *polls[:IDLE_POLLS], jobs_running=True) == [0] * IDLE_POLLS
    assert repeats(seen, *polls[: MOST_IDLE_POLLS - IDLE_POLLS], jobs_running=True)[0] == IDLE_POLLS + 1
    assert seen.signs == 0, "advised so far"
    repeats(seen, *polls, jobs_running=True)
    assert seen.signs >= LIMIT, "it does not end by itself"
    repeats(seen, *[("wait_for_jobs", {"jobs": ["job-1"]}, f"{n}") for n in range(8)], jobs_running=True)
    assert seen.signs == 0, "and is over once it waits"


def test_polls_of_several_kinds_in_turn_are_one_row_and_so_are_waits_of_a_second() -> None:
    turn = [("budget", {}, "{}"), ("read_job_log", {"job": "job-1"}, "log"), ("wait_for_jobs", {"jobs": ["job-1"], "seconds": 1}, "running")]  # fmt: skip
    seen = LoopDetector()
    repeats(seen, *turn * 10, jobs_running=True)
    assert seen.signs >= LIMIT


def test_a_poll_whose_result_moves_and_a_wait_that_waits_never_count() -> None:
    step = [("wait_for_jobs", {"jobs": ["job-1"], "seconds": 1}, f'{{"step":{n}}}') for n in range(50)]
    steps = [x for one in step for x in (one, ("budget", {}, "{}"), ("read_job_log", {"job": "job-1"}, "log"))]
    seen = LoopDetector()
    assert not any(repeats(seen, *steps, jobs_running=True))
    queued = ("wait_for_jobs", {"jobs": ["job-1"], "seconds": 600}, '{"status":"running","step":0}')
    assert not any(repeats(seen, *[x for _ in range(30) for x in (queued, ("budget", {}, "{}"))], jobs_running=True))
    assert seen.signs == 0


def test_a_new_host_goes_on_counting_polls() -> None:
    past = [Called(f"{n}.0", "budget", {}, BUDGET.format(n), True) for n in range(MOST_IDLE_POLLS)]
    again = LoopDetector(past)
    assert repeats(again, ("budget", {}, BUDGET.format(99)), jobs_running=True) == [MOST_IDLE_POLLS + 1]


def test_neither_the_clock_nor_an_advice_nor_an_empty_argument_makes_a_call_another_one() -> None:
    first = ("read_task", {}, '{"x":1,"seconds_left_for_research":90}')
    second = ("read_task", {"y": None}, '{"x":1,"seconds_left_for_research":80}' + ADVICE + "You have called it before")
    third = ("read_task", {}, '{"x":1,"seconds_left_for_research":7}')
    assert repeats(LoopDetector(), first, second, third) == [0, 0, 3]


def told(seen: LoopDetector, *calls: tuple[str, str]) -> list[int]:
    return repeats(seen, *[(tool, {"x": 1}, said) for tool, said in calls])


def test_the_name_of_a_new_job_or_of_a_log_file_does_not_make_a_result_another_one() -> None:
    seen = LoopDetector()
    commands = [("run_command", f'{{"exit_code":1,"seconds":{n}.2,"log":"/r/commands/{n}.0.txt"}}') for n in range(3)]
    assert told(seen, *commands) == [0, 0, 3]
    trainings = [("train", f'{{"job":"job-{n}","time_limit_s":{90 - n}}}') for n in range(3)]
    assert told(seen, *trainings) == [0, 0, 3]
    assert told(LoopDetector(), *[("train", f'{{"job":"job-1","lr":{n}}}') for n in range(5)]) == [0] * 5


def test_a_round_of_many_calls_made_three_times_is_a_loop_and_a_look_at_the_clock_in_between_is_not() -> None:
    seen = LoopDetector()
    once = [(f"t{n}", "same") for n in range(7)]
    assert not any(told(seen, *once, *once, *once[:-1]))
    assert told(seen, once[-1]) == [3]
    clock = [x for n in range(8) for x in (("budget", "{}"), *((f"a{n}{k}", "y") for k in range(6)))]
    assert not any(told(LoopDetector(), *clock))


def test_one_error_again_and_again_is_a_loop_whatever_the_arguments() -> None:
    seen = LoopDetector()
    found = repeats(seen, *[("train", {"lr": n}, f"ERROR: lr is {n}, data 'd{n}' is unknown") for n in range(6)])
    assert found == [0, 0, 0, 0, 5, 6]
    assert repeats(seen, *[("train", {"n": n}, f"ERROR: reason {'abc'[n]}") for n in range(3)]) == [0, 0, 0]


def test_failure_after_failure_is_a_loop_though_each_is_another_one() -> None:
    others = [(f"t{n}", {"n": n}, f"ERROR: {'abcdefghijkl'[n]}") for n in range(11)]
    seen = LoopDetector()
    assert repeats(seen, *others[:9], ("ok", {}, "done"), *others[9:]) == [0] * 12
    assert repeats(LoopDetector(), *others) == [0] * 9 + [10, 11]


def test_signs_count_only_while_half_of_the_last_turns_brought_nothing_new() -> None:
    seen = LoopDetector()
    same = [("read_file", {"path": "a"}, "text")]
    repeats(seen, *same * 6)
    assert seen.signs == 0, "advised so far"
    repeats(seen, *same * 6)
    assert seen.signs == LIMIT, "the twelfth time is the last"
    repeats(seen, *[("read_file", {"path": f"{n}"}, f"{n}") for n in range(8)])
    assert seen.signs == 0, "the brain has found its way out"


def test_a_look_at_the_budget_between_pieces_of_work_never_counts_and_notes_between_one_call_do_not_hide_it() -> None:
    work = [
        x for n in range(60) for x in (("budget", {}, "{}"), *(("write_file", {"n": n, "k": k}, "y") for k in range(3)))
    ]
    seen = LoopDetector()
    assert any(repeats(seen, *work)), "advised"
    assert seen.signs == 0
    stuck = [x for n in range(20) for x in (("train", {}, "ERROR: no"), ("note", {"content": f"{n}"}, "noted"))]
    repeats(seen, *stuck)
    assert seen.signs >= LIMIT


def test_many_calls_of_one_reply_count_as_one_turn() -> None:
    seen = LoopDetector()
    for turn in range(7):
        for i in range(8):
            seen.saw("read_file", {"path": "a"}, "text", jobs_running=False, call=f"{turn}.{i}")
    assert seen.signs == 1


def test_a_new_host_goes_on_counting_where_the_last_one_was() -> None:
    """From every point of a run of calls: the detector made of the past says the same of the rest as the one that lived."""
    calls = [("train", {"lr": n % 3}, "ERROR: no" if n % 4 else f"job-{n}") for n in range(40)]
    lived, past, said = LoopDetector(), list[Called](), list[tuple[int, int]]()
    for n, (tool, asked, result) in enumerate(calls):
        sign = lived.saw(tool, asked, result, jobs_running=False, call=f"{n}.0")
        past.append(Called(f"{n}.0", tool, asked, result, signs=lived.signs if sign else 0))
        said.append((sign.repeats if sign else 0, lived.signs))
    assert max(signs for _, signs in said) > 2
    for at in range(1, len(calls)):
        again = LoopDetector(past[max(0, at - KEPT_TURNS) : at])
        for n in range(at, len(calls)):
            sign = again.saw(*calls[n], jobs_running=False, call=f"{n}.0")
            assert (sign.repeats if sign else 0, again.signs) == said[n], (at, n)


def step(n: int, observation: str) -> ActionStep:
    calls = [ToolCall(name="note", arguments={"content": f"c{n}"}, id=f"{n}.0")]
    return ActionStep(
        step_number=n, timing=Timing(0.0, 0.0), model_output="", tool_calls=calls, observations=observation
    )


def state() -> RunState:
    return RunState(
        goal="raise the score", plan=[PlanStep(id="a", title="train", status="doing")], lessons=["lr 1e-2 diverges"],
        scores=Scores(baseline=0.3, best=0.61, best_label="SFT"), scope={"method": "sft"},
        jobs={"job-7": Job(id="job-7", seq=1, kind="training", method="sft", title="long one")},
    )  # fmt: skip


def test_goal_plan_best_open_jobs_words_and_lessons_survive_two_compactions_word_for_word() -> None:
    words = steering_message("never touch the\n  learning rate 3e-7")
    first = summarise(state(), [step(1, "x" * 5000), TaskStep(task=words), step(2, "y")])
    second = summarise(state(), [SummaryStep(first), step(3, "z")])
    for text in (first.text, second.text):
        for kept in ("raise the score", "train", "61.0 %", "job-7", words, "lr 1e-2 diverges", '"method":"sft"'):
            assert kept in text
    assert "step 1:" in second.text
    assert "step 3:" in second.text
    assert len(second.text) < 3000


def test_the_last_steps_stay_and_never_all_go() -> None:
    assert keep_from([100] * 10, 500) == 8
    assert keep_from([10_000, 10_000], 500) == 1
    assert keep_from([10, 10, 10], 10_000) == 1


def test_a_secret_split_between_pieces_never_shows() -> None:
    secret = "s3cr3t-value-of-mine"
    token = "hf_" + "a" * 34
    redact = Redactor({"MY_TOKEN": secret})
    for size in (1, 3, 7, 50, 1000):
        stream = StreamRedactor(redact)
        data = b"begin " + b"." * 700 + secret.encode() + b" middle " + token.encode() + b"." * 700 + secret.encode()
        out = b"".join(stream.feed(data[i : i + size]) for i in range(0, len(data), size)) + stream.rest()
        assert secret.encode() not in out
        assert b"a" * 5 not in out
        assert out.startswith(b"begin ")
        assert out.count(b"[redacted]") == 3
