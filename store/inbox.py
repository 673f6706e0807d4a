"""The writer's queue: what callers ask for, in order, bounded, with an end that cannot be missed.

The end is decided under the same lock as every put, so each request is either seen by the writer or refused to its
caller; none is left waiting for an answer that will not come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from store.errors import LogClosed

T = TypeVar("T")

_ROOM = 4096
"""Requests that may wait; beyond that a caller waits for room."""


class Inbox(Generic[T]):
    """A bounded queue from many threads to one."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._why_shut: str | None = None

    def put(self, item: T) -> None:
        """Queue `item`, waiting for room. Raises LogClosed once the inbox is shut."""
        with self._changed:
            while len(self._items) >= _ROOM and self._why_shut is None:
                self._changed.wait()
            if self._why_shut is not None:
                raise LogClosed(self._why_shut)
            self._items.append(item)
            self._changed.notify_all()

    def wait(self, timeout: float | None) -> bool:
        """True as soon as there is an item; False after `timeout` seconds, or when it is shut and empty."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items:
                left = None if deadline is None else deadline - time.monotonic()
                if self._why_shut is not None or (left is not None and left <= 0):
                    return False
                self._changed.wait(left)
            return True

    def take(self, fits: Callable[[T], bool] | None = None) -> T | None:
        """The first item, if there is one and it `fits`."""
        with self._changed:
            if not self._items or (fits is not None and not fits(self._items[0])):
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def waiting(self) -> bool:
        """Whether there is an item."""
        with self._changed:
            return bool(self._items)

    def shut(self, why: str) -> None:
        """Refuse further items with `why`; those that are here can still be taken."""
        with self._changed:
            self._why_shut = self._why_shut or why
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Shut and empty."""
        with self._changed:
            return self._why_shut is not None and not self._items
