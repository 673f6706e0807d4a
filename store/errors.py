"""What can go wrong with a log, for the reader at 2 a.m.

    StoreError
    ├── LogBusy         another process holds the file; `pid` names it
    ├── LogMissing      no log in that folder, or no such event, blob or table
    ├── LogExists       a log that was to be created is already there
    ├── LogDamaged      the file fails its checks; `seq` is the first bad event where known
    │   └── OtherFormat the file is whole, and another version of the program wrote it
    ├── LogClosed       the log was closed, or stopped after an error it could not recover from
    ├── WriteFailed     an append failed; nothing of it was written, and the log goes on
    ├── DiskFull        the floor of free disk is reached; nothing of this append was written
    ├── WrongSequence   the log has moved on from the sequence number the caller expected
    ├── TooLarge        more was asked for at once than the memory set aside holds
    ├── BadEvent        an event that cannot be stored as it is
    ├── BadQuery        an SQL query that is wrong, or that wants to write
    ├── NotAdmitted     the run's host does not talk to this process
    ├── ConnectionLost  the socket to the run's host broke
    └── RemoteError     the host answered with an error that is not the store's own

Each says what was wrong, where, and what to do next. `store` cannot import `core`, so this tree is its own; the layer
above converts it once, at its boundary.
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of all. `what` is wrong, `where` it was found, and what to do `next`."""

    default_next = ""

    def __init__(self, what: str, *, where: str = "", next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next = next or self.default_next

    def __str__(self) -> str:
        text = f"{self.what} ({self.where})" if self.where else self.what
        return f"{text}. {self.next}" if self.next else text


class LogBusy(StoreError):
    """Another process holds the file."""

    default_next = "Attach to the running host through its socket, or stop it first"

    def __init__(self, what: str, *, pid: int | None = None, where: str = "", next: str = "") -> None:
        super().__init__(what, where=where, next=next)
        self.pid = pid


class NotAdmitted(StoreError):
    """The host of the run does not talk to this process."""

    default_next = "Use a program that no sandbox holds: commands and scripts of a brain may not command its own run"


class LogMissing(StoreError):
    """No log in that folder, or no such part of it."""


class LogExists(StoreError):
    """A log that was to be created is already there."""

    default_next = "Open it, or choose another folder"


class LogDamaged(StoreError):
    """The file fails its checks."""

    default_next = "Run verify to see what is damaged; open with salvage to read up to the last good event"

    def __init__(self, what: str, *, seq: int | None = None, where: str = "", next: str = "") -> None:
        super().__init__(what, where=where, next=next)
        self.seq = seq


class OtherFormat(LogDamaged):
    """The file is whole as far as one can tell, but laid out as another version lays it out: salvage is no help."""

    default_next = (
        "Read it with the version of the program that wrote it (there, `intern export` gives Parquet, which any "
        "version's tools read), or begin a new run"
    )


class LogClosed(StoreError):
    """The log was closed, or stopped after an error it could not recover from."""

    default_next = "Open the log again"


class WriteFailed(StoreError):
    """An append failed; nothing of it was written, everything acknowledged is safe, and the log goes on."""

    default_next = "Try again; the events keep their ids, so nothing is stored twice"


class DiskFull(StoreError):
    """The floor of free disk is reached. Everything acknowledged is safe; nothing of this append was written."""

    default_next = "Free some space, then resume"


class WrongSequence(StoreError):
    """The log has moved on from the sequence number the caller expected."""

    default_next = "Read the events that came since, then decide again"

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"the log is at event {actual}, not at {expected}")
        self.expected = expected
        self.actual = actual


class TooLarge(StoreError):
    """More was asked for at once than the memory set aside for the database holds."""

    default_next = "Ask for less at once"


class BadEvent(StoreError):
    """An event that cannot be stored as it is."""


class BadQuery(StoreError):
    """An SQL query that is wrong, or that wants to write."""

    exit_code = 2
    """Of a command line that ends with it: what was asked for was wrong, not the run."""


class ConnectionLost(StoreError):
    """The socket to the run's host broke."""

    default_next = "Connect again; if the host is gone, read the log file itself"


class RemoteError(StoreError):
    """The host answered with an error that is not the store's own. `kind` is the name of the error's class there."""

    def __init__(self, what: str, *, kind: str = "", where: str = "", next: str = "") -> None:
        super().__init__(what, where=where, next=next)
        self.kind = kind
