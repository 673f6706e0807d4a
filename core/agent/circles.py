"""What is done about a brain that goes round in circles, in steps: an advice, a firm word, and then no longer alone with it.

At the limit a person is asked: the run is paused, their answer goes to the brain and the count begins anew. Where nobody
is there to ask, the run ends as it ends when its time is used: last evaluation, valid final_model, report. Every step is
a `loop_detected` with its evidence, and a new host goes on counting from those events (`memory.py`).
"""

from __future__ import annotations

from typing import Any

from core import events as e
from core.agent.desk import Desk
from core.agent.loops import ADVICE, LIMIT, WINDOW, LoopDetector, Sign
from core.agent.recorded import NO_CALL
from core.sanitize import one_line

QUESTION = "loop-"
"""How the id of a question about a loop begins."""

WAIT_INSTEAD = (
    "Each look costs a model call and the job goes no faster for it: call wait_for_jobs with the jobs' ids and no time, or a "
    'long one (until="any" comes back when one ends or a failure is diagnosed), or do other work meanwhile.'
)

SHOWN = 300
"""Characters of the repeated result that the event keeps."""


class Circles:
    """Looks at every call of the brain and its result; says what the brain is told besides, and when it is enough."""

    def __init__(self, desk: Desk, seen: LoopDetector, last: e.LoopDetected | None = None) -> None:
        self.desk = desk
        self.seen = seen
        self.last = last
        """What was recorded last."""

    def noticed(self, call: str, tool: str, arguments: dict[str, Any] | str, told: str) -> str:
        """What stands behind the result `told`, recorded with its evidence; empty where there is no sign of a loop."""
        jobs = self.desk.journal.read(lambda s: bool(s.running_jobs()))
        sign = self.seen.saw(tool, arguments, told, jobs_running=jobs, call=call)
        if sign is None:
            return ""
        level, said = self._words(what(tool, sign), sign.kind)
        self.last = e.LoopDetected(
            tool=tool[:200], repeats=sign.repeats, advice=said, level=level, kind=sign.kind, call=call,
            calls=list(sign.calls), result=told[:SHOWN], fruitless=self.seen.fruitless, signs=self.seen.signs,
        )  # fmt: skip
        self.desk.emit_soon(self.last)
        return ADVICE + said

    def _words(self, seen: str, kind: str) -> tuple[str, str]:
        signs, unattended = self.seen.signs, self.desk.settings.unattended
        if not signs and kind == "poll":
            return "advice", f"{seen}. {WAIT_INSTEAD}"
        if not signs:
            return "advice", (
                f"{seen}. Calling it again will not change that. Look at what you know, change the arguments or the "
                "plan, or say with note why this is right."
            )
        fruitless = f"{self.seen.fruitless} of your last {WINDOW} turns brought nothing new"
        if signs >= LIMIT:
            end = "The run ends here" if unattended else "The run is paused until a person has said what to do instead"
            return "limit", f"{seen}; {fruitless}. {end}."
        left = "one more turn" if LIMIT - signs == 1 else f"{LIMIT - signs} more turns"
        then = "the run ends" if unattended else "the run is paused and a person is asked"
        if kind == "poll":
            return "firm", f"STOP. {seen}; {fruitless}. {WAIT_INSTEAD} After {left} like this {then}."
        return "firm", (
            f"STOP. {seen}; {fruitless}. Do not send this again in any form. Your next call has to be another one: "
            f"read_task, another tool, another plan, or final_answer. After {left} like this {then}."
        )

    def why(self) -> str:
        """Why it is enough, to a person; empty where it is not. The same after a crash, from the events."""
        if self.seen.signs < LIMIT or self.last is None:
            return ""
        last = self.last
        return (
            f"the brain goes round in circles ({last.tool}, {last.kind}, {last.repeats} times; {last.fruitless} of its last "
            f"{WINDOW} turns brought nothing new), although it was told so {LIMIT} times. "
            f"Last result: {one_line(last.result)[:120]}"
        )

    def forget(self) -> None:
        """A person has said something: the count begins anew."""
        self.seen.forget()


def what(tool: str, sign: Sign) -> str:
    """The loop in a sentence without its full stop, to the brain."""
    if tool == NO_CALL and sign.kind != "round":
        return f"Your last replies held no tool call ({sign.repeats} times)"
    if sign.kind == "same error":
        return f"{tool[:200]} has failed {sign.repeats} times with the same error, whatever its arguments"
    if sign.kind == "failures":
        return f"Your last {sign.repeats} calls have all failed"
    if sign.kind == "poll":
        return f"You have asked how things are {sign.repeats} times in a row and nothing has changed, {tool[:200]} last"
    if sign.kind == "round":
        return f"You have made the same round of calls {sign.repeats} times with the same results, {tool[:200]} last"
    return f"You have called {tool[:200]} {sign.repeats} times with the same result"


def question(why: str) -> str:
    """What a person is asked at the limit."""
    return (
        f"The run is paused: {why}. What shall it do instead? Your answer goes to the brain and the run goes on. "
        "Or: unpause (it goes on as it is), brain NAME and then unpause (another one decides), stop (last evaluation and report)."
    )
