"""The base of all panes: rows in, cells out, and only rows that changed are drawn again.

A pane turns a `View` and its width into rows (`rows`). This base makes them safe for the terminal, gives the roles
their colours, compares with what stands on the screen and repaints the difference. It also keeps a cursor, so that
Enter can show the event a row came from.
"""

from __future__ import annotations

import time
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from core.sanitize import clean
from screens.strips import changed_cells
from screens.text import BLANK, Row, Span, beginning, row
from screens.view import View

ROLES = ("dim", "good", "bad", "waiting", "accent", "strong", "title", "line", "band", "mark", "cursor")


class Pane(Widget):
    """A titled piece of the run. Subclasses set `NAME`, `LETTER` and implement `rows`."""

    NAME: ClassVar[str] = ""
    LETTER: ClassVar[str] = ""
    """Where `g` and this letter jump to."""
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"pane--{role}" for role in ROLES}
    DEFAULT_CSS = """
    Pane {
        border: round $pane-edge;
        border-title-color: $text-muted;
        border-subtitle-color: $text-muted;
        padding: 0 1;
        .pane--dim { color: $foreground 66%; }
        .pane--good { color: $text-success; }
        .pane--bad { color: $text-error; }
        .pane--waiting { color: $text-warning; }
        .pane--accent { color: $text-accent; }
        .pane--strong { text-style: bold; }
        .pane--title { color: $foreground; text-style: bold; }
        .pane--line { color: $text-primary; text-style: bold; }
        .pane--band { color: $foreground 40%; }
        .pane--mark { color: $text-secondary; }
        .pane--cursor { background: $primary 30%; text-style: bold; }
    }
    Pane:ansi {
        border: round ansi_bright_black;
        .pane--dim { color: ansi_default; text-style: dim; }
        .pane--good { color: ansi_green; }
        .pane--bad { color: ansi_red; }
        .pane--waiting { color: ansi_yellow; }
        .pane--accent { color: ansi_cyan; }
        .pane--title { color: ansi_default; }
        .pane--line { color: ansi_blue; }
        .pane--band { color: ansi_default; text-style: dim; }
        .pane--mark { color: ansi_magenta; }
        .pane--cursor { background: ansi_default; text-style: reverse; }
    }
    Pane:focus { border: round $primary; border-title-color: $text; border-title-style: bold; }
    Pane:ansi:focus { border: round ansi_blue; }
    """

    OF_A_RUN: ClassVar[bool] = True
    """It speaks of the open run: while nothing of that was read it says so instead."""
    COUNTED: ClassVar[bool] = True
    """`count` is exact, so that the lower border can say how many rows lie below. False where rows end early."""
    REST_S: ClassVar[float] = 0.0
    """Least time between two drawings of a live run: what runs faster than a person reads is held back."""
    KEEPS_CHOICE: ClassVar[bool] = False
    """The cursor stays when the pane loses the focus. No `on_blur` of a subclass can say so: Textual calls every class's."""
    can_focus = True
    cursor: reactive[int] = reactive(-1, repaint=False)
    """Selected row; -1 for none."""

    class Selected(Message):
        """Enter on a row: its event is wanted."""

        def __init__(self, seq: int) -> None:
            super().__init__()
            self.seq = seq

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._view: View | None = None
        self._rows: list[Row] = []
        self._strips: list[Strip] = []
        self._top = 0
        self._titles = ("", "")
        self._more = 0
        self._drawn_at = 0.0
        self._styles: dict[tuple[str, bool], Style] = {}

    # ------------------------------------------------------------------------------------------ what subclasses give

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        """What is to be seen, at `width` cells. May be longer than `height`: the pane scrolls."""
        raise NotImplementedError

    def prepare(self, view: View, width: int, height: int) -> None:
        """Build what `count` and `window` speak of. Panes over something large override all three."""
        self._rows = self.rows(view, width, height)

    def count(self) -> int:
        """Rows there are."""
        return len(self._rows)

    def window(self, top: int, height: int, width: int) -> list[Row]:
        """The rows from `top` on, at most `height`."""
        return self._rows[top : top + height]

    def title(self, view: View) -> str:
        return self.NAME

    def subtitle(self, view: View) -> str:
        return ""

    # ------------------------------------------------------------------------------------------------------ drawing

    def show(self, view: View) -> None:
        """Draw `view`, repainting only what differs from what is shown."""
        self._view = view
        if not self.display or self.size.width == 0 or self.rests(view):
            return
        self._set_titles(view)
        self._draw()

    def rests(self, view: View) -> bool:
        """Whether this view is left out; the clock of the screen brings the next one within a second."""
        if not self.REST_S or view.replay or not self._strips or self.cursor >= 0:
            return False
        now = time.monotonic()
        if now - self._drawn_at < self.REST_S:
            return True
        self._drawn_at = now
        return False

    def _set_titles(self, view: View) -> None:
        more = f"↓ {self._more} more" if self._more else ""
        titles = (clean(self.title(view)), clean("   ".join(filter(None, (self.subtitle(view), more)))))
        if titles != self._titles:
            self._titles = titles
            self.border_title, self.border_subtitle = Content(titles[0]), Content(titles[1])

    def _draw(self) -> None:
        view = self._view
        if view is None:
            return
        width, height = self.content_size.width, self.content_size.height
        if width <= 0 or height <= 0:
            return
        if view.unread and self.OF_A_RUN and self.can_focus:
            self._rows, shown, self._top = [], [row((view.unread, "dim"))], 0
        else:
            self.prepare(view, width, height)
            self._scroll_to_cursor(height)
            shown = self.window(self._top, height, width)
        self._say_more(view, height)
        strips = [self._strip(r, width, self._top + y == self.cursor) for y, r in enumerate(shown)]
        blank = self._strip(BLANK, width, False)
        strips.extend([blank] * (height - len(strips)))
        old, self._strips = self._strips, strips
        if len(old) != len(strips):
            self.refresh(layout=False)
            return
        changed = [
            Region(start, y, end - start, 1)
            for y, strip in enumerate(strips)
            if strip != old[y]
            for start, end in changed_cells(old[y], strip)
        ]
        if changed:
            self.refresh(*changed, layout=False)

    def _say_more(self, view: View, height: int) -> None:
        """Rows below the lower edge are announced there."""
        more = max(self.count() - self._top - height, 0) if self.COUNTED and self.can_focus else 0
        if more != self._more:
            self._more = more
            self._set_titles(view)

    def _scroll_to_cursor(self, height: int) -> None:
        last = self.count() - 1
        if self.cursor > last:
            self.set_reactive(Pane.cursor, last)
        if self.cursor < 0:
            self._top = min(self._top, max(0, last))
        elif self.cursor < self._top:
            self._top = self.cursor
        elif self.cursor >= self._top + height:
            self._top = self.cursor - height + 1

    def _strip(self, line: Row, width: int, selected: bool) -> Strip:
        segments = [
            Segment(clean(beginning(span.text, width)), self._style(span.role, selected))
            for span in line.spans
            if span.text
        ]
        strip = Strip(segments)
        if strip.cell_length > width > 1:
            strip = Strip([*strip.crop(0, width - 1), Segment("…", self._style("dim", selected))])
        return strip.adjust_cell_length(width, self._style("", selected))

    def _style(self, role: str, selected: bool = False) -> Style:
        """Roles may be joined with spaces. Always a style: the monochrome filter cannot do without."""
        key = (role, selected)
        style = self._styles.get(key)
        if style is None:
            style = self.rich_style
            names = role.split()
            if selected:  # the cursor's ground is no ground for faint text
                names = [name for name in names if name != "dim"] + ["cursor"]
            for name in names:
                style += self._component(f"pane--{name}")
            self._styles[key] = style
        return style

    def _component(self, name: str) -> Style:
        """A role's style. Textual leaves a colour's alpha to the caller; here it is mixed with what lies below."""
        style = self.get_component_rich_style(name, partial=True)
        styles, below = self.get_component_styles(name), self.background_colors[1]
        for rule, mixed in (("color", styles.color), ("background", styles.background)):
            if styles.has_rule(rule) and 0 < mixed.a < 1 and mixed.ansi is None and below.ansi is None:
                solid = (below + mixed).rich_color
                style += Style(color=solid) if rule == "color" else Style(bgcolor=solid)
        return style

    def render_line(self, y: int) -> Strip:
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.content_size.width, self._style(""))

    def notify_style_update(self) -> None:
        """Textual calls this before it computes the roles' styles anew: they are looked at only afterwards."""
        super().notify_style_update()
        self.call_later(self._restyle)

    def _restyle(self) -> None:
        self._styles.clear()
        self._strips = []
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._strips = []
        if self._view is not None:
            self._set_titles(self._view)
        self._draw()
        self.refresh(layout=False)

    # ------------------------------------------------------------------------------------------------------- moving

    def move(self, by: int) -> None:
        """The cursor by rows; the first key only brings it in."""
        if not self.count():
            return
        last = self.count() - 1
        if self.cursor < 0:
            self.cursor = self._top if by > 0 else min(self._top + self.content_size.height - 1, last)
        else:
            self.cursor = min(max(self.cursor + by, 0), last)
        self._draw()

    def page(self, direction: int) -> None:
        self.move(direction * max(1, self.content_size.height - 1))

    def clear_cursor(self) -> None:
        self.cursor = -1
        self._top = 0
        self._draw()

    @property
    def selected_row(self) -> Row | None:
        if not 0 <= self.cursor < self.count():
            return None
        return next(iter(self.window(self.cursor, 1, self.content_size.width)), None)

    def source_seq(self) -> int:
        """The event behind the selected row, or the latest one the pane draws from."""
        selected = self.selected_row
        if selected is not None and selected.seq:
            return selected.seq
        return max((r.seq for r in self._rows), default=0)

    def on_blur(self) -> None:
        if not self.KEEPS_CHOICE:
            self.clear_cursor()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or not self.can_focus:  # the bars have clicks of their own, and no cursor
            return
        at = self._top + offset.y
        if at < self.count():
            again = at == self.cursor
            self.cursor = at
            self._draw()
            if again and self.source_seq():
                self.post_message(self.Selected(self.source_seq()))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(-3)

    def _scroll(self, by: int) -> None:
        most = max(0, self.count() - self.content_size.height)
        self.set_reactive(Pane.cursor, -1)
        self._top = min(max(self._top + by, 0), most)
        self._draw()


def spans(parts: list[tuple[str, str]], seq: int = 0) -> Row:
    return Row(tuple(Span(*p) for p in parts), seq)
