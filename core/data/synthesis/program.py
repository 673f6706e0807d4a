"""Rows from a generator program, in one process of its own that lives as long as the synthesis.

The program is a Python file with `generate(seed, scenario)` returning {"prompt": ..., "answer": ...} (or None: nothing for
this seed) and, where answers can be checked, `verify(prompt, answer)` returning True, False or a score. `gym:<name>` is a
generator of reasoning-gym, where that is installed, with its own scorer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core import install
from core.data.synthesis.plan import Draft, Scenario, Spent, Unfit
from core.errors import NotFound, ToolError, UsageError

ROW_S = 30.0
"""Longest time for one row."""
START_S = 120.0
GYM = "gym:"
_RUNNER = """
import importlib.util, json, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
def tell(value):
    out.write(json.dumps(value) + "\\n"); out.flush()
def gym(name):
    import reasoning_gym
    scorer = reasoning_gym.create_dataset(name, size=1, seed=0)
    entries = {}  # a scorer needs the entry itself: what it made lately, by the prompt
    class Gym:
        def generate(self, seed, scenario):
            entry = reasoning_gym.create_dataset(name, size=1, seed=seed)[0]
            if entry["answer"] is None:
                return None  # judged by its scorer alone: there is nothing to learn from
            while len(entries) > 1000:
                entries.pop(next(iter(entries)))
            entries[entry["question"]] = entry
            return {"prompt": entry["question"], "answer": str(entry["answer"])}
        def verify(self, prompt, answer):
            return scorer.score_answer(answer, entries[prompt]) if prompt in entries else None
    return Gym()
def load(path):
    spec = importlib.util.spec_from_file_location("generator", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
try:
    module = gym(sys.argv[1][4:]) if sys.argv[1].startswith("gym:") else load(sys.argv[1])
    tell({"generate": hasattr(module, "generate"), "verify": hasattr(module, "verify")})
except BaseException as error:
    tell({"error": type(error).__name__ + ": " + str(error)[:200]})
    sys.exit(1)
for line in sys.stdin:
    do, args = json.loads(line)
    try:
        value = getattr(module, do)(*args)
        if do == "verify":
            value = None if value is None else float(value) >= 1.0
        tell({"value": value})
    except Exception as error:  # the program's own code: what it raises is a result
        tell({"error": type(error).__name__ + ": " + str(error)[:200]})
"""


def _digest(program: str) -> str:
    return hashlib.sha256(Path(program).read_bytes()).hexdigest()[:12]


class Program:
    """A running generator. Close it at the end."""

    def __init__(
        self,
        program: str,
        seed: int = 0,
        confine: Callable[[list[str]], list[str]] | None = None,
        *,
        only_verify: bool = False,
    ) -> None:
        """`only_verify`: it checks the rows of somebody else. Raises NotFound (no such file, reasoning-gym missing),
        UsageError (a file without the function needed)."""
        if not program.startswith(GYM):
            if not Path(program).is_file():
                raise NotFound(
                    "There is no generator", where=program, next="Give a Python file with generate(seed, scenario)"
                )
            program = str(Path(program).resolve())
        self.name = program if program.startswith(GYM) else f"program {Path(program).name} {_digest(program)}"
        self.seed = seed
        argv = [sys.executable, "-P", "-c", _RUNNER, program]
        self._process = subprocess.Popen(
            confine(argv) if confine else argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True, env={k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")},
        )  # fmt: skip
        self._buffer = b""
        told = self._told(START_S)
        needed = "verify" if only_verify else "generate"
        if told.get("error") or not told.get(needed):
            self.close()
            self._refuse(program, told.get("error") or f"it has no function {needed}")
        self.verifies = bool(told.get("verify"))

    def _refuse(self, program: str, why: str) -> None:
        if "No module named 'reasoning_gym'" in why:
            raise NotFound(
                "reasoning-gym is not installed",
                where=program,
                next=f"{install.command('gym')}, or use a generator program",
            )
        raise UsageError(f"The generator cannot be used: {why}", where=program, next="Correct the program")

    def draft(self, attempt: int, scenario: Scenario, spent: Spent) -> Draft:
        value = self._ask("generate", [self.seed * 1_000_003 + attempt, scenario.name])
        if value is None:
            raise Unfit("nothing_generated")
        if not isinstance(value, dict) or not isinstance(value.get("prompt"), str) or value.get("answer") is None:  # pyright: ignore[reportUnknownMemberType]
            raise Unfit("malformed", 'generate() must return {"prompt": text, "answer": text}')
        return Draft(value["prompt"], str(value["answer"]))  # pyright: ignore[reportUnknownArgumentType]

    def verify(self, draft: Draft, scenario: Scenario, spent: Spent) -> None:
        if self.verifies and self.check(draft.prompt, draft.answer) is False:
            raise Unfit("wrong_answer", "refused by the program's verify()")

    def check(self, prompt: str, answer: str) -> bool | None:
        value = self._ask("verify", [prompt, answer])
        return None if value is None else bool(value)

    def _ask(self, do: str, args: Sequence[object]) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([do, args]).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ToolError(
                f"The generator ended by itself (exit {self._process.poll()})", where=self.name, next="Run it by hand"
            ) from error
        told = self._told(ROW_S)
        if "error" in told:
            raise Unfit("generator_error", str(told["error"]))
        return told.get("value")

    def _told(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], seconds)
            piece = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            if not piece:
                self.close()
                why = "ended by itself" if ready else f"said nothing for {seconds:g} s"
                raise ToolError(f"The generator {why}", where=self.name, next="Run it by hand on one seed")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it started, too
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
