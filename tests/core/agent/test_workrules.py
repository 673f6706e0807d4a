"""What code keeps of the working rules: nothing long and nothing in numbers before one training has made a step."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.agent.desk import Desk
from core.agent.workrules import await_first, check_tried
from core.errors import ToolError
from core.state import Job, RunState


def after(*jobs: Job) -> RunState:
    return RunState(jobs={j.id: j for j in jobs})


def training(method: str, step: int, status: str = "running") -> Job:
    return Job("job-1", 1, "training", method, "t", status=status, step=step)


def test_a_long_training_of_an_untried_method_is_refused_with_what_to_do_first() -> None:
    with pytest.raises(ToolError, match=r"smoke test first.*3600 s") as refused:
        check_tried(after(training("grpo", 50)), "sft", 5000, 3600.0)
    assert "max_steps" in refused.value.next
    with pytest.raises(ToolError):
        check_tried(after(training("sft", 0, "failed")), "sft", None, 3600.0)


@pytest.mark.parametrize(("steps", "limit"), [(20, 3600.0), (5000, 120.0)])
def test_a_short_one_is_the_smoke_test_itself(steps: int, limit: float) -> None:
    check_tried(RunState(), "sft", steps, limit)


@pytest.mark.parametrize("method", ["sft", "rejection"])
def test_after_a_step_of_its_kind_it_may_take_its_time(method: str) -> None:
    check_tried(after(training("sft", 20, "finished")), method, None, 36_000.0)


@pytest.mark.parametrize(
    ("jobs", "waits"),
    [
        ([], False),
        ([training("sft", 0)], True),
        ([training("sft", 1)], False),
        ([training("sft", 0, "failed")], False),
        ([training("grpo", 0)], False),
    ],
)
def test_a_second_job_of_a_method_begins_once_the_first_has_made_a_step(jobs: list[Job], waits: bool) -> None:
    asked: list[bool] = []

    def wait_until(ready: Callable[[RunState], bool], seconds: float | None) -> bool:
        asked.append(ready(after(*jobs)))
        return True

    await_first(cast(Desk, cast(Any, SimpleNamespace(wait_until=wait_until))), "sft")
    assert asked == [not waits]
