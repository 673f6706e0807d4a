"""Experiments and their verdicts, and which model is the best so far."""

from __future__ import annotations

import math

from core import events as e
from core.agent.desk import Desk
from core.errors import ToolError
from core.evaluation.stats import verdict as verdict_of
from core.state import Evaluation, RunState
from core.tools.keep import keep
from core.tools.toolbox import number, text, tool


@tool(
    {
        "experiment": text("A new id, such as experiment-3"),
        "hypothesis": text("What you expect, in one sentence"),
        "change": text("The one thing that changes", optional=True),
        "budget_s": number("Seconds it may take, by the clock (default: all that is left)", optional=True),
        "parent": text("Experiment it branches off (default: the one that the best model is from)", optional=True),
    },
    effect="idempotent",
    tier="workspace",
)
def start_experiment(
    desk: Desk,
    experiment: str,
    hypothesis: str,
    change: str | None = None,
    budget_s: float | None = None,
    parent: str | None = None,
) -> object:
    """Open an experiment: one hypothesis, one change, a budget its trainings are held to."""
    state = desk.state
    if experiment not in state.experiments:
        if parent and parent not in state.experiments:
            raise ToolError(
                f"No experiment is called {parent!r}", next="Known: " + (", ".join(state.experiments) or "none")
            )
        left = max(desk.clock.work_left_s, 0.0)
        budget = min(left, math.inf if budget_s is None else max(budget_s, 0.0))
        branch = parent if parent is not None else _of_best(state)
        desk.emit(
            e.ExperimentStarted(
                experiment=experiment,
                hypothesis=hypothesis,
                change=change or "",
                budget_s=round(budget, 1) if math.isfinite(budget) else None,
                parent=branch,
            )
        )
    return {"experiment": experiment}


def _of_best(state: RunState) -> str:
    """The experiment whose job the best model so far is from; "" for the base."""
    best = state.evaluations.get(state.scores.best_evaluation or "")
    jobs = [j for j in state.jobs.values() if best is not None and j.checkpoint and j.checkpoint == best.model]
    return jobs[-1].experiment if jobs else ""


@tool(
    {
        "experiment": text("Its id"),
        "evaluation": text("The evaluation that decides; none where the experiment failed before one", optional=True),
        "why": text("What you make of it", optional=True),
    },
    effect="idempotent",
    tier="workspace",
)
def conclude_experiment(desk: Desk, experiment: str, evaluation: str | None = None, why: str | None = None) -> object:
    """Close an experiment. The verdict follows from the interval of the paired difference, not from opinion."""
    if experiment not in desk.state.experiments:
        raise ToolError(f"No experiment is called {experiment!r}", next="Known: " + ", ".join(desk.state.experiments))
    if evaluation is None:
        desk.emit(
            e.ExperimentConcluded(experiment=experiment, verdict="failed", why=why or "no checkpoint worth evaluating")
        )
        return {"verdict": "failed"}
    found = _evaluation(desk, evaluation)
    verdict = verdict_of(found.delta_interval)
    said = why or f"{found.label} scores {100 * found.score:.1f} %"
    desk.emit(
        e.ExperimentConcluded(
            experiment=experiment, verdict=verdict, why=said, evaluation=evaluation, delta=found.delta, interval=found.delta_interval
        )
    )  # fmt: skip
    return {"verdict": verdict, "delta": found.delta, "interval": found.delta_interval}


def _evaluation(desk: Desk, name: str) -> Evaluation:
    found = desk.state.evaluations.get(name)
    if found is None or not found.done:
        known = ", ".join(x.id for x in desk.state.evaluations.values() if x.done)
        raise ToolError(f"No finished evaluation is called {name!r}", next=f"Known: {known}")
    return found


@tool(
    {"model": text("base or a job's id"), "evaluation": text("Its evaluation on the development split")},
    effect="idempotent",
    tier="workspace",
)
def promote(desk: Desk, model: str, evaluation: str) -> object:
    """Make this model the final_model, with the decoding it was evaluated with. Refused unless it is the best so far."""
    # a path may hold another base, better by itself
    if model not in ("base", "final", "final_model", *desk.state.jobs):
        raise ToolError(f"{model[:200]} is no model of this run", next="Promote base, or a job by its id")
    found = _evaluation(desk, evaluation)
    source = desk.model_path(model)
    if found.model != source:
        raise ToolError(f"{evaluation} scored another model ({found.model})", next="Evaluate this one first")
    keep(desk, model, found)
    return {"final_model": desk.state.checkpoint, "score": found.score}


TOOLS = [start_experiment, conclude_experiment, promote]
