"""`!`: what the intern may not do alone. Exact arguments, cost, untrusted text that took part; then a decision."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static, TextArea

from core.compute.usage import dollars
from core.sanitize import clean, one_line
from core.state import Approval, Question, RunState
from screens.confirm import Confirm
from screens.dialog import Dialog
from screens.view import Desk

Waiting = Approval | Question


def approval_text(a: Approval) -> str:
    """Everything a person needs to decide, arguments in full."""
    arguments = msgspec.json.format(msgspec.json.encode(a.arguments), indent=2).decode()
    lines = [f"{one_line(a.tool)}  ({one_line(a.tier)})", f"why: {one_line(a.reason)}"]
    lines.append(f"cost: {dollars(a.cost_usd)}" if a.cost_usd else "cost: none known")
    if a.untrusted:
        lines.append("UNTRUSTED text took part in this: " + ", ".join(one_line(u) for u in a.untrusted))
    if a.files:
        lines.append("a yes is for these programs as they are now: " + ", ".join(one_line(f) for f in a.files))
    lines += [f"arguments, exactly (hash {one_line(a.arguments_hash[:12])}):", clean(arguments, newlines=True)]
    return "\n".join(lines)


ALWAYS_ASKED = ("spend", "publish", "trust")
"""Tiers whose effects cannot be taken back: money that is gone, and what the world has seen."""


def always_words(a: Approval, autonomy: str) -> str:
    """What `A` does where the run may go up to `autonomy` alone: it raises that, and never lowers it."""
    goes = f"This call of {one_line(a.tool)} goes ahead"
    if may_already(a, autonomy):
        return (
            f"{goes}. Nothing else changes: the run may go up to the tier {autonomy} without asking already,\n"
            f"and this was asked for another reason: {one_line(a.reason)}"
        )
    return (
        f"{goes}, and from now on every call up to the tier {a.tier} does without asking (so far: up to {one_line(autonomy)}).\n"
        "Calls that spend money, publish, or load code of others are asked every time."
    )


def may_already(a: Approval, autonomy: str) -> bool:
    """Whether the run may go as far as this call alone, and further perhaps."""
    from core.agent.gate import TIERS

    return a.tier in TIERS and autonomy in TIERS and TIERS.index(autonomy) >= TIERS.index(a.tier)


def question_text(q: Question) -> str:
    choices = [f"  {i}. {one_line(c)}" for i, c in enumerate(q.choices, 1)]
    return "\n".join(["The intern asks:", clean(q.text, newlines=True), *choices])


def waiting_in(state: RunState) -> list[Waiting]:
    """Approvals and questions without a decision, oldest first."""
    both: list[Waiting] = [*state.waiting_approvals(), *(q for q in state.questions.values() if not q.answer)]
    return sorted(both, key=lambda w: w.seq)


class Body(VerticalScroll, inherit_bindings=False):
    """Scrolls by page, so that the arrows are free to go from one request to the next."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("pageup", "page_up"), Binding("pagedown", "page_down")]


class Approvals(Dialog[None]):
    """One at a time; the arrows go through them. A denial or an answer asks for words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "close", priority=True),
        Binding("q", "leave", "close"),
        Binding("a", "approve", "approve"),
        Binding("A", "always", "always"),
        Binding("d", "deny", "deny"),
        Binding("e", "edit", "edit"),
        Binding("ctrl+s", "send_edited", "send", priority=True),
        Binding("r", "answer", "answer"),
        Binding("left,up,k", "go(-1)", "before"),
        Binding("right,down,j", "go(1)", "after"),
    ]
    DEFAULT_CSS = """
    Approvals { align: center middle; }
    Approvals Vertical {
        width: 96; max-width: 96%; height: auto; max-height: 92%;
        border: round $warning; padding: 0 1; background: $surface;
    }
    Approvals VerticalScroll { height: auto; max-height: 24; }
    Approvals Input, Approvals TextArea { display: none; }
    Approvals Input, Approvals TextArea, Approvals Input:focus, Approvals TextArea:focus { border: round $primary; }
    Approvals TextArea { height: auto; min-height: 5; max-height: 16; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        self._shown = ""
        self._item: Waiting | None = None
        """What stands on the screen: decisions are about this, whatever came meanwhile."""

    def compose(self) -> ComposeResult:
        with Vertical():
            with Body():
                yield Static(markup=False)
            yield Input(select_on_focus=False)
            yield TextArea(show_line_numbers=False)

    def on_mount(self) -> None:
        self.query_one(Body).focus()
        self._draw()
        self.set_interval(1.0, self._draw)

    @property
    def desk(self) -> Desk:
        return cast(Desk, self.app)

    @property
    def current(self) -> Waiting | None:
        view = self.desk.view
        items = waiting_in(view.state) if view is not None else []
        self._at = min(self._at, max(len(items) - 1, 0))
        return items[self._at] if items else None

    def _draw(self) -> None:
        if self.query_one(Input).display or self.query_one(TextArea).display:
            return  # somebody is writing about what is shown
        view, item = self.desk.view, self.current
        self._item = item
        count = len(waiting_in(view.state)) if view is not None else 0
        others = "   ← → others" if count > 1 else ""
        if item is None:
            text, keys = "Nothing waits for you.\nWhat the run may not do alone will be asked here.", "Esc close"
        elif isinstance(item, Approval):
            text, keys = approval_text(item), f"a approve   A always   d deny   e edit{others}   Esc later"
        else:
            text, keys = question_text(item), f"r answer{others}   Esc later"
        box = self.query_one(Vertical)
        title = f"Waiting for you ({self._at + 1} of {count}, event {item.seq})" if item is not None else "Approvals"
        if text + title != self._shown:
            self._shown = text + title
            box.border_title, box.border_subtitle = Content(title), Content(keys)
            self.query_one(Static).update(text)

    def action_go(self, by: int) -> None:
        view = self.desk.view
        count = len(waiting_in(view.state)) if view is not None else 0
        self._at = (self._at + by) % max(count, 1)
        self._draw()

    def _may_act(self) -> bool:
        reason = self.desk.view.refusal if self.desk.view is not None else "the run is still being opened"
        if reason:
            self.query_one(Vertical).border_subtitle = Content(f"not now: {reason}")
        return not reason

    def action_approve(self) -> None:
        item = self._item
        if isinstance(item, Approval) and self._may_act():
            self.desk.command("approve", approval=item.id, arguments_hash=item.arguments_hash)

    def action_always(self) -> None:
        """Approve, and let later calls of this tier go ahead; what cannot be taken back is asked again every time."""
        item = self._item
        if not isinstance(item, Approval) or not self._may_act():
            return
        if item.tier in ALWAYS_ASKED:
            self.query_one(Vertical).border_subtitle = Content(
                f"tier {item.tier} is asked every time: a approves this one"
            )
            return
        autonomy = self._autonomy
        already = may_already(item, autonomy)
        title = "Approve this call?" if already else "Always for this kind?"

        def answered(yes: bool | None) -> None:  # about the call that was shown, whatever came while the question stood
            if yes:
                self._always(item)

        does = "approve" if already else "always"
        self.app.push_screen(Confirm(title, always_words(item, autonomy), does, "n ask again"), answered)

    @property
    def _autonomy(self) -> str:
        return self.desk.view.state.autonomy if self.desk.view is not None else ""

    def _always(self, item: Approval) -> None:
        if not may_already(item, self._autonomy):
            self.desk.command("autonomy", item.tier, at_least=True)
        self.desk.command("approve", approval=item.id, arguments_hash=item.arguments_hash)

    def action_deny(self) -> None:
        if isinstance(self._item, Approval) and self._may_act():
            self._ask("Why not? The intern is told this. Enter denies, Esc goes back.")

    def action_edit(self) -> None:
        """Change the arguments; both versions are recorded by the host."""
        item = self._item
        if isinstance(item, Approval) and self._may_act():
            area = self.query_one(TextArea)
            area.text = msgspec.json.format(msgspec.json.encode(item.arguments), indent=2).decode()
            area.border_title = "Arguments as JSON. Ctrl+S approves them so, Esc goes back."
            area.display = True
            area.focus()

    def action_send_edited(self) -> None:
        item, area = self._item, self.query_one(TextArea)
        if not area.display or not isinstance(item, Approval):
            return
        try:
            arguments = msgspec.json.decode(area.text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            area.border_subtitle = Content(f"not sent: {error}")
            return
        self._close_input()
        self.desk.command("edit", approval=item.id, arguments=arguments, arguments_hash=item.arguments_hash)

    def action_answer(self) -> None:
        if isinstance(self._item, Question) and self._may_act():
            self._ask("Your answer. Enter sends, Esc goes back.")

    def _ask(self, title: str) -> None:
        box = self.query_one(Input)
        box.border_title = title
        box.display = True
        box.value = ""
        box.focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        item, text = self._item, message.value.strip()
        self._close_input()
        if isinstance(item, Approval):
            self.desk.command("deny", text, approval=item.id, arguments_hash=item.arguments_hash)
        elif isinstance(item, Question) and text:
            self.desk.command("answer", text, question=item.id)

    def _close_input(self) -> None:
        self.query_one(Input).display = self.query_one(TextArea).display = False
        self.query_one(TextArea).border_subtitle = ""
        self.query_one(Body).focus()
        self._draw()

    def action_leave(self) -> None:
        if self.query_one(Input).display or self.query_one(TextArea).display:
            self._close_input()
        else:
            self.close_with(None)
