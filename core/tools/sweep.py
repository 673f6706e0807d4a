"""Several trainings that differ in a few settings, launched by one call; `compare` also waits for them and judges.

On Slurm they are one job array, so that a queue of many people sees one submission and the site's limits hold; elsewhere they
start one by one as slots come free. Each is a job like any other: watched, diagnosed, stopped and resumed by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from core.agent.desk import Desk, Interrupted, Order
from core.agent.workrules import await_first, check_tried, trainings
from core.compute.spec import element
from core.errors import JobError, Refused, ToolError
from core.tools.toolbox import array, mapping, text, tool
from core.tools.train import METHODS, checked_spec, order

MOST = 32
"""Trainings of one sweep: what a brain still reads the reports of. Of three rungs of halving 27 leave one."""


@tool(
    {
        "method": text(", ".join(METHODS)),
        "data": text("Name of prepared data"),
        "model": text("Start from: base, final or a job's id"),
        "title": text("A few words that say what is compared"),
        "vary": array(f"2 to {MOST} objects: the settings in which each training differs"),
        "settings": mapping("The settings all have in common, as train takes them"),
        "experiment": text("Id of the experiment they belong to", optional=True),
    },
    effect="keyed",
    tier="workspace",
    waits=True,
    runs=("settings", "vary"),
)
def sweep(
    desk: Desk,
    method: str,
    data: str,
    model: str,
    title: str,
    vary: Sequence[Any],
    settings: dict[str, Any] | None = None,
    experiment: str | None = None,
) -> object:
    """Launch several trainings that differ in a few settings; returns their ids. On Slurm they are one job array. Of a method
    that was not tried yet the first starts alone and the others once it has made a step. Use wait_for_jobs to follow them."""
    each = variants(vary)

    def ordered(number: int, job: str) -> Order:
        spec = checked_spec(desk, method, data, model, {**(settings or {}), **each[number]}, experiment or "")
        check_tried(desk.state, method, spec.max_steps, spec.time_limit_s or desk.clock.work_left_s)
        words = f"{title}: {', '.join(f'{k} {v}' for k, v in each[number].items())}"
        return order(desk, spec, data, model, words, experiment or "", job, _effect(desk, number))

    for number in _missing(desk, each):  # all are looked at before one begins
        ordered(number, "")
    if not trainings(desk.state, method):
        desk.start(ordered(0, desk.new_job()))
    await_first(desk, method)
    missing = _missing(desk, each)
    if missing and (why := _hopeless(desk, method)):
        return _told(desk, each, dict.fromkeys(missing, why))
    return _told(desk, each, start_all(desk, ordered, missing))


def start_all(desk: Desk, ordered: Callable[[int, str], Order], numbers: Sequence[int]) -> dict[int, str]:
    """Start several jobs, `ordered(number, job)` each: as one array where there is such a thing, else one by one as slots come
    free. Returns those that could not start, and why."""
    refused: dict[int, str] = {}
    if desk.arrays() and len(numbers) > 1:
        first = len(desk.state.jobs) + 1
        desk.start_together([ordered(n, f"job-{first + i}") for i, n in enumerate(numbers)])
        return refused
    for number in numbers:
        try:
            desk.start(ordered(number, desk.new_job()))
        except Interrupted:
            raise
        except (ToolError, JobError, Refused) as error:
            refused[number] = str(error)
    return refused


def variants(vary: Sequence[Any], least: int = 2) -> list[dict[str, Any]]:
    """The settings in which each of `least` to MOST trainings differs. Raises ToolError where they are no sweep."""
    each = [cast(dict[str, Any], v) for v in vary if isinstance(v, dict) and v]
    if not least <= len(each) <= MOST or len(each) < len(vary):
        raise ToolError(
            f"`vary` needs {least} to {MOST} objects that each name a setting",
            next='For example [{"lr": 1e-5}, {"lr": 3e-5}]',
        )
    if any(each.count(v) > 1 for v in each):
        raise ToolError("Two trainings of the sweep are the same", next="Vary the seed where a repetition is meant")
    return each


def _effect(desk: Desk, number: int) -> str:
    return element(desk.effect_id("sweep"), number)


def _missing(desk: Desk, each: list[dict[str, Any]]) -> list[int]:
    """Those that this call has not launched yet: before a crash, it may have launched some."""
    known = {j.effect_id for j in desk.state.jobs.values()}
    return [n for n in range(len(each)) if _effect(desk, n) not in known]


def _told(desk: Desk, each: list[dict[str, Any]], refused: dict[int, str]) -> object:
    """What runs, and what does not and why."""
    found = {j.effect_id: j for j in desk.state.jobs.values()}
    mine = [(job, v) for n, v in enumerate(each) if (job := found.get(_effect(desk, n)))]
    jobs = [{**v, "job": j.id, "planned_steps": j.planned_steps} for j, v in mine]
    return {"jobs": jobs, "not_started": [{**each[n], "why": why} for n, why in refused.items()]}


def _hopeless(desk: Desk, method: str) -> str:
    """Why the others are not worth starting: the one that went first ended before its first step, as did all of its method."""
    whole = desk.effect_id("sweep")
    first = next((j for j in desk.state.jobs.values() if j.effect_id.startswith(f"{whole}[")), None)
    if first is None or first.status not in ("failed", "lost") or any(j.step for j in trainings(desk.state, method)):
        return ""
    return f"{first.id} {first.status} before its first train step ({first.reason})"


TOOLS = [sweep]
