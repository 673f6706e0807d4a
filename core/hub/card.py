"""A model card out of a run's state: every figure has its interval and the number of its event."""

from __future__ import annotations

from pathlib import PurePath

from core.describe import percent, points
from core.hub.licences import follows, warning
from core.hub.provenance import Origin, Provenance
from core.state import RunState


def model_card(s: RunState, made_from: Provenance, *, adapter: bool = False) -> str:
    """README.md for the run's model: base, data, licences, recipe, evaluation, limits, and how to make it again."""
    licence = _licence(made_from)
    parts = [
        _header(made_from, licence, adapter), f"# {s.title or s.goal or s.run}", _intro(s, made_from), _evaluation(s),
        _data(s), _licences(made_from, licence), _recipe(s),
    ]  # fmt: skip
    return "\n\n".join([*parts, _limits(s), _again(s, made_from)]) + "\n"


def _header(made_from: Provenance, licence: str, adapter: bool) -> str:
    lines = ["---", "library_name: " + ("peft" if adapter else "transformers"), "pipeline_tag: text-generation"]
    lines += [f"license: {licence}"] if licence else []
    lines += [f"base_model: {made_from.base.name}"] if made_from.base.hub else []
    known = [o.name for o in made_from.data if o.hub]
    lines += ["datasets:", *(f"- {name}" for name in known)] if known else []
    return "\n".join([*lines, "tags:", "- post-training", "- ml-intern", "---"])


def _licence(made_from: Provenance) -> str:
    """The model's licence, where its sources leave only one; else empty."""
    if made_from.unclear or any(o.made == "teacher" for o in made_from.data):
        return ""
    return follows(made_from.base.licence, [o.licence for o in made_from.data if not o.made])


def _licences(made_from: Provenance, licence: str) -> str:
    lines = ["## Licences", "", f"- Base model `{made_from.base.name}`: {_terms(made_from.base)}"]
    lines += [f"- Data `{o.name}`: {_terms(o)}" for o in made_from.data]
    lines += [f"- `{name}`: the log does not say what it was made from." for name in made_from.unclear]
    if not made_from.data and not made_from.unclear:
        lines.append("- No training data went into this model.")
    outcome = (
        f"The base's licence goes on to this model, and no data set asks for more than credit: {licence}."
        if licence
        else "**No licence is set for this model**: it does not follow from its sources. Before passing it on, choose one that "
        "every source above allows."
    )
    return "\n".join([*lines, "", outcome])


def _terms(o: Origin) -> str:
    if o.made == "teacher":
        return "**written by that model in this run: its terms of use apply**."
    if o.made == "program":
        return "written by a generator program in this run."
    stated = f"{o.licence} [{o.seq}]" if o.licence else ""
    said = warning(o.licence)
    return f"{stated}: **{said}**." if stated and said else f"{stated or f'**{said}**'}."


def _intro(s: RunState, made_from: Provenance) -> str:
    kind = "An improvement of" if s.scores.heldout_delta else "A model from"
    return f"{kind} `{made_from.base.name}` on {s.task}, made by run `{s.run}` of intern (brain: {s.brain}). Numbers in brackets name the event in its log."


def _evaluation(s: RunState) -> str:
    x = s.scores
    if x.heldout_delta is None or x.heldout_interval is None:
        return "## Evaluation\n\nNot measured on held-out samples."
    low, high = x.heldout_interval
    verdict = (
        "more than noise" if low > 0 else "worse than the base" if high < 0 else "no improvement shown, within noise"
    )
    return (
        f"## Evaluation\n\nHeld-out score of {s.task}: {percent(x.heldout_baseline)} before, {percent(x.heldout_best)} after; "
        f"difference {points(x.heldout_delta)} points, 95 % interval [{points(low)}, {points(high)}]: {verdict} [{x.heldout_seq}]."
    )


def _data(s: RunState) -> str:
    used = [d for d in s.datasets.values() if d.prepared]
    if not used:
        return "## Data\n\nNo training data was prepared."
    lines = ["## Data", ""]
    for d in used:
        dropped = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in d.dropped.items()) or "nothing"
        lines.append(f"- `{d.name}`: {d.train_rows} rows for training; dropped: {dropped} [{d.seq}].")
    return "\n".join(lines)


def _recipe(s: RunState) -> str:
    trained = [j for j in s.jobs.values() if j.kind == "training" and j.status == "finished"]
    lines = ["## Training", ""] + [f"- {j.title} ({j.method})" for j in trained]
    return "\n".join(lines) if trained else "## Training\n\nNo training finished: decoding and template only."


def _limits(s: RunState) -> str:
    lines = ["## Limitations", "", f"- Measured on {s.task} alone; other skills of the base were not measured."]
    leaked = sum(c.count for d in s.datasets.values() for c in d.concerns if c.kind.startswith("contaminat"))
    if leaked:
        lines.append(f"- {leaked} rows of the raw data held evaluation samples; they were dropped in preparation.")
    return "\n".join(lines)


def _again(s: RunState, made_from: Provenance) -> str:
    """The command, without the folders of the machine it ran on."""
    task = s.task if s.task.startswith(("pocket/", "inspect/")) else PurePath(s.task_path).name or s.task
    command = f"intern run --task {task} --model {made_from.base.name} --brain {s.brain} --seed {s.seed} --hours {s.budget.hours:g}"
    return f"## Reproduce\n\n```\n{command}\n```"


def record_card(s: RunState, record: str) -> str:
    """README.md of a data set repository that holds the run's trace or its reproducibility pack."""
    said = {
        "trace": "The session of the run, one JSON object a line, in the Hub's Session Trace Simple Format. Long tool outputs "
        "are in full; known secrets are masked.",
        "repro": "Everything that led to the run's final model. In `pack/`: `pip install -r requirements.txt`, then "
        "`python rerun.py` trains it again and compares the score.",
    }[record]
    tags = ["post-training", "ml-intern", *(["agent-traces"] if record == "trace" else ["reproducibility"])]
    config = ["configs:", "- config_name: default", "  data_files: '*.jsonl'"] if record == "trace" else []
    head = ["---", "tags:", *(f"- {tag}" for tag in tags), *config, "---"]
    return "\n".join([*head, "", f"# {s.title or s.goal or s.run}", "", said, "", _evaluation(s)]) + "\n"
