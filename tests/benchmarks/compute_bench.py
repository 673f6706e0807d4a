"""How long the queue takes to decide, and what a job costs beyond its bare script.

python -m tests.benchmarks.compute_bench
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from core.compute.launcher import SUPERVISOR
from core.compute.local import LocalCompute
from core.compute.queue import Queue, this_process
from core.compute.queued import QueuedLocal
from core.compute.schedule import Capacity, Device, Ticket, decide
from core.compute.spec import JobSpec
from tests.core.compute.fleet import Fleet

GB = 1 << 30
CAPACITY = Capacity(cpus=256, gpus=tuple(Device(index=i, total_bytes=80 * GB, free_bytes=80 * GB) for i in range(32)))


def tickets(n: int) -> list[Ticket]:
    pid, start = this_process()
    return [
        Ticket(
            key=str(i),
            run=f"run-{i % 20}",
            folder=f"/nowhere/{i}",
            cpus=1 + i % 4,
            gpus=i % 3,
            asked=float(i),
            urgent=i % 7 == 0,
            owner_pid=pid,
            owner_start=start,
        )
        for i in range(n)
    ]


def decisions(n: int = 1000, times: int = 20) -> tuple[float, float]:
    """Milliseconds of one decision over n waiting jobs: pure, and through the file under its lock."""
    waiting = tickets(n)
    pure = statistics.median(_ms(lambda: decide(waiting, [], CAPACITY, 1.0)) for _ in range(times))
    with tempfile.TemporaryDirectory() as folder:
        queue = Queue(Path(folder), lambda: CAPACITY, lambda _: None)
        with queue._book() as book:  # pyright: ignore[reportPrivateUsage]
            book.waiting = list(waiting)
        whole = statistics.median(_ms(lambda: queue.turn(waiting[-1])) for _ in range(times))
    return pure, whole


def launch(times: int = 9) -> tuple[float, float, float]:
    """Milliseconds from nothing to the end of `print(1)`: bare, supervised, and through the queue."""
    argv = (sys.executable, "-c", "print(1)")
    bare = statistics.median(_ms(lambda: subprocess.run(argv, capture_output=True, check=True)) for _ in range(times))
    with tempfile.TemporaryDirectory() as folder:
        places = LocalCompute(Path(folder) / "a"), QueuedLocal(Path(folder) / "b", Path(folder) / "q", lambda: CAPACITY)
        found = [statistics.median(_ms(lambda p=p, i=i: _one(p, str(i), argv)) for i in range(times)) for p in places]
    return bare, found[0], found[1]


def launch_cpu(times: int = 9) -> tuple[float, float]:
    """Milliseconds of processor time of a bare `true`, and of one under a supervisor: what a launch costs whatever else the
    machine does."""

    def bare() -> None:
        subprocess.run(["true"], check=True)

    def supervised() -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "launch.json").write_text('{"argv": ["true"], "env": {}}')
            subprocess.run([sys.executable, "-I", "-S", str(SUPERVISOR), folder], check=True)

    return statistics.median(_cpu_ms(bare) for _ in range(times)), statistics.median(
        _cpu_ms(supervised) for _ in range(times)
    )


def _cpu_ms(work: Callable[[], None]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def warm(times: int = 5) -> float:
    """Milliseconds from submit to the first line of a job that wants torch and TRL, forked from the run's warm process."""
    with tempfile.TemporaryDirectory() as folder:
        place = LocalCompute(Path(folder))
        place.warm_up()
        try:
            assert place._warm is not None  # pyright: ignore[reportPrivateUsage]
            place._warm.ready(120)  # pyright: ignore[reportPrivateUsage]
            return statistics.median(_ms(lambda i=i: _warm_one(place, f"w{i}")) for i in range(times))
        finally:
            place.close()


def _warm_one(place: LocalCompute, name: str) -> None:
    """A training whose spec names no data: it ends where its recipe would begin, with everything imported."""
    folder = place.jobs_folder / name
    folder.mkdir()
    (folder / "spec.json").write_text('{"kind": "sft", "model": "/nowhere", "data": "/nowhere"}')
    place.submit(JobSpec(job=name, kind="sft", effect_id=name, folder=str(folder)))
    while not (folder / "exit.json").exists():
        time.sleep(0.002)


def _one(place: LocalCompute | QueuedLocal, name: str, argv: tuple[str, ...]) -> None:
    folder = place.jobs_folder / name
    place.submit(JobSpec(job=name, kind="script", effect_id=f"e{name}", folder=str(folder), argv=argv))
    while not (folder / "exit.json").exists():
        time.sleep(0.002)


def _ms(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    pure, whole = decisions()
    bare, local, queued = launch()
    print(f"queue of 1,000 jobs: decision {pure:.1f} ms, with lock and file {whole:.1f} ms (goal 50)")
    print(
        f"launch and end of print(1): bare {bare:.0f} ms, supervised +{local - bare:.0f}, queued +{queued - bare:.0f} ms (goal 300)"
    )
    bare_cpu, supervised_cpu = launch_cpu()
    print(
        f"processor time of a launch: {supervised_cpu - bare_cpu:.0f} ms; warm training, submit to end of an empty one: {warm():.0f} ms"
    )
    for n in (3000, 10_000, 30_000):
        print("queue of {:,} jobs: decision {:.1f} ms, with lock and file {:.1f} ms".format(n, *decisions(n, 5)))
    for jobs in (300, 1000, 3000):
        began = time.perf_counter()
        r = Fleet(jobs=jobs, runs=20, seed=0).run()
        print(f"fleet of {jobs} jobs on 32 GPUs: finished {r.finished} in {r.hours:.1f} h simulated ({time.perf_counter() - began:.1f} s), {r.preempted} preemptions, {r.heads_lost} heads lost; {r.gpu_share:.2f} jobs a GPU; {r.lines} lines, {r.log_bytes / 1e6:.1f} MB; overbooked {r.overbooked}, doubled {r.metrics_doubled}, lost {r.metrics_lost}")  # fmt: skip


if __name__ == "__main__":
    main()
