"""The command that starts a job: one process, or one a GPU through `accelerate launch`."""

from __future__ import annotations

from pathlib import Path

from core.compute.spec import JobSpec

ROOT = Path(__file__).resolve().parents[2]
SUPERVISOR = ROOT / "intern_tui" / "supervisor.py"
JOB = ROOT / "intern_tui" / "job.py"

THREAD_NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")

DEFAULT_ENV = {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""Idle OpenMP threads must sleep, not spin: with two threads on two cores shared with other programs, spinning made a
train step five to ten times slower (measured: 2.1 s against 0.38 s)."""

SPIN_ENV = {"GOMP_SPINCOUNT": "300000"}
"""For a job that has its cores to itself: libgomp's own default, as a recipe started by hand has it. It goes before
OMP_WAIT_POLICY (libgomp's manual). Measured, 70 train steps with two threads on two cores: this 3.75 s, sleeping at once
5.6 s; beside one busy process 13.2 and 6.3 s. In between is little: 2,000 spins cost up to a tenth alone and 9.5 s beside one."""

ROOM = 0.5
"""Cores that may be busy beyond those a job leaves free before its threads no longer spin: a screen that is drawn."""


def job_argv(python: str, spec: JobSpec) -> tuple[str, ...]:
    """The command of `spec`: its own, or `intern_tui.job` on its spec.json."""
    if spec.argv is not None:
        return spec.argv
    if spec.gpus > 1:
        return accelerate_argv(python, spec)
    return (python, "-P", str(JOB), str(Path(spec.folder) / "spec.json"))


def accelerate_argv(python: str, spec: JobSpec) -> tuple[str, ...]:
    """One process a GPU on one machine. Port 0: accelerate finds a free one, so two jobs of one machine never collide."""
    return (
        python, "-P", "-m", "accelerate.commands.launch", "--num_machines", "1", "--num_processes", str(spec.gpus),
        "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no",
        *(("--multi_gpu",) if spec.gpus > 1 else ()), str(JOB), str(Path(spec.folder) / "spec.json"),
    )  # fmt: skip


def waiting(threads: int, busy: float, cores: int) -> dict[str, str]:
    """How a job's idle threads wait, beside DEFAULT_ENV: SPIN_ENV where it has its cores to itself.

    `busy`: cores that others keep busy now. One thread waits for nobody: what it inherits does not matter.
    """
    return SPIN_ENV if threads > 1 and busy + threads <= cores + ROOM else {}


def job_env(spec: JobSpec) -> dict[str, str]:
    """Environment of the job: as many threads as it may use, sleeping (not spinning) when idle."""
    threads = dict.fromkeys(THREAD_NAMES, str(max(spec.slots, 1)))
    return threads | DEFAULT_ENV | spec.env
