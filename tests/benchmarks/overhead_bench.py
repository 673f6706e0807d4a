"""What host, callback and telemetry cost a training, paired against the bare recipe. Goal: at most 2 %.

    python -m tests.benchmarks.overhead_bench [--blocks N] [--pairs N] [--kinds sft grpo] [--seconds S]

**Blocks** (the figure of the goal): one training under a supervisor, with a host in another process that turns its stream
into durable events, watches it with the detectors, samples the devices once a second and mirrors alerts. For some seconds
all of that works, for as many the callback hears nothing and host and supervisor are stopped: on, off, off, on. A machine
whose speed drifts by tens of per cent from minute to minute, as shared ones do, drifts little within one such four.

**Whole trainings** (`--pairs`): the same training twice, once bare with libgomp's own way of waiting and once as a job,
which also has the wait policy of core/compute/launcher.py. The order alternates. Compared is the time of
`trainer.train()`, flushing Trackio included, import and loading not. By wall clock, which says nothing on a machine that
others use, and by processor time (the training's, plus the host's and the supervisor's while it ran).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from core import events as e
from core.compute.local import LocalCompute
from core.compute.spec import JobSpec
from core.compute.telemetry import Telemetry
from core.evaluation.verify import VerifierSpec
from core.home import boot_id
from core.host import measure
from core.journal import Journal
from core.state import Job, RunState
from core.tables import TABLES
from core.tasks import load_task
from core.tracking.mirror import AlertMirror
from core.tracking.target import parse_target
from core.training.spec import TrainSpec, write_spec
from core.watcher import JobWatcher
from store.log import EventLog

GOAL = 0.02
TRIAL = 30
"""Train steps to learn how long one takes."""

BATCH = {"sft": 128, "grpo": 64}
"""Samples a train step: a grpo step of 64 takes a tenth of a second on two cores, which is short for one."""

RECIPE = Path(__file__).with_name("overhead_recipe.py")


def spec_of(kind: str, data: Path, steps: int, job: str) -> TrainSpec:
    """A usual training of that kind on the pocket base; no development scores and checkpoints, which the bare recipe has not."""
    base = load_task("pocket/addition").base_model
    assert base is not None
    common = {
        "kind": kind, "model": base, "data": str(data), "max_steps": steps, "threads": os.cpu_count(), "eval_every": 0,
        "check_rewards": False, "verifier": VerifierSpec(kind="exact"), "max_completion_length": 8, "run_name": job,
        "eval_samples": 0, "checkpoint_every_s": 0.0, "lr": 1e-4 if kind == "sft" else 1e-5, "batch_size": BATCH[kind],
    }  # fmt: skip
    return msgspec.convert(msgspec.to_builtins(common), TrainSpec)


class Cost(NamedTuple):
    """Seconds of one training."""

    wall: float
    cpu: float


def bare(folder: Path, spec: TrainSpec) -> Cost:
    """The training alone."""
    path = write_spec(folder, spec)
    done = subprocess.run([sys.executable, "-P", str(RECIPE), str(path)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    words = next(line.split() for line in done.stdout.splitlines() if line.startswith("seconds "))
    return Cost(float(words[1]), float(words[2]))


def ours(folder: Path, spec: TrainSpec) -> Cost:
    """The same training as a job of a run."""
    ended, beside = watched(folder, spec, None)
    if ended.status != "finished":
        raise SystemExit(f"{spec.run_name} {ended.status}: {ended.reason}")
    return Cost(float(ended.result["train_seconds"]), float(ended.result["cpu_seconds"]) + beside)


def watched(folder: Path, spec: TrainSpec, argv: tuple[str, ...] | None) -> tuple[Job, float]:
    """A job of a run to its end (`argv`: its command, if not the usual one), and the processor seconds of its host and
    supervisor meanwhile."""
    job = spec.run_name or "job"
    jobs, store = folder / "jobs", folder / "trackio"
    spec = msgspec.structs.replace(spec, trackio_project=folder.name, trackio_dir=str(store))
    write_spec(jobs / job, spec)
    compute = LocalCompute(jobs)
    with hosted(folder, compute) as journal:
        status = compute.submit(
            JobSpec(job=job, kind=spec.kind, effect_id=job, folder=str(jobs / job), slots=spec.threads or 1, argv=argv)
        )
        journal.emit(
            e.JobLaunched(
                job=job, kind="training", method=spec.kind, title=job, effect_id=job, folder=str(jobs / job),
                pid=status.pid, boot_id=boot_id(), planned_steps=spec.max_steps,
            )
        )  # fmt: skip
        if not journal.wait(lambda s: s.jobs[job].step > 0 or s.jobs[job].status != "running", 600):
            raise SystemExit(f"{job} does not begin")
        host, keeper = time.process_time(), 0.0
        while not journal.wait(lambda s: s.jobs[job].status != "running", 2.0):
            keeper = supervised(compute, job) or keeper
        host = time.process_time() - host
        ended = journal.state.jobs[job]
    if not (store / f"{folder.name}.db").exists():
        raise SystemExit("Trackio was not written: its cost would be missing from the figure")
    print(f"    {job}: host {host:.2f} s and supervisor {keeper:.2f} s of a processor", flush=True)
    return ended, host + keeper


def alternating(folder: Path, spec: TrainSpec, every: int) -> None:
    """A job of a run that is as a run has it only in every other block of `every` train steps. Run in a process of its own,
    which the job stops and wakes."""
    path = folder / "jobs" / (spec.run_name or "job") / "spec.json"
    argv = (sys.executable, "-P", str(RECIPE), str(path), "--blocks", str(every), "--host", str(os.getpid()))
    watched(folder, spec, argv)


def in_blocks(kind: str, count: int, seconds: float, root: Path) -> list[float]:
    """Slowdown in shares of the bare time, of each four blocks (on, off, off, on) of one training; `seconds`: of a block."""
    data = made_data(root)
    every = max(5, round(seconds / step_seconds(kind, data, root)))
    spec = spec_of(kind, data, every * 4 * (count + 1), f"{kind}-blocks")
    host = multiprocessing.get_context("spawn").Process(target=alternating, args=(root / f"{kind}-run", spec, every))
    host.start()
    host.join()
    path = root / f"{kind}-run" / "jobs" / f"{kind}-blocks" / "blocks.json"
    if host.exitcode or not path.exists():
        raise SystemExit(f"{kind}: the training in blocks failed: {path.parent}")
    blocks: list[tuple[bool, float]] = json.loads(path.read_text())
    found = list[float]()
    for first in range(4, len(blocks) - 3, 4):  # the first four warm up
        four = blocks[first : first + 4]
        on, off = (sum(took for is_on, took in four if is_on is which) for which in (True, False))
        found.append(on / off - 1)
    shown = " ".join(f"{100 * f:+.1f}" for f in found)
    print(f"{kind}: {len(found)} times four blocks of {every} train steps: {shown} %", flush=True)
    return found


def supervised(compute: LocalCompute, job: str) -> float:
    """Processor seconds of the job's supervisor so far; 0 once it is gone."""
    pid = compute.inspect(job).supervisor_pid
    try:
        times = psutil.Process(pid).cpu_times() if pid else None
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system if times else 0.0


@contextlib.contextmanager
def hosted(folder: Path, compute: LocalCompute) -> Iterator[Journal]:
    """What a host does beside a training, on a real log in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with EventLog.create(folder, TABLES) as log:
        journal = Journal(log, RunState())
        journal.emit(e.RunCreated(run=folder.name, goal="", task="pocket/addition", task_path="", model=""))
        watcher, mirror = JobWatcher(journal, compute, folder), AlertMirror(journal, folder, parse_target(""))
        telemetry = Telemetry()
        over = threading.Event()
        threads = [
            threading.Thread(target=work)
            for work in (watcher.run, mirror.run, lambda: measure(journal, telemetry, over))
        ]
        for thread in threads:
            thread.start()
        try:
            yield journal
        finally:
            over.set()
            watcher.stop()
            mirror.stop()
            for thread in threads:
                thread.join()
            telemetry.close()


def compare(kind: str, pairs: int, seconds: float, root: Path) -> tuple[list[float], list[float]]:
    """Slowdown of each pair in shares of the bare training, by wall clock and by processor time."""
    data = made_data(root)
    step_s = step_seconds(kind, data, root)
    steps = max(TRIAL, round(seconds / step_s))
    print(f"{kind}: {step_s:.3f} s a train step, {steps} steps a training", flush=True)
    wall, cpu = list[float](), list[float]()
    for pair in range(pairs):
        spec = spec_of(kind, data, steps, f"{kind}-{pair}")
        measured: dict[str, Cost] = {}
        for name, run in (("bare", bare), ("ours", ours)) if pair % 2 else (("ours", ours), ("bare", bare)):
            measured[name] = run(root / f"{kind}-{pair}-{name}", spec)
        one, other = measured["bare"], measured["ours"]
        wall.append(other.wall / one.wall - 1)
        cpu.append(other.cpu / one.cpu - 1)
        print(
            f"  pair {pair}: bare {one.wall:.2f} s ({one.cpu:.2f} s of processors), ours {other.wall:.2f} s ({other.cpu:.2f}): "
            f"{100 * wall[-1]:+.2f} % ({100 * cpu[-1]:+.2f} %)",
            flush=True,
        )
    return wall, cpu


def made_data(root: Path) -> Path:
    """Rows to train on, made once."""
    data = root / "data"
    if not data.exists():
        data.mkdir()
        rows = [{"id": f"{a}-{b}", "prompt": f"{a}+{b}=", "answer": str(a + b)} for a in range(50) for b in range(50)]
        (data / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return data


def step_seconds(kind: str, data: Path, root: Path) -> float:
    """Of a bare train step, tried."""
    return bare(root / f"{kind}-trial", spec_of(kind, data, TRIAL, "trial")).wall / TRIAL


def told(kind: str, what: str, found: list[float]) -> str:
    """Mean, interval, median and verdict of the pairs."""
    n, mean = len(found), statistics.mean(found)
    half = (T95[n - 1] if n <= len(T95) else 1.96) * statistics.stdev(found) / n**0.5 if n > 1 else float("inf")
    reached = "reached" if mean + half <= GOAL else "MISSED" if mean - half > GOAL else "not told apart from it"
    return (
        f"{kind}, {what}: host, callback and telemetry cost {100 * mean:+.2f} % ± {100 * half:.2f} (95 %, {n} pairs, "
        f"median {100 * statistics.median(found):+.2f} %), goal at most {100 * GOAL:.0f} %: {reached}"
    )


T95 = (float("inf"), 12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t for 95 %, two-sided, by the number of pairs (1 to 10)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20, help="times four blocks of one training")
    parser.add_argument("--block-seconds", type=float, default=3.0)
    parser.add_argument("--pairs", type=int, default=2, help="of whole trainings")
    parser.add_argument("--kinds", nargs="+", default=["sft", "grpo"], choices=["sft", "grpo"])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of one whole training")
    parser.add_argument("--batch", type=int, help="samples a train step; longer steps are less often logged")
    a = parser.parse_args()
    if a.batch:
        BATCH.update(dict.fromkeys(a.kinds, a.batch))
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        for kind in a.kinds:
            if a.blocks:
                print(told(kind, "blocks of one training", in_blocks(kind, a.blocks, a.block_seconds, Path(folder))))
            if a.pairs:
                wall, cpu = compare(kind, a.pairs, a.seconds, Path(folder))
                print(told(kind, "whole trainings, wall clock", wall))
                print(told(kind, "whole trainings, processor time", cpu), flush=True)


if __name__ == "__main__":
    main()
