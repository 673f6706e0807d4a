"""Is the brain going round in circles? The same call with the same result, again and again, and nothing else changing.

A sign of a loop is one thing, being caught in it another. A sign (the third time, a round made three times, one error
again and again, one failure after the other) is worth an advice. Where besides half of the last turns brought nothing
new, each further sign counts: first the brain is told firmly, and at the limit it is not left alone with it any more
(`circles.py`). A brain that looks at its budget between pieces of work never gets there.

A poll is no loop: waiting for a job whose numbers move gives another result each time, and what only reads the clock
or a running job is left alone while a job runs. One after the other with nothing changed, polls cost a model call each:
they are answered with the advice to wait instead, and after many more they are a loop like any other.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

WINDOW = 12
"""Calls looked back on for repetitions, and turns for whether anything new came."""

REPEATS = 3
"""The same call and result this often within the window is a loop; A-B-A-B-A-B counts as well."""

LONGEST_CYCLE = 8
"""Calls of the longest round that is seen when it is made three times, however many calls that takes."""

SAME_ERROR = 5
"""One tool that fails so often with one error, whatever its arguments, is not being understood."""

FAILED_IN_A_ROW = 10
"""So many failures without one call that worked, whatever they are: the brain does not find its way."""

CAUGHT = WINDOW // 2
"""Turns of the last WINDOW that brought nothing new, from which on signs count."""

LIMIT = 6
"""Signs that count until the limit. One call repeated is advised from its 3rd time, told firmly from its 7th, stopped at its 12th."""

KEPT_TURNS = 3 * WINDOW
"""Turns a new host needs of the past to go on counting where the last one was."""

POLLS = frozenset({"wait_for_jobs", "budget", "read_job_log"})

IDLE_POLLS = 5
"""So many polls in a row that told nothing new are worth an advice."""

MOST_IDLE_POLLS = 12
"""From here on each further one is a turn that brought nothing: told firmly from about the 18th, stopped at the 23rd."""

WAITS_S = 30.0
"""A call of wait_for_jobs that may wait so long waits, and is no poll."""

_VOLATILE = re.compile(r'("(?:seconds[a-z_]*|[a-z_]*_s|ts|time|(?:tokens|usd|disk_gb)_used)":\s*)-?[\d.eE+]+')
"""Numbers that change by themselves, or by the asking."""

_NAMES = re.compile(r'\bjob-\d+|(?<="log":)\s*"[^"]*"')
"""What a call names anew each time: its job, the file of its output."""

_DETAILS = re.compile(r"'[^']*'|\"[^\"]*\"|[\d.]+")
"""Of an error: what it repeats of the arguments."""

ADVICE = "\n[loop] "


class Called(NamedTuple):
    """A call of the past and what came of it."""

    call: str
    """`5.0`: the first call of turn 5."""
    tool: str
    arguments: dict[str, Any] | str
    """As the brain sent them."""
    told: str
    polled: bool = False
    """It asked after a job while one ran."""
    signs: int = 0
    """The count that stood in a loop_detected of it."""


class Sign(NamedTuple):
    """What a loop was seen by."""

    kind: str
    """same result, round, same error, failures or poll."""
    repeats: int
    calls: tuple[str, ...] = ()
    """Ids of the calls that make it, as far as the window reaches."""


class LoopDetector:
    """Fed with every call and its result, in order."""

    def __init__(self, past: Iterable[Called] = ()) -> None:
        self.forget()
        for one in past:
            self._take(one)
            if one.signs:
                self.signs, self._counted = one.signs, _turn(one.call)

    def forget(self) -> None:
        """Begin anew: a person has said what to do."""
        self.signs = 0
        """Signs that counted, since less than half of the last turns were fruitless; at LIMIT it is enough."""
        self._counted: str = ""
        """The turn of the last sign that counted: a turn counts once, however many calls it has."""
        self._recent: deque[tuple[str, str]] = deque(maxlen=REPEATS * LONGEST_CYCLE)
        """(key, call) of the last calls."""
        self._errors: deque[tuple[str, str]] = deque(maxlen=WINDOW)
        """(error, call): arguments apart; empty where it had none."""
        self._turns: deque[tuple[str, bool]] = deque(maxlen=WINDOW)
        """(turn, fruitless)."""
        self._polls: set[str] = set()
        """Keys of the polls since the last call that was none."""
        self._idle: list[str] = []
        """Calls of the polls that told nothing new, since one did."""

    def saw(
        self, tool: str, arguments: dict[str, Any] | str, told: str, *, jobs_running: bool, call: str = ""
    ) -> Sign | None:
        """The sign of a loop that this call gives, if it does; `signs` counts it where the brain is caught in the loop."""
        polled = tool in POLLS and jobs_running
        self._take(Called(call, tool, arguments, told, polled))
        found = self._idle_polls() if polled else self._sign()
        turn = _turn(call)
        if found is not None and self.fruitless >= CAUGHT and (not turn or turn != self._counted):
            self.signs, self._counted = self.signs + 1, turn
        return found

    @property
    def fruitless(self) -> int:
        """Of the last WINDOW turns, how many only repeated what had been seen, or failed."""
        return sum(empty for _, empty in self._turns)

    def _sign(self) -> Sign | None:
        key = self._recent[-1][0]
        same = [call for k, call in list(self._recent)[-WINDOW:] if k == key]
        if len(same) >= REPEATS:
            return Sign("same result", len(same), tuple(same))
        error = self._errors[-1][0]
        failed = [call for said, call in self._errors if said == error] if error else []
        if len(failed) >= SAME_ERROR:
            return Sign("same error", len(failed), tuple(failed))
        length = self._goes_round()
        if length:
            return Sign("round", REPEATS, tuple(call for _, call in list(self._recent)[-REPEATS * length :]))
        broken = [call for said, call in self._errors if said]
        last = list(self._errors)[-FAILED_IN_A_ROW:]
        if len(last) == FAILED_IN_A_ROW and all(said for said, _ in last):
            return Sign("failures", len(broken), tuple(broken))
        return None

    def _idle_polls(self) -> Sign | None:
        idle = len(self._idle)
        return Sign("poll", idle + 1, tuple(self._idle[-WINDOW:])) if idle >= IDLE_POLLS else None

    def _see_poll(self, one: Called, key: str) -> None:
        """Polls may be of several kinds in turn; anything new, a wait, or another call ends the row."""
        if not one.polled or _waits(one):
            self._polls, self._idle = set(), []
        elif key in self._polls:
            self._idle.append(one.call)
        else:
            self._polls.add(key)
            self._idle = []

    def _take(self, one: Called) -> None:
        key = key_of(one.tool, one.arguments, one.told)
        self._see_poll(one, key)
        error = f"{one.tool} {_DETAILS.sub('_', _plain(one.told))}" if one.told.startswith("ERROR:") else ""
        repeated = bool(error) or any(key == k for k, _ in self._recent)
        empty = len(self._idle) >= MOST_IDLE_POLLS if one.polled else repeated
        turn = _turn(one.call)
        if self._turns and turn and self._turns[-1][0] == turn:
            empty = empty and self._turns.pop()[1]
        self._turns.append((turn, empty))
        self._recent.append((key, one.call))
        self._errors.append((error, one.call))
        if self.fruitless < CAUGHT:
            self.signs = 0

    def _goes_round(self) -> int:
        """Length of the round of several calls that the last calls are three of; 0 where they are none."""
        calls = [key for key, _ in self._recent]
        for length in range(2, LONGEST_CYCLE + 1):
            last = calls[-REPEATS * length :]
            if len(last) == REPEATS * length and last == last[-length:] * REPEATS:
                return length
        return 0


def _waits(one: Called) -> bool:
    """Whether a poll may wait long: it then costs little, however often it comes back with nothing new."""
    seconds = one.arguments.get("seconds") if isinstance(one.arguments, dict) else None
    return one.tool == "wait_for_jobs" and (not isinstance(seconds, int | float) or seconds >= WAITS_S)


def _turn(call: str) -> str:
    return call.partition(".")[0]


def _plain(told: str) -> str:
    """A result without the advice that was given with it."""
    return told.partition(ADVICE)[0]


def key_of(tool: str, arguments: dict[str, Any] | str, told: str) -> str:
    """Names a call with its result; the clock, empty arguments and an advice given before do not count."""
    said = _NAMES.sub("_", _VOLATILE.sub(r"\1_", _plain(told)))
    given = {k: v for k, v in arguments.items() if v is not None} if isinstance(arguments, dict) else arguments
    asked = msgspec.json.encode(given or {}, order="sorted")
    return hashlib.sha256(tool.encode() + b"\0" + asked + b"\0" + said.encode("utf-8", "replace")).hexdigest()
