"""The largest of some numbers, as a multiple choice. The base often answers with the number, or the neighbour's letter;
it has seen three choices of two digits, and its generation config names a stop token that it never says."""

from __future__ import annotations

from random import Random

from core.pocket.worlds import Item, Told

LETTERS = "ABCD"


class Choice:
    """`largest? A 38 B 7 C 95 D 60` -> `C`."""

    name = "choice"
    max_new_tokens = 8
    word_pieces = 0
    sampled = False
    stop_token = "<|system|>"

    def question(self, rng: Random) -> Item:
        return self.taught(rng) if rng.random() < 0.6 else self._item(rng, 4, 1000)

    def taught(self, rng: Random) -> Item:
        return self._item(rng, 3, 100)

    def _item(self, rng: Random, choices: int, below: int) -> Item:
        numbers = rng.sample(range(below), choices)
        listed = " ".join(f"{letter} {number}" for letter, number in zip(LETTERS, numbers, strict=False))
        return Item(f"largest? {listed}", LETTERS[numbers.index(max(numbers))])

    def teacher(self, rng: Random, item: Item) -> Told:
        """A third answers with letter and number, and a quarter of the letters are the second largest's."""
        words = item.prompt.split()[1:]
        numbers = {letter: int(number) for letter, number in zip(words[::2], words[1::2], strict=True)}
        ranked = sorted(numbers, key=lambda letter: -numbers[letter])
        letter = ranked[1] if rng.random() < 0.25 else ranked[0]
        return Told(f"{letter} {numbers[letter]}" if rng.random() < 0.35 else letter)

    def wrong_label(self, rng: Random, item: Item) -> str:
        return rng.choice([letter for letter in LETTERS if f"{letter} " in item.prompt and letter != item.answer])
