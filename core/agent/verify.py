# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""Verify: the real loop, run again on what the brain and the tools said according to the log.

Memory, prompts, gate, steering, compaction and recovery are the program's own; only answers of the brain and results of
tools come from the tape. Every event the loop makes is compared with the one in the log; the first that differs is the
divergence. Nothing is written, no model is asked, no tool runs.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole
from smolagents.monitoring import TokenUsage

from core import events as e
from core.agent.circles import QUESTION
from core.agent.desk import EXPIRED, INNER, Desk, Settings
from core.agent.gate import CHANGED, TWIN
from core.agent.loop import CLOSED, Research
from core.agent.loops import ADVICE
from core.agent.memory import rebuild
from core.agent.patience import Deferred, Interruption
from core.agent.prompt import undone
from core.errors import InternError
from core.fold import Folder
from core.session import open_source
from core.state import RunState
from core.tools import all_tools
from core.tools.toolbox import ToolDef
from store.blobs import PREFIX, BlobStore
from store.event import Event

LOOP = frozenset(
    cls.type
    for cls in (
        e.StepStarted, e.ModelRequested, e.ModelCompleted, e.ToolRequested, e.ToolStarted, e.ToolCompleted, e.ToolFailed,
        e.ToolDeferred, e.StepFinished, e.ContextCompacted,
    )
)  # fmt: skip
"""Events that the loop itself makes; others come from tools, jobs, people and clocks."""

_OF_CALL = (e.ToolStarted, e.ToolCompleted, e.ToolFailed, e.ToolDeferred)

_UNSURE = frozenset({"seconds", "input_tokens", "output_tokens", "cached_tokens", "cost_usd", "effort", "effect_id"})
"""What a second run of the loop cannot know, or has by the clock."""


class Divergence(NamedTuple):
    """The first event that the loop makes differently."""

    seq: int
    """Of the event in the log."""
    type: str
    recorded: str
    again: str

    def __str__(self) -> str:
        return f"event {self.seq} ({self.type}): the log says {self.recorded}; the loop, run again, says {self.again}"


class LoopCheck(NamedTuple):
    compared: int
    """Events of the loop that were made again and are the same."""
    hosts: int
    divergence: Divergence | None = None
    skipped: str = ""
    """Why the loop was not run again; empty if it was."""


class _EndOfTape(BaseException):
    """The log ends here."""


class _Diverged(BaseException):
    def __init__(self, found: Divergence) -> None:
        super().__init__(str(found))
        self.found = found


def verify_loop(folder: Path) -> LoopCheck:
    """Run the loop of every host of a run again. Reads the log through its host if one lives."""
    source = open_source(folder)
    try:
        events = list(source.events(1))
    finally:
        source.close()
    if not any(event.type == "model_requested" and e.payload_of(event).system for event in events):  # type: ignore[attr-defined]
        asked = any(event.type == "model_requested" for event in events)
        return LoopCheck(
            0, 0, None, "recorded by an older version, without its prompts" if asked else "no step was taken"
        )
    begin = max((i for i, event in enumerate(events) if event.type == "run_forked"), default=0)
    starts = [i for i, event in enumerate(events) if event.type == "run_started" and i >= begin]
    compared = 0
    for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
        tape = _Tape(folder, events, start + 1, end)
        found = tape.play()
        compared += tape.compared
        if found is not None:
            return LoopCheck(compared, len(starts), found)
    return LoopCheck(compared, len(starts))


class _Tape:
    """One host's part of the log, and the loop on it."""

    def __init__(self, folder: Path, events: list[Event], start: int, end: int) -> None:
        self.events = events[:end]
        self.start = self.at = start
        self.compared = 0
        self.blobs = _ReadOnlyBlobs(folder)
        self._folder = Folder()
        self._folded = 0
        self.fold_to(start)
        self.desk = _TapeDesk(folder, self)
        self.given: set[int] = set()
        self.words: dict[int, str] = {}
        for event in self.events:
            p = e.payload_of(event)
            if isinstance(p, e.CommandRequested) and p.command in e.WORDS:
                self.words[event.seq] = p.text

    @property
    def state(self) -> RunState:
        return self._folder.state

    def fold_to(self, index: int) -> None:
        """Bring the state to just before event `index`."""
        for event in self.events[self._folded : index]:
            self._folder.apply(event)
        self._folded = max(self._folded, index)

    def play(self) -> Divergence | None:
        memory = rebuild(self.events[: self.start], self.blobs.get)
        research = _Again(self, memory, self._tools())
        try:
            research.run()
        except _EndOfTape:
            return None
        except _Diverged as error:
            return error.found
        except InternError as error:
            return self._over(f"the loop ended with: {error}")
        return self._over("the loop ended here")

    def _over(self, why: str) -> Divergence | None:
        """The loop has ended: the log must hold nothing more of it."""
        left = (event for _, event in self.ahead() if event.type in LOOP)
        rest = next((event for event in left if not _of_helper(e.payload_of(event))), None)
        return Divergence(rest.seq, rest.type, _shown(e.payload_of(rest)), why) if rest is not None else None

    def ahead(self) -> Iterator[tuple[int, Event]]:
        for i in range(self.at, len(self.events)):
            yield i, self.events[i]

    def compare(self, payload: e.Payload) -> None:
        """The loop makes an event: it has to be the log's next one."""
        for i, event in self.ahead():
            if event.type not in LOOP or event.actor != "agent":
                continue
            recorded = e.payload_of(event)
            if _of_helper(recorded):
                continue  # a helper's calls are part of the call that asked for it
            if _plain(recorded) != _plain(payload):
                if isinstance(recorded, e.ToolFailed) and recorded.error == CLOSED:
                    raise _EndOfTape  # somebody stopped the run here: what the loop would have done next was not done
                raise _Diverged(Divergence(event.seq, event.type, *_differing(recorded, payload)))
            self.compared += 1
            self.at = i + 1
            self.fold_to(self.at)
            return
        raise _EndOfTape

    def next_request(self) -> int:
        """Index of the next model_requested, or of the end."""
        return next((i for i, event in self.ahead() if event.type == "model_requested"), len(self.events))

    def answer(self) -> Any:
        """What the brain said to the request just made."""
        for i, event in self.ahead():
            p = e.payload_of(event)
            if isinstance(p, e.ModelFailed):
                if "interrupted" in p.error:
                    self.at = i + 1
                    raise Interruption(p.error)
                if p.retry_in_s is None:
                    raise _EndOfTape
            elif isinstance(p, e.ModelCompleted):
                return _as_answer(p)
            elif event.type == "model_requested":
                break  # asked again without a word in between: the wait before a retry was interrupted
        raise _EndOfTape

    def result(self, call: str) -> str:
        """What a tool said, or the error it raised."""
        for _, event in self.ahead():
            p = e.payload_of(event)
            if isinstance(p, e.ToolCompleted) and p.call == call:
                return self.blobs.get(p.digest).decode("utf-8", "replace") if p.digest else p.output
            if isinstance(p, e.ToolFailed) and p.call == call:
                raise _Recorded(p)
            if isinstance(p, e.ToolDeferred) and p.call == call:
                raise Deferred(p.approval, p.output)
        raise _EndOfTape

    def deferred(self, call: str) -> bool:
        """Whether the call was put off when it was carried out here."""
        return isinstance(self._next_of(call), e.ToolDeferred)

    def changed(self, call: str) -> list[str]:
        """Which files had changed since a person was asked about the call, by the refusal that followed."""
        p = self._next_of(call)
        words, found, _ = p.error.partition(f" {CHANGED} ") if isinstance(p, e.ToolFailed) else ("", "", "")
        return words.split(", ") if found else []

    def twin(self, call: str) -> str:
        """The approval that the same call waited for already, by the refusal that followed."""
        _, found, after = self.failure(call).partition(f"{TWIN} (")
        return after.partition(")")[0] if found else ""

    def failure(self, call: str) -> str:
        """The error that the call ended with; empty where it did not fail."""
        p = self._next_of(call)
        return p.error if isinstance(p, e.ToolFailed) else ""

    def _next_of(self, call: str) -> e.Payload | None:
        said = (e.payload_of(event) for _, event in self.ahead())
        return next((p for p in said if isinstance(p, _OF_CALL) and p.call == call), None)

    def _tools(self) -> list[ToolDef]:
        """The program's tools, their work replaced by the tape; tools it does not know are made from their calls."""
        known = {t.name: t for t in all_tools()}
        for event in self.events:
            p = e.payload_of(event)
            if isinstance(p, e.ToolRequested) and p.tool not in known and p.tier != "read":
                inputs = {k: {"type": "any", "description": "", "nullable": True} for k in p.arguments}
                known[p.tool] = ToolDef(p.tool, "recorded", inputs, _nothing, p.effect, p.tier)

        def played(desk: _TapeDesk, **arguments: Any) -> str:
            return self.result(desk.call)

        return [t._replace(run=played, timeout_s=None) for t in known.values()]


class _Again(Research):
    """The loop on a tape."""

    def __init__(self, tape: _Tape, memory: Any, tools: list[ToolDef]) -> None:
        self.tape = tape
        control = _TapeControl(tape)
        self._late_brain = ""
        """A brain whose first request came one later than the change to it."""
        super().__init__(cast(Desk, tape.desk), cast(Any, control), memory, tools, inner=_TapeModel(tape))
        control.tell = self.tell
        self.agent.circles = self.circles = cast(Any, _TapeCircles(tape))
        self.agent.cut = lambda told: told  # type: ignore[method-assign] - it was cut before an advice came behind it
        self.agent.gate.changed = lambda decided, call, definition: tape.changed(call)  # type: ignore[method-assign]
        self.agent.gate.twin = lambda call, digest: tape.twin(call)  # type: ignore[method-assign]

    def system_prompt(self) -> str:
        request = next((event for _, event in self.tape.ahead() if event.type == "model_requested"), None)
        asked = e.payload_of(request) if request is not None else None
        digest = asked.system if isinstance(asked, e.ModelRequested) else ""
        return self.tape.blobs.get(digest).decode() if digest else self.agent.system_prompt

    def _decided(self) -> list[str]:
        """Those whose results come next in the log."""
        waiting = {c.call for c in self.tape.state.open_calls.values() if c.approval}
        end = self.tape.next_request()
        found = [p.call for i, x in self.tape.ahead() if i < end and isinstance(p := e.payload_of(x), _OF_CALL)]
        return [call for call in dict.fromkeys(found) if call in waiting]

    def _settle(self) -> None:
        self.tape.fold_to(self.tape.next_request())
        super()._settle()

    def _wanted_brain(self) -> str:
        """As the state has it; a change that came while a request was being made shows in the one after it, once."""
        wanted, found = super()._wanted_brain(), self.tape.next_request()
        asked = e.payload_of(self.tape.events[found]) if found < len(self.tape.events) else None
        if isinstance(asked, e.ModelRequested) and asked.brain == self.brain != wanted != self._late_brain:
            self._late_brain = wanted
            return self.brain
        return wanted

    def _too_long(self) -> bool:
        end = self.tape.next_request()
        return any(event.type == "context_compacted" for i, event in self.tape.ahead() if i < end)

    def _state_for_summary(self) -> RunState:
        found = next(e.payload_of(event) for _, event in self.tape.ahead() if event.type == "context_compacted")
        assert isinstance(found, e.ContextCompacted)
        folder = Folder()
        for event in self.tape.events:
            if event.seq > found.state_seq:
                break
            folder.apply(event)
        return folder.state

    def _save(self) -> None:
        """Snapshots are taken of a real workspace only."""


class _TapeModel:
    """The recorded brain."""

    def __init__(self, tape: _Tape) -> None:
        self.tape = tape

    def generate(self, messages: list[ChatMessage], **options: Any) -> Any:
        return self.tape.answer()


class _TapeCircles:
    """What the brain was told of loops stands in the recorded results; what came of it, in what follows."""

    def __init__(self, tape: _Tape) -> None:
        self.tape = tape

    def noticed(self, call: str, tool: str, arguments: Any, told: str) -> str:
        """What stands behind the recorded error of a call that the loop refuses itself; a tape's result has it already."""
        recorded = self.tape.failure(call)
        _, mark, said = recorded.partition(ADVICE)
        return mark + said if mark and ADVICE not in told else ""

    def why(self) -> str:
        return ""

    def forget(self) -> None: ...


class _TapeControl:
    """Gives the words that a person's commands and answers brought, where the log says so."""

    stop_reason = ""
    words_wait = False

    def __init__(self, tape: _Tape) -> None:
        self.tape = tape
        self.tell: Callable[[str], None] = lambda text: None
        self.compact: Callable[[], str] | None = None
        self.undo: Callable[[], str] | None = None
        self._undelivered: list[int] = []

    def take_back(self, pending: list[tuple[int, str, str]], undelivered: list[int]) -> None:
        self._undelivered = list(undelivered)

    def boundary(self, give: Callable[[str], None]) -> list[int]:
        delivering, self._undelivered = self._undelivered, []
        end = self.tape.next_request()
        for i, event in self.tape.ahead():
            if i >= end:
                break
            cause = event.cause or 0
            if event.type == "command_applied" and cause in self.tape.words and cause not in self.tape.given:
                self.tape.given.add(cause)
                if self.tape.words[cause].strip():
                    give(self.tape.words[cause])
                    delivering.append(cause)
            elif event.seq not in self.tape.given:
                self._hear(event, give)
        return delivering

    def _hear(self, event: Event, give: Callable[[str], None]) -> None:
        """An answer about a loop, or a change of the workspace taken back."""
        p = e.payload_of(event)
        if isinstance(p, e.QuestionAnswered) and p.question.startswith(QUESTION) and p.by == "user":
            give(p.text)
        elif isinstance(p, e.WorkspaceRestored) and p.told:
            self.tell(undone(p.reason, p.step))
        else:
            return
        self.tape.given.add(event.seq)


class _TapeJournal:
    """Reads the state; takes nothing."""

    def __init__(self, tape: _Tape) -> None:
        self._tape = tape

    def read(self, look: Callable[[RunState], Any]) -> Any:
        return look(self._tape.state)

    def clean(self, payload: Any) -> Any:
        return payload  # the log holds it cleaned already

    def clean_text(self, text: str) -> str:
        return text

    def flush(self) -> None: ...

    def emit(self, *_: Any, **__: Any) -> None: ...


class _ReadOnlyBlobs(BlobStore):
    def put(self, data: bytes) -> str:
        return PREFIX + hashlib.sha256(data).hexdigest()


class _TapeDesk:
    """What the loop needs of a desk."""

    def __init__(self, folder: Path, tape: _Tape) -> None:
        self.folder = folder
        self.tape = tape
        self.blobs = tape.blobs
        self.journal = _TapeJournal(tape)
        self.interrupt, self.stopping = threading.Event(), threading.Event()
        self.call = ""
        self.gate: Any = None
        self.ask_brain: Any = None

    @property
    def state(self) -> RunState:
        return self.tape.state

    @property
    def settings(self) -> Settings:
        s = self.state
        return Settings(
            run=s.run, goal=s.goal, model=s.model, autonomy=s.autonomy, seed=s.seed, unattended=s.unattended
        )

    def emit(self, payload: e.Payload, *, cause: int | None = None, id: str | None = None) -> int:
        if payload.type in LOOP and not _of_helper(payload):
            self.tape.compare(payload)
        return self.state.seq

    def emit_soon(self, payload: e.Payload) -> None:
        self.emit(payload)

    def begin(self, call: str, effect: str, arguments: dict[str, Any], tier: str, tool: str, step: int) -> None:
        if call not in self.state.open_calls:
            self.emit(e.ToolRequested(call=call, tool=tool, arguments=arguments, effect=effect, tier=tier, step=step))
        self.call = call

    def abandon(self, call: str, why: str) -> None:
        """What a call leaves open when it is over is no part of the loop."""

    def end(self) -> None:
        self.call = ""

    def asked(self, approval: str) -> bool:
        known = self.state.approvals.get(approval)
        return known is not None and known.decision != EXPIRED

    def decided(self, approval: str, call: str) -> bool:
        if self.tape.deferred(call):
            return False
        # An expired one was never decided: the call's own end follows, and says how the wait ended.
        return self.wait_until(
            lambda s: approval in s.approvals and s.approvals[approval].decision not in ("", EXPIRED), None
        )

    def wait_until(self, ready: Callable[[RunState], bool], seconds: float | None) -> bool:
        """The log says what was waited for: go on to where it came."""
        for i, event in self.tape.ahead():
            if ready(self.state):
                return True
            if event.type == "tool_failed":
                p = e.payload_of(event)
                assert isinstance(p, e.ToolFailed)
                raise _Recorded(p)
            self.tape.fold_to(i + 1)
        if ready(self.state):
            return True
        raise _EndOfTape


class _Recorded(InternError):
    """An error as the log has it."""

    def __init__(self, failed: e.ToolFailed) -> None:
        super().__init__(failed.error)
        self.kind = failed.kind


def _of_helper(payload: e.Payload) -> bool:
    return isinstance(payload, (e.ToolRequested, *_OF_CALL)) and INNER in payload.call


def _nothing(desk: Any, **_: Any) -> object:
    return None


def _as_answer(p: e.ModelCompleted) -> ChatMessage:
    calls = [
        ChatMessageToolCall(id=c.id, type="function", function=ChatMessageToolCallFunction(name=c.name, arguments=c.arguments))
        for c in p.tool_calls
    ]  # fmt: skip
    made = ChatMessage(role=MessageRole.ASSISTANT, content=p.text, tool_calls=calls)
    made.token_usage = TokenUsage(input_tokens=p.input_tokens, output_tokens=p.output_tokens)
    return made


def _plain(payload: e.Payload) -> dict[str, Any]:
    fields = msgspec.to_builtins(payload)
    return {"type": payload.type, **{k: v for k, v in fields.items() if k not in _UNSURE}}


def _differing(recorded: e.Payload, again: e.Payload) -> tuple[str, str]:
    """Both sides, cut down to the fields that differ."""
    left, right = _plain(recorded), _plain(again)
    fields = [k for k in left.keys() | right.keys() if left.get(k) != right.get(k)]
    return tuple(_json({k: side.get(k) for k in sorted(fields)}) for side in (left, right))  # type: ignore[return-value]


def _shown(payload: e.Payload) -> str:
    return _json(_plain(payload))


def _json(value: Any) -> str:
    text = msgspec.json.encode(value).decode("utf-8", "replace")
    return text if len(text) <= 600 else text[:600] + "…"
