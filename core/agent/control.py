"""A person's commands: requested, then applied or rejected with a reason; each is an event.

Commands come in on the server's threads, from any number of clients, and are taken one at a time, in the order of their
events. Those that change the agent's course wait for its next step boundary, where the agent's own thread takes them up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from core import events as e
from core.agent import decisions, jobcontrol, settings
from core.agent.decisions import Rejected
from core.agent.desk import Desk

Arguments = dict[str, Any]
Handler = Callable[[int, str, Arguments], str | None]

__all__ = ["Control", "Rejected"]


class Control:
    """Takes commands, and holds what waits for the step boundary."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.stop_reason = ""
        self._lock = threading.Lock()
        self._order = threading.Lock()
        """Held while a command is taken: its outcome is logged before the next one is looked at."""
        self._messages: list[tuple[int, str, str]] = []
        self._later: list[tuple[int, str, Callable[[], str]]] = []
        """What the agent's thread has to do at its boundary: (seq, command, work)."""
        self._pause_seq: int | None = None
        self._resumed = threading.Event()
        self._undelivered: list[int] = []
        self.compact: Callable[[], str] | None = None
        """Set by the loop: makes room in the brain's context now."""
        self.undo: Callable[[], str] | None = None
        """Set by the loop: the workspace as it was before the last step that changed it."""
        self.idle = threading.Event()
        """Set while the agent's thread is at rest in a pause."""
        # A handler returns what it did, or None where the outcome comes later, at the boundary.
        self._handlers: dict[str, Handler] = {
            "steer": self._steer,
            "queue": self._steer,
            "interrupt": self._interrupt,
            "pause": self._pause,
            "resume": self._resume,
            "stop": self._stop,
            "undo": self._at_boundary("undo", lambda: self._call(self.undo)),
            "compact": self._at_boundary("compact", lambda: self._call(self.compact)),
            **{name: self._plain(f) for name, f in decisions.HANDLERS.items()},
            **{name: self._plain(f) for name, f in jobcontrol.HANDLERS.items()},
            **{name: self._plain(f) for name, f in settings.HANDLERS.items()},
        }

    # --------------------------------------------------------------------------------------------------- coming in

    def command(self, request: Arguments) -> Arguments:
        """Handle one command from a client; the answer goes back to it."""
        name, text = str(request.get("command", ""))[:100], str(request.get("text") or "")
        if len(text) > 50_000:
            text = text[:50_000] + " [cut]"
        with self._order:
            return self._take(name, text, request)

    def _take(self, name: str, text: str, request: Arguments) -> Arguments:
        journal, problem = self.desk.journal, ""
        try:
            arguments = msgspec.convert(request.get("arguments") or {}, dict[str, Any])
        except msgspec.ValidationError as error:
            arguments, problem = {}, f"the arguments are no JSON object: {error}"
        asked = e.CommandRequested(
            command=name, text=text, arguments=arguments, client=str(request.get("client") or "")[:100]
        )
        seq = journal.emit(asked, actor="user").seq
        handler = self._handlers.get(name)
        try:
            if problem or handler is None:
                raise Rejected(problem or f"there is no command {name!r}; known: {', '.join(self._handlers)}")
            if self.desk.state.status in ("finished", "failed", "stopped"):
                raise Rejected(f"the run is {self.desk.state.status}")
            if self.desk.stopping.is_set() and name not in ("note", "title"):
                raise Rejected("the run is ending")
            result = handler(seq, journal.clean_text(text), arguments)
        except Rejected as error:
            journal.emit(e.CommandRejected(command=name, reason=str(error)), cause=seq)
            return {"ok": False, "error": str(error), "seq": seq}
        if result is not None:
            journal.emit(e.CommandApplied(command=name, result=result), cause=seq)
        return {"ok": True, "seq": seq, "result": result or ""}

    def take_back(self, pending: list[tuple[int, str, str]], undelivered: list[int]) -> None:
        """Words that a dead host never gave to the brain, and those it gave to its memory only."""
        with self._lock:
            self._messages[:0] = pending
            self._undelivered = list(undelivered)

    # ------------------------------------------------------------------------------------------------ the boundary

    def boundary(self, give: Callable[[str], None]) -> list[int]:
        """Called by the agent's thread between steps: pause if asked, then hand messages over through `give`.

        Returns the commands whose text the next model call will show.
        """
        self.desk.interrupt.clear()
        self._do_later()
        self._pause_here()
        self._do_later()
        with self._lock:
            messages, self._messages = self._messages, []
            delivering, self._undelivered = self._undelivered, []
        # What was said to be heard at once comes before what was queued as the next turn.
        for seq, command, text in sorted(messages, key=lambda m: (m[1] == "queue", m[0])):
            give(text)
            self.desk.journal.emit(e.CommandApplied(command=command, result="goes into the next model call"), cause=seq)
            delivering.append(seq)
        return delivering

    def end(self) -> None:
        """The run ends: what is still waiting is told so."""
        with self._lock:
            waiting = [(seq, command) for seq, command, _ in self._messages]
            waiting += [(seq, command) for seq, command, _ in self._later]
            if self._pause_seq is not None:
                waiting.append((self._pause_seq, "pause"))
            self._messages, self._later, self._pause_seq = [], [], None
        for seq, command in waiting:
            self.desk.journal.emit(e.CommandRejected(command=command, reason="the run ended first"), cause=seq)

    def _do_later(self) -> None:
        with self._lock:
            work, self._later = self._later, []
        for seq, command, do in work:
            try:
                result = do()
            except Rejected as error:
                self.desk.journal.emit(e.CommandRejected(command=command, reason=str(error)), cause=seq)
            else:
                self.desk.journal.emit(e.CommandApplied(command=command, result=result), cause=seq)

    def _pause_here(self) -> None:
        with self._lock:
            seq, self._pause_seq = self._pause_seq, None
        if seq is None:
            return
        desk = self.desk
        self._resumed.clear()
        jobs = [j.id for j in desk.state.running_jobs()]
        said = f"at the step boundary; jobs that go on: {', '.join(jobs) or 'none'}"
        desk.journal.emit(e.CommandApplied(command="pause", result=said), cause=seq)
        desk.journal.emit(e.RunPaused(reason="asked by a person", jobs_running=len(jobs)), cause=seq)
        desk.clock.pause()
        self.idle.set()
        while not self._resumed.wait(0.1) and not desk.stopping.is_set():
            self._do_later()  # undo, compact and the like need no running brain
        self.idle.clear()
        desk.clock.resume()
        desk.journal.emit(e.RunResumed())

    # -------------------------------------------------------------------------------------------------- the agent

    def _steer(self, seq: int, text: str, arguments: Arguments, command: str = "") -> str | None:
        if not text.strip():
            raise Rejected("there is no text to give to the brain")
        asked = next((c.command for c in reversed(self.desk.state.commands) if c.seq == seq), "steer")
        with self._lock:
            self._messages.append((seq, asked, text))
        return None

    def _interrupt(self, seq: int, text: str, arguments: Arguments) -> str | None:
        if text.strip():
            self._steer(seq, text, arguments)
        self.desk.interrupt.set()
        self.desk.journal.wake()
        return None if text.strip() else "the wait ends; jobs go on"

    def _pause(self, seq: int, text: str, arguments: Arguments) -> str | None:
        with self._lock:
            if self.desk.state.status == "paused" or self._pause_seq is not None:
                raise Rejected(
                    "the run is paused already" if self._pause_seq is None else "a pause is asked for already"
                )
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

    # ------------------------------------------------------------------------------------------------------ others

    def _plain(self, function: Callable[[Desk, int, str, Arguments], str]) -> Handler:
        return lambda seq, text, arguments: function(self.desk, seq, text, arguments)

    def _at_boundary(self, command: str, work: Callable[[], str]) -> Handler:
        def later(seq: int, text: str, arguments: Arguments) -> str | None:
            with self._lock:
                self._later.append((seq, command, work))
            return None

        return later

    def _call(self, work: Callable[[], str] | None) -> str:
        if work is None:
            raise Rejected("the agent is not at work yet")
        return work()
