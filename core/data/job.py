"""Data work in a process of its own: `python -P -m intern_tui.job` with kind "inspect" or "prepare" ends up here.

The specification (JSON) names the work; the result goes to `result` as JSON, and as a last line to the job's metrics.

    {"kind": "inspect", "path": ..., "result": ..., "tokenizer_json": null, "verifier": null,
     "evaluation_files": [...] or null, "limit": null, "roles": null}
    {"kind": "prepare", "paths": [...], "out": ..., "result": ..., "options": {...}, "evaluation_files": [...] or null}
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from core.data.contamination import evaluation_strings
from core.data.inspect import inspect
from core.data.prepare import PrepareOptions, prepare
from core.data.schema import Roles, VerifierSpec
from core.errors import InternError, UsageError


class DataSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    kind: str = "inspect"
    result: str
    path: str = ""
    paths: tuple[str, ...] = ()
    out: str = ""
    tokenizer_json: str | None = None
    verifier: VerifierSpec | None = None
    evaluation_files: tuple[str, ...] | None = None
    limit: int | None = None
    roles: Roles | None = None
    options: PrepareOptions = PrepareOptions()


def main(spec_path: str) -> int:
    """Run a specification. 0, or the error's exit code with the error on stderr; the result file is written last."""
    try:
        spec = _read(Path(spec_path))
        result = _run(spec)
        _write(Path(spec.result), result)
        note = msgspec.json.encode({"kind": "result", "path": spec.result})
        with Path(spec_path).with_name("metrics.jsonl").open("ab") as stream:
            stream.write(note + b"\n")
    except InternError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _read(path: Path) -> DataSpec:
    try:
        return msgspec.json.decode(path.read_bytes(), type=DataSpec)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"The specification of the data job cannot be used: {error}", where=str(path)) from error


def _run(spec: DataSpec) -> Any:
    texts = None if spec.evaluation_files is None else evaluation_strings(spec.evaluation_files)
    if spec.kind == "inspect":
        return inspect(
            spec.path, tokenizer_json=spec.tokenizer_json, verifier=spec.verifier, evaluation_texts=texts,
            limit=spec.limit, roles=spec.roles,
        )  # fmt: skip
    if spec.kind == "prepare":
        return prepare(spec.paths or (spec.path,), spec.out, options=spec.options, evaluation_texts=texts)
    raise UsageError(f"Unknown kind of data job '{spec.kind}'", next="Use inspect or prepare.")


def _write(path: Path, result: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(msgspec.json.encode(result))
    os.replace(partial, path)
