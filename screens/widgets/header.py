"""The two lines on top: which run, is it alive, what does it do, how well, at what cost, does it need me."""

from __future__ import annotations

from rich.cells import cell_len

from core.describe import percent, points, shorten
from core.state import RunState
from screens.pane import Pane
from screens.text import Part, Row, clock, cut, row, span_of
from screens.view import View

SLOW_US = 5_000_000
"""A call that takes longer says how long it has taken."""


def status_word(view: View) -> tuple[str, str]:
    """One word for the run's condition, and its role."""
    state = view.state
    if view.player is not None:
        playing = "▶" if view.player.playing else "❚❚"
        return f"REPLAY {playing} {view.player.speed}×", "accent"
    if state.finished_ts:
        return state.status.upper(), "good" if state.status == "finished" else "bad"
    words = {
        "none": ("", ""),
        "connecting": ("CONNECTING", "dim"),
        "reconnecting": ("HOST GONE, RECONNECTING", "bad"),
        "gone": ("HOST GONE", "bad"),
        "file": ("FILE", "dim"),
    }
    if view.link.kind in words:
        return words[view.link.kind]
    if state.status == "paused":
        return "PAUSED", "waiting"
    return ("STARTING", "dim") if state.status == "created" else ("LIVE", "good")


def waiting(state: RunState) -> str:
    """What waits for a person, and the key that opens it."""
    approvals = len(state.waiting_approvals())
    questions = sum(not q.answer for q in state.questions.values())
    parts = [f"! {approvals} approval{'s' * (approvals != 1)}"] if approvals else []
    parts += [f"{'' if approvals else '! '}{questions} question{'s' * (questions != 1)}"] if questions else []
    return ", ".join(parts)


class Header(Pane):
    """Title, condition, time, money, what waits; then what it is doing and the best score."""

    can_focus = False
    DEFAULT_CSS = """
    Header { height: 2; border: none; padding: 0 1; background: $panel; }
    Header:ansi { border: none; background: ansi_default; }
    """

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        return [self._first(view, width), self._second(view, width)][:height]

    def _first(self, view: View, width: int) -> Row:
        state = view.state
        word, role = status_word(view)
        limit = f" of {clock(state.budget.hours * 3600)}" if state.budget.hours else ""
        right: list[Part] = [(word, f"{role} strong")]
        if state.created_ts:
            over = state.budget.hours and view.used_s > state.budget.hours * 3600 and not state.finished_ts
            right.append(("  " + clock(view.used_s) + limit, "waiting strong" if over else ""))
        if state.budget.usd or state.budget.usd_used:
            of = f" of ${state.budget.usd:g}" if state.budget.usd else ""
            right.append((f"  ${state.budget.usd_used:.2f}{of}", ""))
        if waiting(state):
            right.append(("  " + waiting(state), "waiting strong"))
        used = sum(cell_len(_text(p)) for p in right)
        experiments = len(state.experiments)
        left = shorten(state.title or state.goal or view.run or "run", 60)
        room = max(width - used - 2, 0)
        tail = f" · experiment {experiments}" if experiments and cell_len(left) + 16 <= room else ""
        left = cut(left, room - len(tail)) + tail
        return row((left, "strong"), " " * max(width - cell_len(left) - used, 1), *right)

    def _second(self, view: View, width: int) -> Row:
        state = view.state
        doing, role = self._doing(view)
        scores = state.scores
        right: list[Part] = []
        seq = state.seq
        if scores.heldout_delta is not None and scores.heldout_best is not None:
            right = [("held-out ", "dim"), (percent(scores.heldout_best), "strong")]
            gain = scores.heldout_delta
            right.append((f" ({points(gain)})", "good" if gain > 0 else "bad" if gain < 0 else ""))
            seq = scores.heldout_seq
        elif scores.best is not None:
            right = [("best dev ", "dim"), (percent(scores.best), "strong")]
            if scores.baseline is not None:
                gain = scores.best - scores.baseline
                right.append((f" ({points(gain)})", "good" if gain > 0 else ""))
            seq = scores.best_seq
        elif scores.baseline is not None:
            right = [("baseline dev ", "dim"), (percent(scores.baseline), "strong")]
            seq = scores.baseline_seq
        used = sum(cell_len(_text(p)) for p in right)
        doing = cut(doing, max(width - used - 2, 0))
        return row((doing, role), " " * max(width - cell_len(doing) - used, 1), *right, seq=seq)

    def _doing(self, view: View) -> tuple[str, str]:
        state = view.state
        if state.finished_ts:
            return f"{state.status}: {state.reason}" if state.reason else state.status, ""
        if view.link.note and view.player is None and view.link.kind != "live":
            return view.link.note, "dim" if view.link.kind in ("none", "file") else "waiting"
        jobs = state.running_jobs()
        if state.status == "paused":
            going = f"; {len(jobs)} job{'s' * (len(jobs) != 1)} still running" if jobs else "; no job is running"
            return f"paused: {state.reason}{going}", "waiting"
        what = state.doing or ("starting" if not state.finished_ts else state.status)
        if jobs:
            job = jobs[-1]
            of = f"/{job.planned_steps}" if job.planned_steps else ""
            what += f" · {job.id}" + (f" step {job.step}{of}" if job.step or job.planned_steps else "")
            since = span_of((view.now_us - job.started_ts) / 1e6)
            what += f" for {since}"
        elif state.open_calls:
            call = next(reversed(state.open_calls.values()))
            if not call.approval and view.now_us - call.ts >= SLOW_US:
                what += f" for {span_of((view.now_us - call.ts) / 1e6)}"
        return what, ""


def _text(part: Part) -> str:
    return part if isinstance(part, str) else part[0]
