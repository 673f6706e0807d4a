"""Who runs next on a machine: a pure function of what waits, what is held and what there is.

Order: urgent jobs (evaluations) before trainings; then the run with the smallest dominant share of the machine (Ghodsi
et al., NSDI 2011: the largest of its shares of CPUs and of GPUs); then who asked first. A job that does not fit lets
smaller ones pass, but only for PATIENCE_S: after that nothing new starts until it fits, so wide jobs do not starve.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import msgspec

PATIENCE_S = 120.0
"""How long a job that does not fit lets others pass."""

SETTLE_S = 60.0
"""After its start a job may not yet hold the GPU memory it asked for; until then it is counted beside what is measured."""

IDLE_SHARE = 0.10
"""A GPU of which others hold more than this share is not given away whole."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as measured."""

    index: int
    total_bytes: int
    free_bytes: int
    """Free as measured: what our jobs hold already is not in it."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    cpus: int
    gpus: tuple[Device, ...] = ()


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """One job's wish."""

    key: str
    """Names it for good: its effect id."""
    run: str
    """Who shares fairly with whom."""
    folder: str
    cpus: int = 1
    gpus: int = 0
    gpu_memory_bytes: int | None = None
    """What it will hold of each GPU; None: whole GPUs."""
    urgent: bool = False
    asked: float = 0.0
    """Seconds since the epoch."""
    owner_pid: int = 0
    owner_start: float | None = None
    """Who starts it when its turn comes: a wish whose owner died is taken off the queue."""
    by_owner: bool = False
    """The owner does the work itself, there is no job of its own: what it holds is free once the owner is gone."""


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """What a job holds."""

    ticket: Ticket
    gpus: tuple[int, ...] = ()
    granted: float = 0.0


def fits_ever(ticket: Ticket, capacity: Capacity) -> bool:
    """Whether the machine, empty, could run it."""
    large = [d for d in capacity.gpus if d.total_bytes >= (ticket.gpu_memory_bytes or 0)]
    return ticket.cpus <= capacity.cpus and ticket.gpus <= len(large)


def decide(waiting: Sequence[Ticket], held: Sequence[Booking], capacity: Capacity, now: float) -> list[Booking]:
    """The bookings to add now. O(n log runs); never more than `capacity` in sum."""
    room = _Room(capacity, held, now)
    shares: dict[str, float] = defaultdict(float)
    for booking in held:
        shares[booking.ticket.run] += _share(booking.ticket, capacity)
    lines: dict[tuple[bool, str], deque[Ticket]] = defaultdict(deque)
    for ticket in sorted(waiting, key=lambda t: (t.asked, t.key)):
        lines[not ticket.urgent, ticket.run].append(ticket)
    heap = [(later, shares[run], line[0].asked, run) for (later, run), line in lines.items()]
    heapq.heapify(heap)
    granted: list[Booking] = []
    while heap and room.any():
        later, share, _, run = heapq.heappop(heap)
        line = lines[later, run]
        if share != shares[run]:  # its other line was served meanwhile
            heapq.heappush(heap, (later, shares[run], line[0].asked, run))
            continue
        ticket = line.popleft()
        gpus = room.place(ticket)
        if gpus is not None:
            granted.append(Booking(ticket=ticket, gpus=gpus, granted=now))
            shares[run] += _share(ticket, capacity)
        elif now - ticket.asked > PATIENCE_S and fits_ever(ticket, capacity):
            break
        if line:
            heapq.heappush(heap, (later, shares[run], line[0].asked, run))
    return granted


def _share(ticket: Ticket, capacity: Capacity) -> float:
    gpus = ticket.gpus / len(capacity.gpus) if capacity.gpus else 0.0
    return max(ticket.cpus / max(capacity.cpus, 1), gpus)


class _Room:
    """What is left while grants are made."""

    def __init__(self, capacity: Capacity, held: Iterable[Booking], now: float) -> None:
        self.cpus = capacity.cpus
        self.devices = {d.index: d for d in capacity.gpus}
        self.whole: set[int] = set()
        self.declared: dict[int, int] = defaultdict(int)
        self.unsettled: dict[int, int] = defaultdict(int)
        for booking in held:
            self._take(booking.ticket, booking.gpus, settled=now - booking.granted > SETTLE_S)

    def any(self) -> bool:
        return self.cpus > 0

    def place(self, ticket: Ticket) -> tuple[int, ...] | None:
        """GPUs for the ticket (none for a CPU job), taken from the room; None where it does not fit."""
        if ticket.cpus > self.cpus:
            return None
        gpus = self._choose(ticket)
        if len(gpus) < ticket.gpus:
            return None
        self._take(ticket, gpus, settled=False)
        return gpus

    def _choose(self, ticket: Ticket) -> tuple[int, ...]:
        if not ticket.gpus:
            return ()
        if ticket.gpu_memory_bytes is None:
            free = [i for i in self.devices if self._idle(i)]
        else:  # best fit: the smallest room that is enough, so that large rooms stay for large jobs
            need = ticket.gpu_memory_bytes
            free = sorted((i for i in self.devices if self._left(i) >= need), key=lambda i: (self._left(i), i))
        return tuple(free[: ticket.gpus])

    def _idle(self, index: int) -> bool:
        device = self.devices[index]
        others = device.total_bytes - device.free_bytes
        return index not in self.whole and not self.declared[index] and others <= IDLE_SHARE * device.total_bytes

    def _left(self, index: int) -> int:
        if index in self.whole:
            return -1
        device = self.devices[index]
        return min(device.total_bytes - self.declared[index], device.free_bytes - self.unsettled[index])

    def _take(self, ticket: Ticket, gpus: tuple[int, ...], *, settled: bool) -> None:
        self.cpus -= ticket.cpus
        for index in gpus:
            if ticket.gpu_memory_bytes is None:
                self.whole.add(index)
                continue
            self.declared[index] += ticket.gpu_memory_bytes
            if not settled:
                self.unsettled[index] += ticket.gpu_memory_bytes
