"""The terminal's title: which run, how it is, and whether it needs somebody; seen in a tab bar and in tmux's window list."""

from __future__ import annotations

from core.sanitize import one_line
from screens.view import View
from screens.widgets.header import status_word, waiting

SAVE, RESTORE = "\x1b[22;2t", "\x1b[23;2t"
"""XTWINOPS: put the title on the terminal's stack and take it back; terminals without one ignore it."""


def title_of(view: View) -> str:
    """`! 2 approvals · gpqa-qwen3 · LIVE`, at most 80 characters, without anything a terminal obeys."""
    needs = waiting(view.state) if not view.replay else ""
    name = view.state.title or view.state.goal or view.run or "ML Intern"
    parts = [needs, one_line(name)[:50], status_word(view)[0]]
    return " · ".join(p for p in parts if p)[:80]


def sequence(title: str) -> str:
    """OSC 2, ended by BEL (tmux and screen understand that one too)."""
    return f"\x1b]2;{title}\x07"
