"""The process of one job: `python -P -m intern_tui.job <folder>/spec.json` runs what the spec's `kind` names.

Exit codes: 0 done (also when stopped by the control file or its own time limit); 1 crashed; 2 the spec is wrong;
3 something it needs is not there; 4 refused; 5 out of memory. A crash leaves its traceback in log.txt.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, cast

if __package__ in (None, ""):  # run by path, where the package need not be installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.errors import InternError, UsageError
from core.training.resume import is_over
from core.training.spec import check_inputs, read_train_spec

KINDS = {
    "sft": "core.training.sft",
    "grpo": "core.training.grpo",
    "dpo": "core.training.dpo",
    "reward": "core.training.reward",
    "rejection": "core.training.rejection",
    "export": "core.training.export",
    "sample": "core.evaluation.sampler",
    "inspect": "core.data.job",
    "prepare": "core.data.job",
}
"""The module whose `main(spec_path)` runs a kind of job."""

TRAININGS = ("sft", "grpo", "dpo", "reward", "rejection")
OUT_OF_MEMORY = 5
_MEMORY_SIGNS = ("can't allocate memory", "out of memory", "Cannot allocate memory")


def main(argv: list[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: python -P -m intern_tui.job <spec.json>", file=sys.stderr)
        return 2
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        # The supervisor hears it for us (see there). A handler does nothing too, but programs we start get the default back.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return _dispatch(str(Path(arguments[0]).resolve()))
    except InternError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # written for a reader: no traceback needed
        return error.exit_code
    except (MemoryError, RuntimeError) as error:  # torch raises RuntimeError for memory; all else: Python's own exit 1
        traceback.print_exception(error)
        memory = isinstance(error, MemoryError) or any(sign in str(error) for sign in _MEMORY_SIGNS)
        return OUT_OF_MEMORY if memory else 1


QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Read by the libraries when they are loaded: no telemetry, no progress bars in the log, no spinning threads."""


def _dispatch(spec_path: str) -> int:
    spec = _read(spec_path)
    kind = spec.get("kind")
    if kind == "script":
        return _script(spec, spec_path)
    if kind not in KINDS:
        print(f"unknown kind of job {kind!r} in {spec_path}; known: {', '.join(KINDS)}, script", file=sys.stderr)
        return 2
    if kind in TRAININGS and is_over(Path(spec_path).parent):
        return 0  # it was killed, or its supervisor was, between its last word and its end
    if kind in TRAININGS:  # what can be seen to be wrong is said before torch is loaded
        check_inputs(read_train_spec(spec_path))
    importlib.import_module(KINDS[kind]).main(spec_path)
    return 0


def _read(spec_path: str) -> dict[str, Any]:
    try:
        spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the spec: {error}", where=spec_path, next="Write it again.") from error
    if not isinstance(spec, dict):
        raise UsageError("the spec is no JSON object", where=spec_path, next="Write it again.")
    return cast(dict[str, Any], spec)


def _script(spec: dict[str, Any], spec_path: str) -> int:
    """A script of the user or the brain: same folder, same files, its spec's path as the only argument."""
    script = Path(str(spec.get("script", "")))
    script = script if script.is_absolute() else Path(spec_path).parent / script
    if not script.is_file():
        print(f"no such script: {script} (named in {spec_path})", file=sys.stderr)
        return 3
    sys.argv = [str(script), spec_path]
    os.chdir(Path(spec_path).parent)
    runpy.run_path(str(script), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
