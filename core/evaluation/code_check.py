"""Running a completion's Python code against unit tests, in a process that can do little.

The code is written by a model under training, so: the sandbox of this machine (core/compute/confinement.py), in which it sees
the system's libraries and an empty folder that is deleted afterwards, an environment of five names, no network, and limits on
CPU seconds, memory and file size. Where no sandbox holds, the limits alone are left, and no network if the kernel lets a user
make a namespace (`isolation` says what is in force).
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
from typing import Any

from core.compute import guard
from core.compute.confinement import Confinement, Limits, probe, without_keeper

TIMEOUT_S = 6.0
MEMORY_BYTES = 1 << 30
FILE_BYTES = 16 << 20
_FENCE = re.compile(r"```(?:python|py)?\s*\n(.*?)```", re.DOTALL)


def code_of(completion: str) -> str:
    """The last fenced block, else the whole text."""
    blocks = _FENCE.findall(completion)
    return blocks[-1] if blocks else completion


def passes(completion: str, tests: str, timeout_s: float = TIMEOUT_S) -> bool:
    """True if the code runs and `tests` (Python statements, asserts mostly) raise nothing."""
    # an exit code alone could come from `sys.exit(0)` in the code; the program comes by a pipe and is no file, from which
    # the code could read the word
    word = secrets.token_hex(16)
    program = f"{code_of(completion)}\n\n{tests}\n\nimport sys as _s\n_s.__stdout__.write({word!r})\n"
    try:
        compile(program, "completion", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        argv, rules = _held(folder)
        try:
            done = subprocess.run(
                argv, cwd=folder, input=program.encode("utf-8", "replace"), capture_output=True, timeout=timeout_s, check=False,
                start_new_session=True, preexec_fn=functools.partial(_limit, rules),
                env={"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
            )  # fmt: skip
        except (subprocess.TimeoutExpired, OSError):
            return False
    return done.returncode == 0 and done.stdout.decode("utf-8", "replace").endswith(word)


def _held(folder: str) -> tuple[list[str], dict[str, Any]]:
    """The interpreter that reads a program from its standard input, in the sandbox that holds here; Landlock's rules."""
    python = [sys.executable, "-I", "-S", "-"]
    level = probe().level
    if level == "limits":
        return [*_alone(), *python], {}
    limits = Limits(seconds=TIMEOUT_S, memory_bytes=MEMORY_BYTES, disk_bytes=FILE_BYTES)
    return without_keeper(python, Confinement(workspace=folder, limits=limits), level)


def isolation() -> str:
    """What keeps the code in: for the report."""
    limits = f"{TIMEOUT_S:g} s, {MEMORY_BYTES >> 20} MB, own folder"
    level = probe().level
    if level != "limits":
        return f"{level}, {limits}, no network"
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


def _limit(rules: dict[str, Any]) -> None:
    """In the child, before the code starts."""
    os.nice(5)
    for what, value in (
        (resource.RLIMIT_CPU, int(TIMEOUT_S) + 1),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (value, value))
    if rules:
        guard.hold_by_landlock(rules)
