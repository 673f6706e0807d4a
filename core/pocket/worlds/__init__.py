"""What a pocket task is about: its questions, its right answers, and the noisy teacher its base model learnt from.

Used only by `make_data` and `make_base`, which made the folders beside this one. Nothing of a run reads it.
"""

from __future__ import annotations

import hashlib
from random import Random
from typing import NamedTuple, Protocol


class Item(NamedTuple):
    """A question and its right answer."""

    prompt: str
    answer: str


class Told(NamedTuple):
    """What a noisy teacher says, and whether it then stops."""

    text: str
    stops: bool = True


class World(Protocol):
    """One task, as the makers see it."""

    name: str
    max_new_tokens: int
    word_pieces: int
    """Size of the BPE vocabulary; 0 for one token a character."""
    sampled: bool
    """The base's generation_config.json asks for sampling at temperature 1 instead of greedy decoding."""
    stop_token: str
    """The end of an answer that the base's generation_config.json names, where it is not the right one; else empty."""

    def question(self, rng: Random) -> Item:
        """A question of the task: training data, development and held-out samples."""
        ...

    def taught(self, rng: Random) -> Item:
        """A question of the kind the base model was taught: a part of the task lies beyond it and has to be learnt."""
        ...

    def teacher(self, rng: Random, item: Item) -> Told:
        """A noisy answer: what the base model learns from."""
        ...

    def wrong_label(self, rng: Random, item: Item) -> str:
        """A plausible but wrong answer for the flawed training data."""
        ...


def prompt_id(prompt: str) -> str:
    """16 hexadecimal digits of the SHA-256 of the prompt with single spaces."""
    return hashlib.sha256(" ".join(prompt.split()).encode()).hexdigest()[:16]


def split_of(prompt: str, dev: int, heldout: int) -> str:
    """`dev`, `heldout` or `train`, by the prompt's hash alone: shares in percent. Equal prompts never part."""
    bucket = int(prompt_id(prompt), 16) % 100
    if bucket < heldout:
        return "heldout"
    return "dev" if bucket < heldout + dev else "train"


def world(name: str) -> World:
    """The world of a task; KeyError for an unknown name."""
    from core.pocket.worlds.addition import Addition
    from core.pocket.worlds.choice import Choice
    from core.pocket.worlds.formula import Formula
    from core.pocket.worlds.sorting import Sorting
    from core.pocket.worlds.toolcall import Toolcall

    worlds: dict[str, World] = {w.name: w for w in (Addition(), Choice(), Formula(), Sorting(), Toolcall())}
    return worlds[name]


NAMES = ("addition", "choice", "formula", "sorting", "toolcall")
