"""Mixed events as a real run writes them: the recorded run of `tests/store/golden`, again and again, its numbers redrawn.

Types, their proportion, their order, their keys and their words are the recorded ones (44 % metrics of 5 to 27 numbers,
16 % device readings, the rest what an agent, its tools and jobs say). Numbers are drawn anew each time, with as many
digits as they had, so that nothing compresses better for having been seen before: metrics of many digits stay single or
double precision or decimals as recorded, those of few stay as they are, digests are random.
"""

from __future__ import annotations

import array
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from store.event import Event, NewEvent, canonical
from store.reader import LogFile
from tests.store.golden import unpacked

_DIGITS = re.compile(r"[0-9a-f]{64}|\d{3,}")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class MixedRun:
    """An endless run."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self._dice = random.Random(seed)
        with LogFile.open(unpacked(folder)) as log:
            self._recorded: list[Event] = list(log.events())
        self._stream = self._forever()

    def events(self, count: int) -> list[NewEvent]:
        return [next(self._stream) for _ in range(count)]

    def _forever(self) -> Iterator[NewEvent]:
        while True:
            for event in self._recorded:
                yield NewEvent(event.type, self._payload(event), event.actor, event.cause, event.v)

    def _payload(self, event: Event) -> bytes:
        if event.type == "metric_logged":
            payload = _decode(event.payload)
            drawn: dict[float, float] = {}  # what is logged twice (a reward under two names) stays equal
            payload["values"] = {
                name: drawn.setdefault(value, self._number(value)) for name, value in payload["values"].items()
            }
            return canonical(payload)
        if event.type == "gpu_sampled":
            payload = _decode(event.payload)
            for key in ("memory_used", "own_memory"):
                if payload.get(key):
                    payload[key] += self._dice.randrange(-20_000, 20_000) * 4096
            payload["util"] = self._dice.randrange(1, 999) / 1000
            return canonical(payload)
        return _DIGITS.sub(self._redrawn, event.payload.decode()).encode()

    def _number(self, value: float) -> float:
        """Another number of as many digits."""
        shown = repr(value)
        if len(shown) <= 6 or value == int(value):
            return value
        other = value * (1 + 0.05 * self._dice.gauss(0, 1))
        if array.array("f", [value])[0] == value:
            return array.array("f", [other])[0]
        decimals = len(shown.partition(".")[2])
        return round(other, decimals) if decimals <= 6 and "e" not in shown else other

    def _redrawn(self, found: re.Match[str]) -> str:
        text = found.group()
        if len(text) == 64:
            return f"{self._dice.getrandbits(256):064x}"
        head = text[0] if text[0] == "0" else str(self._dice.randrange(1, 10))
        return head + str(self._dice.randrange(10 ** (len(text) - 1))).zfill(len(text) - 1)
