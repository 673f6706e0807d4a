"""What happened, newest first."""

from __future__ import annotations

from core.state import FeedLine
from screens.pane import Pane
from screens.text import Row, clock, row, wrap
from screens.view import AWAITED, View
from screens.widgets.plan import empty

ROLE = {"good": "good", "bad": "bad", "waiting": "waiting"}


class Feed(Pane):
    """One event a line or two; frequent ones (metrics, GPU) are on the Events screen."""

    NAME = "Events"
    LETTER = "f"
    COUNTED = False
    REST_S = 0.9
    _answered = 0
    """The last event drawn of those a person waits for: these do not wait for the pane's rest."""

    def rests(self, view: View) -> bool:
        last = next((line.seq for line in reversed(view.state.feed) if line.type.startswith(AWAITED)), 0)
        news, self._answered = last != self._answered, last
        return super().rests(view) and not news

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        feed = view.state.feed
        if not feed:
            return empty(width, "Nothing happened yet.", "Events appear here as they are committed to the log.")
        rows: list[Row] = []
        need = max(height, self.cursor + height + 2, self._top + height + 2)
        for line in reversed(feed):
            rows.extend(self._line(line, view, width))
            if len(rows) > need:
                break
        return rows

    def _line(self, line: FeedLine, view: View, width: int) -> list[Row]:
        when = clock(view.since_start(line.ts))
        lines = wrap(line.text, width - len(when) - 1, 2) or [""]
        role = ROLE.get(line.level, "")
        first = row((when + " ", "dim"), (lines[0], role), seq=line.seq)
        return [first, *[row(" " * (len(when) + 1), (more, role or "dim"), seq=line.seq) for more in lines[1:]]]
