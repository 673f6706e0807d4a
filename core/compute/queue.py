"""The queue that all runs of a person on one machine share: one file, one lock, decisions by `schedule.decide`.

Nobody serves it: whoever wants to know takes the lock, strikes out what is over, decides, and writes the book. So it
survives every process, and a reader that dies holding the lock frees it (flock).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from core.compute.schedule import Booking, Capacity, Ticket, decide
from core.home import process_started, write_json

START_S = 60.0
"""A job that was granted and shows no process after this is taken for not started."""


class Book(msgspec.Struct, kw_only=True):
    """queue.json."""

    waiting: list[Ticket] = []
    held: list[Booking] = []


class Queue:
    """The machine's queue in `folder`. `alive(folder)` says of a job's folder whether its job runs (None: not begun)."""

    def __init__(
        self, folder: Path, capacity: Callable[[], Capacity], alive: Callable[[Path], bool | None],
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.folder = folder
        self._capacity = capacity
        self._alive = alive
        self._now = now

    def turn(self, ticket: Ticket) -> Booking | None:
        """Enter the queue (once) and see whether it is this ticket's turn; the booking holds until its job is over."""
        with self._book() as book:
            mine = _of(book, ticket.key)
            if mine is not None:
                return mine
            if ticket not in book.waiting:  # else the book is as it was, and is not written at every look of every run
                book.waiting = [t for t in book.waiting if t.key != ticket.key] + [ticket]
            granted = decide(book.waiting, book.held, self._capacity(), self._now())
            taken = {b.ticket.key for b in granted}
            book.waiting = [t for t in book.waiting if t.key not in taken]
            book.held += granted
            return _of(book, ticket.key)

    def leave(self, key: str) -> None:
        """Strike a ticket or a booking out: the job was cancelled or could not start."""
        with self._book() as book:
            book.waiting = [t for t in book.waiting if t.key != key]
            book.held = [b for b in book.held if b.ticket.key != key]

    def read(self) -> Book:
        """The book as it stands, what is over struck out."""
        with self._book() as book:
            return book

    @contextmanager
    def _book(self) -> Generator[Book]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "queue.json"
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = path.read_bytes() if path.exists() else b"{}"
            try:
                book = msgspec.json.decode(before, type=Book)
            except (
                msgspec.DecodeError
            ):  # every owner enters again with its next look; jobs that run are in their folders
                book = Book()
            self._strike_out(book)
            yield book
            if msgspec.json.encode(book) != before:
                write_json(path, book)

    def _strike_out(self, book: Book) -> None:
        owners = {(t.owner_pid, t.owner_start) for t in book.waiting}
        living = {(pid, start) for pid, start in owners if _is_process(pid, start)}
        book.waiting = [t for t in book.waiting if (t.owner_pid, t.owner_start) in living]
        book.held = [b for b in book.held if self._holds(b)]

    def _holds(self, booking: Booking) -> bool:
        if booking.ticket.by_owner:
            return _is_process(booking.ticket.owner_pid, booking.ticket.owner_start)
        alive = self._alive(Path(booking.ticket.folder))
        if alive is not None:
            return alive
        young = self._now() - booking.granted < START_S
        return young and _is_process(booking.ticket.owner_pid, booking.ticket.owner_start)


def _of(book: Book, key: str) -> Booking | None:
    return next((b for b in book.held if b.ticket.key == key), None)


def _is_process(pid: int, start: float | None) -> bool:
    found = process_started(pid)
    return found is not None and (start is None or found == start)


def this_process() -> tuple[int, float | None]:
    """Pid and start time: names this process for ever on this boot."""
    return os.getpid(), process_started(os.getpid())
