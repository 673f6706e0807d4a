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
from core.errors import InternError

Arguments = dict[str, Any]
Handler = Callable[[int, str, Arguments], str | None]

__all__ = ["Control", "Rejected"]

BREAKS = (Rejected, InternError, OSError, ValueError, TypeError, KeyError, ArithmeticError)
"""Whatever a command meets, it has an outcome in the log: none is left as if it were still to come, and none ends the run."""


def _said(command: str, error: Exception) -> str:
    """Why a command is rejected."""
    known = isinstance(error, Rejected | InternError)
    return str(error) if known else f"{command} broke: {type(error).__name__}: {error}"


class Control:
    """Takes commands, and holds what waits for the step boundary."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.stop_reason = ""
        self._lock = threading.RLock()
        self._order = threading.Lock()
        """Held while a command is taken: its outcome is logged before the next one is looked at."""
        self._messages: list[tuple[int, str, str]] = []
        self._later: list[tuple[int, str, Callable[[], str]]] = []
        """What the agent's thread has to do at its boundary: (seq, command, work)."""
        self._pause_seq: int | None = None
        self._resting = ""
        """pause or loop: why the agent's thread rests, from when that is certain until somebody ends it."""
        self._rest_ends: Callable[[], bool] = lambda: False
        """What ends the rest besides `resume`."""
        self._resumed = threading.Event()
        self._over = False
        """The agent has ended: nothing comes to it any more."""
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
            if self.desk.state.status in e.ENDED:
                raise Rejected(f"the run is {self.desk.state.status}")
            if (self._over or self.desk.stopping.is_set()) and name not in ("note", "title"):
                raise Rejected("the run is ending")
            result = handler(seq, journal.clean_text(text), arguments)
        except BREAKS as error:
            said = _said(name, error)
            journal.emit(e.CommandRejected(command=name, reason=said), cause=seq)
            return {"ok": False, "error": said, "seq": seq}
        if result is not None:
            journal.emit(e.CommandApplied(command=name, result=result), cause=seq)
        return {"ok": True, "seq": seq, "result": result or ""}

    def take_back(self, pending: list[tuple[int, str, str]], undelivered: list[int]) -> None:
        """Words that a dead host never gave to the brain, and those it gave to its memory only."""
        with self._lock:
            self._messages[:0] = pending
            self._undelivered = list(undelivered)

    def close_lost(self) -> None:
        """A new host: what was asked of a dead one that it neither did nor handed on has an outcome now.

        Words are handed on (`take_back`); all else is for the person to say again, who knows what became of it.
        """
        words = self.desk.journal.read(
            lambda s: [(c.seq, c.command, c.text) for c in s.commands if c.status == "requested"]
        )
        for seq, command, text in words:
            if command not in e.WORDS or not text.strip():
                said = "the host died before it was carried out; say it again if you still want it"
                self.desk.journal.emit(e.CommandRejected(command=command, reason=said), cause=seq)

    @property
    def words_wait(self) -> bool:
        """Whether a person has said something that the brain was not given yet."""
        with self._lock:
            return bool(self._messages)

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
        """The run ends: what is still waiting is told so, and nothing more is taken."""
        with self._order, self._lock:
            self._over = True
            waiting = dict(
                self.desk.journal.read(lambda s: [(c.seq, c.command) for c in s.commands if c.status == "requested"])
            )
            waiting |= {seq: command for seq, command, _ in [*self._messages, *self._later]}
            if self._pause_seq is not None:
                waiting[self._pause_seq] = "pause"
            self._messages, self._later, self._pause_seq = [], [], None
        for seq, command in waiting.items():
            self.desk.journal.emit(e.CommandRejected(command=command, reason="the run ended first"), cause=seq)

    def _do_later(self) -> None:
        with self._lock:
            work, self._later = self._later, []
        for seq, command, do in work:
            try:
                result = do()
            except BREAKS as error:
                self.desk.journal.emit(e.CommandRejected(command=command, reason=_said(command, error)), cause=seq)
            else:
                self.desk.journal.emit(e.CommandApplied(command=command, result=result), cause=seq)

    def _pause_here(self) -> None:
        with self._lock:
            seq, self._pause_seq = self._pause_seq, None
            if seq is None:
                return
            self._begin_rest("pause", lambda: False)
        jobs = self._jobs()
        said = f"at the step boundary; jobs that go on: {', '.join(jobs) or 'none'}"
        # In one commit with the pause: a person is not told of one that a dying host has not begun.
        self.desk.journal.emit_soon(e.CommandApplied(command="pause", result=said), cause=seq)
        self._rest("asked by a person", seq)

    def hold(self, asked: e.QuestionAsked, why: str) -> str:
        """Rest until a person has answered the question; returns their words, empty where they ended the pause otherwise:
        by a message, which comes next, by `unpause`, or by ending the run."""
        journal, name = self.desk.journal, asked.question
        if name not in self.desk.state.questions:
            journal.emit(asked)
        with self._lock:
            self._begin_rest("loop", lambda: bool(self.desk.state.questions[name].answer) or self.words_wait)
        self._rest(why, None)
        answer = self.desk.state.questions[name].answer
        if not answer:
            how = "a message came instead" if self.words_wait else "the pause was ended without an answer"
            journal.emit(e.QuestionAnswered(question=name, text=f"({how})", by="host"))
        return answer

    def _begin_rest(self, why: str, ends: Callable[[], bool]) -> None:
        self._resting, self._rest_ends = why, ends
        self._resumed.clear()

    def _jobs(self) -> list[str]:
        return [j.id for j in self.desk.state.running_jobs()]

    def _rest(self, why: str, cause: int | None) -> None:
        """The agent's thread sleeps: until `resume`, the end of the run, or what else ends this rest."""
        desk = self.desk
        desk.journal.emit(e.RunPaused(reason=why, jobs_running=len(self._jobs())), cause=cause)
        desk.clock.pause()
        self.idle.set()
        while not self._resumed.wait(0.1) and not desk.stopping.is_set():
            with self._order:  # an answer, and what is done besides, reach the brain in the log's order
                if self._rest_ends():
                    break
                self._do_later()  # undo, compact and the like need no running brain
        with self._lock:
            self._resting = ""
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
            if self._pause_seq is not None:
                raise Rejected("a pause is asked for already")
            if self._resting and not self._rest_ends():
                raise Rejected("the run is paused already")
            self._pause_seq = seq
        return None

    def _resume(self, seq: int, text: str, arguments: Arguments) -> str | None:
        with self._lock:
            waiting, self._pause_seq = self._pause_seq, None
            resting, self._resting = self._resting, ""
            if resting:  # from here on another pause can be asked for
                self._resumed.set()
        if waiting is not None:
            self.desk.journal.emit(
                e.CommandRejected(command="pause", reason="taken back before it took effect"), cause=waiting
            )
            return "the pause was taken back"
        if not resting:
            raise Rejected("the run is not paused")
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
