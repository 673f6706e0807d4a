"""The base of all dialogs: closed once, however fast the keys come."""

from __future__ import annotations

from typing import TypeVar

from textual.screen import ModalScreen

T = TypeVar("T")


class Dialog(ModalScreen[T]):
    """A modal screen whose `close` may be called again while it is already going away."""

    closed = False

    def close_with(self, result: T | None) -> None:
        if not self.closed:
            self.closed = True
            self.dismiss(result)

    def action_close(self) -> None:
        self.close_with(None)
