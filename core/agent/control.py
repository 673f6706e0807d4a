"""A person's commands: requested, then applied or rejected with a reason; each is an event.

Commands come in on the server's threads; those that change the agent's course wait for its next step boundary, where
the agent's own thread takes them up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.agent.gate import TIERS, arguments_hash

Arguments = dict[str, Any]


class Rejected(Exception):
    """A command that cannot be carried out; the text is the reason."""


class Control:
    """Takes commands, and holds what waits for the step boundary."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.stop_reason = ""
        self._lock = threading.Lock()
        self._messages: list[tuple[int, str]] = []
        self._pause_seq: int | None = None
        self._resumed = threading.Event()
        # A handler returns what it did, or None where the outcome comes later, at the boundary.
        self._handlers: dict[str, Callable[[int, str, Arguments], str | None]] = {
            "steer": self._steer,
            "queue": self._steer,
            "interrupt": self._interrupt,
            "pause": self._pause,
            "resume": self._resume,
            "stop": self._stop,
            "approve": self._approve,
            "edit": self._edit,
            "deny": self._deny,
            "stop-job": self._stop_job,
            "answer": self._answer,
            "note": self._note,
            "title": self._title,
            "autonomy": self._autonomy,
        }

    # --------------------------------------------------------------------------------------------------- coming in

    def command(self, request: Arguments) -> Arguments:
        """Handle one command from a client; the answer goes back to it."""
        name, text = str(request.get("command", "")), str(request.get("text") or "")
        arguments = msgspec.convert(request.get("arguments") or {}, dict[str, Any])
        client = str(request.get("client") or "")
        asked = e.CommandRequested(command=name, text=text, arguments=arguments, client=client)
        seq = self.desk.journal.emit(asked, actor="user").seq
        handler = self._handlers.get(name)
        try:
            if handler is None:
                raise Rejected(f"there is no command {name!r}; known: {', '.join(self._handlers)}")
            if self.desk.state.status in ("finished", "failed", "stopped") or self.desk.stopping.is_set():
                raise Rejected(
                    "the run is ending" if self.desk.stopping.is_set() else f"the run is {self.desk.state.status}"
                )
            result = handler(seq, text, arguments)
        except Rejected as error:
            self.desk.journal.emit(e.CommandRejected(command=name, reason=str(error)), cause=seq)
            return {"ok": False, "error": str(error), "seq": seq}
        if result is not None:
            self.desk.journal.emit(e.CommandApplied(command=name, result=result), cause=seq)
        return {"ok": True, "seq": seq}

    def take_back(self, pending: list[tuple[int, str]]) -> None:
        """Messages that a dead host never gave to the brain."""
        with self._lock:
            self._messages[:0] = pending

    # ------------------------------------------------------------------------------------------------ the boundary

    def boundary(self, give: Callable[[str], None]) -> list[int]:
        """Called by the agent's thread between steps: pause if asked, then hand messages over through `give`.

        Returns the commands whose text the next model call will show.
        """
        self.desk.interrupt.clear()
        self._pause_here()
        with self._lock:
            messages, self._messages = self._messages, []
        for seq, text in messages:
            give(text)
            self.desk.journal.emit(e.CommandApplied(command="steer", result="goes into the next model call"), cause=seq)
        return [seq for seq, _ in messages]

    def _pause_here(self) -> None:
        with self._lock:
            seq, self._pause_seq = self._pause_seq, None
        if seq is None:
            return
        desk = self.desk
        self._resumed.clear()
        desk.emit(e.CommandApplied(command="pause", result="at the step boundary"), cause=seq)
        desk.emit(e.RunPaused(reason="asked by a person", jobs_running=len(desk.state.running_jobs())), cause=seq)
        desk.clock.pause()
        while not self._resumed.wait(0.1) and not desk.stopping.is_set():
            pass
        desk.clock.resume()
        desk.emit(e.RunResumed())

    # -------------------------------------------------------------------------------------------------- the agent

    def _steer(self, seq: int, text: str, arguments: Arguments) -> str | None:
        if not text.strip():
            raise Rejected("there is no text to give to the brain")
        with self._lock:
            self._messages.append((seq, text))
        return None

    def _interrupt(self, seq: int, text: str, arguments: Arguments) -> str | None:
        if text.strip():
            self._steer(seq, text, arguments)
        self.desk.interrupt.set()
        self.desk.journal.wake()
        return None if text.strip() else "the wait ends; jobs go on"

    def _pause(self, seq: int, text: str, arguments: Arguments) -> str | None:
        if self.desk.state.status == "paused":
            raise Rejected("the run is paused already")
        with self._lock:
            self._pause_seq = seq
        return None

    def _resume(self, seq: int, text: str, arguments: Arguments) -> str | None:
        with self._lock:
            waiting, self._pause_seq = self._pause_seq, None
        if waiting is not None:
            self.desk.journal.emit(
                e.CommandRejected(command="pause", reason="taken back before it took effect"), cause=waiting
            )
            return "the pause was taken back"
        if self.desk.state.status != "paused":
            raise Rejected("the run is not paused")
        self._resumed.set()
        return "the agent goes on"

    def _stop(self, seq: int, text: str, arguments: Arguments) -> str | None:
        self.stop_reason = text.strip() or "asked by a person"
        jobs = [j.id for j in self.desk.state.running_jobs()]
        self.desk.stopping.set()
        self.desk.journal.wake()
        return f"ending: jobs stopped: {', '.join(jobs) or 'none'}; then the last evaluation and the report"

    # -------------------------------------------------------------------------------------------------- approvals

    def _waiting(self, name: str) -> str:
        waiting = [a.id for a in self.desk.state.waiting_approvals()]
        matches = [w for w in waiting if w == name] or [w for w in waiting if name and w.startswith(name)]
        if not name and len(waiting) == 1:
            matches = waiting
        if len(matches) != 1:
            raise Rejected(f"{name or 'that'} names no waiting approval; waiting: {', '.join(waiting) or 'none'}")
        return matches[0]

    def _decide(self, seq: int, name: str, decision: str, reason: str, arguments: Arguments | None = None) -> str:
        approval = self.desk.state.approvals[name]
        final = approval.arguments if arguments is None else arguments
        digest = arguments_hash(approval.tool, final)
        decided = e.ApprovalDecided(
            approval=approval.id, decision=decision, arguments=final, arguments_hash=digest, reason=reason
        )
        self.desk.journal.emit(decided, actor="user", cause=seq)
        return f"{approval.id} {decision}"

    def _approve(self, seq: int, text: str, arguments: Arguments) -> str | None:
        return self._decide(seq, self._bound(arguments), "approved", text)

    def _edit(self, seq: int, text: str, arguments: Arguments) -> str | None:
        changed = msgspec.convert(arguments.get("arguments") or {}, dict[str, Any])
        return self._decide(seq, self._bound(arguments), "edited", text, changed)

    def _deny(self, seq: int, text: str, arguments: Arguments) -> str | None:
        return self._decide(seq, self._bound(arguments), "denied", text)

    def _bound(self, arguments: Arguments) -> str:
        """The approval that is meant; a decision about other arguments than those waiting is refused."""
        name = self._waiting(str(arguments.get("approval") or ""))
        seen = arguments.get("arguments_hash")
        if seen and seen != self.desk.state.approvals[name].arguments_hash:
            raise Rejected("the arguments are not those that were shown")
        return name

    def _answer(self, seq: int, text: str, arguments: Arguments) -> str | None:
        waiting = [q.id for q in self.desk.state.questions.values() if not q.answer]
        name = str(arguments.get("question") or (waiting[0] if len(waiting) == 1 else ""))
        if name not in waiting:
            raise Rejected(f"{name or 'that'} names no open question; open: {', '.join(waiting) or 'none'}")
        if not text.strip():
            raise Rejected("there is no text to answer with")
        self.desk.journal.emit(e.QuestionAnswered(question=name, text=text), actor="user", cause=seq)
        return f"{name} answered"

    # ------------------------------------------------------------------------------------------------------ others

    def _stop_job(self, seq: int, text: str, arguments: Arguments) -> str | None:
        job = text.strip() or str(arguments.get("job") or "")
        if job not in self.desk.state.jobs or self.desk.state.jobs[job].status != "running":
            raise Rejected(f"{job or 'that'} is no running job")
        threading.Thread(target=self.desk.compute.cancel, args=(job,), daemon=True).start()
        return f"{job} is asked to save and stop"

    def _note(self, seq: int, text: str, arguments: Arguments) -> str | None:
        self.desk.journal.emit(e.NoteAdded(text=text), actor="user", cause=seq)
        return "noted"

    def _title(self, seq: int, text: str, arguments: Arguments) -> str | None:
        self.desk.journal.emit(e.NoteAdded(text=text, kind="title"), actor="user", cause=seq)
        return "titled"

    def _autonomy(self, seq: int, text: str, arguments: Arguments) -> str | None:
        if text not in TIERS:
            raise Rejected(f"{text!r} is no tier; tiers: {', '.join(TIERS)}")
        self.desk.settings = msgspec.structs.replace(self.desk.settings, autonomy=text)
        return f"up to {text} without asking"
