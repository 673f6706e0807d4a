"""A log file that no host holds, open for reading.

While a `LogFile` has the file open nobody can write it. So it lets go when it has not been asked for a moment, and
takes the file up again at the next question: a screen that replays a run does not stand in the way of resuming it.
"""

from __future__ import annotations

from pathlib import Path

from store.database import Database
from store.errors import LogDamaged, OtherFormat
from store.lock import refuse_if_written
from store.reading import LogReader
from store.salvage import Salvaged, last_good
from store.schema import DATABASE
from store.tip import Tip, check_tip, find_mark

_PARK_S = 1.0


class LogFile(LogReader):
    """A log, read-only."""

    def __init__(self, folder: Path, database: Database, tip: Tip) -> None:
        super().__init__(database)
        self.folder = folder
        self.damage: LogDamaged | None = None
        """What was wrong, if the log was opened by salvage."""
        self._tip = tip
        self._salvaged: Salvaged | None = None

    @classmethod
    def open(cls, folder: Path, salvage: bool = False) -> LogFile:
        """Open the log in `folder`.

        Raises LogMissing, LogBusy if a host holds it (use its socket), OtherFormat if another version wrote it,
        LogDamaged if it does not end where its mark says. With `salvage` the whole chain is followed first (seconds a million events); a damaged log is then
        opened as a copy that ends at its last good event, and `damage` says what was found. Without it, damage in
        the middle is not looked for: see `store.verify`.
        """
        refuse_if_written(folder)
        if not salvage:
            return cls._open_sound(folder)
        try:
            log = cls._open_sound(folder)
        except OtherFormat:
            raise
        except LogDamaged:
            return cls._open_damaged(folder)
        if last_good(log._database) == log._tip:
            return log
        log.close()
        return cls._open_damaged(folder)

    @classmethod
    def _open_sound(cls, folder: Path) -> LogFile:
        mark = find_mark(folder).mark
        database = Database(folder / DATABASE, read_only=True, park_s=_PARK_S)
        try:
            return cls(folder, database, check_tip(database, mark))
        except BaseException:
            database.close()
            raise

    @classmethod
    def _open_damaged(cls, folder: Path) -> LogFile:
        damage = None
        try:
            mark = find_mark(folder).mark
        except LogDamaged as error:
            damage, mark = error, None
            if not (folder / DATABASE).exists():
                raise
        salvaged = Salvaged(folder)
        if mark is not None:
            damage = salvaged.missing(mark)
        log = cls(folder, salvaged.database, salvaged.tip)
        log.damage, log._salvaged = damage, salvaged
        return log

    @property
    def last(self) -> tuple[int, str]:
        """Sequence number and full hash of the last event, as of the opening."""
        return self._tip.pair

    def close(self) -> None:
        self._database.close()
        if self._salvaged is not None:
            self._salvaged.remove()

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
