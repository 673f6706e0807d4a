"""Keeping the best: `final_model` is the model with the highest development score of all that were evaluated so far."""

from __future__ import annotations

from typing import Any

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.agent.trust import approved_risks
from core.errors import InternError, ToolError
from core.evaluation.prompting import Decoding
from core.final_model import promote_folder
from core.state import Evaluation


def keep(desk: Desk, model: str, found: Evaluation) -> None:
    """Make `model` ("base" or a job's id) the final_model, with the decoding of `found`, its evaluation on the development
    split. Nothing is done where it is that already. ToolError for one that is not the best so far, or may not be kept."""
    scores = desk.state.scores
    if scores.best_evaluation == found.id:
        return  # before a crash
    if found.shots:
        raise ToolError("A few-shot score says nothing of the model alone", next="Promote with a zero-shot evaluation")
    best = desk.state.evaluations.get(scores.best_evaluation)
    if best is not None and found.samples < best.samples:
        raise ToolError(
            f"{found.id} saw {found.samples} samples, the best so far {best.samples}: scores of few samples are noise",
            next="Evaluate it on all development samples",
        )
    if scores.best is not None and found.score <= scores.best:
        raise ToolError(
            f"{100 * found.score:.1f} % is not above the best so far, {100 * scores.best:.1f} %", next="Keep the best"
        )
    target = desk.folder / "final_model"
    try:
        digest = promote_folder(
            desk.model_path(model),
            target,
            decoding_of(desk, found),
            stop_ids_of(desk, found),
            desk.prompting,
            approved_risks(desk.state),
        )
    except InternError as error:
        raise ToolError(str(error)) from error
    desk.emit(
        e.CheckpointPromoted(source=model, path=str(target), evaluation=found.id, score=found.score, digest=digest)
    )


def decoding_of(desk: Desk, found: Evaluation) -> Decoding:
    """The decoding an evaluation used."""
    sampled = found.decoding.removeprefix("sampled at ")
    temperature = 0.0 if found.decoding == "greedy" else float(sampled)
    return Decoding(max_new_tokens=desk.max_new_tokens, temperature=temperature)


def stop_ids_of(desk: Desk, found: Evaluation) -> list[int]:
    """The stop tokens an evaluation used, as its job recorded them."""
    job, _, variant = found.id.partition("/")
    try:
        result: dict[str, Any] = msgspec.json.decode((desk.folder / "jobs" / job / "out" / "result.json").read_bytes())
    except OSError as error:
        raise ToolError(f"The record of {found.id} is gone: {error.strerror}", next="Evaluate again") from error
    found_ids: list[list[int]] = [v["stop_ids"] for v in result["variants"] if v["name"] == variant]
    return found_ids[0] if found_ids else []
