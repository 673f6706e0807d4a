"""The report: what was asked, read, tried, what failed and why, and what came of it. Each figure names its event."""

from __future__ import annotations

from pathlib import Path

from core.agent.clean_data import approval_of
from core.compute.usage import dollars, gpu_hours
from core.describe import percent, points
from core.evaluation.comparisons import adjusted, corrected
from core.evaluation.stats import verdict as verdict_of
from core.hub.stated import licence_of, origins, said_of, shown
from core.state import Evaluation, Experiment, RunState


def write_report(state: RunState, path: Path) -> None:
    """Write `report.md`, atomically."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(render_report(state))
    temporary.replace(path)


def render_report(state: RunState) -> str:
    """The report of a run in Markdown. `[n]` is the number of the event a figure comes from."""
    parts = [
        _head(state),
        _result(state),
        _read(state),
        _data(state),
        _base(state),
        _experiments(state),
        _failures(state),
        _machine(state),
    ]
    return "\n\n".join(part for part in [*parts, _lessons(state), _reproduce(state)] if part) + "\n"


def _head(s: RunState) -> str:
    lines = [
        f"# {s.title or s.goal}",
        "",
        f"Run `{s.run}`, {s.status}: {s.reason.rstrip('.')}. Numbers in brackets name the event in the log (`intern events {s.run}`).",
        "",
        f"- Question: can `{s.model}` be improved on {s.task}?",
        f"- Brain: {s.brain}; seed {s.seed}; budget {s.budget.hours:g} hours, used {s.used_s() / 3600:.2f}.",
    ]
    if s.sandbox:
        lines.append(f"- Code of a brain ran under: {s.sandbox}. Jobs ran on: {s.compute or 'local'}.")
        held = [f"{j.id} ({j.sandbox})" for j in s.jobs.values() if j.sandbox]
        lines.append(
            f"- Jobs with code of the brain: {', '.join(held) or 'none; all others ran the recipes of this program'}."
        )
    if s.brain == "playbook":
        lines.append("- The playbook is a fixed policy: its runs prove the harness, not research skill.")
    return "\n".join(lines)


_CLAIMS = {
    "better": "an improvement, more than noise",
    "worse": "worse than the base",
    "no_difference": "**no improvement shown**, the difference is within noise",
}


def _result(s: RunState) -> str:
    scores = s.scores
    if scores.heldout_delta is None or scores.heldout_interval is None:
        return "## Result\n\nNo held-out score: the run ended before the last evaluation."
    low, high = scores.heldout_interval
    final = s.evaluations.get("heldout-final_model")
    pairing = "paired by sample" if final and final.paired else "not paired: the evaluation reports no single samples"
    verdict = _CLAIMS[verdict_of(scores.heldout_interval)]
    return "\n".join(
        [
            "## Result",
            "",
            f"Held-out: {percent(scores.heldout_baseline)} -> **{percent(scores.heldout_best)}**, "
            f"{points(scores.heldout_delta)} points, 95 % interval [{points(low)}, {points(high)}], "
            f"n = {final.samples if final else 0}, {pairing}: {verdict} [{scores.heldout_seq}].",
            "",
            *(["`evaluate.py` gives percent, and is read so.", ""] if scores.scale == "percent" else []),
            *_published(s),
            "The held-out split was read once, at the end; every choice was made on the development split.",
            f"The model: `{s.checkpoint}` [{s.checkpoint_seq}].",
        ]
    )


def _published(s: RunState) -> list[str]:
    if s.scores.published is None:
        return []
    quoted = f"`{s.scores.published_model}`, the official instruct model, {percent(s.scores.published)}"
    return [f"Published, not measured here: {quoted} ({s.scores.published_source}) [{s.scores.published_seq}].", ""]


def _machine(s: RunState) -> str:
    """What it ran on and what that used; a GPU that a stand-in library made up is called that."""
    lines: list[str] = []
    for d in sorted(s.devices.values(), key=lambda d: d.index):
        fake = " **FAKE: a stand-in library, not a GPU**" if d.source == "fake" else ""
        name = d.name if d.source == "psutil" else f"GPU {d.index}, {d.name}"
        trouble = f"; at times {'; '.join(d.troubles)}" if d.troubles else ""
        lines.append(f"- {name}, measured by {d.source}{fake}{trouble} [{d.seq}].")
    used = [j for j in s.jobs.values() if j.gpus or j.usd]
    if used:
        hours = sum(gpu_hours(j.gpus, j.seconds) for j in used)
        lines.append(
            f"- {len(used)} jobs were given GPUs or cost money: {hours:.2f} GPU-hours, {dollars(sum(j.usd for j in used))}."
        )
        lines += ["", "| job | GPUs | hours | GPU-hours | cost |", "|---|---|---|---|---|"]
        lines += [
            f"| {j.id} {j.method or j.kind} | {j.gpus} | {j.seconds / 3600:.2f} | {gpu_hours(j.gpus, j.seconds):.2f} | {dollars(j.usd)} |"
            for j in used
        ]
    return "\n".join(["## Machine", "", *lines]) if lines else ""


def _read(s: RunState) -> str:
    read = [p for p in s.papers.values() if p.read]
    if not read:
        return ""
    lines = ["## What was read", ""]
    for p in read:
        taken = "; ".join(p.taken[:3])
        lines.append(f"- {p.title} ({p.year or 'n.d.'}), from {p.source} [{p.seq}]" + (f": {taken}" if taken else ""))
    return "\n".join(lines)


def _data(s: RunState) -> str:
    if not s.datasets:
        return ""
    lines = ["## Data", ""]
    for d in s.datasets.values():
        if d.prepared:
            dropped = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in d.dropped.items()) or "nothing"
            lines.append(
                f"- `{d.name}`: {d.train_rows} rows for training, {d.dev_rows} for development; dropped: {dropped} [{d.seq}]"
            )
        else:
            concerns = ", ".join(f"{c.count} {c.kind.replace('_', ' ')}" for c in d.concerns) or "none"
            lines.append(f"- `{d.name}`: {d.rows} rows; concerns: {concerns} [{d.seq}]")
    return "\n".join(lines + _licences(s) + _contamination(s))


def _licences(s: RunState) -> list[str]:
    """The base's licence and that of each data set looked at or trained on; what is unknown is said to be unknown."""
    used = [d for d in s.datasets.values() if d.prepared]
    seen = {o.name: o for d in used for o in origins(s, d)}
    seen |= {d.name: d for d in s.datasets.values() if d.columns and not d.prepared and d.path not in seen}
    lines = ["", "Licences, as stated by their owners (no legal advice):", ""]
    lines.append(f"- base `{shown(s.model)}`: {said_of(s.licence, s.licence_seq)}")
    return [*lines, *(f"- `{shown(d.name)}`: {licence_of(s, d)}" for d in seen.values())]


def _contamination(s: RunState) -> list[str]:
    """Prepared data that holds evaluation samples, and who allowed a training on it; data that was not wholly compared."""
    lines: list[str] = []
    for digest, verdict in s.contamination.items():
        if verdict.overlapping:
            asked = s.approvals.get(approval_of(digest))
            allowed = asked is not None and asked.decision == "approved"
            outcome = "a person allowed training on it" if allowed else "no training on it was allowed"
            lines.append(
                f"- **Contaminated:** {verdict.overlapping} of {verdict.rows} rows of `{verdict.dataset}` hold samples of the "
                f"evaluation [{verdict.seq}]; {outcome} (rows {digest[:12]})."
            )
        if verdict.uncompared:
            lines.append(
                f"- **Not wholly checked:** of `{verdict.dataset}` {verdict.uncompared:,} pairs of a row and an evaluation sample that "
                f"resemble each other were not compared, there were too many: copies with replaced words may be left [{verdict.seq}]."
            )
    return lines


def _base(s: RunState) -> str:
    done = [x for x in s.evaluations.values() if x.done and x.split == "dev"]
    if not done:
        return ""
    lines = [
        "## Development scores",
        "",
        "| model | score | 95 % interval | n | against the baseline | p, adjusted | event |",
        "|---|---|---|---|---|---|---|",
    ]
    family = adjusted(done)
    lines += [_row(x, family.get(x.id)) for x in done]
    if len(family) > 1:
        lines += ["", f"p: exact McNemar on paired samples, adjusted for {len(family)} comparisons (Holm)."]
    return "\n".join(lines)


def _row(x: Evaluation, p: float | None) -> str:
    delta = ""
    if x.delta is not None and x.delta_interval is not None:
        low, high = x.delta_interval
        delta = f"{points(x.delta)} [{points(low)}, {points(high)}] vs {x.against}"
    low, high = x.interval
    return f"| {x.label} | {percent(x.score)} | {percent(low)} – {percent(high)} | {x.samples} | {delta} | {'' if p is None else f'{p:.2g}'} | {x.seq} |"


def _experiments(s: RunState) -> str:
    if not s.experiments:
        return ""
    family = _adjusted(s)
    return "\n".join(["## Experiments", "", *[_experiment(s, x, family) for x in s.experiments.values()]])


def _adjusted(s: RunState) -> dict[str, float]:
    """p-values of the experiments, each corrected for their number (Holm): of twenty, one is better by chance."""
    values: dict[str, float] = {}
    for x in s.experiments.values():
        seen = (s.evaluations[name] for name in x.evaluations if name in s.evaluations)
        decided = next((found for found in seen if found.delta is not None and found.delta == x.delta), None)
        if decided is not None and decided.p_value is not None:
            values[x.id] = decided.p_value
    return corrected(values)


def _experiment(s: RunState, x: Experiment, adjusted: dict[str, float]) -> str:
    verdict = x.verdict.replace("_", " ")
    if x.verdict == "better" and adjusted.get(x.id, 0.0) > 0.05:
        verdict += f", but not after correction for {len(adjusted)} experiments (Holm p = {adjusted[x.id]:.2f})"
    delta = ""
    if x.delta is not None and x.interval is not None:
        delta = f", {points(x.delta)} [{points(x.interval[0])}, {points(x.interval[1])}]"
    jobs = "; ".join(
        f"{s.jobs[j].title} ({s.jobs[j].status})" for j in x.jobs if j in s.jobs and s.jobs[j].kind == "training"
    )
    branch = f" (from {x.parent})" if x.parent else ""
    ended = f"{verdict}{delta}: {x.why} [{x.concluded_seq}]" if verdict else "no verdict: the run ended before it"
    return f"- **{x.id}**{branch} {x.hypothesis} [{x.seq}]\n  - {ended}\n  - jobs: {jobs or 'none'}"


def _failures(s: RunState) -> str:
    failing = [f for f in s.failures if f.severity == "failing"]
    if not failing:
        return "## Failures\n\nNo training failed."
    lines = ["## Failures and what was changed", ""]
    for f in failing:
        evidence = "; ".join(f.evidence[:3])
        lines.append(f"- {f.job}: {f.kind.replace('_', ' ')} from step {f.first_step} [{f.seq}]: {evidence}.")
        if f.causes:
            lines.append(f"  - likely cause: {f.causes[0]}")
        if f.remedy:
            lines.append(
                f"  - changed: {f.remedy} [{f.remedy_seq}]"
                + (f"; the experiment came out {f.result}" if f.result else "")
            )
    return "\n".join(lines)


def _lessons(s: RunState) -> str:
    return "\n".join(["## Lessons", "", *[f"- {x}" for x in s.lessons]]) if s.lessons else ""


def _reproduce(s: RunState) -> str:
    return "\n".join(
        [
            "## Reproduce",
            "",
            "```",
            f"intern run --task {s.task_path if not s.task.startswith('pocket/') else s.task} --model {s.model} "
            f"--brain {s.brain} --seed {s.seed} --hours {s.budget.hours:g}",
            f"intern replay {s.run}",
            "```",
        ]
    )
