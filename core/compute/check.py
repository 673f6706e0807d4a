"""What `intern doctor` asks of compute: the machine's GPUs, memory, sandbox, and a place of execution named by --compute."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

from core import install
from core.compute.choice import Choice
from core.compute.clustered import ClusterCompute, Engine
from core.compute.confinement import probe
from core.compute.doors import open_doors
from core.compute.escapes import not_stopped
from core.compute.held import Held, in_words, network_at
from core.compute.spec import OPEN, JobSpec
from core.compute.telemetry import Telemetry
from core.errors import InternError, UsageError
from core.home import home

PROBE_S = 120.0


class Check(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True
    """Whether a run is impossible without it."""


def check_machine() -> list[Check]:
    """GPU and driver, torch's CUDA against it, memory, sandbox, and what its network is."""
    return [_gpu(), _cuda(), _memory(), check_sandbox(), check_reach()]


def _gpu() -> Check:
    telemetry = Telemetry()
    samples = telemetry.sample()
    reason, gpus = telemetry.reason, [s for s in samples if s.source != "psutil"]
    telemetry.close()
    if not gpus:
        return Check(name="gpu", ok=False, found=reason or "none", fix="jobs run on the CPU; or --compute slurm, ray://… or hf-jobs", needed=False)  # fmt: skip
    names = ", ".join(
        f"{s.name} {(s.memory_total_bytes or 0) >> 30} GB" + (" (fake)" if s.source == "fake" else "") for s in gpus
    )
    trouble = "; ".join(f"GPU {s.index}: {s.note}" for s in gpus if s.note)
    fix = "a throttled card needs cooling or power; after memory errors: nvidia-smi -q -d ECC, then reset the card"
    return Check(name="gpu", ok=not trouble, found=f"{names}; {trouble}" if trouble else names, fix=fix, needed=False)


def _cuda() -> Check:
    """The CUDA of torch's build against the driver's, by metadata and NVML: torch itself is not loaded."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Check(
            name="cuda",
            ok=False,
            found="torch is not installed",
            fix=install.command("train"),
            needed=False,
        )
    built = version.partition("+")[2] or next((d.partition("-cu")[2] for d in _torch_needs() if "-cu" in d), "")
    driver = _driver_cuda()
    if driver is None:
        ok = True
        found = f"torch {version}, no driver"
    else:
        cuda = int(built.lstrip("cu")[:2]) if built.lstrip("cu")[:2].isdigit() else None
        ok = cuda is not None and cuda <= driver[0]
        found = f"torch {version}, driver for CUDA {driver[0]}.{driver[1]}"
    return Check(name="cuda", ok=ok, found=found, fix="install the torch build for this driver: https://pytorch.org/get-started/locally/", needed=False)  # fmt: skip


def _torch_needs() -> list[str]:
    return [
        r.partition(";")[0].strip() for r in metadata.requires("torch") or () if r.startswith("nvidia-cuda-runtime")
    ]


def _driver_cuda() -> tuple[int, int] | None:
    try:
        import pynvml  # pyright: ignore[reportMissingTypeStubs]

        pynvml.nvmlInit()
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        pynvml.nvmlShutdown()
    except Exception:  # noqa: BLE001 - a driver that is half there raises what it likes; the check says "no driver"
        return None
    return number // 1000, number % 1000 // 10


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{memory.available >> 30} GB free of {memory.total >> 30} GB"
    return Check(name="memory", ok=memory.available > 2 << 30, found=found, fix="end other programs: a pocket run needs 2 GB", needed=False)  # fmt: skip


def check_sandbox() -> Check:
    """The level code of a brain runs under here."""
    sandbox = probe()
    out = not_stopped(sandbox.level)
    found = sandbox.level + (
        f": {sandbox.reason}; {len(out)} of the known ways out are open (intern doctor --escape)" if out else ""
    )
    fix = "apt-get install bubblewrap"
    if "refused" in sandbox.reason:
        fix = "allow user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap"
    return Check(name="sandbox", ok=sandbox.level == "bubblewrap", found=found, fix=fix, needed=False)


def check_reach() -> Check:
    """What a brain's script can reach in training, and whether hosts.txt and the configured addresses can be read."""
    try:
        doors = open_doors()
    except UsageError as error:
        return Check(name="reach", ok=False, found=str(error.what), fix=f"{error.where}: {error.next}", needed=False)
    held = Held(argv=(), wish="limited", doors=doors)
    level = probe().level
    words = in_words(level, network_at(level, held), doors)
    return Check(name="reach", ok=True, found=f"network of a brain's script in training: {words}", needed=False)


def check_compute(choice: Choice) -> list[Check]:
    """A place of execution, by asking it and, on a cluster, by a job of one second that must see our folder."""
    try:
        if choice.kind == "slurm":
            return _slurm(choice)
        if choice.kind == "ray":
            return _ray(choice)
        if choice.kind == "hf-jobs":
            return _hub(choice)
    except InternError as error:
        found = f"{error.what} ({error.where})" if error.where else error.what
        return [Check(name=choice.kind, ok=False, found=found, fix=_fix(choice, error))]
    return check_machine()


def _fix(choice: Choice, error: InternError) -> str:
    """The next step an error names; who reads this has just taken the one that leads here."""
    if choice.kind == "ray" and error.next.startswith("intern doctor"):
        return "give the address of the dashboard, not of the client server (10001); on the head node: ray status"
    return error.next or "see the message"


def _slurm(choice: Choice) -> list[Check]:
    from core.compute.slurm import SlurmEngine, read_profile

    if shutil.which("sbatch") is None:
        return [Check(name="slurm", ok=False, found="sbatch is not here", fix="run on the cluster's log-in node")]
    profile = read_profile(None, choice.detail)
    nodes = subprocess.run(
        ["sinfo", "--noheader", "--format=%P %D %T %G"], capture_output=True, text=True, timeout=30, check=False
    )
    answered = nodes.returncode == 0
    shown = "; ".join(nodes.stdout.split("\n")[:4]).strip("; ") if answered else " ".join(nodes.stderr.split())[:200]
    checks = [
        Check(
            name="slurm",
            ok=answered,
            found=shown,
            fix="is slurmctld up? scontrol ping; elsewhere than in /etc/slurm: set SLURM_CONF",
        )
    ]
    return [*checks, _trial(SlurmEngine(profile, python=sys.executable))] if answered else checks


def _ray(choice: Choice) -> list[Check]:
    from core.compute.ray_jobs import RayEngine

    engine = RayEngine(choice.detail, python=sys.executable)
    usage = engine.resources()
    found = (
        ", ".join(f"{u:g}/{t:g} {n}" for n, (u, t) in sorted(usage.items()) if n in ("CPU", "GPU")) or "it does not say"
    )
    living = engine.jobs()
    return [
        Check(name="ray", ok=True, found=f"{engine.url}: in use {found}; {len(living)} jobs of ours known there"),
        _trial(engine),
    ]


def _hub(choice: Choice) -> list[Check]:
    from core.compute.hub_jobs import HubEngine, token_of
    from core.compute.hub_scheduled import HubSchedules

    engine = HubEngine(token=token_of(), flavor=choice.detail)
    offers = engine.flavors()
    cheapest = min((f for f in offers if f.gpus), key=lambda f: f.usd_per_hour, default=None)
    found = f"account {engine.namespace}; {len(offers)} flavours" + (
        f", GPUs from ${cheapest.usd_per_hour:.2f}/h" if cheapest else ""
    )
    known = [p.read_bytes() for p in (home() / "runs").glob("*/jobs/*/handle.json")]
    ids = [str(msgspec.json.decode(data)["name"]) for data in known]
    orphans = engine.orphans(ids)
    listed = "; ".join(f"{name} on {flavor}, ${usd:.2f} so far" for name, flavor, usd in orphans) or "none"
    fix = "end one: hf jobs cancel ID"
    scheduled = [s for s in HubSchedules(engine).list() if not s.suspended]
    going = "; ".join(f"{s.id} {s.schedule} on {s.flavor}, {_month(s.usd_a_month)}" for s in scheduled) or "none"
    return [
        Check(name="hf-jobs", ok=True, found=found),
        Check(name="orphans", ok=not orphans, found=listed, fix=fix, needed=False),
        Check(
            name="scheduled jobs",
            ok=not scheduled,
            found=going,
            fix="end one: hf jobs scheduled delete ID",
            needed=False,
        ),
    ]


def _month(usd: float | None) -> str:
    return "at a price not known here" if usd is None else f"at most ${usd:.2f} in 30 days"


def _trial(engine: Engine) -> Check:
    """A job that writes one word: shows that the cluster's nodes see INTERN_HOME and have this Python."""
    folder = home() / "doctor"
    job = f"probe-{int(time.time())}-{os.getpid()}"
    compute = ClusterCompute(folder, engine)
    try:
        compute.submit(JobSpec(job=job, kind="script", effect_id=f"doctor:{job}", folder=str(folder / job), argv=(sys.executable, "-c", "print('seen')"), time_limit_s=60))  # fmt: skip
        status = compute.wait(job, PROBE_S)
        seen = "seen" in compute.logs(job).text
        if status.state in OPEN:
            compute.cancel(job, grace_s=0)
    finally:
        shutil.rmtree(folder / job, ignore_errors=True)
    ok = status.state == "done" and seen
    found = (
        "a trial job ran and its folder is shared"
        if ok
        else f"the trial job is {status.state}: {status.reason or 'its folder was not written'}"
    )
    return Check(name="trial job", ok=ok, found=found, fix=f"its nodes must see {Path(folder).parent} and {sys.prefix}; set INTERN_HOME to a shared folder")  # fmt: skip
