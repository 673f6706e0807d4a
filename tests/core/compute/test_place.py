"""A place in the queue for what a host does itself: taken in turn, never beside another on a GPU, never waited for without end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from core.compute.local import LocalCompute
from core.compute.place import place
from core.compute.queue import Queue, this_process
from core.compute.queued import QueuedLocal
from core.compute.schedule import Capacity, Device, Ticket
from core.compute.spec import JobSpec
from core.errors import NoPlace

GB = 1 << 30
GPUS = Capacity(cpus=4, gpus=tuple(Device(index=i, total_bytes=80 * GB, free_bytes=80 * GB) for i in (0, 1)))
ONE = Capacity(cpus=4, gpus=GPUS.gpus[:1])


def machine(tmp_path: Path, run: str, capacity: Capacity = ONE) -> QueuedLocal:
    return QueuedLocal(tmp_path / run, tmp_path / "queue", lambda: capacity, run=run)


def training(compute: QueuedLocal, name: str = "job-1") -> JobSpec:
    return JobSpec(
        job=name, kind="script", effect_id=f"{compute.run}-{name}", folder=str(compute.jobs_folder / name), gpus=1,
        argv=(sys.executable, "-c", "import time; time.sleep(300)"),
    )  # fmt: skip


def evaluation(compute: object, *, patience_s: float | None, told: list[str], stop: threading.Event | None = None):
    return place(
        compute, f"{getattr(compute, 'run', '')}:held-out", "The last evaluation", gpus=1, slots=4, patience_s=patience_s,  # type: ignore[arg-type]
        stop=stop or threading.Event(), tell=told.append,
    )  # fmt: skip


def test_it_waits_for_the_gpu_of_another_run_and_then_has_it_to_itself(tmp_path: Path) -> None:
    other, mine = machine(tmp_path, "other"), machine(tmp_path, "mine")
    assert other.submit(training(other)).state == "running"
    assert other.submit(training(other, "job-2")).state == "queued"
    told: list[str] = []
    has = threading.Event()
    done = threading.Event()
    env: dict[str, str] = {}

    def evaluate() -> None:
        with evaluation(mine, patience_s=None, told=told) as given:
            env.update(given)
            has.set()
            done.wait()

    thread = threading.Thread(target=evaluate)
    thread.start()
    while not told:
        time.sleep(0.05)
    assert "job-1 of run other" in told[0]
    assert not has.is_set()
    other.cancel("job-1", grace_s=0)
    assert has.wait(60)
    assert env["CUDA_VISIBLE_DEVICES"] == "0"
    assert other.inspect("job-2").state == "queued", (
        "it went before a training that had waited longer, and holds the GPU"
    )
    done.set()
    thread.join()
    assert "has its place" in told[-1]
    assert other.inspect("job-2").state == "running", "what it held is free"
    other.cancel("job-2", grace_s=0)


def test_it_does_not_wait_for_ever_and_never_begins_beside_a_training_on_its_gpu(tmp_path: Path) -> None:
    other, mine = machine(tmp_path, "other"), machine(tmp_path, "mine")
    other.submit(training(other))
    with (
        pytest.raises(NoPlace, match=r"no GPU became free.*job-1 of run other"),
        evaluation(mine, patience_s=0.0, told=[]),
    ):
        raise AssertionError("it began")
    assert not mine.queue.read().waiting, "it has left the queue"
    other.cancel("job-1", grace_s=0)


def test_on_cores_alone_it_begins_beside_the_others_and_says_so(tmp_path: Path) -> None:
    other, mine = (machine(tmp_path, run, Capacity(cpus=2)) for run in ("other", "mine"))
    spec = JobSpec(
        job="job-1", kind="script", effect_id="x", folder=str(other.jobs_folder / "job-1"), slots=2,
        argv=(sys.executable, "-c", "import time; time.sleep(300)"),
    )  # fmt: skip
    other.submit(spec)
    told: list[str] = []
    with evaluation(mine, patience_s=0.0, told=told) as env:
        assert env == {}
    assert "begins beside job-1 of run other" in told[0]
    other.cancel("job-1", grace_s=0)


def test_one_that_is_told_to_end_leaves_the_queue(tmp_path: Path) -> None:
    other, mine = machine(tmp_path, "other"), machine(tmp_path, "mine")
    other.submit(training(other))
    stop = threading.Event()
    stop.set()
    with pytest.raises(NoPlace, match="told to end"), evaluation(mine, patience_s=None, told=[], stop=stop):
        raise AssertionError("it began")
    assert not mine.queue.read().waiting
    other.cancel("job-1", grace_s=0)


def test_two_runs_that_end_at_once_evaluate_one_after_the_other_or_each_on_its_own_gpu(tmp_path: Path) -> None:
    first, second = machine(tmp_path, "a", GPUS), machine(tmp_path, "b", GPUS)
    with evaluation(first, patience_s=None, told=[]) as one, evaluation(second, patience_s=None, told=[]) as two:
        assert {one["CUDA_VISIBLE_DEVICES"], two["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}
        third = machine(tmp_path, "c", GPUS)
        with pytest.raises(NoPlace, match="an evaluation of run a"), evaluation(third, patience_s=0.0, told=[]):
            raise AssertionError("it began")
    with evaluation(machine(tmp_path, "c", GPUS), patience_s=0.0, told=[]) as env:
        assert env["CUDA_VISIBLE_DEVICES"] == "0"


def test_what_a_host_held_that_died_is_free_and_what_a_living_one_holds_stays_held_however_long(tmp_path: Path) -> None:
    ticket = Ticket(key="x", run="a", folder="", gpus=1, by_owner=True, urgent=True)
    now = [time.time()]
    queue = Queue(tmp_path / "queue", lambda: ONE, lambda folder: None, lambda: now[0])
    pid, start = this_process()
    assert queue.turn(msgspec.structs.replace(ticket, owner_pid=pid, owner_start=start)) is not None
    now[0] += 36_000
    assert [b.ticket.key for b in queue.read().held] == ["x"], "ten hours later it is still at work"
    queue.leave("x")
    code = (
        "import sys; from pathlib import Path; from core.compute.queue import Queue, this_process; from core.compute.schedule import *\n"
        "pid, start = this_process(); q = Queue(Path(sys.argv[1]), lambda: Capacity(cpus=4), lambda f: None)\n"
        "assert q.turn(Ticket(key='y', run='a', folder='', owner_pid=pid, owner_start=start, by_owner=True, asked=1.0))\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "queue")], cwd=root, check=True, timeout=60)
    assert not queue.read().held


def test_the_place_of_another_kind_of_machine_is_not_waited_for(tmp_path: Path) -> None:
    with evaluation(LocalCompute(tmp_path), patience_s=0.0, told=[]) as env:
        assert env == {}
