"""What host, callback and telemetry cost a training, paired against the bare recipe. Goal: at most 2 %.

    python -m tests.benchmarks.overhead_bench [--pairs N] [--kinds sft grpo] [--seconds S]

Each pair is the same training twice, once bare and once as a run has it: under a supervisor, with the callback and
Trackio in it, a host in another process that turns its stream into durable events, watches it with the detectors,
samples the devices once a second and mirrors alerts. The order alternates, so that a machine that warms up or is shared
favours neither. What is compared is the time of `trainer.train()`, flushing Trackio included, import and loading not;
both are one training, so the cost of the host's start and end does not count, but all it does meanwhile does.

Two figures: wall clock, which is what a user waits for and which says nothing on a machine that others use; and processor
time (the training's process, plus the host's and the supervisor's while it ran), which hardly depends on them. A training
that keeps every core busy is slowed by exactly the processor time that is taken from it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
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
from core.journal import Journal
from core.state import RunState
from core.tables import TABLES
from core.tasks import load_task
from core.tracking.mirror import AlertMirror
from core.tracking.target import parse_target
from core.training.spec import TrainSpec, write_spec
from core.watcher import JobWatcher
from store.log import EventLog

GOAL = 0.02
BARE = Path(__file__).with_name("bare_recipe.py")


def spec_of(kind: str, data: Path, steps: int, job: str) -> TrainSpec:
    """A usual training of that kind on the pocket base; no development scores, which the bare recipe has not."""
    base = load_task("pocket/addition").base_model
    assert base is not None
    common = {
        "kind": kind, "model": base, "data": str(data), "max_steps": steps, "threads": os.cpu_count(), "eval_every": 0,
        "check_rewards": False, "verifier": VerifierSpec(kind="exact"), "max_completion_length": 8, "run_name": job,
        "eval_samples": 0, "lr": 1e-4 if kind == "sft" else 1e-5, "batch_size": 128 if kind == "sft" else 64,
    }  # fmt: skip
    return msgspec.convert(msgspec.to_builtins(common), TrainSpec)


class Cost(NamedTuple):
    """Seconds of one training."""

    wall: float
    cpu: float


def bare(folder: Path, spec: TrainSpec) -> Cost:
    """The training alone."""
    path = write_spec(folder, spec)
    done = subprocess.run([sys.executable, "-P", str(BARE), str(path)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    words = next(line.split() for line in done.stdout.splitlines() if line.startswith("seconds "))
    return Cost(float(words[1]), float(words[2]))


def ours(folder: Path, spec: TrainSpec) -> Cost:
    """The same training as a job of a run."""
    job = spec.run_name or "job"
    jobs, store = folder / "jobs", folder / "trackio"
    spec = msgspec.structs.replace(spec, trackio_project=folder.name, trackio_dir=str(store))
    write_spec(jobs / job, spec)
    compute = LocalCompute(jobs)
    with hosted(folder, compute) as journal:
        status = compute.submit(
            JobSpec(job=job, kind=spec.kind, effect_id=job, folder=str(jobs / job), slots=spec.threads or 1)
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
    if ended.status != "finished":
        raise SystemExit(f"{job} {ended.status}: {ended.reason}")
    if not (store / f"{folder.name}.db").exists():
        raise SystemExit("Trackio was not written: its cost would be missing from the figure")
    print(f"    {job}: host {host:.2f} s and supervisor {keeper:.2f} s of a processor", flush=True)
    return Cost(float(ended.result["train_seconds"]), float(ended.result["cpu_seconds"]) + host + keeper)


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
        over = threading.Event()
        threads = [threading.Thread(target=work) for work in (watcher.run, mirror.run, lambda: measure(journal, over))]
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


def measure(journal: Journal, over: threading.Event) -> None:
    """The device once a second, as the host samples it."""
    telemetry = Telemetry()
    while not over.wait(1.0):
        pids = [j.pid for j in journal.read(lambda s: s.running_jobs()) if j.pid]
        samples = telemetry.sample(pids)
        journal.emit_many(
            [e.GpuSampled(index=s.index, name=s.name, source=s.source, util=s.utilisation) for s in samples]
        )
    telemetry.close()


def compare(kind: str, pairs: int, seconds: float, root: Path) -> tuple[list[float], list[float]]:
    """Slowdown of each pair in shares of the bare training, by wall clock and by processor time."""
    data = root / "data"
    if not data.exists():
        data.mkdir()
        rows = [{"id": f"{a}-{b}", "prompt": f"{a}+{b}=", "answer": str(a + b)} for a in range(50) for b in range(50)]
        (data / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    trial = 30
    step_s = bare(root / f"{kind}-trial", spec_of(kind, data, trial, "trial")).wall / trial
    steps = max(trial, round(seconds / step_s))
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


def told(kind: str, what: str, found: list[float]) -> str:
    """Mean, interval, median and verdict of the pairs."""
    n, mean = len(found), statistics.mean(found)
    half = T95[min(n, len(T95)) - 1] * statistics.stdev(found) / n**0.5 if n > 1 else float("inf")
    reached = "reached" if mean + half <= GOAL else "MISSED" if mean - half > GOAL else "not told apart from it"
    return (
        f"{kind}, {what}: host, callback and telemetry cost {100 * mean:+.2f} % ± {100 * half:.2f} (95 %, {n} pairs, "
        f"median {100 * statistics.median(found):+.2f} %), goal at most {100 * GOAL:.0f} %: {reached}"
    )


T95 = (float("inf"), 12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t for 95 %, two-sided, by the number of pairs (1 to 10)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--kinds", nargs="+", default=["sft", "grpo"], choices=["sft", "grpo"])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of one training")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        for kind in a.kinds:
            began = time.monotonic()
            wall, cpu = compare(kind, a.pairs, a.seconds, Path(folder))
            print(told(kind, "wall clock", wall))
            print(told(kind, "processor time", cpu) + f" ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
