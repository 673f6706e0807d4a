# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""A model behind an endpoint as the teacher of a synthesis: retried as a brain is, its price known before it is asked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, cast

from smolagents.models import ChatMessage, MessageRole

from core.agent.brain import check_brain, make_model, parse_brain
from core.agent.patience import Beat
from core.agent.recorded import ATTEMPTS, LONGEST_PAUSE_S, asked_pause, may_pass
from core.data.synthesis.teacher import Said
from core.errors import ToolError, UsageError

Wait = Callable[[float], object]
"""Waits some seconds; may raise to give up."""


class TeacherModel:
    """`hf:<model>` or `openai:<model>@<url>`, asked one question at a time."""

    def __init__(self, name: str, wait: Wait = time.sleep) -> None:
        """Raises UsageError for a name that is no model behind an endpoint, or where its key is missing."""
        spec = parse_brain(name)
        if spec.kind not in ("hf", "openai"):
            raise UsageError(
                f"{name} cannot write data", where="teacher", next="Use hf:<model> or openai:<model>@<url>"
            )
        check_brain(spec)
        self.name = str(spec)
        self._model: Any = make_model(spec, 0)
        self._wait = wait

    def price(self) -> Callable[[int, int], float] | None:
        """Dollars of (tokens in, tokens out); None where no price is written down."""
        price = self._model.price
        return (lambda given, written: float(price.of(given, written, 0))) if price is not None else None

    def ask(self, system: str, user: str, temperature: float, most_tokens: int) -> Said:
        """One answer. Raises ToolError where the endpoint does not answer."""
        messages = [_message(MessageRole.SYSTEM, system), _message(MessageRole.USER, user)]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._model.answer(messages, Beat(), temperature=temperature, max_tokens=most_tokens)
            except Exception as error:  # the boundary to a provider: retried or raised as ours
                if attempt == ATTEMPTS or not may_pass(error):
                    raise ToolError(
                        f"The teacher does not answer: {str(error)[:300]}", where=self.name,
                        next="What was made is kept: the same call goes on from there",
                    ) from error  # fmt: skip
                self._wait(asked_pause(error) or min(LONGEST_PAUSE_S, 2.0**attempt * random.uniform(0.25, 0.5)))
                continue
            return self._said(answer)
        raise AssertionError("unreachable: the last attempt raises")

    def _said(self, answer: Any) -> Said:
        usage = answer.token_usage
        given, written = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
        price = self._model.price
        usd = answer.cost_usd
        if usd is None:
            usd = price.of(given, written, answer.cached_tokens) if price is not None else 0.0
        return Said(answer.content if isinstance(answer.content, str) else "", given, written, float(usd))


def _message(role: MessageRole, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=cast(Any, [{"type": "text", "text": text}]))
