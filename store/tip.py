"""Where a log ends, and whether that is where its mark says it ends: the quick check made at every opening.

It reads a handful of rows and the column statistics, so it costs the same at ten million events as at ten. What it
cannot see (a row changed in the middle) is for `store.verify`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from store.chain import WIDTH, Walker, genesis
from store.database import Database
from store.errors import LogDamaged, LogMissing, OtherFormat
from store.mark import NAME as MARK_NAME
from store.mark import Mark, MarkRead, read_mark
from store.reading import Pages
from store.schema import DATABASE, FORMAT


class Tip(msgspec.Struct, frozen=True):
    """The end of a log: its last event's number and full hash."""

    seq: int
    full: bytes

    @property
    def pair(self) -> tuple[int, str]:
        return self.seq, self.full.hex()


def find_mark(folder: Path) -> MarkRead:
    """The mark of the log in `folder`. LogMissing if there is no log at all, LogDamaged if half of it is gone."""
    database, mark = (folder / DATABASE).exists(), (folder / MARK_NAME).exists()
    if not database and not mark:
        raise LogMissing("there is no log here", where=str(folder), next="Check the run's id; `intern runs` lists them")
    if not database:
        raise LogDamaged("the log's database file is gone", where=str(folder / DATABASE))
    if not mark:
        raise LogDamaged("the log's high-water mark is gone", where=str(folder / MARK_NAME))
    return read_mark(folder)


def check_identity(database: Database, mark: Mark) -> None:
    """Raise LogDamaged unless the database is the log its mark speaks of, OtherFormat if this version cannot read it."""
    about = database.query("SELECT format, log_id FROM log_about")
    if len(about) != 1 or about[0][1] != mark.log_id:
        raise LogDamaged("the database belongs to another log than its mark", where=str(database.path))
    if about[0][0] != FORMAT and not (about[0][0] == 1 and _has_layout_of_2(database)):
        text = f"the log has format {about[0][0]}, this version of the program reads format {FORMAT}"
        raise OtherFormat(text, where=str(database.path))


def label_format(database: Database) -> None:
    """Let a log that says format 1 and has the layout of 2 say so, now that it is open for writing."""
    if database.query("SELECT format FROM log_about")[0][0] != FORMAT:
        with database.writing() as connection:
            connection.execute("UPDATE log_about SET format = ?", [FORMAT])


def _has_layout_of_2(database: Database) -> bool:
    columns = "SELECT 1 FROM duckdb_columns() WHERE table_name = 'event_log' AND column_name = 'hi'"
    return bool(database.query(columns))


def check_tip(database: Database, mark: Mark) -> Tip:
    """Where the log ends. Raises LogDamaged if events are missing, or if it is not the log the mark speaks of."""
    check_identity(database, mark)
    where = str(database.path)
    count, first, last = database.query("SELECT count(*), coalesce(min(seq), 1), coalesce(max(seq), 0) FROM event_log")[
        0
    ]
    if last < mark.seq:
        lost = f"events {last + 1} to {mark.seq} were acknowledged and are gone"
        raise LogDamaged(lost, seq=last + 1, where=where)
    if count != last or first != 1:
        raise LogDamaged(f"{last} events are expected, {count} are there", where=where)
    if mark.seq == 0:
        if bytes.fromhex(mark.hash) != genesis(mark.log_id):
            raise LogDamaged("the mark of an empty log does not fit its id", where=where)
    elif _short_at(database, mark.seq) != mark.hash[:WIDTH]:
        raise LogDamaged(f"event {mark.seq} is not the one the mark speaks of", seq=mark.seq, where=where)
    return _walk_on(Pages(database), mark, last)


def _short_at(database: Database, seq: int) -> str:
    return f"{database.query('SELECT hash FROM event_log WHERE seq = ?', [seq])[0][0]:0{WIDTH}x}"


def _walk_on(pages: Pages, mark: Mark, last: int) -> Tip:
    """Follow the chain from the mark to the end: what was committed after it and not acknowledged is kept if whole."""
    walker = Walker(mark.seq, bytes.fromhex(mark.hash))
    for page in pages.walk(mark.seq + 1, last):
        broken = walker.walk(page)
        if broken:
            raise LogDamaged(broken.why, seq=broken.seq)
    return Tip(walker.seq, walker.hash)
