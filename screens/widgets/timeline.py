"""The run as a line: marks, how far it is, and in replay where one stands."""

from __future__ import annotations

from textual import events
from textual.message import Message

from screens.pane import Pane, spans
from screens.text import Row, clock, row
from screens.view import View

RANK = {"C": 0, "E": 1, "S": 2, "A": 3, "!": 4, "▾": 5}
"""Which mark shows where several fall on one cell: the one that needed a person or broke."""
ROLE = {"!": "bad strong", "A": "waiting strong", "E": "accent strong", "C": "good strong", "S": "mark strong",
        "▾": "strong"}  # fmt: skip


class Timeline(Pane):
    """0:00 ━━E━━!━━●──── 10:00. Live it runs to the budget, in replay to the run's end. A click goes there."""

    can_focus = False
    DEFAULT_CSS = """
    Timeline { height: 1; border: none; padding: 0 1; }
    Timeline:ansi { border: none; }
    """

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        if view.player is None and not view.state.created_ts:
            return [row(("─" * width, "band"))]
        start, end = self.bounds(view)
        left, right = self.labels(view, start, end)
        bar = max(width - len(left) - len(right) - 2, 10)
        span = max(end - start, 1)

        def at(ts: int) -> int:
            return min(max(int((ts - start) / span * (bar - 1)), 0), bar - 1)

        now = at(view.now_us if not view.state.finished_ts or view.replay else view.state.finished_ts)
        cells = [("━", "band" if not view.replay else "line") if x <= now else ("─", "band") for x in range(bar)]
        shown: dict[int, str] = {}
        for mark in view.marks:  # bookmarks are among them
            x = at(mark.ts)
            if x not in shown or RANK.get(mark.kind, 0) >= RANK.get(shown[x], 0):
                shown[x] = mark.kind
        for x, kind in shown.items():
            cells[x] = (kind, ROLE.get(kind, "") if x <= now else "dim")
        if not view.state.finished_ts or view.replay:
            cells[now] = ("●", "strong")
        self._bar = (len(left) + 1, bar)
        parts = [(left + " ", "dim"), *_joined(cells), (" " + right, "dim")]
        return [spans(parts, view.state.seq)]

    _bar = (0, 1)
    """First cell of the bar, and its width."""

    class Went(Message):
        """A click on the line: a share of the whole, in [0, 1]."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    def on_click(self, event: events.Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        first, width = self._bar
        if offset is not None and first <= offset.x < first + width:
            self.post_message(self.Went((offset.x - first) / max(width - 1, 1)))

    def bounds(self, view: View) -> tuple[int, int]:
        """Microseconds at the left and the right end."""
        state = view.state
        if view.player is not None:
            return view.player.start_us, max(view.player.end_us, view.player.start_us + 1)
        start = state.created_ts
        if state.finished_ts:
            return start, state.finished_ts
        return start, max(start + int(state.budget.hours * 3.6e9), view.now_us, start + 1)

    def labels(self, view: View, start: int, end: int) -> tuple[str, str]:
        if view.player is not None:
            here = clock((view.player.clock_us - start) / 1e6)
            place = f"{here} #{view.player.seq}"
            more = "…" if view.indexing else ""
            return place, f"{clock((end - start) / 1e6)} #{view.player.last_seq}{more}"
        return "0:00", clock((end - start) / 1e6)


def _joined(cells: list[tuple[str, str]]) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for text, role in cells:
        if out and out[-1][1] == role:
            out[-1] = (out[-1][0] + text, role)
        else:
            out.append((text, role))
    return out
