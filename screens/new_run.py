"""A run is started by a form that checks as you type: what is wrong stands beside the field, before anything begins.

The checks are those the run itself makes (`core/launch.py`); they run in the background, the last word on a field wins.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from core.errors import InternError
from core.sanitize import one_line
from screens.dialog import Dialog
from screens.view import Desk

Values = dict[str, str]


class Verdict(NamedTuple):
    """What a check found."""

    ok: bool
    words: str


class Field(NamedTuple):
    id: str
    label: str
    start: str
    hint: str
    check: Callable[[Values], str]
    """Says what the value means; raises InternError or ValueError for a wrong one."""


def _task(values: Values) -> str:
    from core.tasks import load_task

    task = load_task(values["task"] or ".")
    return task.description or f"{task.name}: {task.path}"


def _model(values: Values) -> str:
    from core.evaluation.models import check_model
    from core.tasks import load_task

    task = load_task(values["task"] or ".")
    name = values["model"] or task.base_model
    if not name:
        raise ValueError("this task names no base model: give a folder or a Hub id")
    card = check_model(name, base=Path(task.path))
    return f"{card.path} (from the Hub, fetched when the run starts)" if card.remote else card.path


def _brain(values: Values) -> str:
    from core.agent.brain import POLICIES, check_brain, parse_brain

    spec = parse_brain(values["brain"])
    check_brain(spec)
    return "a fixed policy, no LLM, no key" if spec.kind in POLICIES else f"an LLM: {spec}"


def _hours(values: Values) -> str:
    from core.tasks import load_task

    if not values["hours"]:
        hours = load_task(values["task"] or ".").hours
        return f"the task's own: {_time(hours)}" if hours else "10 hours, the benchmark's limit"
    hours = _number(values["hours"])
    if hours <= 0:
        raise ValueError("give hours above 0, such as 0.5")
    return f"ends after {_time(hours)} at the latest"


def _time(hours: float) -> str:
    minutes = max(round(hours * 60), 1)
    return f"{minutes} minute{'s' * (minutes != 1)}" if minutes < 120 else f"{hours:g} hours"


def _usd(values: Values) -> str:
    usd = _number(values["usd"] or "0")
    if usd < 0:
        raise ValueError("give 0 or more")
    return f"may spend up to ${usd:.2f}" if usd else "may spend nothing"


def _autonomy(values: Values) -> str:
    from core.agent.gate import TIERS

    if values["autonomy"] not in TIERS:
        raise ValueError(f"one of {', '.join(TIERS)}")
    above = TIERS[TIERS.index(values["autonomy"]) + 1 :]
    return f"asks before: {', '.join(above)}" if above else "never asks: it may publish"


def _compute(values: Values) -> str:
    from core.launch import Request

    if values["compute"] == Request().compute:
        return "this machine"
    return "checked when the run starts"


def _number(text: str) -> float:
    import math

    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no number") from error
    if not math.isfinite(value):
        raise ValueError("give a number")
    return value


FIELDS = (
    Field("goal", "goal", "", "what to improve, in words (may stay empty)", lambda v: ""),
    Field("task", "task", "pocket/addition", "pocket/<name>, or a folder with an evaluate.py", _task),
    Field("model", "model", "", "a folder or a Hub id (empty: the task's)", _model),
    Field("brain", "brain", "playbook", "playbook, hf:<model>, openai:<model>@<url>", _brain),
    Field("hours", "hours", "", "wall-clock budget (empty: the task's)", _hours),
    Field("usd", "dollars", "0", "what it may spend", _usd),
    Field("autonomy", "autonomy", "network", "read, workspace, network, spend, publish", _autonomy),
    Field("compute", "compute", "local", "where jobs run", _compute),
)


def check(field: Field, values: Values) -> Verdict:
    """One field against the whole form. Pure but for looking at files."""
    try:
        return Verdict(True, one_line(field.check(values)))
    except (InternError, ValueError) as error:
        return Verdict(False, one_line(str(error)))


def check_all(values: Values) -> dict[str, Verdict]:
    """The whole form: fields depend on each other. What is wrong with the task is said there alone."""
    found = {field.id: check(field, values) for field in FIELDS}
    wrong = found["task"]
    return {id: v if wrong.ok or id == "task" or v != wrong else Verdict(True, "") for id, v in found.items()}


class NewRun(Dialog[Values]):
    """Enter goes on to the next field, Ctrl+S starts, Escape leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "leave"),
        Binding("ctrl+s", "start", "start", priority=True),
        Binding("down", "app.focus_next", "next"),
        Binding("up", "app.focus_previous", "before"),
    ]
    DEFAULT_CSS = """
    NewRun { align: center middle; }
    NewRun > Vertical { width: 100; max-width: 98%; height: auto; max-height: 98%; border: round $primary; padding: 0 1; background: $surface; }
    NewRun VerticalScroll { height: auto; }
    NewRun Horizontal { height: 1; }
    NewRun Input, NewRun Input:focus { border: none; height: 1; width: 1fr; padding: 0 1; background: $panel; }
    NewRun Input:focus { background: $primary 25%; }
    NewRun .label { height: 1; width: 10; }
    NewRun .verdict { height: auto; max-height: 2; padding-left: 11; color: $text-muted; }
    NewRun .verdict.-wrong { color: $text-error; }
    NewRun .verdict.-right { color: $text-success; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.verdicts: dict[str, Verdict] = {}
        self._asked = 0

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "New run"
            box.border_subtitle = "Enter next field   Ctrl+S start   Esc leave"
            with VerticalScroll(can_focus=False):
                for field in FIELDS:
                    with Horizontal():
                        yield Static(field.label, classes="label", markup=False)
                        yield Input(field.start, id=field.id, select_on_focus=False)
                    yield Static(field.hint, id=f"{field.id}-verdict", classes="verdict", markup=False)

    def on_mount(self) -> None:
        self.query_one("#task", Input).focus()
        self._check()

    @property
    def values(self) -> Values:
        return {f.id: self.query_one(f"#{f.id}", Input).value.strip() for f in FIELDS}

    def on_input_changed(self, message: Input.Changed) -> None:
        self._check()

    def _check(self) -> None:
        self._asked += 1
        asked, values = self._asked, self.values
        cast(Desk, self.app).in_background(lambda: check_all(values), lambda found: self._came(asked, found))

    def _came(self, asked: int, found: dict[str, Verdict]) -> None:
        if asked != self._asked or not self.is_attached:
            return  # something was typed since
        self.verdicts = found
        hints = {f.id: f.hint for f in FIELDS}
        for id, verdict in found.items():
            line = self.query_one(f"#{id}-verdict", Static)
            words = ("✓ " if verdict.ok else "✗ ") + verdict.words if verdict.words else hints[id]
            line.update(Content(words))
            line.set_class(not verdict.ok, "-wrong")
            line.set_class(verdict.ok and bool(verdict.words), "-right")

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.input.id == FIELDS[-1].id:
            self.action_start()
        else:
            self.focus_next(Input)

    def action_start(self) -> None:
        wrong = [f for f in FIELDS if f.id in self.verdicts and not self.verdicts[f.id].ok]
        if wrong:
            self.query_one(f"#{wrong[0].id}", Input).focus()
            self.query_one(Vertical).border_subtitle = f"not yet: look at {', '.join(f.label for f in wrong)}"
        else:
            self.close_with(self.values)
