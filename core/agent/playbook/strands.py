"""Parts of the research that go on side by side while one of them waits for a person.

A call that is put off comes back with nothing but the word that it waits; its result comes later as a message. A part of
the policy that cannot go on without that result yields an `Await` and is parked under the call's id; the rest goes on.
Where nothing else is left to do, the playbook says `final_answer`, as an LLM would: the loop answers it, while calls
wait, once one of them is decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from core.agent.playbook.model import Act, Await, Call, Observation, Policy

Late = dict[str, Observation]
"""Results that came as messages, by the id of their call. The model puts them there; whoever waited takes them out."""


class Parked(NamedTuple):
    """A part of the policy that waits for the result of a call."""

    name: str
    part: Act


class Done(NamedTuple):
    """A part has come to its end."""

    value: Any


class Strands:
    """What is parked, and how a part is carried on."""

    def __init__(self, late: Late, answer: Callable[[], str]) -> None:
        """`answer`: what stands in the `final_answer` that waits."""
        self.late = late
        self.answer = answer
        self.parked: dict[str, Parked] = {}

    @property
    def names(self) -> set[str]:
        """Of the parts that are parked."""
        return {p.name for p in self.parked.values()}

    def ready(self) -> str:
        """Name of a parked part that can go on; empty where none can."""
        return next((p.name for call, p in self.parked.items() if call in self.late), "")

    def run(self, name: str, part: Act) -> Act:
        """Carry a part on from its beginning: Done, or None where it was parked."""
        return (yield from self._drive(name, part, None))

    def resume(self, name: str) -> Act:
        """Carry a parked part on whose result has come: Done, or None where it was parked again."""
        call = next(c for c, p in self.parked.items() if p.name == name and c in self.late)
        parked = self.parked.pop(call)
        return (yield from self._drive(name, parked.part, self.late.pop(call)))

    def finish(self, name: str) -> Act:
        """Carry a parked part on to its end, waiting as often as it needs; returns its value."""
        while True:
            if any(p.name == name and call in self.late for call, p in self.parked.items()):
                done = yield from self.resume(name)
                if done is not None:
                    return done.value
            else:
                yield from self.wait()

    def wait(self) -> Act:
        """Nothing else is left to do: until a person has decided on something."""
        yield Call(
            "final_answer", {"answer": self.answer()}, "Nothing is left to do that needs no decision of a person."
        )

    def alone(self, part: Act) -> Policy:
        """A whole policy: what it awaits itself, nothing else can be done meanwhile."""
        said: Observation | None = None
        while True:
            try:
                wanted = part.send(said)  # type: ignore[arg-type] - a generator that has not begun is sent None
            except StopIteration as end:
                return str(end.value)
            if isinstance(wanted, Await):
                while wanted.call not in self.late:
                    yield Call("final_answer", {"answer": self.answer()}, "This needs a decision of a person first.")
                said = self.late.pop(wanted.call)
            else:
                said = yield wanted

    def _drive(self, name: str, part: Act, said: Observation | None) -> Act:
        while True:
            try:
                wanted = part.send(said)  # type: ignore[arg-type]
            except StopIteration as end:
                return Done(end.value)
            if not isinstance(wanted, Await):
                said = yield wanted
            elif wanted.call in self.late:
                said = self.late.pop(wanted.call)
            else:
                self.parked[wanted.call] = Parked(name, part)
                return None
