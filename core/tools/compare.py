"""Several trainings as one experiment: a matrix of single changes, or successive halving over settings.

One job goes first; the others are queued once it has made a step, for what is wrong with it is wrong with all. Every row is a
branch of the experiment with a verdict of its own, by the development scores of its job: these are means over the same
samples without pairs, so the intervals are wide, and a winner by a little has to be evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from core import events as e
from core.agent.desk import OPEN, Desk, Order
from core.agent.workrules import check_tried
from core.compute.spec import element
from core.errors import ToolError
from core.evaluation.stats import Difference, holm, unpaired_difference
from core.evaluation.stats import verdict as verdict_of
from core.state import Job
from core.tools.sweep import start_all, variants
from core.tools.toolbox import array, flag, mapping, text, tool
from core.tools.train import METHODS, SETTINGS, checked_spec, order

ETA = 3
"""Of a rung a third goes on, with three times the train steps: the factor of Hyperband (1603.06560)."""


class Row(NamedTuple):
    """A row of the matrix."""

    branch: str
    """Its experiment."""
    change: dict[str, Any]
    number: int
    job: str = ""
    score: float | None = None
    """Last development score; None where the job failed before one."""
    n: int = 0
    """Development samples behind it."""
    refused: str = ""
    """Why its job could not start."""

    @property
    def said(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.change.items()) or "nothing changed"


@tool(
    {
        "experiment": text("Id of the experiment these are branches of: a known one, or a new one"),
        "method": text(", ".join(METHODS)),
        "data": text("Name of prepared data"),
        "model": text("Start from: base, final or a job's id"),
        "vary": array("The rows: objects of the settings that differ, such as [{'lr': 1e-5}, {'packing': true}]"),
        "settings": mapping(f"What they have in common: {SETTINGS}"),
        "halving": flag(f"Successive halving: max_steps is the first round's; the best third goes on with {ETA} times as many"),
    },
    effect="keyed",
    tier="workspace",
    waits=True,
    runs=("settings", "vary"),
)  # fmt: skip
def compare(
    desk: Desk,
    experiment: str,
    method: str,
    data: str,
    model: str,
    vary: Sequence[Any],
    settings: dict[str, Any] | None = None,
    halving: bool | None = None,
) -> object:
    """Train several variants and wait for them: an ablation (one job without any change goes first and is what the others are
    compared with), or successive halving for hyperparameters. Returns the table, best first; each row is an experiment."""
    common = settings or {}
    rows = _rows(experiment, vary, with_unchanged=not halving)
    for row in rows:  # what cannot work is said before anything runs
        checked_spec(desk, method, data, model, common | row.change)
    if experiment not in desk.state.experiments:
        desk.emit(
            e.ExperimentStarted(experiment=experiment, hypothesis=f"{method}: which of {len(rows)} settings is best")
        )
    for row in rows:
        if row.branch not in desk.state.experiments:
            desk.emit(
                e.ExperimentStarted(experiment=row.branch, hypothesis=row.said, change=row.said, parent=experiment)
            )

    def run(alive: list[Row], rung: int, values: dict[str, Any]) -> list[Row]:
        whole = desk.effect_id(f"rung-{rung}")

        def ordered(number: int, job: str) -> Order:
            row = rows[number]
            spec = checked_spec(desk, method, data, model, values | row.change, row.branch)
            check_tried(desk.state, method, spec.max_steps, spec.time_limit_s or desk.clock.work_left_s)
            title = f"{row.branch}: {row.said}"
            return order(desk, spec, data, model, title, row.branch, job, element(whole, number))

        return _run(desk, alive, whole, ordered)

    if not halving:
        measured = run(rows, 0, common)
        _conclude(desk, measured[1:], measured[0], "beside the job without a change")
        _close(desk, measured[0], "what the others were compared with")
        return _table(measured)
    steps, rung, done = int(common.get("max_steps") or 100), 0, list[Row]()
    alive = rows
    while True:
        alive = sorted(run(alive, rung, common | {"max_steps": steps}), key=_order)
        kept = alive[: -(-len(alive) // ETA)] if len(alive) > 1 else alive
        kept = [row for row in kept if row.score is not None]
        _conclude(desk, alive[len(kept) :], alive[0], f"after {steps} train steps beside the best of {len(alive)}")
        done = alive[len(kept) :] + done
        if len(kept) <= 1:
            if kept:
                _close(desk, kept[0], f"kept by successive halving, {steps} train steps")
            return _table(kept + done)
        alive, rung, steps = kept, rung + 1, steps * ETA


def _rows(experiment: str, vary: Sequence[Any], with_unchanged: bool) -> list[Row]:
    each = [{}, *variants(vary, least=1)] if with_unchanged else variants(vary)
    return [Row(f"{experiment}.{number + 1}", change, number) for number, change in enumerate(each)]


def _run(desk: Desk, rows: list[Row], whole: str, ordered: Callable[[int, str], Order]) -> list[Row]:
    """The rows with their jobs' scores. The first job makes a step, or ends, before the others are queued. `whole`: the effect
    id that those of the jobs are made of; what was launched before a crash is found by it."""

    def job_of(row: Row) -> str:
        return desk.job_of(element(whole, row.number)) or ""

    if not job_of(rows[0]):
        desk.start(ordered(rows[0].number, desk.new_job()))
    job = job_of(rows[0])
    desk.wait_until(lambda s: bool(s.jobs[job].step) or s.jobs[job].status not in OPEN, None)
    first = desk.journal.read(lambda s: s.jobs[job])
    if first.status == "failed" and not first.step:
        for other in rows:
            _fail(desk, other, f"{job}, the first of them, failed: {first.reason}")
        raise ToolError(
            f"The first job, {job}, failed: {first.reason}", next="Correct that; the others were not started"
        )
    refused = start_all(desk, ordered, [row.number for row in rows if not job_of(row)])
    rows = [row._replace(job=job_of(row), refused=refused.get(row.number, "")) for row in rows]
    jobs = [row.job for row in rows if row.job]
    desk.wait_until(lambda s: all(s.jobs[j].status not in OPEN for j in jobs), None)
    return [_scored(row, desk.state.jobs[row.job]) if row.job else row for row in rows]


def _scored(row: Row, job: Job) -> Row:
    score = job.last.get("dev_score")
    if score is None or job.status == "failed":
        return row
    return row._replace(score=score, n=int(job.last.get("dev_n") or 0))


def _order(row: Row) -> float:
    return -row.score if row.score is not None else 1.0


def _difference(row: Row, beside: Row) -> Difference | None:
    if row.score is None or beside.score is None or not row.n or not beside.n:
        return None
    return unpaired_difference(beside.score, beside.n, row.score, row.n)


def _conclude(desk: Desk, rows: Sequence[Row], beside: Row, how: str) -> None:
    """Of many rows one is better by chance: what is no more than noise after Holm's correction is no difference."""
    found = [(row, _difference(row, beside)) for row in rows]
    adjusted = iter(holm([difference.p for _, difference in found if difference is not None]))
    for row, difference in found:
        if difference is None or row.score is None or beside.score is None:
            _fail(desk, row, row.refused or f"{row.job} gave no development score")
            continue
        p, verdict = next(adjusted), verdict_of(difference.interval)
        why = f"{100 * row.score:.1f} %, {how}: {100 * beside.score:.1f} % (n={row.n}, not paired"
        why += f", Holm p = {p:.2g} over {len(rows)})" if len(rows) > 1 else ")"
        desk.emit(
            e.ExperimentConcluded(
                experiment=row.branch, verdict=verdict if p <= 0.05 else "no_difference", why=why, delta=difference.delta,
                interval=difference.interval,
            )
        )  # fmt: skip


def _close(desk: Desk, row: Row, why: str) -> None:
    if row.score is None:
        return _fail(desk, row, f"{row.job} gave no development score")
    said = f"{100 * row.score:.1f} %: {why}"
    desk.emit(e.ExperimentConcluded(experiment=row.branch, verdict="no_difference", why=said))
    return None


def _fail(desk: Desk, row: Row, why: str) -> None:
    desk.emit(e.ExperimentConcluded(experiment=row.branch, verdict="failed", why=why))


def _table(rows: list[Row]) -> object:
    return {
        "rows": [{"experiment": r.branch, "change": r.change, "job": r.job, "dev_score": r.score, "n": r.n} for r in sorted(rows, key=_order)],
        "note": "Development scores during training, not paired: evaluate the best before you promote it",
    }  # fmt: skip


TOOLS = [compare]
