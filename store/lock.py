"""Who writes: a lock file beside the log, held by the one writer for as long as it lives.

DuckDB locks its own file as well, but only from the moment it opens it; this lock comes first, so that the mark is
never touched by two. It is released by the kernel however the process ends. It carries the holder's process id, for
the message.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from store.errors import LogBusy

NAME = "log.lock"
_TRIES = 20
"""A reader that looks who writes holds the lock for microseconds; so one refusal is not yet an answer."""


class WriterLock:
    """The right to write the log in a folder. Raises LogBusy, naming the process that has it."""

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        for _ in range(_TRIES):
            if _try(self._fd, fcntl.LOCK_EX):
                break
            time.sleep(0.005)
        else:
            busy = _busy(self._fd, folder)
            os.close(self._fd)
            raise busy
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


def refuse_if_written(folder: Path) -> None:
    """Raise LogBusy if a process, this one included, has the log in `folder` open for writing."""
    try:
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # never written here, or not ours to look at: DuckDB's own lock decides
    try:
        if not _try(fd, fcntl.LOCK_SH):
            raise _busy(fd, folder)
    finally:
        os.close(fd)


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy(fd: int, folder: Path) -> LogBusy:
    holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
    pid = int(holder) if holder.isdigit() else None
    by = f"process {pid}" if pid else "another process"
    return LogBusy(f"the log is in use by {by}", pid=pid, where=str(folder))
