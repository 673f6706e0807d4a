"""Jobs that run code of a brain: its own scripts and reward functions. They are held (core/compute/held.py).

Our own recipes on data run as they are: their code is ours and a model's weights are numbers (core/training/trust.py sees to
the two exceptions).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil

from core.compute.confinement import Limits
from core.compute.doors import environment_inside, open_doors
from core.compute.held import INSIDE, Held, Wish, held_argv
from core.compute.launcher import job_argv
from core.compute.spec import JobSpec
from core.hub.cache import hub_cache

SPARE_S = 120.0
"""Beyond a job's own time limit, until the sandbox ends it: it should save by itself first."""
LONGEST_S = 14 * 86_400.0
DISK_BYTES = 200 << 30


def is_foreign(spec: dict[str, Any]) -> bool:
    """Whether a job's spec runs code that is not ours."""
    rewards: list[dict[str, Any]] = spec.get("rewards") or []
    return spec.get("kind") == "script" or any(r.get("kind") == "python" for r in rewards)


def held_job(job: JobSpec, spec: dict[str, Any], workspace: Path, *, network: Wish = "off") -> JobSpec:
    """`job` with a command that holds it; writes held.json. `spec` is what stands in its spec.json."""
    folder = Path(job.folder)
    inside = msgspec.structs.replace(job, folder=str(folder / INSIDE))
    cache = hub_cache()
    held = Held(
        argv=job_argv(sys.executable, inside),
        readable=_readable(spec, folder, workspace),
        wish=network, doors=open_doors() if network != "off" else (), several=job.gpus > 1, hub_cache=str(cache),
        limits=Limits(
            seconds=job.time_limit_s + SPARE_S if job.time_limit_s else LONGEST_S,
            memory_bytes=psutil.virtual_memory().total, disk_bytes=DISK_BYTES, processes=1024,
        ),
        environment={"HF_HUB_CACHE": str(cache), "HF_HOME": str(folder / INSIDE / ".cache"),
                     **(environment_inside() if network != "off" else {}), **_threads(job)},
        smoke_test=spec.get("kind") == "script",
    )  # fmt: skip
    (folder / "held.json").write_bytes(msgspec.json.encode(held))
    return msgspec.structs.replace(job, argv=held_argv(sys.executable, folder))


def _threads(job: JobSpec) -> dict[str, str]:
    from core.compute.launcher import job_env

    return job_env(job)


def _readable(spec: dict[str, Any], folder: Path, workspace: Path) -> tuple[str, ...]:
    """The run's workspace, what the spec names, the cache of models: nothing else of the home."""
    prompting: dict[str, Any] = spec.get("prompting") or {}
    named = [spec.get(k) for k in ("model", "data", "resume_from", "script")] + [prompting.get("template_path")]
    paths = [str(workspace), *(str(n) for n in named if n), str(hub_cache()), str(folder / "script.py")]
    # Models and data may be links, and a sandbox shows what is named, not what it points to.
    return tuple(sorted({q for p in paths if os.path.exists(p) for q in (os.path.abspath(p), os.path.realpath(p))}))
