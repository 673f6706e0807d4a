"""The task, the plan and notes: what a researcher keeps in view."""

from __future__ import annotations

from typing import Any

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.agent.patience import UNREACHED
from core.errors import ToolError, Unreachable
from core.tools.toolbox import array, text, tool

STATUSES = ("todo", "doing", "done", "failed", "skipped")


@tool()
def read_task(desk: Desk) -> object:
    """The task: goal, base model, evaluation, data files, limits, hardware. Read it first."""
    task, card = desk.task, desk.card
    return {
        "goal": desk.settings.goal,
        "task": task.name,
        "description": task.description,
        "metric": task.metric or "accuracy",
        "higher_is_better": task.higher_is_better,
        "model": {
            "path": desk.settings.model,
            "parameters": card.params,
            "architecture": card.architecture,
            "context_length": card.context_length,
            "has_chat_template": card.has_chat_template,
            "remote": card.remote,
        },
        "prompting": {
            "format": desk.prompting.format,
            "template": desk.prompting.template_path,
            "why": list(desk.prompting.reasons),
        },
        "verifier": desk.verifier.kind,
        "max_new_tokens": desk.max_new_tokens,
        "sample": task.sample,
        "data_files": [f.path for f in task.data_files],
        "data_notes": {f.path: f.note for f in task.data_files if f.note},
        "development_file": task.dev_file,
        "budget": {
            "hours": desk.settings.hours,
            "seconds_left_for_research": round(desk.clock.work_left_s),
            "seconds_held_back_for_the_last_evaluation": round(desk.clock.reserve_s),
            "usd": desk.settings.usd,
        },
        "machine": _machine(desk),
        "seed": desk.settings.seed,
        "autonomy": desk.settings.autonomy,
    }


def _machine(desk: Desk) -> dict[str, Any]:
    """Cores and GPUs of where jobs run; that nobody can tell now is a fact like another, and no reason to know nothing."""
    gpus = desk.gpus_now()
    if not isinstance(gpus, Unreachable):
        return {"cores": desk.cores, "gpus": gpus} | ({"job_arrays": True} if desk.arrays() else {})
    return {
        "cores": desk.cores,
        "gpus": None,
        "note": f"The place where jobs run {UNREACHED}: {gpus}. Read this again later",
    }


@tool(
    {"steps": array("The whole plan: a list of {id, title, status, note}; status is " + ", ".join(STATUSES))},
    effect="idempotent",
    tier="workspace",
)
def update_plan(desk: Desk, steps: list[dict[str, Any]]) -> object:
    """Write the plan down, or change it. Always the whole list; exactly one step should be `doing`."""
    try:
        parsed = msgspec.convert(steps, list[e.PlanStep])
    except msgspec.ValidationError as error:
        raise ToolError(f"The plan cannot be read: {error}", next="Each step needs id and title") from error
    for step in parsed:
        if step.status not in STATUSES:
            raise ToolError(f"{step.id} has the status {step.status!r}", next="Use one of " + ", ".join(STATUSES))
    if parsed != desk.state.plan:
        desk.emit(e.PlanUpdated(steps=parsed))
    return "plan recorded"


@tool(
    {"content": text("What to keep"), "kind": text("note, or lesson: kept in view for the whole run", optional=True)},
    effect="idempotent",
    tier="workspace",
)
def note(desk: Desk, content: str, kind: str | None = None) -> object:
    """Keep a note or a lesson."""
    desk.emit(e.NoteAdded(text=content, kind="lesson" if kind == "lesson" else "note"))
    return "noted"


@tool(
    {"question": text("What you need to know"), "choices": array("Possible answers, if there are some", optional=True)},
    effect="idempotent",
    waits=True,
)
def ask_human(desk: Desk, question: str, choices: list[str] | None = None) -> object:
    """Ask the person you work for and wait for the answer. An unattended run answers that nobody is there."""
    name = f"question-{desk.call}"
    if name not in desk.state.questions:
        desk.emit(e.QuestionAsked(question=name, text=question, choices=choices or []))
    if desk.settings.unattended and not desk.state.questions[name].answer:
        desk.emit(
            e.QuestionAnswered(
                question=name, text="Nobody is here to answer: decide by the goal and the rules", by="policy"
            )
        )
    desk.wait_until(lambda s: bool(s.questions[name].answer), None)
    return {"answer": desk.state.questions[name].answer}


@tool()
def budget(desk: Desk) -> object:
    """Seconds left for research, and what has been used."""
    used = desk.state.budget
    return {
        "seconds_left_for_research": round(desk.clock.work_left_s),
        "seconds_used": round(desk.clock.used_s),
        "usd_used": used.usd_used,
        "tokens_used": used.tokens_used,
        **({"disk_gb_used": used.disk_used / 1e9, "disk_gb_limit": used.disk_gb} if used.disk_gb else {}),
        "jobs_running": [j.id for j in desk.state.running_jobs()],
    }


TOOLS = [read_task, update_plan, note, ask_human, budget]
