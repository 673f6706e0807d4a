"""Which findings stand first, and what is said to have been done about them."""

from __future__ import annotations

from core.state import Experiment, Failure, Job, RunState
from screens.findings import count_open, findings


def failure(seq: int, job: str, kind: str = "plateau", severity: str = "warning", **more: object) -> Failure:
    return Failure(seq, job, kind, 5, severity, 0.9, ["flat"], ["too low a rate"], ["raise it"], [], **more)  # type: ignore[arg-type]


def job(name: str, status: str = "finished") -> Job:
    return Job(name, 1, "training", "sft", name, status=status)


def state(*failures: Failure, running: str = "") -> RunState:
    jobs = {f.job: job(f.job, "running" if f.job == running else "finished") for f in failures}
    return RunState(failures=list(failures), jobs=jobs, finished_ts=None if running else 1)


def test_an_open_failure_stands_before_newer_warnings_and_older_answers() -> None:
    found = findings(
        state(
            failure(1, "job-1", "divergence", "failing", remedy="a lower rate", result="better, +10.0 points"),
            failure(2, "job-2", "entropy_collapse", "failing"),
            failure(3, "job-3"),
        )
    )
    assert [(f.kind, f.open) for f in found] == [
        ("entropy collapse", True),
        ("divergence", False),
        ("plateau", False),
    ]


def test_a_warning_is_open_while_its_training_runs_and_not_after() -> None:
    warning = failure(1, "job-1")
    assert count_open(state(warning, running="job-1")) == 1
    assert count_open(state(warning)) == 0
    assert findings(state(warning))[0].done == "left running; it ended by itself"


def test_the_same_warning_of_several_jobs_is_one_line_the_newest_first() -> None:
    found = findings(state(failure(1, "job-1"), failure(2, "job-2"), failure(3, "job-2", "overfitting")))
    assert [(f.kind, f.jobs) for f in found] == [("overfitting", ("job-2",)), ("plateau", ("job-2", "job-1"))]


def test_what_was_done_is_the_remedy_else_the_early_stop_and_its_experiment_says_what_came_of_it() -> None:
    stopped = failure(1, "job-1", "divergence", "failing", stopped=True, experiment="experiment-1")
    with_verdict = state(stopped)
    with_verdict.experiments["experiment-1"] = Experiment("experiment-1", 1, "it helps", verdict="no_difference")
    found = findings(with_verdict)[0]
    assert (found.open, found.done, found.result) == (False, "stopped early", "experiment-1 no difference")
    answered = findings(state(failure(1, "job-1", severity="failing", remedy="a lower rate")))[0]
    assert (answered.open, answered.done, answered.result) == (False, "a lower rate", "not known yet")
