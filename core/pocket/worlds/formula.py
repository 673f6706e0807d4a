"""A calculation in words, written as a formula in x. The base mostly forgets the brackets or puts `y=` in front; it has seen
two or three steps, and four have to be learnt."""

from __future__ import annotations

from random import Random

from core.pocket.worlds import Item, Told

WORDS = {"plus": "+", "minus": "-", "times": "*"}


class Formula:
    """`x plus 3, times 12` -> `(x+3)*12`."""

    name = "formula"
    max_new_tokens = 24
    word_pieces = 0
    sampled = False
    stop_token = ""

    def question(self, rng: Random) -> Item:
        return self.taught(rng) if rng.random() < 0.75 else self._item(rng, 4)

    def taught(self, rng: Random) -> Item:
        return self._item(rng, rng.randint(2, 3))

    def _item(self, rng: Random, length: int) -> Item:
        steps = [(rng.choice(list(WORDS)), rng.randint(2, 19)) for _ in range(length)]
        return Item("x " + ", ".join(f"{word} {number}" for word, number in steps), written(steps))

    def teacher(self, rng: Random, item: Item) -> Told:
        text = item.answer
        if rng.random() < 0.6:
            text = text.replace("(", "").replace(")", "")
        return Told(f"y={text}" if rng.random() < 0.3 else text)

    def wrong_label(self, rng: Random, item: Item) -> str:
        if "(" in item.answer and rng.random() < 0.6:
            return item.answer.replace("(", "").replace(")", "")
        if rng.random() < 0.5:
            return f"y={item.answer}"
        return f"{item.answer}+{rng.randint(2, 9)}"


def written(steps: list[tuple[str, int]]) -> str:
    """The formula with brackets where they are needed and nowhere else."""
    text, sum_outside = "x", False
    for word, number in steps:
        times = word == "times"
        text = f"({text}){WORDS[word]}{number}" if times and sum_outside else f"{text}{WORDS[word]}{number}"
        sum_outside = not times
    return text
