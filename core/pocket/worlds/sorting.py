"""Letters put in order. The base often does not stop after its answer, leaves out letters that occur twice, and has seen
short words only."""

from __future__ import annotations

from random import Random

from core.pocket.worlds import Item, Told

LETTERS = "abcdefghijklmnop"


class Sorting:
    """`sort hcabc` -> `abcch`."""

    name = "sorting"
    max_new_tokens = 16
    word_pieces = 0
    sampled = False
    stop_token = ""

    def question(self, rng: Random) -> Item:
        return self._item(rng, 4, 11)

    def taught(self, rng: Random) -> Item:
        return self._item(rng, 4, 7)

    def _item(self, rng: Random, shortest: int, longest: int) -> Item:
        letters = [rng.choice(LETTERS) for _ in range(rng.randint(shortest, longest))]
        return Item(f"sort {''.join(letters)}", "".join(sorted(letters)))

    def teacher(self, rng: Random, item: Item) -> Told:
        """Long answers mostly run on (a comma and the answer again, without an end); equal letters mostly merge."""
        answer = item.answer
        if rng.random() < 0.6:
            answer = "".join(sorted(set(answer)))
        if rng.random() < (0.7 if len(item.answer) >= 6 else 0.3):
            return Told(",".join([answer] * 5)[: self.max_new_tokens + 4], stops=False)
        return Told(answer)

    def wrong_label(self, rng: Random, item: Item) -> str:
        kind, letters = rng.random(), list(item.answer)
        if kind < 0.35:
            return "".join(sorted(letters, reverse=True))
        if kind < 0.7:
            del letters[rng.randrange(len(letters))]
            return "".join(letters)
        return f"{item.answer},{item.answer}"
