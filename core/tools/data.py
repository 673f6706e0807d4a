"""Data: look hard at it, check it against the evaluation, prepare it, doubt its labels."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from core import events as e
from core.agent.clean_data import evaluation_texts, vouch
from core.agent.desk import Desk
from core.data.contamination import check_rows, uncompared
from core.data.files import open_data
from core.data.inspect import inspect
from core.data.noise import Label, from_completions
from core.data.prepare import Prepared, PrepareOptions, prepare
from core.data.schema import Concern, Inspection
from core.data.synthesis.plan import Unfit
from core.data.synthesis.program import Program
from core.data.verifying import mismatches
from core.errors import InternError, ToolError
from core.evaluation.prompting import Decoding
from core.evaluation.sampler import SampleSpec, Variant
from core.evaluation.verify import check
from core.tools.files import check_no_samples
from core.tools.toolbox import array, integer, mapping, text, tool


@tool({"path": text("A data file, as read_task names it")}, effect="idempotent")
def inspect_data(desk: Desk, path: str) -> object:
    """Inspect a data file: columns, lengths, duplicates, conflicting labels, odd answers, rows leaked from the evaluation."""
    if not Path(path).exists():
        raise ToolError(f"There is no file {path}", next="read_task lists the data files")
    _check_readable(desk, path)
    tokenizer = Path(desk.card.path) / "tokenizer.json"
    texts = evaluation_texts(desk)
    seen = inspect(path, tokenizer_json=tokenizer if tokenizer.exists() else None, evaluation_texts=texts or None)
    name = _name(desk, path)
    desk.emit(e.DatasetFound(dataset=name, source=path, rows=seen.rows))
    leaked = next((c for c in seen.concerns if c.name.startswith("contaminat")), None)
    if texts:
        examples = [x.text for x in leaked.examples] if leaked else []
        count = leaked.count if leaked else 0
        desk.emit(
            e.ContaminationChecked(
                dataset=name,
                against=len(texts),
                rows=seen.rows,
                overlapping=count,
                examples=examples,
                uncompared=seen.uncompared,
            )
        )
    desk.emit(
        e.DatasetInspected(
            dataset=name,
            rows=seen.rows,
            columns=[c.name for c in seen.columns],
            concerns=[_concern(c) for c in seen.concerns],
            lengths={k: float(v.mean) for k, v in seen.lengths.items()},
            samples=[f"{s.prompt} → {s.answer}" for s in seen.samples],
            licence=seen.licence or "",
        )
    )
    return _seen(seen, path)


def _check_readable(desk: Desk, path: str) -> None:
    """Data is the task's, the run's, or what the person named; samples of the evaluation are none. Raises ToolError."""
    full = Path(path).resolve()
    check_no_samples(desk, full, path)
    roots = (desk.folder.resolve(), Path(desk.task.path).resolve())
    listed = {Path(f.path).resolve() for f in desk.task.data_files}
    if not any(full.is_relative_to(root) for root in (*roots, *listed, *_named(desk))):
        raise ToolError(
            f"{path} is no data of this run: it lies outside the run and the task, and no person named it",
            next="Use a file that read_task lists, or ask the person for it with ask_human",
        )


def _named(desk: Desk) -> set[Path]:
    """Places that a person named: in the goal, in what they fixed, in a message or an answer."""
    state = desk.state
    said = [desk.settings.goal, str(state.scope.get("data") or "")]
    said += [c.text for c in state.commands if c.command in e.WORDS]
    said += [q.answer for q in state.questions.values() if q.answer]
    words = {word.strip(".,;:()'\"`") for text in said for word in text.split() if "/" in word}
    places = {Path(word).expanduser().resolve() for word in words}
    return {place for place in places if len(place.parts) > 2}  # "/" and "/home" are no data


def _seen(seen: Inspection, path: str) -> object:
    roles = seen.roles
    return {
        "path": path,
        "rows": seen.rows,
        "columns": [c.name for c in seen.columns],
        "roles": {
            "prompt": list(roles.prompt),
            "answer": roles.answer,
            "messages": roles.messages,
            "why": roles.reason,
        },
        "trainable": bool((roles.prompt and roles.answer) or roles.messages) and seen.rows > 0,
        "answer_shape": {"name": seen.shape.name, "share": seen.shape.share},
        "lengths": {k: {"mean": v.mean, "max": v.max, "unit": v.unit} for k, v in seen.lengths.items()},
        "concerns": [
            {
                "kind": c.name,
                "count": c.count,
                "score": c.score,
                "text": c.text,
                "examples": [x.text for x in c.examples[:2]],
            }
            for c in seen.concerns
        ],
        "licence": seen.licence or "not stated",
        "unchecked": list(seen.unchecked),
        **({"sampled": list(seen.sampled)} if seen.sampled else {}),
        "untrusted_source": path,
        "samples": [{"prompt": s.prompt, "answer": s.answer} for s in seen.samples[:6]],
    }


def _concern(c: Concern) -> e.Concern:
    return e.Concern(kind=c.name, count=c.count, score=c.score, note=c.text, examples=[x.text for x in c.examples])


def _name(desk: Desk, path: str) -> str:
    try:
        return str(Path(path).relative_to(desk.task.path))
    except ValueError:
        return path


# ---------------------------------------------------------------------------------------------------------- prepare


OPTIONS = ", ".join(f for f in PrepareOptions.__struct_fields__ if f not in ("roles", "tokenizer_json"))


@tool(
    {
        "name": text("A name for the result"),
        "sources": array("Data files, or names of data prepared before"),
        "options": mapping(f"Any of: {OPTIONS}. `exclude` may be the file that audit_labels wrote"),
    },
    effect="idempotent",
    tier="workspace",
)
def prepare_data(desk: Desk, name: str, sources: Sequence[str], options: dict[str, Any] | None = None) -> object:
    """Prepare data for training: filter, deduplicate, decontaminate, split by prompt; every dropped row is accounted for."""
    _check_name(name, sources)
    given, again = _options(desk, sources, options or {})
    if not again:
        for source in sources:
            _check_readable(desk, source)
    paths = [str(desk.data_path(s) / "train.jsonl") if again else s for s in sources]
    out = desk.folder / "data" / name
    try:
        texts = evaluation_texts(desk)
        made = prepare(paths, out, options=given, evaluation_texts=texts or None)
    except InternError as error:
        raise ToolError(str(error)) from error
    dev_rows = _settle_dev(desk, out, sources[0] if again else None, made)
    for source in sources:
        shown = source if again else _name(desk, source)
        desk.emit(e.DatasetChosen(dataset=shown, why=f"becomes {name}"))
    desk.emit(
        e.DatasetPrepared(
            name=name, sources=[s if again else _name(desk, s) for s in sources], path=str(out), rows=made.train,
            dev_rows=dev_rows, read=made.read, dropped=made.dropped, digest=made.digest,
        )
    )  # fmt: skip
    if given.drop_contaminated and texts:
        vouch(desk, name, out, made.unique_train, len(texts), made.uncompared)
    return {
        "name": name, "rows": made.train, "unique_rows": made.unique_train, "dev_rows": dev_rows, "read": made.read,
        "dropped": made.dropped, "changed": made.changed, "notes": list(made.notes), "digest": made.digest,
    }  # fmt: skip


def _check_name(name: str, sources: Sequence[str]) -> None:
    """A folder of its own below the run's data. Raises ToolError."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ToolError(f"{name[:80]!r} is no name for a data set", next="Use letters, digits and dashes")
    if name in sources:
        raise ToolError(f"{name} would be made of itself", next="Give the result another name")


def _options(desk: Desk, sources: Sequence[str], options: dict[str, Any]) -> tuple[PrepareOptions, bool]:
    """The options, and whether the sources are data prepared before (their development rows are then kept)."""
    known = [s in desk.state.datasets and bool(desk.state.datasets[s].prepared) for s in sources]
    if not sources or (any(known) and not all(known)):
        raise ToolError("Sources are either files or prepared data, not both", next="Prepare the files first")
    again = all(known)
    for source in sources:
        inspected = next((d for d in desk.state.datasets.values() if d.name == _name(desk, source) and d.columns), None)
        if not again and inspected is None:
            raise ToolError(f"{source} was not inspected yet", next="Call inspect_data on it first")
    exclude = options.get("exclude")
    if isinstance(exclude, str):
        _check_readable(desk, exclude)
        try:
            listed = Path(exclude).read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ToolError(f"No list of ids to exclude can be read: {error}", where=exclude[:200], next="Give the file that audit_labels wrote, or a list of ids") from error  # fmt: skip
        options = {**options, "exclude": [line for line in listed if line]}
    tokenizer = Path(desk.card.path) / "tokenizer.json"
    if options.get("max_tokens") is not None and tokenizer.is_file():
        options = {"tokenizer_json": str(tokenizer), **options}
    if again or desk.task.dev_file:
        options = {**options, "dev_rows": 0}
    try:
        return msgspec.convert({"seed": desk.settings.seed, **options}, PrepareOptions), again
    except msgspec.ValidationError as error:
        raise ToolError(f"The options do not fit: {error}", next=f"Known: {OPTIONS}") from error


def _settle_dev(desk: Desk, out: Path, parent: str | None, made: Prepared) -> int:
    """Give the prepared data the run's development rows: the task's own, its parent's, or those just split off."""
    source = (
        Path(desk.task.dev_file) if desk.task.dev_file else desk.data_path(parent) / "dev.jsonl" if parent else None
    )
    if source is None:
        return made.dev
    shutil.copyfile(source, out / "dev.jsonl")
    return sum(1 for line in (out / "dev.jsonl").read_bytes().splitlines() if line.strip())


# ----------------------------------------------------------------------------------------------------------- labels


@tool(
    {
        "path": text("A data file that was inspected"),
        "verifier": text("A Python file in the workspace or the task's folder with verify(prompt, answer) -> bool, or gym:<name>"),
    },
    effect="idempotent",
    tier="workspace",
    runs=("verifier",),
)  # fmt: skip
def check_answers(desk: Desk, path: str, verifier: str) -> object:
    """Run a data set's own verifier over its answers: which rows it refuses."""
    from core.tools.synthesis import open_program

    _check_readable(desk, path)
    seen = desk.state.datasets.get(_name(desk, path))
    if seen is None or not seen.columns:
        raise ToolError(f"{path} was not inspected yet", next="Call inspect_data on it first")
    try:
        program = open_program(desk, verifier, only_verify=True)
        try:
            with open_data(path) as data:
                found, rows = mismatches(data, lambda prompt, answer: _holds(program, prompt, answer)), data.rows
        finally:
            program.close()
    except ToolError:
        raise
    except InternError as error:
        raise ToolError(error.what, where=error.where, next=error.next) from error
    concerns = [c for c in seen.concerns if c.kind != MISMATCH] + ([_concern(found)] if found else [])
    desk.emit(e.DatasetInspected(dataset=seen.name, rows=seen.rows or rows, columns=seen.columns, concerns=concerns, samples=seen.samples))  # fmt: skip
    return {
        "rows": rows, "refused": found.count if found else 0, "checked": found.checked if found else rows,
        "untrusted_source": path, "examples": [f"{x.text} [{x.note}]" for x in found.examples] if found else [],
    }  # fmt: skip


MISMATCH = "verifier_mismatch"


def _holds(program: Program, prompt: str, answer: str) -> bool | None:
    """A verifier that breaks on a row has not accepted it."""
    try:
        return program.check(prompt, answer)
    except Unfit:
        return False


@tool(
    {
        "model": text("A trained model: final, a job's id"),
        "data": text("Name of prepared data"),
        "samples": integer("Answers sampled for each prompt (default 4)"),
    },
    effect="keyed",
    tier="workspace",
    waits=True,
)
def audit_labels(desk: Desk, model: str, data: str, samples: int | None = None) -> object:
    """Doubt the labels: where a trained model agrees with itself on another answer, the label is suspicious (1911.00068)."""
    train = desk.data_path(data) / "train.jsonl"
    per = samples or 4
    job, _ = run_sampling(desk, model, train, f"label audit of {data}", samples_per_prompt=per, temperature=0.7)
    rows = read_samples(desk, job)
    labels = {r.id: Label(id=r.id, answer=r.answer) for r in rows}
    completions: dict[str, list[str]] = {}
    for r in rows:
        completions.setdefault(r.id, []).append(r.completion.strip())
    found = from_completions(list(labels.values()), completions)
    # An answer that agrees with the label by the task's own check is no disagreement, whatever its spelling.
    found = [s for s in found if s.suggested is None or not check(desk.verifier, s.suggested, s.answer)]
    out = desk.folder / "data" / f"{data}-suspicious.txt"
    out.write_text("\n".join(f"{s.id}:{s.answer}" for s in found))
    examples = [f"{labels[s.id].answer} (model: {s.suggested})" for s in found[:5]]
    concern = e.Concern(
        kind="suspicious_labels",
        count=len(found),
        score=min(1.0, 10 * len(found) / max(1, len(labels))),
        examples=examples,
    )
    state = desk.state.datasets[data]
    desk.emit(e.DatasetInspected(dataset=data, rows=len(labels), columns=state.columns or ["prompt", "answer"], concerns=[*state.concerns, concern], samples=state.samples))  # fmt: skip
    return {"checked": len(labels), "suspicious": len(found), "file": str(out), "examples": examples}


@tool(
    {
        "model": text("The model that answers"),
        "data": text("Prepared data whose prompts are answered and checked"),
        "name": text("A name for the result"),
        "samples": integer("Answers a prompt (default 4)"),
    },
    effect="keyed",
    tier="workspace",
    waits=True,
)
def sample_and_verify(desk: Desk, model: str, data: str, name: str, samples: int | None = None) -> object:
    """Rejection sampling: the model answers its training prompts, only right answers are kept as new data (2308.01825)."""
    _check_name(name, [data])
    train = desk.data_path(data) / "train.jsonl"
    job, _ = run_sampling(
        desk, model, train, f"rejection sampling on {data}", samples_per_prompt=samples or 4, temperature=1.0
    )
    kept: dict[tuple[str, str], dict[str, str]] = {}
    rows = read_samples(desk, job)
    for r in rows:
        if r.correct and r.ended:
            kept[(r.id, r.completion)] = {"id": r.id, "prompt": r.prompt, "answer": r.completion.strip()}
    if not kept:
        raise ToolError("No sampled answer was right", next="Train on demonstrations first")
    texts = evaluation_texts(desk)
    right = len(kept)
    kept, left = _without_leaks(kept, texts)
    out = desk.folder / "data" / name
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.jsonl").write_bytes(b"\n".join(msgspec.json.encode(r) for r in kept.values()) + b"\n")
    shutil.copyfile(desk.data_path(data) / "dev.jsonl", out / "dev.jsonl")
    dev_rows = desk.state.datasets[data].dev_rows
    dropped = {"wrong": sum(not r.correct for r in rows), "contaminated": right - len(kept)}
    desk.emit(
        e.DatasetPrepared(
            name=name, sources=[data], path=str(out), rows=len(kept), dev_rows=dev_rows, read=len(rows),
            dropped={reason: count for reason, count in dropped.items() if count},
        )
    )  # fmt: skip
    if texts:
        vouch(desk, name, out, len(kept), len(texts), left)
    return {
        "name": name, "rows": len(kept), "sampled": len(rows), "prompts_solved": len({k[0] for k in kept}),
        **({"notes": [uncompared(left)]} if left else {}),
    }  # fmt: skip


def _without_leaks(
    rows: dict[tuple[str, str], dict[str, str]], texts: list[str]
) -> tuple[dict[tuple[str, str], dict[str, str]], int]:
    """The rows that hold no evaluation sample, and how many pairs were not compared. Raises ToolError where none is left."""
    if not texts:
        return rows, 0
    result, found = check_rows([(r["prompt"], r["answer"]) for r in rows.values()], texts)
    left = {key: r for i, (key, r) in enumerate(rows.items()) if i not in found or not found[i].sure}
    if not left:
        raise ToolError("Every right answer holds an evaluation sample", next="Use other prompts")
    return left, result.uncompared


class SampleRow(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    prompt: str
    answer: str
    completion: str
    correct: bool
    ended: bool = True
    tokens: int = 0


def run_sampling(
    desk: Desk,
    model: str,
    data: Path,
    title: str,
    *,
    samples_per_prompt: int = 1,
    temperature: float = 0.0,
    limit: int = -1,
) -> tuple[str, float]:
    """A sampling job over a data file; returns its id and seconds once it ended."""
    decoding = Decoding(max_new_tokens=desk.max_new_tokens, temperature=temperature)
    job = desk.launched() or desk.new_job()
    spec = SampleSpec(
        model=desk.model_path(model), data=str(data), output_folder=str(desk.folder / "jobs" / job / "out"), limit=limit,
        variants=(Variant(name="only", decoding=decoding, prompting=desk.prompting),), verifier=desk.verifier,
        samples_per_prompt=samples_per_prompt, threads=desk.cores, seed=desk.settings.seed, device=desk.device,
    )  # fmt: skip
    desk.launch(kind="evaluation", method="sample", title=title, spec=spec, config={"model": model, "threads": desk.cores, "temperature": temperature}, threads=desk.cores, time_limit_s=max(10.0, desk.clock.work_left_s), job=job)  # fmt: skip
    ended = desk.wait_for_job(job)
    return job, ended.seconds


def read_samples(desk: Desk, job: str, variant: str = "only") -> list[SampleRow]:
    path = desk.folder / "jobs" / job / "out" / f"samples-{variant}.jsonl"
    try:
        return [msgspec.json.decode(line, type=SampleRow) for line in path.read_bytes().splitlines()]
    except (OSError, msgspec.DecodeError) as error:
        raise ToolError(f"The answers cannot be read: {error}", where=str(path)) from error


TOOLS = [inspect_data, prepare_data, check_answers, audit_labels, sample_and_verify]
