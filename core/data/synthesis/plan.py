"""What is to be made, what it may cost, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from core.errors import UsageError

ANY = "any"
"""The scenario of a request that names none."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of row that is wanted, such as hedged medical language or emergencies in several languages."""

    name: str
    about: str = ""
    """What its rows are like, in words: the seed a teacher writes from, and the second argument of a generator."""
    quota: int
    """Rows wanted."""
    upsample: int = 1
    """Copies of each of its rows in the result."""


class SynthesisSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One synthesis. The same specification and source give the same attempts in the same order."""

    scenarios: tuple[Scenario, ...]
    instruction: str = ""
    """What all rows are for; told to a teacher."""
    examples: tuple[dict[str, str], ...] = ()
    """Rows ({"prompt", "answer"}) that show a teacher the form."""
    consistency: int = 0
    """Answers a teacher gives anew to each of its prompts; half of them must agree with the row's. 0: not asked."""
    judge: bool = False
    """Ask the teacher whether each row is right and fits its scenario."""
    tries: int = 4
    """Attempts for each row wanted, after which a scenario is given up as it is."""
    near_duplicates: bool = True
    """Leave near duplicates out."""
    seed: int = 0
    max_usd: float | None = None
    """Stop, resumably, before a call that could go beyond these dollars."""


class Draft(NamedTuple):
    """One attempt's row, before it is verified."""

    prompt: str
    answer: str


class Spent(msgspec.Struct):
    """What the calls of one attempt took."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0


class Unfit(Exception):
    """An attempt without a usable row: counted by its reason, not an error."""

    def __init__(self, reason: str, note: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.note = note


class Source(Protocol):
    """Makes and verifies rows. `draft` and `verify` raise Unfit for a row that does not do; other errors end the work."""

    name: str

    def draft(self, attempt: int, scenario: Scenario, spent: Spent) -> Draft: ...

    def verify(self, draft: Draft, scenario: Scenario, spent: Spent) -> None: ...

    def close(self) -> None: ...


Check = Callable[[str, str], "bool | None"]
"""(prompt, answer) -> right, wrong, or None where it cannot tell."""


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a synthesis may cost at most, said before it starts."""

    calls: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    """None where no price of the model is known."""

    def __str__(self) -> str:
        if not self.calls:
            return "no calls of a model, $0.00"
        price = "price unknown (prices.toml has none for this model)" if self.usd is None else f"${self.usd:.2f}"
        return f"up to {self.calls:,} calls, {self.tokens_in + self.tokens_out:,} tokens, {price}"


class ScenarioCount(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    quota: int
    attempts: int
    kept: int
    rows: int
    """In the result, copies by upsampling included."""


class Synthesis(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a synthesis: attempts = kept + sum of dropped."""

    folder: str
    source: str
    attempts: int
    kept: int
    rows: int
    """Rows of train.jsonl, copies included."""
    dropped: dict[str, int]
    """Attempts that gave no row, by reason."""
    scenarios: tuple[ScenarioCount, ...]
    diversity: dict[str, Any]
    spent: Spent
    digest: str
    verified: tuple[str, ...]
    """How each row was verified; empty says that nothing vouches for the answers."""
    decontaminated: bool
    notes: tuple[str, ...] = ()
    uncompared: int = 0
    """As `Prepared.uncompared`."""


def check_spec(spec: SynthesisSpec) -> None:
    """Raises UsageError for a specification that cannot be carried out."""
    if not spec.scenarios:
        raise UsageError("Nothing to synthesize: no rows were asked for", where="--count", next="Say how many rows")
    names = [s.name for s in spec.scenarios]
    for s in spec.scenarios:
        if not _NAME.fullmatch(s.name):
            raise UsageError(f"{s.name!r} is no name for a scenario", next="Use letters, digits, '-', '_' and '.'")
        if s.quota < 1 or not 1 <= s.upsample <= 1000:
            raise UsageError(
                "A scenario needs a quota of at least 1 and an upsampling of 1 to 1000", where=s.name, next="Correct it"
            )
    if len(set(names)) < len(names):
        raise UsageError("Two scenarios have the same name", where=", ".join(names), next="Rename one")
    if spec.tries < 1 or spec.consistency < 0:
        raise UsageError("tries must be at least 1 and consistency not negative", next="Correct it")


def parse_scenario(text: str) -> Scenario:
    """`name=QUOTA`, `name=QUOTAxCOPIES`, each optionally followed by `:what its rows are like`."""
    found = re.fullmatch(r"([^=:]+)=(\d+)(?:x(\d+))?(?::(.*))?", text.strip(), re.DOTALL)
    if found is None:
        raise UsageError(
            f"{text!r} is no scenario",
            where="--scenario",
            next="Write name=QUOTA:what its rows are like, or name=QUOTAxCOPIES:...",
        )
    name, quota, copies, about = found.groups()
    return Scenario(name=name.strip(), quota=int(quota), upsample=int(copies or 1), about=(about or "").strip())
