"""Rows from a teacher model: written by it, answered by it anew, judged by it. How it is reached is its caller's.

Self-consistency (Wang et al., arXiv 2203.11171) asks the teacher its own question again; a row whose answer it does not
repeat is dropped. The judge sees the row and the scenario and says whether both fit. A program's check, where there is one,
comes before both, because it costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from core.data.synthesis.plan import Check, Draft, Quote, Scenario, Spent, SynthesisSpec, Unfit
from core.data.text import same_key

CHARACTERS_A_TOKEN = 3.0
"""For a quote that rather says too much: English has about four characters a token, other languages fewer."""
ROW_TOKENS = 1024
"""Most tokens of one answer."""
_SHOWN = 6
"""Earlier prompts of the scenario shown, so that new ones differ."""
WRITE = """\
You write training data for a language model. Write ONE new row: a prompt as a user would put it, and the best answer to it.
Reply with one JSON object and nothing else: {"prompt": "...", "answer": "..."}"""
ANSWER = "Answer the question. Reply with the answer alone, in the same form as an answer key would have it."
JUDGE = """\
You check training data. Is the answer right and complete, is the row free of anything harmful to train on, and does it fit the
description? Reply with one JSON object and nothing else: {"ok": true or false, "why": "a few words"}"""


class Said(NamedTuple):
    """One answer of a model."""

    text: str
    tokens_in: int
    tokens_out: int
    usd: float


Ask = Callable[[str, str, float, int], Said]
"""(system, user, temperature, most tokens) -> the answer; retries what may pass, raises what does not."""


Agrees = Callable[[str, str], bool]
"""(a new answer, the row's answer) -> whether they say the same."""


def same_text(given: str, answer: str) -> bool:
    """Equal but for case, space and sentence punctuation."""
    return same_key(given) == same_key(answer)


class Teacher:
    """A model that writes rows."""

    def __init__(
        self, name: str, ask: Ask, spec: SynthesisSpec, check: Check | None = None, agrees: Agrees = same_text
    ) -> None:
        self.name = name
        self._ask = ask
        self._spec = spec
        self._check = check
        self._agrees = agrees
        self._written: dict[str, list[str]] = {}

    def remember(self, scenario: str, prompt: str) -> None:
        """A row of an earlier sitting; new ones are to differ from it."""
        self._written.setdefault(scenario, []).append(prompt)

    def draft(self, attempt: int, scenario: Scenario, spent: Spent) -> Draft:
        text = self._said(WRITE, self._request(attempt, scenario), 1.0, spent)
        value = json_in(text)
        prompt, answer = value.get("prompt"), value.get("answer")
        if isinstance(answer, int | float | dict | list):
            answer = json.dumps(answer, ensure_ascii=False)
        if not isinstance(prompt, str) or not isinstance(answer, str) or not prompt.strip() or not answer.strip():
            raise Unfit("malformed", f"no row in: {text[:120]}")
        self.remember(scenario.name, prompt)
        return Draft(prompt.strip(), answer.strip())

    def _request(self, attempt: int, scenario: Scenario) -> str:
        r = Random(f"{self._spec.seed}:{attempt}")
        examples = r.sample(self._spec.examples, min(2, len(self._spec.examples)))
        before = self._written.get(scenario.name, [])[-_SHOWN:]
        parts = [
            f"Task: {self._spec.instruction}" if self._spec.instruction else "",
            f"This row: {scenario.name}" + (f": {scenario.about}" if scenario.about else ""),
            "Rows of the right form (do not repeat them):\n" + "\n".join(json.dumps(x, ensure_ascii=False) for x in examples) if examples else "",
            "Differ in content and wording from:\n" + "\n".join(f"- {p[:200]}" for p in before) if before else "",
            f"Variation {attempt}.",
        ]  # fmt: skip
        return "\n\n".join(p for p in parts if p)

    def verify(self, draft: Draft, scenario: Scenario, spent: Spent) -> None:
        if self._check is not None and self._check(draft.prompt, draft.answer) is False:
            raise Unfit("wrong_answer", "refused by the check")
        if self._spec.consistency:
            self._agree(draft, spent)
        if self._spec.judge:
            about = f"Description: {self._spec.instruction} {scenario.name} {scenario.about}".strip()
            row = json.dumps({"prompt": draft.prompt, "answer": draft.answer}, ensure_ascii=False)
            value = json_in(self._said(JUDGE, f"{about}\n\n{row}", 0.0, spent))
            if value.get("ok") is not True:
                why = str(value.get("why", "no verdict"))[:200]
                raise Unfit("judged_unfit", why)

    def _agree(self, draft: Draft, spent: Spent) -> None:
        given = [self._said(ANSWER, draft.prompt, 0.7, spent) for _ in range(self._spec.consistency)]
        same = sum(self._agrees(g, draft.answer) for g in given)
        if 2 * same < len(given):
            raise Unfit("inconsistent", f"{same} of {len(given)} new answers agree")

    def _said(self, system: str, user: str, temperature: float, spent: Spent) -> str:
        said = self._ask(system, user, temperature, ROW_TOKENS)
        spent.calls += 1
        spent.tokens_in += said.tokens_in
        spent.tokens_out += said.tokens_out
        spent.usd += said.usd
        return said.text

    def close(self) -> None:
        """Nothing is open between two calls."""


def json_in(text: str) -> dict[str, Any]:
    """The first JSON object in a model's text, a fence or words around it allowed; empty where there is none."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            return decoder.raw_decode(text, at)[0]
        except (json.JSONDecodeError, RecursionError):
            at = text.find("{", at + 1)
    return {}


def quote(spec: SynthesisSpec, price: Callable[[int, int], float] | None, done: int = 0) -> Quote:
    """The most that the attempts still open may cost. `price`: dollars of (tokens in, tokens out); None: not known."""
    attempts = max(0, spec.tries * sum(s.quota for s in spec.scenarios) - done)
    calls = 1 + spec.consistency + spec.judge
    characters = len(WRITE) + len(spec.instruction) + max(len(s.about) for s in spec.scenarios) + 200 * _SHOWN
    characters += 2 * max((len(json.dumps(x)) for x in spec.examples), default=0)
    first = round(characters / CHARACTERS_A_TOKEN)
    again = round(max(len(ANSWER), len(JUDGE)) / CHARACTERS_A_TOKEN) + ROW_TOKENS
    tokens_in = attempts * (first + (calls - 1) * again)
    tokens_out = attempts * calls * ROW_TOKENS
    return Quote(
        calls=attempts * calls,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        usd=price(tokens_in, tokens_out) if price else None,
    )


def most_of_one(spec: SynthesisSpec, price: Callable[[int, int], float]) -> float:
    """Dollars that one more attempt may cost."""
    one = msgspec.structs.replace(spec.scenarios[0], quota=1, about=max((s.about for s in spec.scenarios), key=len))
    return quote(msgspec.structs.replace(spec, scenarios=(one,), tries=1), price).usd or 0.0


def verified_by(spec: SynthesisSpec, check: bool) -> Sequence[str]:
    """What vouches for each row."""
    return [
        *(["an executable check"] if check else []),
        *([f"self-consistency over {spec.consistency} answers"] if spec.consistency else []),
        *(["the teacher's judgement"] if spec.judge else []),
    ]
