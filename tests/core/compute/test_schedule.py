"""Who runs next: never more than there is, fair between runs, evaluations first, nobody starves; and a fleet of 1,000."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.compute.queue import Queue, this_process
from core.compute.queued import QueuedLocal
from core.compute.schedule import PATIENCE_S, Booking, Capacity, Device, Ticket, decide
from core.compute.spec import JobSpec
from core.errors import Refused
from tests.core.compute.fleet import Fleet

GB = 1 << 30


def gpus(*free: int, total: int = 80) -> tuple[Device, ...]:
    return tuple(Device(index=i, total_bytes=total * GB, free_bytes=f * GB) for i, f in enumerate(free))


def ticket(key: str, run: str = "a", **more: object) -> Ticket:
    return Ticket(key=key, run=run, folder="", **more)  # type: ignore[arg-type]


def keys(granted: list[Booking]) -> list[str]:
    return [b.ticket.key for b in granted]


def test_cores_are_never_overbooked() -> None:
    waiting = [ticket(str(i), cpus=2, asked=float(i)) for i in range(5)]
    assert keys(decide(waiting, [], Capacity(cpus=5), 10)) == ["0", "1"]


def test_runs_take_turns_whoever_asked_more() -> None:
    greedy = [ticket(f"a{i}", "a", asked=float(i)) for i in range(8)]
    modest = [ticket(f"b{i}", "b", asked=100.0 + i) for i in range(2)]
    assert sorted(keys(decide(greedy + modest, [], Capacity(cpus=4), 110))) == ["a0", "a1", "b0", "b1"]


def test_an_evaluation_goes_before_trainings_that_wait_longer() -> None:
    waiting = [ticket("train", asked=0.0), ticket("eval", urgent=True, asked=50.0)]
    assert keys(decide(waiting, [], Capacity(cpus=1), 60)) == ["eval"]


def test_a_wide_job_lets_others_pass_only_for_a_while() -> None:
    held = [Booking(ticket=ticket("x", "b"), granted=0)]
    waiting = [ticket("wide", cpus=4, asked=0.0), ticket("small", cpus=1, asked=5.0)]
    assert keys(decide(waiting, held, Capacity(cpus=4), 10)) == ["small"]
    assert keys(decide(waiting, held, Capacity(cpus=4), PATIENCE_S + 1)) == []


def test_a_gpu_that_others_use_is_not_given_away_whole() -> None:
    assert [b.gpus for b in decide([ticket("a", gpus=1)], [], Capacity(cpus=8, gpus=gpus(60, 79)), 0)] == [(1,)]
    assert decide([ticket("a", gpus=2)], [], Capacity(cpus=8, gpus=gpus(60, 79)), 0) == []


def test_jobs_that_say_what_they_need_share_a_gpu_within_its_memory() -> None:
    waiting = [ticket(str(i), gpus=1, gpu_memory_bytes=30 * GB, asked=float(i)) for i in range(5)]
    granted = decide(waiting, [], Capacity(cpus=8, gpus=gpus(80, 80)), 10)
    assert sorted(b.gpus for b in granted) == [(0,), (0,), (1,), (1,)]
    assert (
        decide(waiting[4:], granted, Capacity(cpus=8, gpus=gpus(80, 80)), 11) == []
    )  # not yet allocated, but promised


@pytest.mark.parametrize("seed", range(30))
def test_whatever_waits_and_is_held_the_machine_is_never_overbooked(seed: int) -> None:
    rng = random.Random(seed)
    capacity = Capacity(cpus=rng.randint(1, 32), gpus=gpus(*[rng.randint(0, 80) for _ in range(rng.randint(0, 8))]))
    held: list[Booking] = []
    for now in range(0, 600, 60):
        waiting = [
            ticket(f"{now}-{i}", rng.choice("abc"), cpus=rng.randint(1, 4), gpus=rng.randint(0, 3), asked=float(now),
                   gpu_memory_bytes=rng.choice([None, 10 * GB, 40 * GB]), urgent=rng.random() < 0.2)
            for i in range(20)
        ]  # fmt: skip
        held += decide(waiting, held, capacity, now)
        assert sum(b.ticket.cpus for b in held) <= capacity.cpus
        for device in capacity.gpus:
            here = [b.ticket for b in held if device.index in b.gpus]
            whole = [t for t in here if t.gpu_memory_bytes is None]
            assert not whole or len(here) == 1
            assert sum(t.gpu_memory_bytes or 0 for t in here) <= device.total_bytes
        held = [b for b in held if rng.random() < 0.6]


def job(compute: QueuedLocal, name: str, code: str = "import time; time.sleep(30)", **more: object) -> JobSpec:
    return JobSpec(job=name, kind="script", effect_id=f"e-{compute.run}-{name}", folder=str(compute.jobs_folder / name), argv=(sys.executable, "-c", code), **more)  # type: ignore[arg-type]  # fmt: skip


def test_two_runs_share_one_machine_through_one_file(tmp_path: Path) -> None:
    first, second = (QueuedLocal(tmp_path / run, tmp_path / "queue", lambda: Capacity(cpus=1), run=run) for run in "ab")
    assert first.submit(job(first, "1")).state == "running"
    assert second.submit(job(second, "1", "print('done')")).state == "queued"
    assert second.inspect("1").reason == "waits for its turn"
    first.cancel("1", grace_s=0)
    assert second.wait("1", 20).state == "done"


def test_a_job_that_waits_can_be_cancelled_and_is_never_started(tmp_path: Path) -> None:
    compute = QueuedLocal(tmp_path / "jobs", tmp_path / "queue", lambda: Capacity(cpus=1))
    compute.submit(job(compute, "1"))
    compute.submit(job(compute, "2"))
    assert compute.cancel("2").state == "cancelled"
    compute.cancel("1", grace_s=0)
    assert compute.inspect("2").state == "cancelled"
    assert not (tmp_path / "jobs" / "2" / "job.json").exists()


def test_a_job_sees_only_the_gpus_it_was_given(tmp_path: Path) -> None:
    compute = QueuedLocal(tmp_path / "jobs", tmp_path / "queue", lambda: Capacity(cpus=4, gpus=gpus(10, 80, 80)))
    show = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'] or 'none')"
    for name, wanted in (("two", 2), ("none", 0)):
        compute.submit(job(compute, name, show, gpus=wanted))
        compute.wait(name, 20)
    assert [compute.logs(n).text.strip() for n in ("two", "none")] == ["1,2", "none"]


def test_a_job_too_large_for_the_machine_is_refused_with_a_way_out(tmp_path: Path) -> None:
    compute = QueuedLocal(tmp_path / "jobs", tmp_path / "queue", lambda: Capacity(cpus=4, gpus=gpus(24, total=24)))
    with pytest.raises(Refused, match="needs 1 GPU with 40 GB each; this machine has 24 GB"):
        compute.submit(job(compute, "1", gpus=1, gpu_memory_bytes=40 * GB))


def test_the_place_of_a_host_that_died_is_free_and_its_waiting_jobs_go_on_with_the_next(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    code = (
        "from pathlib import Path; from core.compute.queued import *; import sys\n"
        f"c = QueuedLocal({str(tmp_path / 'jobs')!r}, Path({str(tmp_path / 'queue')!r}), lambda: Capacity(cpus=1), run='a')\n"
        "for n in '12': c.submit(JobSpec(job=n, kind='script', effect_id='e' + n, folder=str(c.jobs_folder / n), "
        "argv=(sys.executable, '-c', 'import time; time.sleep(1)')))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=30)
    after = QueuedLocal(tmp_path / "jobs", tmp_path / "queue", lambda: Capacity(cpus=1), run="a")
    assert after.inspect("2").state == "queued"
    assert after.wait("1", 20).state == "done"
    assert after.wait("2", 20).state == "done"


def test_a_damaged_book_loses_no_running_job(tmp_path: Path) -> None:
    compute = QueuedLocal(tmp_path / "jobs", tmp_path / "queue", lambda: Capacity(cpus=1))
    compute.submit(job(compute, "1"))
    (tmp_path / "queue" / "queue.json").write_text("{broken")
    assert compute.inspect("1").state == "running"
    compute.cancel("1", grace_s=0)


def test_the_lock_of_a_process_that_died_holding_it_is_free(tmp_path: Path) -> None:
    code = f"import fcntl, os; f = open({str(tmp_path / 'lock')!r}, 'a'); fcntl.flock(f, fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], timeout=20)
    pid, start = this_process()
    queue = Queue(tmp_path, lambda: Capacity(cpus=1), lambda folder: None)
    assert queue.turn(ticket("x", owner_pid=pid, owner_start=start, asked=time.time())) is not None
    assert os.path.exists(tmp_path / "queue.json")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak), pytest.param(2, marks=pytest.mark.soak)])
def test_a_fleet_of_1000_jobs_with_faults_loses_and_doubles_nothing(seed: int) -> None:
    fleet = Fleet(jobs=1000, runs=20, seed=seed)
    result = fleet.run()
    assert result.finished == 1000
    assert result.overbooked == result.started_twice_at_once == result.metrics_lost == result.metrics_doubled == 0
    assert result.preempted > 50
    assert result.heads_lost > 3
