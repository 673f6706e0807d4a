"""1,000 jobs on a simulated fleet, through the scheduler's own `decide`: preemptions, heads that are lost and come back from
their files, logs that arrive late, twice and in pieces. Simulated are clock, machines, network and the reader of numbered
lines (the real reader is under test in test_hub_jobs.py); the decisions are the program's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec

from core.compute.schedule import Booking, Capacity, Device, Ticket, decide

GB = 1 << 30
TICK_S = 10.0


@dataclass
class Result:
    finished: int = 0
    hours: float = 0.0
    preempted: int = 0
    heads_lost: int = 0
    overbooked: int = 0
    started_twice_at_once: int = 0
    metrics_lost: int = 0
    metrics_doubled: int = 0
    lines: int = 0
    log_bytes: int = 0
    gpu_share: float = 0.0


@dataclass
class Job:
    ticket: Ticket
    steps: int
    done: int = 0
    checkpoint: int = 0
    sent: int = 0
    got: int = 0
    finished: bool = False


class Fleet:
    """`machines` x 8 GPUs seen as one pool."""

    def __init__(self, jobs: int, runs: int, seed: int, machines: int = 4) -> None:
        self.rng = random.Random(seed)
        devices = tuple(Device(index=i, total_bytes=80 * GB, free_bytes=80 * GB) for i in range(8 * machines))
        self.capacity = Capacity(cpus=64 * machines, gpus=devices)
        self.jobs = [self._job(i, f"run-{i % runs}") for i in range(jobs)]
        self.result = Result()
        self.network: list[tuple[float, int, int]] = []

    def run(self) -> Result:
        held: list[Booking] = []
        now = busy = 0.0
        while not all(j.finished for j in self.jobs):
            now += TICK_S
            if (
                self.rng.random() < 0.005
            ):  # the head is gone: what it held in memory comes back from what stands on disk
                held = msgspec.json.decode(msgspec.json.encode(held), type=list[Booking])
                self.result.heads_lost += 1
            running = {b.ticket.key for b in held}
            waiting = [
                j.ticket for j in self.jobs if not j.finished and j.ticket.key not in running and j.ticket.asked <= now
            ]
            granted = decide(waiting, held, self.capacity, now)
            self.result.started_twice_at_once += len(granted) - len({b.ticket.key for b in granted} - running)
            held += granted
            self._audit(held)
            busy += sum(len(b.gpus) for b in held)
            held = [b for b in held if self._works(self.jobs[int(b.ticket.key)], now)]
            self._deliver(now)
        self._deliver(float("inf"))
        self.result.finished = sum(j.finished for j in self.jobs)
        self.result.metrics_lost = sum(j.sent - j.got for j in self.jobs)
        self.result.hours = now / 3600
        self.result.gpu_share = busy * TICK_S / (now * len(self.capacity.gpus))
        return self.result

    def _job(self, i: int, run: str) -> Job:
        rng = self.rng
        kind = rng.random()
        gpus, memory = (
            (0, None)
            if kind < 0.2
            else (1, rng.choice([8, 20, 36]) * GB)
            if kind < 0.7
            else (rng.choice([1, 2, 8]), None)
        )
        asked = rng.uniform(0, 7200)
        ticket = Ticket(key=str(i), run=run, folder="", cpus=rng.randint(1, 8), gpus=gpus, gpu_memory_bytes=memory, urgent=kind < 0.2, asked=asked)  # fmt: skip
        return Job(ticket, steps=rng.randint(5, 120))

    def _works(self, job: Job, now: float) -> bool:
        """One tick of a running job; False when it leaves its place."""
        if self.rng.random() < 0.003:  # preempted: it goes on from its checkpoint, its lines since then come again
            job.done = job.checkpoint
            self.result.preempted += 1
            return False
        job.done += 1
        if job.done % 10 == 0:
            job.checkpoint = job.done
        if job.done > job.sent:
            job.sent = job.done
        for _ in range(self.rng.choice([1, 1, 1, 2])):  # late, and sometimes twice
            self.network.append((now + self.rng.expovariate(1 / 30), int(job.ticket.key), job.done))
        if job.done >= job.steps:
            job.finished = True
        return not job.finished

    def _deliver(self, now: float) -> None:
        """What has arrived. A line with a number other than the next one is dropped and asked for again: the stream replays."""
        arrived = [m for m in self.network if m[0] <= now]
        self.network = [m for m in self.network if m[0] > now]
        for _, key, number in sorted(arrived):
            job = self.jobs[key]
            before = job.got
            if number > job.got + 1:  # a hole: the replay brings everything from the start up to here
                for n in range(1, number + 1):
                    job.got += n == job.got + 1
            elif number == job.got + 1:
                job.got += 1
            self.result.metrics_doubled += job.got > max(number, before)
            self.result.lines += job.got - before
            self.result.log_bytes += 90 * (job.got - before)

    def _audit(self, held: list[Booking]) -> None:
        over = sum(b.ticket.cpus for b in held) > self.capacity.cpus
        for device in self.capacity.gpus:
            here = [b.ticket for b in held if device.index in b.gpus]
            over |= any(t.gpu_memory_bytes is None for t in here) and len(here) > 1
            over |= sum(t.gpu_memory_bytes or 0 for t in here) > device.total_bytes
        self.result.overbooked += over
