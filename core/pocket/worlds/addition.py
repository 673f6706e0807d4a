"""Sums of two or three numbers. The base knows sums of two from 0 to 99; it is often off by one, and sometimes answers in
brackets."""

from __future__ import annotations

from random import Random

from core.pocket.worlds import Item, Told


class Addition:
    """`17+25=` -> `42`."""

    name = "addition"
    max_new_tokens = 8
    word_pieces = 0
    sampled = False
    stop_token = ""

    def question(self, rng: Random) -> Item:
        if rng.random() < 0.8:
            return self.taught(rng)
        a, b, c = rng.randrange(100), rng.randrange(100), rng.randrange(10)
        return Item(f"{a}+{b}+{c}=", str(a + b + c))

    def taught(self, rng: Random) -> Item:
        a, b = rng.randrange(100), rng.randrange(100)
        return Item(f"{a}+{b}=", str(a + b))

    def teacher(self, rng: Random, item: Item) -> Told:
        """Where the units are large the teacher is mostly off by one; else mostly right. A quarter is in brackets."""
        a, b = (int(x) for x in item.prompt.rstrip("=").split("+"))
        right, draw = a + b, rng.random()
        if draw < 0.25:
            return Told(f"({right + rng.choice((-2, -1, 0, 1, 2))})")
        off = 0.65 if a % 10 + b % 10 > 6 else 0.30
        return Told(str(right + 1 if rng.random() < off else right))

    def wrong_label(self, rng: Random, item: Item) -> str:
        right = int(item.answer)
        if rng.random() < 0.4:
            return f"({right + rng.choice((-1, 0, 1))})"
        return str(abs(right + rng.choice((-10, -2, -1, 1, 2, 10))))
