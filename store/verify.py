"""Is this log what was written? Every check there is, and a report that names the first bad event.

    mark     both slots of the high-water mark are whole
    file     the database file is byte for byte as its last checkpoint left it, where a seal says so
    open     DuckDB opens it and can read every row (it checks its own blocks)
    chain    every event follows from the one before; none is missing, none was changed
    tail     the chain reaches the mark, and has the mark's full hash there
    tables   each row of a typed table belongs to an event that has it for its payload
    blobs    each blob an event names is there, and each blob is what its name says

A log whose host was killed passes: its last commits are in the write-ahead log, and the mark knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from store.blobs import BlobStore, blobs_named
from store.chain import Walker, genesis
from store.database import Database
from store.errors import LogDamaged, LogMissing, OtherFormat, StoreError
from store.event import Event
from store.lock import refuse_if_written
from store.mark import Mark
from store.packing import read_tables
from store.reading import Pages
from store.salvage import Salvaged
from store.schema import DATABASE
from store.sealer import digest_file
from store.tip import Tip, check_identity, find_mark


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    check: str
    """Which check found it: mark, file, open, chain, tail, tables or blobs."""
    what: str
    seq: int | None = None
    """The first bad event, or the first that could not be checked, where an event is concerned."""


class Report(msgspec.Struct, frozen=True):
    """What `verify` found."""

    events: int
    """Good events, counted from the first."""
    hash: str
    """Full hash at the last good event."""
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        return not self.findings

    @property
    def first_bad(self) -> int | None:
        """The first bad event, if an event is concerned."""
        return min((finding.seq for finding in self.findings if finding.seq is not None), default=None)


def verify(
    folder: Path,
    *,
    named_blobs: Callable[[Event], Iterable[str]] = blobs_named,
) -> Report:
    """Check the log in `folder`. Nothing is changed.

    Raises LogMissing if there is no log, LogBusy if a host holds it, OtherFormat if the file is as another version of
    the program left it. Damage is not raised, it is reported.
    """
    refuse_if_written(folder)
    check = _Check(folder, named_blobs)
    try:
        check.run()
    except LogMissing:
        raise
    except OtherFormat as error:
        if not check.findings:
            raise
        check.note("open", str(error))
    except LogDamaged as error:
        good, bad = _good_part(folder)
        check.note("open", error.what, error.seq or bad)
        return Report(good.seq, good.full.hex(), check.findings)
    return Report(
        check.walker.seq if check.walker else 0, check.walker.hash.hex() if check.walker else "", check.findings
    )


def _good_part(folder: Path) -> tuple[Tip, int | None]:
    """How far a log is good that cannot be read as it lies there, and the first event that was acknowledged and is not.

    It is what salvage shows: DuckDB refuses a whole block, and all events that were asked for with it, for one bit.
    """
    if not (folder / DATABASE).exists():
        return Tip(0, b""), 1
    try:
        mark = find_mark(folder).mark
    except LogDamaged:
        mark = None
    salvaged = None
    try:
        salvaged = Salvaged(folder)
        if mark is not None:
            check_identity(salvaged.database, mark)
        good = salvaged.tip
    except LogDamaged:
        good = Tip(0, b"")
    finally:
        if salvaged is not None:
            salvaged.database.close()
            salvaged.remove()
    return good, good.seq + 1 if mark is not None and good.seq < mark.seq else None


class _Check:
    """One verification under way."""

    def __init__(self, folder: Path, named_blobs: Callable[[Event], Iterable[str]]) -> None:
        self.folder = folder
        self.findings: list[Finding] = []
        self.walker: Walker | None = None
        self._named_blobs = named_blobs
        self._blobs: dict[str, int] = {}

    def note(self, check: str, what: str, seq: int | None = None) -> None:
        self.findings.append(Finding(check, what, seq))

    def run(self) -> None:
        found = find_mark(self.folder)
        if found.bad_slots:
            self.note("mark", "a slot of the high-water mark is damaged")
        self._file(found.mark)
        database = Database(self.folder / DATABASE, read_only=True)
        try:
            check_identity(database, found.mark)
            if self._chain(Pages(database), found.mark):
                self._read_tables(database)
        finally:
            database.close()
            self._check_blobs()

    def _file(self, mark: Mark) -> None:
        """The seal covers the bytes that reading never touches."""
        if mark.seal is not None and digest_file(self.folder / DATABASE) != mark.seal:
            self.note("file", "the database file was changed after the log was closed")

    def _chain(self, pages: Pages, mark: Mark) -> bool:
        """Follow the whole chain; True if it holds to its end and the end is the mark's or later."""
        self.walker = walker = Walker(0, genesis(mark.log_id))
        while True:
            before = walker.seq
            page = pages.page(before + 1, before + 4096)
            broken = walker.walk(page if walker.seq >= mark.seq else _up_to(page, mark.seq))
            for event in page:
                if event.seq <= walker.seq:
                    self._collect(event)
            if broken:
                self.note("chain", broken.why, broken.seq)
                return False
            if walker.seq == mark.seq and walker.hash.hex() != mark.hash:
                self.note("tail", f"event {mark.seq} is not the one the mark speaks of", mark.seq or None)
                return False
            if walker.seq == before:
                return self._ends(pages, mark)

    def _ends(self, pages: Pages, mark: Mark) -> bool:
        """The chain has no further event: is that where it should end?"""
        end = self.walker.seq if self.walker else 0
        if end < mark.seq:
            later = pages.after(end)
            what = f"event {end + 1} is missing" if later else f"events {end + 1} to {mark.seq} are missing at the end"
            self.note("chain" if later else "tail", f"{what}; they were acknowledged", end + 1)
            return False
        strays = pages.count() - end
        if strays:
            self.note("chain", f"{strays} rows stand outside the sequence")
        return not strays

    def _collect(self, event: Event) -> None:
        for digest in self._named_blobs(event):
            self._blobs.setdefault(digest, event.seq)

    def _read_tables(self, database: Database) -> None:
        """The chain has vouched for every row an event is made of; what remains are rows of no event."""
        for table in read_tables(database):
            strays = database.query(
                f"""SELECT count(*) FROM {table.rows} r ANTI JOIN
                (SELECT seq FROM event_log WHERE type = ? AND payload IS NULL) e USING (seq)""",
                [table.type],
            )[0][0]
            doubled = database.query(f"SELECT count(*) - count(DISTINCT seq) FROM {table.rows}")[0][0]
            if strays or doubled:
                self.note("tables", f"{table.name}: {strays + doubled} rows no event gave")

    def _check_blobs(self) -> None:
        """Read every blob that is there, and look for every blob that is named."""
        blobs = BlobStore(self.folder)
        there = set(blobs)
        for digest in sorted(there):
            try:
                blobs.get(digest)
            except StoreError as error:
                self.note("blobs", f"{error.what}: {digest}", self._blobs.get(digest))
        for digest, seq in self._blobs.items():
            if digest not in there:
                self.note("blobs", f"the blob {digest} is missing", seq)


def _up_to(page: list[Event], seq: int) -> list[Event]:
    """The events of a page up to `seq`, so that the walk stops where the mark can be compared."""
    return [event for event in page if event.seq <= seq]
