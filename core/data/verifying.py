"""Answers against their own verifier, where the task has one that a program can run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from core.data.files import Data, stride
from core.data.flags import conclude, flag_rows
from core.data.schema import Concern, VerifierSpec
from core.errors import ToolError, UsageError

Check = Callable[[str, str], "bool | None"]
"""(prompt, answer) -> right, wrong, or None where it cannot tell."""
SAMPLE = 50_000
"""Rows checked at most, evenly spread."""
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")
_RUNNER = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("task_verifier", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
verify = getattr(module, sys.argv[2])
out = sys.stdout
sys.stdout = sys.stderr
for line in sys.stdin:
    prompt, answer = json.loads(line)
    try:
        value = verify(prompt, answer)
        value = None if value is None else float(value) >= 0.5
    except Exception as error:  # the task's own code: what it raises is a result, not our failure
        value = "error: " + type(error).__name__ + ": " + str(error)[:80]
    out.write(json.dumps(value) + "\\n")
"""


def mismatches(data: Data, verifier: VerifierSpec | Check) -> Concern | None:
    """Rows whose answer its verifier refuses.

    Raises UsageError (a spec that cannot be used) and ToolError (a verifier program that breaks or takes too long).
    """
    step = stride(data.rows, SAMPLE)
    rows = data.all(
        f"SELECT n, prompt, answer FROM rows WHERE n % {step} = 0 AND trim(answer) <> '' AND prompt IS NOT NULL "
        f"ORDER BY n"
    )
    verdicts = _verdicts(verifier, [(p, a) for _, p, a in rows])
    found: list[tuple[int, str]] = []
    for (n, _, _), verdict in zip(rows, verdicts, strict=True):
        if verdict is False or isinstance(verdict, str):
            found.append((int(n), verdict if isinstance(verdict, str) else "refused by the verifier"))
    flag_rows(data, "verifier_mismatch", found)
    return conclude(
        data, "verifier_mismatch", "{n} answers ({share}) are refused by the task's own verifier", len(rows)
    )


def _verdicts(verifier: VerifierSpec | Check, pairs: Sequence[tuple[str, str]]) -> Iterator[bool | str | None]:
    if not isinstance(verifier, VerifierSpec):
        return (verifier(prompt, answer) for prompt, answer in pairs)
    if verifier.kind == "python":
        return iter(_run(verifier, pairs))
    check = simple_check(verifier)
    return (check(prompt, answer) for prompt, answer in pairs)


def simple_check(spec: VerifierSpec) -> Check:
    """The check of a spec that needs no program of the task's own."""
    if spec.kind == "regex":
        try:
            pattern = re.compile(spec.pattern)
        except re.error as error:
            raise UsageError(f"The verifier's pattern is no regular expression: {error}", where=spec.pattern) from error
        return lambda _, answer: bool(pattern.fullmatch(answer.strip()))
    if spec.kind == "number":
        return lambda _, answer: bool(answer.strip()) and bool(_NUMBER.fullmatch(answer.strip()))
    if spec.kind == "choice":
        return lambda _, answer: answer.strip() in spec.values
    if spec.kind == "json":
        return lambda _, answer: _has_keys(answer, spec.keys)
    raise UsageError(f"Unknown kind of verifier '{spec.kind}'", next="Use regex, json, number, choice or python.")


def _has_keys(answer: str, keys: Sequence[str]) -> bool:
    try:
        value = json.loads(answer)
    except (json.JSONDecodeError, RecursionError):
        return False
    return isinstance(value, dict) and all(k in value for k in keys)


def _run(spec: VerifierSpec, pairs: Sequence[tuple[str, str]]) -> list[bool | str | None]:
    """The task's own function over all pairs, in a process of its own (its code is not ours to trust)."""
    path = Path(spec.path)
    if not path.is_file():
        raise UsageError("The verifier's file is not there", where=spec.path, next="Correct the path in the verifier.")
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    command = [sys.executable, "-P", "-c", _RUNNER, str(path.resolve()), spec.function]
    try:
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=spec.timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"The verifier took longer than {spec.timeout_s:.0f} s", where=spec.path, next="Check fewer rows."
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ToolError(f"The verifier broke: {last[:200]}", where=spec.path, next="Run it by hand on one row.")
    verdicts: list[bool | str | None] = [json.loads(line) for line in done.stdout.splitlines()]
    if len(verdicts) != len(pairs):
        raise ToolError(f"The verifier answered {len(verdicts)} of {len(pairs)} rows", where=spec.path)
    return verdicts
