"""`?`: every key with what it does, made from the key table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from screens.dialog import Dialog
from screens.keys import KEYS, shown
from screens.view import Desk

MARKS = "On the timeline: A approval, E evaluation, ! failure, C checkpoint, S steering."


def help_text(screen: str = "", own: Mapping[str, str] | None = None) -> str:
    """The key table as text, by group; the keys that only `screen` has stand first; a person's `own` keys in their place."""
    lines: list[str] = []
    for group in dict.fromkeys([*(k.group for k in KEYS if k.screen == screen and screen), *(k.group for k in KEYS)]):
        keys = [key for key in KEYS if key.group == group]
        where = {key.where for key in keys}
        only = {"live": " (off in replay)", "replay": " (in a live run they look back; L returns)"}
        title = group + (only.get(where.pop(), "") if len(where) == 1 else "")
        lines += ["", title] if lines else [title]
        lines += [f"  {shown(key, own or {}):<11} {key.words}" for key in keys]
    return "\n".join([*lines, "", MARKS])


def with_titles(text: str) -> Content:
    """The groups' names stand out."""
    lines = text.splitlines(keepends=True)
    return Content.assemble(*((line, "" if line[0].isspace() or line == lines[-1] else "bold") for line in lines))


class Help(Dialog[None]):
    """Scrolls with the arrows; any of ?, q, Escape closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "close", "close")]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help VerticalScroll {
        width: 78; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; padding: 0 2; background: $surface;
    }
    """

    def __init__(self, screen: str = "") -> None:
        super().__init__()
        self._of = screen

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            yield Static(with_titles(help_text(self._of, cast(Desk, self.app).keymap)), markup=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
