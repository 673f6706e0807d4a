"""What a task's own evaluate.py is given of this machine.

A person chose the task, so its evaluate.py runs as their program: benchmarks fetch data, start servers, ask judges. It gets
no secret that it has no use for. `evaluate_held = true` in task.toml puts it into the sandbox that holds a brain's code: it
then reads its task, the model and the model cache, writes only beside its score, and has no network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from core.compute.confinement import Confinement, Limits, command, environment, probe
from core.evaluation.guard import guarded_files
from core.hub.cache import hub_cache
from core.redact import secret_names
from core.tasks import Task

HUB_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
"""Passed on: gated benchmarks (GPQA) are fetched with it, and scripts never name it. Use one that can only read."""

_LEADS_ASTRAY = ("PYTHONPATH", "PYTHONHOME")
"""Would lead a foreign script to our modules."""

_DISK_BYTES = 64 << 30
_PROCESSES = 4096
"""Only a net below a fork bomb: inference servers start hundreds of threads."""


def plain_environment(task: Task, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without secrets that neither the evaluation's code nor task.toml (`evaluate_env`) names."""
    environ = os.environ if environ is None else environ
    secret = secret_names(environ) - HUB_TOKENS - set(task.evaluate_env)
    if secret:
        code = "".join(p.read_text(encoding="utf-8", errors="replace") for p in _code(task))
        secret = {name for name in secret if name not in code}
    return {k: v for k, v in environ.items() if k not in secret and k not in _LEADS_ASTRAY}


def held(
    argv: Sequence[str], task: Task, model: str, output: Path, timeout_s: float, own: Mapping[str, str]
) -> tuple[list[str], dict[str, str], str]:
    """(command, environment, level): `argv` in the strongest sandbox of this machine, in the task's folder as without it."""
    level = probe().level
    named = {k: v for k in task.evaluate_env if (v := os.environ.get(k)) is not None}
    cache = hub_cache()
    readable = [p for p in (Path(task.path), Path(model), cache) if p.exists()]
    confinement = Confinement(
        workspace=str(output),
        readable=tuple(str(p.absolute()) for p in readable),
        limits=Limits(
            seconds=timeout_s, memory_bytes=psutil.virtual_memory().total, disk_bytes=_DISK_BYTES, processes=_PROCESSES
        ),
        environment={
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": str(output / "tmp"),
            **own,
            **named,
        },
    )
    (output / "tmp").mkdir(exist_ok=True)
    there = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', task.path, *argv]
    return command(there, confinement, level), environment(confinement), level


def _code(task: Task) -> list[Path]:
    return [p for p in guarded_files(Path(task.path), ()) if p.suffix in (".py", ".sh", ".toml", ".json")]
