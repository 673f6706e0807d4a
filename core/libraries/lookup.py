"""Ask the installed libraries: they are the truth about their own arguments, whatever a paper or a model remembers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import msgspec

from core.errors import ToolError

LIBRARIES = ("trl", "peft", "transformers", "datasets", "accelerate")
TIMEOUT_S = 120.0
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def look_up(name: str) -> dict[str, Any]:
    """Signature, fields and docstring of a public object, such as `trl.GRPOConfig`.

    Raises ToolError for a library that is not asked or not installed, and for a name it does not have (with near ones).
    """
    if not _NAME.fullmatch(name) or name.split(".")[0] not in LIBRARIES:
        raise ToolError(f"{name[:80]!r} is no name in {', '.join(LIBRARIES)}", next="Say for example trl.GRPOConfig")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-P", "-W", "ignore", "-m", "core.libraries.describe", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=env, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{name} took over {TIMEOUT_S:.0f} s to import", next="Try again; the first import is slow"
        ) from error
    try:
        told: dict[str, Any] = msgspec.json.decode(done.stdout.strip().splitlines()[-1])
    except (IndexError, msgspec.DecodeError) as error:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ToolError(
            f"{name} could not be looked at: {last[:200]}", next="intern doctor says what is missing"
        ) from error
    if "error" in told:
        raise ToolError(f"{name}: {told['error']}", next="Look at the module first, for example trl")
    return told
