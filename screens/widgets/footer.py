"""The last line: screens and the keys that matter now, from the key table; and the line above it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.cells import cell_len
from textual import events
from textual.message import Message

from core.sanitize import one_line
from core.state import Question, RunState
from screens.keys import BY_ID, footer_keys, shown
from screens.pane import Pane
from screens.text import Part, Row, cut, row
from screens.view import View

SCREENS = ("Mission", "Curves", "Evals", "Events", "Research", "Runs")


class Footer(Pane):
    """`1 Mission 2 Curves …   s steer  p pause  ! approvals  ? help  q detach`, as much as fits."""

    can_focus = False
    DEFAULT_CSS = """
    Footer { height: 1; border: none; padding: 0 1; background: $panel; }
    Footer:ansi { border: none; background: ansi_default; }
    """

    def __init__(self, current: str) -> None:
        super().__init__(id="footer")
        self.current = current
        self._hits: list[tuple[int, int, str]] = []
        """Cells and the action a click there does."""
        self._ids: list[str] = []
        self.zooms, self.panes = True, 1
        """Whether `z` does something here now, and how many panes Tab goes through."""
        self.keymap: Mapping[str, str] = {}
        """A person's own keys."""

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        keys = self._keys(view, width)
        used = sum(cell_len(a) + cell_len(b) for a, b, _ in keys)
        screens = self._screens(width - used - 2)
        gap = width - used - sum(cell_len(p if isinstance(p, str) else p[0]) for p in screens)
        parts: list[Part] = [*screens, " " * max(gap, 0)]
        self._hits = self._screen_hits(screens)
        x = width - used
        for (key, word, role), id in zip(keys, self._ids, strict=True):
            parts += [(key, role or "accent strong"), (word, role)]
            self._hits.append((x, x + cell_len(key) + cell_len(word), BY_ID[id].action))
            x += cell_len(key) + cell_len(word)
        return [row(*parts)]

    def _screen_hits(self, screens: list[Part]) -> list[tuple[int, int, str]]:
        if len(screens) < 2 * len(SCREENS):
            return []
        hits: list[tuple[int, int, str]] = []
        x = 0
        for name in SCREENS:
            hits.append((x, x + len(name) + 3, f"app.screen('{name.lower()}')"))
            x += len(name) + 3
        return hits

    def on_click(self, event: events.Click) -> None:
        """A key's name does what the key does."""
        event.stop()
        offset = event.get_content_offset(self)
        action = next((a for left, right, a in self._hits if offset and left <= offset.x < right), "")
        if action:
            self.call_next(self.screen.run_action, action)

    def _keys(self, view: View, width: int) -> list[tuple[str, str, str]]:
        ids = footer_keys(self.current, view.replay)
        if "pane.zoom" in ids and not self.zooms:
            at = ids.index("pane.zoom")
            ids[at : at + 1] = ["pane.next"] if self.panes > 1 else []
        off = "dim" if view.refusal else ""
        parts: list[tuple[str, str, str]] = []
        while True:
            parts = []
            for id in ids:
                key = BY_ID[id]
                word = "resume" if id == "pause" and view.state.status == "paused" else key.short
                parts.append((shown(key, self.keymap), f" {word}  ", off if key.where == "live" else ""))
            if sum(cell_len(a) + cell_len(b) for a, b, _ in parts) <= width - 6 or len(ids) <= 2:
                self._ids = ids
                return [*parts[:-1], (parts[-1][0], parts[-1][1].rstrip(), parts[-1][2])]
            ids.pop(-3)

    def _screens(self, room: int) -> list[Part]:
        full = sum(len(name) + 3 for name in SCREENS)
        if room < full:
            return [
                ("1", "accent strong"),
                ("-", "dim"),
                ("6", "accent strong"),
                *([(" screens", "dim")] if room > 12 else []),
            ]
        parts: list[Part] = []
        for i, name in enumerate(SCREENS, 1):
            here = name.lower() == self.current
            parts += [(f"{i} ", "accent strong"), (name + " ", "strong" if here else "dim")]
        return parts


def waits(state: RunState) -> str:
    """The oldest of what waits for a person, in words; how many more."""
    both = [*state.waiting_approvals(), *(q for q in state.questions.values() if not q.answer)]
    if not both:
        return ""
    first = min(both, key=lambda w: w.seq)
    more = f" (and {len(both) - 1} more)" if len(both) > 1 else ""
    if isinstance(first, Question):
        return f"to answer{more}: {one_line(first.text)}"
    return f"to decide{more}: {one_line(first.tool)}, {one_line(first.reason)}"


class Line(Pane):
    """The state of the last command (requested → applied → delivered), a word about a key that is off, what waits for you."""

    can_focus = False
    DEFAULT_CSS = """
    Line { height: 1; border: none; padding: 0 1; }
    Line:ansi { border: none; }
    """

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        text, role = view.line
        if text:
            return [row((cut(text, width), role))]
        if not view.refusal and (asked := waits(view.state)):
            return [row(("! ", "accent strong"), (cut(asked, width - 2), "waiting"))]
        if view.updated:
            goes = "" if view.state.finished_ts or view.link.kind != "live" else "; the run goes on"
            return [row((cut(f"the program was updated: press q and open it again{goes}", width), "waiting"))]
        if view.refusal and not view.replay:
            return [row((cut(view.refusal, width), "dim"))]
        if view.replay and view.live_behind:
            return [row(("replay of a run that is live: L goes back to it", "dim"))]
        return [row()]


class Tabs(Pane):
    """Names of the panes where only one fits: the current one stands out, Tab goes on."""

    can_focus = False
    DEFAULT_CSS = """
    Tabs { height: 1; border: none; padding: 0 1; }
    Tabs:ansi { border: none; }
    """

    class Chosen(Message):
        """A name was clicked."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    def __init__(self, names: list[tuple[str, str]]) -> None:
        super().__init__(id="tabs")
        self.names = names
        self.current = 0

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        parts: list[Part] = []
        for i, (name, news) in enumerate(self.names):
            parts.append((f" {name}{news} ", "cursor" if i == self.current else "dim"))
            parts.append(" ")
        return [row(*parts)]

    def on_click(self, event: events.Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        x = 0
        for at, (name, news) in enumerate(self.names):
            x += cell_len(name) + cell_len(news) + 3
            if offset is not None and offset.x < x:
                self.post_message(self.Chosen(at))
                return
