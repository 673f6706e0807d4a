"""Evaluation on the development split: several ways of asking in one job, intervals, paired deltas, wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.errors import ToolError
from core.evaluation.analysis import Sample, analyse
from core.evaluation.comparisons import adjusted
from core.evaluation.prompting import Decoding
from core.evaluation.sampler import SampleSpec, Variant
from core.evaluation.stats import paired_difference, smallest_detectable, wilson
from core.state import Evaluation
from core.tools.data import SampleRow, read_samples
from core.tools.keep import keep
from core.tools.toolbox import array, integer, text, tool


class Way(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variant as the brain asks for it."""

    name: str = "greedy"
    temperature: float | None = None
    """None: as the model's own generation_config says, stop tokens included."""
    shots: int = 0


@tool(
    {
        "model": text("base, final, a job's id, or a path"),
        "label": text("A short name for the table of scores"),
        "variants": array(
            "Ways of asking: [{name, temperature, shots}]; no temperature: as the model itself says", optional=True
        ),
        "samples": integer("How many development samples (default all)"),
        "against": text("Evaluation to compare with, paired by sample (default the baseline)", optional=True),
        "experiment": text("Experiment it belongs to", optional=True),
    },
    effect="keyed",
    tier="workspace",
    waits=True,
)
def evaluate(
    desk: Desk,
    model: str,
    label: str,
    variants: Sequence[dict[str, Any]] | None = None,
    samples: int | None = None,
    against: str | None = None,
    experiment: str | None = None,
) -> object:
    """Score a model on the development split: score, 95 % interval, paired delta, and what is wrong with wrong answers. A
    training that scores above the best so far becomes the final_model at once."""
    data = desk.dev_file()
    if data is None:
        raise ToolError("There are no development samples", next="Prepare data first: a part is set aside by prompt")
    try:
        ways = msgspec.convert(list(variants or [{"name": "greedy", "temperature": 0.0}]), list[Way])
    except msgspec.ValidationError as error:
        raise ToolError(f"The variants cannot be read: {error}", next="Each is {name, temperature, shots}") from error
    ways = _distinct(desk, ways)
    job = _launch(desk, model, label, data, ways, samples or -1, experiment)
    ended = desk.wait_for_job(job)
    return {
        "job": job,
        "seconds": ended.seconds,
        "evaluations": [
            _finish(desk, job, model, label, way, against, experiment) | _kept(desk, model, _id(job, way))
            for way in ways
        ],
        "seconds_left_for_research": round(desk.clock.work_left_s),
    }


def _distinct(desk: Desk, ways: list[Way]) -> list[Way]:
    """Greedy under two names is measured once, unless its stop tokens differ."""
    names = [way.name for way in ways]
    if len(set(names)) < len(names):
        raise ToolError("Two variants have one name", next="Give each its own")
    return ways


def _decoding(desk: Desk, way: Way) -> Decoding:
    own = 1.0 if desk.card.samples_by_default else 0.0
    temperature = own if way.temperature is None else way.temperature
    return Decoding(max_new_tokens=desk.max_new_tokens, temperature=temperature, shots=way.shots)


def _launch(
    desk: Desk, model: str, label: str, data: Path, ways: list[Way], samples: int, experiment: str | None
) -> str:
    known = desk.launched()
    job = known or desk.new_job()
    prepared = next((d for d in desk.state.datasets.values() if d.prepared and d.train_rows), None)
    spec = SampleSpec(
        model=desk.model_path(model),
        data=str(data),
        output_folder=str(desk.folder / "jobs" / job / "out"),
        limit=samples,
        variants=tuple(
            Variant(
                name=_file(w.name),
                decoding=_decoding(desk, w),
                prompting=desk.prompting,
                declared_stops_only=w.temperature is None,
            )
            for w in ways
        ),
        verifier=desk.verifier,
        shots_from=str(Path(prepared.prepared) / "train.jsonl") if prepared else None,
        threads=desk.cores,
        seed=desk.settings.seed,
        device=desk.device,
    )
    rows = sum(1 for line in data.read_bytes().splitlines() if line.strip())
    n = rows if samples < 0 else min(samples, rows)
    for way in ways:
        if known:
            break  # a call taken up again after a crash has said so already
        desk.emit(
            e.EvaluationStarted(
                evaluation=_id(job, way), label=_shown(label, way), model=spec.model, split="dev", samples=n,
                detectable=smallest_detectable(n),
            )
        )  # fmt: skip
    return desk.launch(
        kind="evaluation", method="sample", title=f"evaluate {label}", spec=spec,
        config={"model": model, "threads": desk.cores, "samples": n}, threads=desk.cores, experiment=experiment or "",
        time_limit_s=max(10.0, desk.clock.work_left_s), job=job,
    )  # fmt: skip


def _finish(
    desk: Desk, job: str, model: str, label: str, way: Way, against: str | None, experiment: str | None
) -> dict[str, Any]:
    rows = read_samples(desk, job, _file(way.name))
    correct = sum(r.correct for r in rows)
    report = analyse([msgspec.convert(msgspec.to_builtins(r), Sample) for r in rows])
    groups = [
        e.ErrorGroup(
            kind=g.kind,
            count=g.count,
            examples=[f"{x.prompt} → {x.completion} (right: {x.answer})" for x in g.examples],
        )
        for g in report.groups
    ]
    told = desk.state.evaluations.get(_id(job, way))
    if told is not None and told.done:  # by a host that died then: the first evaluation of a run is the baseline now
        reference = desk.state.evaluations.get(told.against)
    else:
        reference = desk.state.evaluations.get(against or desk.state.scores.baseline_evaluation)
    delta = _against(rows, reference)
    decoding = _decoding(desk, way)
    finished = e.EvaluationFinished(
        evaluation=_id(job, way), label=_shown(label, way), model=desk.model_path(model), split="dev",
        samples=len(rows), score=correct / len(rows), interval=wilson(correct, len(rows)),
        decoding="greedy" if decoding.temperature == 0 else f"sampled at {decoding.temperature:g}", shots=way.shots, job=job,
        experiment=experiment or "", against=reference.id if reference and delta else "",
        delta=delta.delta if delta else None, delta_interval=delta.interval if delta else None, paired=delta is not None,
        p_value=delta.p if delta else None, groups=groups,
        samples_path=str(desk.folder / "jobs" / job / "out" / f"samples-{_file(way.name)}.jsonl"),
    )  # fmt: skip
    if told is None or not told.done:
        desk.emit(finished)
    family = adjusted(desk.state.evaluations.values())
    return {
        "evaluation": finished.evaluation, "label": finished.label, "score": finished.score, "interval": finished.interval,
        "n": finished.samples, "temperature": decoding.temperature, "shots": way.shots, "against": finished.against,
        "delta": finished.delta, "delta_interval": finished.delta_interval, "p_value": finished.p_value,
        "p_adjusted": family.get(finished.evaluation), "comparisons": len(family), "smallest_detectable": round(smallest_detectable(len(rows)), 4),
        "ended_share": report.ended_share, "groups": [{"kind": g.kind, "count": g.count, "examples": g.examples[:2]} for g in groups],
    }  # fmt: skip


def _kept(desk: Desk, model: str, evaluation: str) -> dict[str, Any]:
    """A better training is kept before anything else is done, so that whatever ends the run next finds it there. Of the base a
    brain chooses among several ways of asking."""
    found, best = desk.state.evaluations[evaluation], desk.state.scores.best
    if model not in desk.state.jobs or found.shots or best is None:
        return {}
    again = desk.state.scores.best_evaluation == evaluation  # kept by a host that died then
    if found.score <= best and not again:
        return {}
    try:
        keep(desk, model, found)
    except ToolError as error:
        return {"final_model": f"not this one: {error}"}
    return {"final_model": "this one, from now on"}


def _against(rows: list[SampleRow], reference: Evaluation | None):
    """The paired difference to an earlier evaluation on the same samples; None where there is none."""
    if reference is None or not reference.done or not Path(reference.samples_path).exists():
        return None
    before = {
        r.id: float(r.correct) for line in Path(reference.samples_path).read_bytes().splitlines() if (r := _row(line))
    }
    after = {r.id: float(r.correct) for r in rows}
    return paired_difference(before, after) if before.keys() & after.keys() else None


def _row(line: bytes) -> SampleRow:
    return msgspec.json.decode(line, type=SampleRow)


def _file(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def _id(job: str, way: Way) -> str:
    return f"{job}/{_file(way.name)}"


def _shown(label: str, way: Way) -> str:
    return label if way.name == "greedy" and label != "base" else f"{label}, {way.name}"


@tool({"evaluation": text("Id of a finished evaluation"), "limit": integer("How many (default 10)")})
def read_wrong_answers(desk: Desk, evaluation: str, limit: int | None = None) -> object:
    """Wrong answers of an evaluation, grouped by kind, with examples."""
    found = desk.state.evaluations.get(evaluation)
    if found is None or not found.samples_path:
        known = ", ".join(x.id for x in desk.state.evaluations.values() if x.samples_path)
        raise ToolError(f"No evaluation is called {evaluation!r}", next=f"Known: {known}")
    rows = [_row(line) for line in Path(found.samples_path).read_bytes().splitlines()]
    wrong = [r for r in rows if not r.correct][: limit or 10]
    return {
        "evaluation": evaluation,
        "groups": [{"kind": g.kind, "count": g.count, "examples": g.examples} for g in found.groups],
        "wrong": [
            {"prompt": r.prompt, "completion": r.completion, "answer": r.answer, "ended": r.ended} for r in wrong
        ],
    }


TOOLS = [evaluate, read_wrong_answers]
