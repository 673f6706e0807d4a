"""`--compute`: local, auto, slurm[:PARTITION], ray://HOST:8265 or hf-jobs[:FLAVOR]; and the backend that stands behind it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

import msgspec

from core.compute.flavors import UNKNOWN_BYTES, training_bytes
from core.compute.machine import Machine
from core.compute.protocol import Compute
from core.compute.queued import QueuedLocal
from core.compute.schedule import Capacity
from core.compute.shared import SharedCompute
from core.errors import NotFound, UsageError
from core.home import home

Kind = Literal["local", "slurm", "ray", "hf-jobs"]
GB = 1 << 30
CPU_PARAMS = 200_000_000
"""Parameters that cores still train in hours."""
HOW = "Use local, auto, slurm[:PARTITION], ray://HOST:8265 or hf-jobs[:FLAVOR]"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    detail: str = ""
    """Partition, address or flavour."""


def parse_choice(text: str) -> Choice:
    """Raises UsageError where `text` names no place of execution."""
    if text.startswith(("ray://", "ray+http")):
        from core.compute.ray_jobs import dashboard_url

        return Choice(kind="ray", detail=dashboard_url(text.removeprefix("ray+")))
    name, _, detail = text.partition(":")
    if name in ("local", "auto") and not detail:  # what auto means is settled before a run starts
        return Choice(kind="local")
    if name == "slurm":
        return Choice(kind="slurm", detail=detail)
    if name in ("hf-jobs", "hf"):
        return Choice(kind="hf-jobs", detail=detail)
    raise UsageError(f"No place of execution is called {text!r}", where="--compute", next=HOW)


def check_choice(text: str) -> Choice:
    """What can be seen to be missing before a run starts. Raises UsageError or NotFound."""
    choice = parse_choice(text)
    if choice.kind == "slurm" and shutil.which("sbatch") is None:
        raise NotFound("sbatch is not here", where="--compute slurm", next="Start the run on the cluster's log-in node")
    if choice.kind == "hf-jobs":
        token_here()
    return choice


def settle(text: str, params: int | None, capacity: Capacity) -> tuple[str, str]:
    """The choice, and why where it was `auto`: this machine if it can train a model of so many parameters, else a rented one."""
    if text != "auto":
        return text, ""
    need = training_bytes(params, adapter=True) if params is not None else UNKNOWN_BYTES
    largest = max((d.total_bytes for d in capacity.gpus), default=0)
    asked = f"training the base takes about {need / GB:.0f} GB"
    if largest >= need:
        return "local", f"{asked} of a GPU, and one here has {largest / GB:.0f}"
    if params is not None and params <= CPU_PARAMS:
        return "local", f"the base is small enough for this machine's cores ({params / 1e6:.1f} million parameters)"
    here = (
        f"{asked} of a GPU, and the largest here has {largest / GB:.0f}"
        if largest
        else f"{asked}, and there is no GPU here"
    )
    try:
        token_here()
    except NotFound:
        return "local", f"{here}; without a Hub token (HF_TOKEN, or hf auth login) none can be rented"
    return "hf-jobs", f"{here}: each job asks before it rents one"


def token_here() -> None:
    """Raises NotFound where there is no Hub token to rent machines with."""
    from core.compute.hub_jobs import token_of

    token_of()


def open_compute(
    text: str, jobs_folder: Path, *, run: str, machine: Machine | None = None, task: Path | None = None,
    python: str = sys.executable,
) -> Compute:  # fmt: skip
    """The backend of a run. Nothing is asked of a scheduler yet. `task`: the task's folder, for its [slurm] profile;
    `python` runs the jobs."""
    choice = parse_choice(text)
    if choice.kind == "local":
        return QueuedLocal(jobs_folder, home() / "queue", (machine or Machine()).capacity, run=run, python=python)
    if choice.kind == "slurm":
        from core.compute.slurm import SlurmEngine, read_profile

        return SharedCompute(jobs_folder, SlurmEngine(read_profile(task, choice.detail), python=python), python)
    if choice.kind == "ray":
        from core.compute.ray_jobs import RayEngine

        return SharedCompute(jobs_folder, RayEngine(choice.detail, python=python), python)
    from core.compute.hub_jobs import HubCompute, HubEngine, token_of

    return HubCompute(jobs_folder, HubEngine(token=token_of(), flavor=choice.detail, run=run))
