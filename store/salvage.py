"""Reading what is left of a damaged log.

Works on a copy, so the evidence stays as it is. Blocks that DuckDB refuses are mended (`store.mend`). If the
write-ahead log cannot be replayed, the longest part of it that can is kept. Then the chain is followed from the first
event to the last good one; nothing after it is shown, for nothing vouches for it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from store.chain import WIDTH, Walker, genesis
from store.database import Database
from store.errors import LogDamaged
from store.mark import Mark
from store.mend import mend
from store.reading import Pages
from store.schema import DATABASE, WAL
from store.tip import Tip


class Salvaged:
    """A copy of a damaged log, open, and how far it can be trusted."""

    def __init__(self, folder: Path) -> None:
        """Raises LogDamaged if not even the database file can be opened."""
        self.scratch = Path(tempfile.mkdtemp(prefix="intern-salvage-"))
        try:
            _copy(folder, self.scratch)
            if not mend(self.scratch):
                _copy(folder, self.scratch)
            self.database = _open_what_opens(self.scratch)
            self.tip = last_good(self.database)
        except BaseException:
            self.remove()
            raise

    def missing(self, mark: Mark) -> LogDamaged | None:
        """What the mark vouched for and is not here, or None if all of it is."""
        where = str(self.scratch)
        if self.tip.seq < mark.seq:
            text = f"the log is good up to event {self.tip.seq}; {mark.seq} were acknowledged"
            return LogDamaged(text, seq=self.tip.seq + 1, where=where)
        short = self.database.query("SELECT hash FROM event_log WHERE seq = ?", [mark.seq])
        if mark.seq and f"{short[0][0]:0{WIDTH}x}" != mark.hash[:WIDTH]:
            return LogDamaged(f"event {mark.seq} is not the one the mark speaks of", seq=mark.seq, where=where)
        return None

    def remove(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)


def _copy(folder: Path, scratch: Path) -> None:
    for name in (DATABASE, WAL):
        if (folder / name).exists():
            shutil.copyfile(folder / name, scratch / name)


def _open_what_opens(folder: Path) -> Database:
    path = folder / DATABASE
    try:
        return Database(path, read_only=True)
    except LogDamaged:
        if not (folder / WAL).exists():
            raise
    whole = (folder / WAL).read_bytes()
    good, bad = 0, len(whole)
    while bad - good > 1:  # what opens is a prefix: bytes after the damage cannot make it better
        middle = (good + bad) // 2
        if _opens_with(path, whole[:middle]):
            good = middle
        else:
            bad = middle
    _leave_wal(folder, whole[:good])
    return Database(path, read_only=True)


def _opens_with(path: Path, wal: bytes) -> bool:
    _leave_wal(path.parent, wal)
    try:
        Database(path, read_only=True).close()
    except LogDamaged:
        return False
    return True


def _leave_wal(folder: Path, wal: bytes) -> None:
    (folder / WAL).unlink(missing_ok=True)
    if wal:
        (folder / WAL).write_bytes(wal)


def last_good(database: Database) -> Tip:
    """Follow the chain from the beginning as far as it can be read and holds."""
    log_id = str(database.query("SELECT log_id FROM log_about")[0][0])
    walker = Walker(0, genesis(log_id))
    pages = Pages(database)
    span = 4096
    while span:
        try:
            page = pages.page(walker.seq + 1, walker.seq + span)
        except LogDamaged:
            span //= 2  # an unreadable block lies ahead: feel the way up to it
            continue
        if not page or walker.walk(page):
            break
    return Tip(walker.seq, walker.hash)
