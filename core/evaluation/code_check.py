"""Running a completion's Python code against unit tests, in a process that can do little.

The code is written by a model under training, so: a process of its own in an empty folder that is deleted afterwards, an
environment of five names, limits on CPU seconds, memory, file size and processes, no network where the kernel lets a user
make a namespace (`isolation` says what is in force). It is no sandbox against an attacker.
"""

from __future__ import annotations

import functools
import os
import re
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT_S = 6.0
MEMORY_BYTES = 1 << 30
_FENCE = re.compile(r"```(?:python|py)?\s*\n(.*?)```", re.DOTALL)


def code_of(completion: str) -> str:
    """The last fenced block, else the whole text."""
    blocks = _FENCE.findall(completion)
    return blocks[-1] if blocks else completion


def passes(completion: str, tests: str, timeout_s: float = TIMEOUT_S) -> bool:
    """True if the code runs and `tests` (Python statements, asserts mostly) raise nothing."""
    # a word that the code cannot know: an exit code alone could come from `sys.exit(0)` in it
    word = secrets.token_hex(16)
    program = f"{code_of(completion)}\n\n{tests}\n\nimport sys as _s\n_s.__stdout__.write({word!r})\n"
    try:
        compile(program, "completion", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        (Path(folder) / "main.py").write_text(program, encoding="utf-8", errors="replace")
        try:
            done = subprocess.run(
                [*_alone(), sys.executable, "-I", "-S", "main.py"], cwd=folder, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=timeout_s, check=False, start_new_session=True, preexec_fn=_limit,
                env={"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
            )  # fmt: skip
        except (subprocess.TimeoutExpired, OSError):
            return False
    return done.returncode == 0 and done.stdout.decode("utf-8", "replace").endswith(word)


def isolation() -> str:
    """What keeps the code in: for the report."""
    limits = f"{TIMEOUT_S:g} s, {MEMORY_BYTES >> 20} MB, own folder"
    return f"{limits}, no network" if _alone() else f"{limits}; the network is open (no user namespaces here)"


@functools.cache
def _alone() -> tuple[str, ...]:
    """The prefix that takes the network away; probed, because a program that is installed may still be refused."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--user", "--map-root-user", "--net", "--")
    try:
        probe = subprocess.run([*command, "true"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if probe.returncode == 0 else ()


def _limit() -> None:
    """In the child, before the code starts."""
    os.nice(5)
    for what, value in (
        (resource.RLIMIT_CPU, int(TIMEOUT_S) + 1),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (value, value))
