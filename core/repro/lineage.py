"""Which jobs led to the final model, and in which order: read out of the events alone, so the jobs of dead ends are left out.

A training starts from the base, from another job's model, or from `final_model`, which means whatever was promoted last
when it was launched. Following these back from the last promotion gives the shortest history that ends in the same model.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from core import events as e
from store.event import Event


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """One training that the final model stands on."""

    seq: int
    job: str
    title: str
    folder: str
    """Where the job lay when it ran."""
    model: str
    """What it started from, as its specification says."""
    steps: int | None
    """Train steps behind its model; None where it did not tell."""
    data: str = ""
    """Name of the prepared data it was trained on."""
    data_sha256: str = ""
    """SHA-256 of the rows as they were when it began; empty where they were not compared with the evaluation."""


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """`final_model` was replaced."""

    seq: int
    source: str
    evaluation: str
    score: float
    digest: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """The history of the final model, oldest first."""

    created: e.RunCreated
    root: str
    """The run's folder while it ran: paths in its log begin with it."""
    steps: tuple[Trained | Promoted, ...]
    datasets: tuple[e.DatasetPrepared, ...]
    """The prepared data that the trainings read."""
    heldout: e.EvaluationFinished | None
    models: dict[str, str]
    """Where each job's model lay when the run was there, by job."""


def lineage(events: Iterable[Event]) -> Lineage | None:
    """None for a run that promoted nothing: there is no model to make again."""
    created: e.RunCreated | None = None
    launched: dict[str, e.JobLaunched] = {}
    launched_at: dict[str, int] = {}
    results: dict[str, dict[str, Any]] = {}
    saved: dict[str, int] = {}
    models: dict[str, str] = {}
    digests: dict[str, str] = {}
    read: dict[str, str] = {}
    promoted: list[Promoted] = []
    datasets: dict[str, e.DatasetPrepared] = {}
    heldout: e.EvaluationFinished | None = None
    root = ""
    for event in events:
        match e.payload_of(event):
            case e.RunCreated() as p:
                created = p
            case e.JobLaunched() as p:
                launched[p.job], launched_at[p.job] = p, event.seq
                read[p.job] = digests.get(str(p.config.get("data", "")), "")
                root = root or str(Path(p.folder).parents[1])
            case e.JobFinished() as p:
                results[p.job] = p.result
                models[p.job] = p.checkpoint or models.get(p.job, "")
            case e.CheckpointSaved() as p:
                saved[p.job], models[p.job] = p.step, p.path
            case e.ContaminationChecked() as p if p.digest:
                digests[p.dataset] = p.digest
            case e.CheckpointPromoted() as p:
                promoted.append(
                    Promoted(seq=event.seq, source=p.source, evaluation=p.evaluation, score=p.score, digest=p.digest)
                )
                root = root or str(Path(p.path).parent)
            case e.DatasetPrepared() as p:
                datasets[p.name] = p
            case e.EvaluationFinished() as p if p.split == "heldout" and p.evaluation == "heldout-final_model":
                heldout = p
            case _:
                pass
    if created is None or not promoted:
        return None
    trained = {
        job: Trained(
            seq=launched_at[job], job=job, title=p.title, folder=p.folder, model=str(p.config.get("model", "")),
            steps=results[job].get("steps") if job in results else saved.get(job),
            data=str(p.config.get("data", "")), data_sha256=read[job],
        )
        for job, p in launched.items()
        if p.kind == "training"
    }  # fmt: skip
    steps = _ancestors(promoted, trained, root)
    used = {s.data for s in steps if isinstance(s, Trained)}
    return Lineage(
        created=created, root=root, steps=steps, datasets=tuple(d for d in datasets.values() if d.name in used),
        heldout=heldout, models=models,
    )  # fmt: skip


def job_in(path: str, root: str) -> str:
    """The job that a model's name or path belongs to (`job-3`, `<root>/jobs/job-3/model`); empty for none."""
    name = path.removeprefix(f"{root}/jobs/").split("/")[0]
    return name if name.startswith("job-") else ""


def _ancestors(promoted: list[Promoted], trained: dict[str, Trained], root: str) -> tuple[Trained | Promoted, ...]:
    kept: dict[int, Trained | Promoted] = {}
    open_steps: list[Trained | Promoted] = [promoted[-1]]
    while open_steps:
        step = open_steps.pop()
        if step.seq in kept:
            continue
        kept[step.seq] = step
        named = step.source if isinstance(step, Promoted) else step.model
        if named in ("final", f"{root}/final_model"):
            before = [p for p in promoted if p.seq < step.seq]
            open_steps += before[-1:]
        elif (job := job_in(named, root)) in trained:
            open_steps.append(trained[job])
    return tuple(kept[seq] for seq in sorted(kept))
