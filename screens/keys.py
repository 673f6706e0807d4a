"""The key table: every key, once. The bindings, the footer, the help and the palette are all made from it.

`intern_tui/keys.py` lets a user's file replace keys by the action's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from textual.binding import Binding
from textual.keys import format_key


class Key(NamedTuple):
    id: str
    keys: str
    """Textual key names, comma-separated."""
    shown: str
    """How the key looks in the footer and the help."""
    action: str
    short: str
    """One or two words for the footer; empty: not in the footer."""
    words: str
    """One line for the help."""
    group: str
    where: str = "both"
    """both, live or replay: in the other mode the key is off and says why."""
    screen: str = ""
    """The one screen on which it works; empty: on all."""


KEYS: tuple[Key, ...] = (
    Key("screen.mission", "1", "1", "app.screen('mission')", "", "Mission: what it does, how it goes", "Screens"),
    Key("screen.curves", "2", "2", "app.screen('curves')", "", "Curves: every metric of every job", "Screens"),
    Key("screen.evals", "3", "3", "app.screen('evals')", "", "Evals: scores, intervals, answers", "Screens"),
    Key("screen.events", "4", "4", "app.screen('events')", "", "Events: the whole log, filter and search", "Screens"),
    Key("screen.research", "5", "5", "app.screen('research')", "", "Research: papers, data, diagnoses", "Screens"),
    Key("screen.runs", "6", "6", "app.screen('runs')", "", "Runs: all runs on this machine", "Screens"),
    Key("pane.next", "tab", "Tab", "pane(1)", "pane", "Next pane", "Looking"),
    Key("pane.previous", "shift+tab", "Shift+Tab", "pane(-1)", "", "Previous pane", "Looking"),
    Key("pane.jump", "g", "g + letter", "jump", "", "Jump to a pane by its letter", "Looking"),
    Key("pane.zoom", "z", "z", "zoom", "zoom", "Zoom the pane, or back to all", "Looking"),
    Key("row.event", "enter", "Enter", "source_event", "", "Show the event a row's numbers come from", "Looking"),
    Key("row.up", "up,k", "↑ k", "cursor(-1)", "", "One row up", "Looking"),
    Key("row.down", "down,j", "↓ j", "cursor(1)", "", "One row down", "Looking"),
    Key("page.up", "pageup", "PgUp", "page(-1)", "", "One page up", "Looking"),
    Key("page.down", "pagedown", "PgDn", "page(1)", "", "One page down", "Looking"),
    Key("curve.metric", "c", "c", "metric(1)", "", "Another metric in the curve", "Looking"),
    Key("curve.job", "b", "b", "job(1)", "", "Another job in the curve", "Looking"),
    Key("find", "slash", "/", "find", "filter", "Filter events (on Events)", "Looking"),
    Key("find.next", "n", "n", "match(1)", "", "Next match", "Looking"),
    Key("find.previous", "N", "N", "match(-1)", "", "Previous match", "Looking"),
    Key("copy", "y", "y", "copy", "", "Copy the selected row, also to the file copied.txt", "Looking"),
    Key("steer", "s", "s", "steer", "steer", "Say something to the intern before its next decision", "Acting", "live"),
    Key("pause", "p", "p", "pause", "pause", "Pause or resume the agent; jobs go on", "Acting", "live"),
    Key("job.pause", "P", "P", "pause_job", "", "Pause the training at a checkpoint, or let it go on", "Acting", "live"),
    Key("undo", "u", "u", "undo", "", "Undo the last change of the workspace (asks first)", "Acting", "live"),
    Key("interrupt", "i", "i", "interrupt", "", "Interrupt what it is waiting for; jobs go on", "Acting", "live"),
    Key("approvals", "exclamation_mark", "!", "approvals", "approvals", "Approvals and questions", "Acting", "live"),
    Key("fork", "f", "f", "fork", "fork", "A new run from the moment that is seen", "Acting"),
    Key("stop", "x", "x", "stop", "", "Stop the run (asks first)", "Acting", "live"),
    Key("play", "space", "Space", "play", "play", "Play or pause the view; at the end, start over", "Replay", "replay"),
    Key("back", "left", "←", "skip(-10)", "10 s", "10 seconds back", "Replay", "replay"),
    Key("forward", "right", "→", "skip(10)", "", "10 seconds on", "Replay", "replay"),
    Key("back.minute", "shift+left", "Shift+←", "skip(-60)", "", "A minute back", "Replay", "replay"),
    Key("forward.minute", "shift+right", "Shift+→", "skip(60)", "", "A minute on", "Replay", "replay"),
    Key("event.previous", "comma", ",", "event(-1)", "", "One event back", "Replay", "replay"),
    Key("event.next", "full_stop", ".", "event(1)", "event", "One event on", "Replay", "replay"),
    Key("mark.previous", "left_square_bracket", "[", "mark(-1)", "", "Previous mark or bookmark", "Replay", "replay"),
    Key("mark.next", "right_square_bracket", "]", "mark(1)", "mark", "Next mark or bookmark", "Replay", "replay"),
    Key("step.previous", "left_curly_bracket", "{", "plan_step(-1)", "", "Previous plan step", "Replay", "replay"),
    Key("step.next", "right_curly_bracket", "}", "plan_step(1)", "", "Next plan step", "Replay", "replay"),
    Key("slower", "minus", "-", "speed(-1)", "", "Slower", "Replay", "replay"),
    Key("faster", "plus,equals_sign", "+", "speed(1)", "speed", "Faster: 1 2 5 10 20 50 100 times", "Replay", "replay"),
    Key("start", "home", "Home", "start", "", "Start of the run", "Replay", "replay"),
    Key("end", "end", "End", "end", "", "End of the run", "Replay", "replay"),
    Key("bookmark", "m", "m", "bookmark", "", "Bookmark this moment, or take the bookmark away", "Replay"),
    Key("goto", "t", "t", "goto", "go to", "Go to a time (1:30, 5m, 50%) or an event number", "Replay", "replay"),
    Key("live", "L", "L", "live", "", "Back to live", "Replay", "replay"),
    Key("curves.log", "o", "o", "log_scale", "log", "Logarithmic scale, or linear", "Curves", screen="curves"),
    Key("curves.compare", "v", "v", "compare", "compare", "Compare with other jobs, of this run or another", "Curves", screen="curves"),
    Key("curves.left", "h", "h", "along(-1)", "", "Cursor to the left", "Curves", screen="curves"),
    Key("curves.right", "l", "h l", "along(1)", "values", "Cursor to the right (h: left), with the values there", "Curves", screen="curves"),
    Key("curves.far.left", "H", "H", "along(-10)", "", "Cursor far to the left", "Curves", screen="curves"),
    Key("curves.closer", "w", "w", "window(1)", "closer", "Look closer around the cursor", "Curves", screen="curves"),
    Key("curves.wider", "W", "W", "window(-1)", "", "Look at twice as many train steps", "Curves", screen="curves"),
    Key("evals.answers", "c", "c", "metric(1)", "answers", "Answers: all, put right, broken, still wrong", "Evals", screen="evals"),
    Key("events.telling", "e", "e", "telling", "no samples", "Leave out samples, metrics and steps, or show all", "Events", screen="events"),
    Key("runs.open", "enter", "Enter", "open(False)", "open", "Open the run", "Runs", screen="runs"),
    Key("runs.new", "n", "n", "new_run", "new run", "Start a run, by a form that checks as you type", "Runs", screen="runs"),
    Key("runs.replay", "r", "r", "open(True)", "replay", "Replay the run", "Runs", screen="runs"),
    Key("runs.compare", "v", "v", "mark_run", "compare", "Mark the run; with two or more, compare their scores", "Runs", screen="runs"),
    Key("runs.delete", "D", "D", "delete", "", "Delete the run (asks first)", "Runs", screen="runs"),
    Key("palette", "ctrl+p", "Ctrl+P", "app.command_palette", "", "All commands, by name", "Program"),
    Key("repaint", "ctrl+l", "Ctrl+L", "app.repaint", "", "Draw the whole screen again", "Program"),
    Key("help", "question_mark", "?", "help", "help", "This help", "Program"),
    Key("detach", "q", "q", "app.detach", "detach", "Leave; the run goes on", "Program"),
)  # fmt: skip


def shown(key: Key, own: Mapping[str, str]) -> str:
    """How a key looks where a person has their `own` keys, by action id."""
    if key.id not in own:
        return key.shown
    return " ".join(_named(one.strip()) for one in own[key.id].split(","))


def _named(key: str) -> str:
    """`ctrl+full_stop` as `Ctrl+.`"""
    *modifiers, last = key.split("+")
    last = format_key(last)
    return "+".join([*(m.capitalize() for m in modifiers), last.capitalize() if len(last) > 1 else last])


BY_ID = {key.id: key for key in KEYS}
FOOTER = {
    "live": ("steer", "pause", "approvals", "pane.zoom", "help", "detach"),
    "replay": ("play", "event.next", "mark.next", "faster", "goto", "fork", "pane.zoom", "help", "detach"),
}
"""The keys in the footer, most important first; the last ones go when the line is short (help and detach stay)."""
OWN = {"curves": ("curves.log", "curves.compare", "curves.right", "curves.closer"), "evals": ("evals.answers",),
       "events": ("find", "events.telling"),
       "runs": ("runs.open", "runs.new", "runs.replay", "runs.compare", "approvals", "help", "detach")}  # fmt: skip
"""What a screen puts before those; on Runs they take the place of all others."""


def footer_keys(screen: str, replay: bool) -> list[str]:
    """Ids of the footer's keys on a screen."""
    own = OWN.get(screen, ())
    if screen == "runs":
        return list(own)
    return [*own, *FOOTER["replay" if replay else "live"]]


def bindings(screen: str = "") -> list[Binding]:
    """The keys of all screens (or only those of one) as bindings, with their ids so that a key map can replace them."""
    return [
        Binding(k.keys, k.action, k.words, show=False, id=k.id, key_display=k.shown) for k in KEYS if k.screen == screen
    ]
