"""Work that must not be done by whoever makes it necessary: a summary, a snapshot of the state.

An event may come from a person's command, and its thread answers that person: it only says that the work is due.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """One piece of work on a thread of its own. What is asked for twice before it has begun is done once."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._due = self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()

    def ask(self) -> None:
        """The work is due; returns at once."""
        with self._changed:
            self._due = True
            self._changed.notify()

    def close(self) -> None:
        """Return once all that was asked for is done."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._ended)
                if not self._due:
                    return
                self._due = False
            self._work()
