"""`intern inspect`: what can be said about a data set before anybody trains on it."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from core.data.inspect import inspect
from core.data.schema import Inspection, VerifierSpec
from core.errors import UsageError
from core.sanitize import clean


def inspect_data(a: argparse.Namespace) -> int:
    """Inspect a file or folder; with a task, against its evaluation samples and in tokens of its base model."""
    if a.limit is not None and a.limit < 1:
        raise UsageError("--limit must be at least 1", where=str(a.limit), next="Leave it out to look at every row.")
    tokenizer, texts = _of_task(a.task) if a.task else (None, None)
    verifier = VerifierSpec(kind="python", path=a.verifier) if a.verifier else None
    seen = inspect(a.data, tokenizer_json=tokenizer, verifier=verifier, evaluation_texts=texts, limit=a.limit)
    if a.json:
        print(msgspec.json.encode(seen).decode())
    else:
        print("\n".join(clean(line) for line in report(seen)))
    return 0


def _of_task(name: str) -> tuple[Path | None, list[str] | None]:
    """The base model's tokenizer and the evaluation's texts, where the task has them."""
    from core.data.contamination import evaluation_strings
    from core.tasks import load_task

    task = load_task(name)
    files = [*task.eval_text_files, task.evaluate_path, *([task.dev_file] if task.dev_file else [])]
    tokenizer = Path(task.base_model) / "tokenizer.json" if task.base_model else None
    return tokenizer if tokenizer and tokenizer.is_file() else None, evaluation_strings(dict.fromkeys(files)) or None


def report(seen: Inspection) -> list[str]:
    """The inspection as lines: what it is, what may be wrong (the gravest first), rows to look at."""
    lines = [
        f"{seen.path}: {seen.rows:,} rows in {len(seen.files)} file{'s' if len(seen.files) != 1 else ''}"
        + (f", licence {seen.licence}" if seen.licence else ""),
        f"  parts     {seen.roles.kind}: {seen.roles.reason}",
        "  columns   " + ", ".join(f"{c.name} ({c.type}" + (f", {c.nulls} missing" if c.nulls else "") + ")" for c in seen.columns),
        "  splits    " + ", ".join(f"{name} {count:,}" for name, count in seen.splits.items()),
        "  lengths   " + "; ".join(f"{name} {v.p50} (95 % {v.p95}, max {v.max}) {v.unit}" for name, v in seen.lengths.items()),
        "  languages " + (", ".join(f"{name} {share:.0%}" for name, share in seen.languages.items()) or "none told"),
        f"  answers   {seen.shape.name} {seen.shape.share:.0%}",
    ]  # fmt: skip
    lines += ["", "Concerns (0 nothing, 1 unusable as it is)"] if seen.concerns else ["", "No concern found."]
    for concern in seen.concerns:
        lines.append(f"  {concern.score:4.2f}  {concern.name:20} {concern.text}")
        lines += [
            f"        {x.file}:{x.line}  {x.text}" + (f"  [{x.note}]" if x.note else "") for x in concern.examples[:3]
        ]
    if seen.unchecked:
        lines += ["", "Not checked", *(f"  {what}" for what in seen.unchecked)]
    if seen.sampled:
        lines += ["", "Looked at in part", *(f"  {what}" for what in seen.sampled)]
    lines += ["", "Rows", *(f"  {row.file}:{row.line}  {row.prompt} -> {row.answer}" for row in seen.samples)]
    return lines
