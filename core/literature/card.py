"""A recipe card: one piece of post-training work, in our words, with the place where each number stands.

Cards live in `cards/*.toml`, a file a subject, each an array of `[[card]]`. This module gives them types and reads
them; `recipes.py` searches them. A hyperparameter's `basis` says what kind of evidence it is: `paper` (the cited
place), `code` (the authors' or a library's published configuration) or `practice` (common use, no single source). A number without a place does not load.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

CARDS = Path(__file__).parent / "cards"

Kind = Literal["method", "data", "evaluation", "diagnosis"]
Basis = Literal["paper", "code", "practice"]
Weights = Literal["full", "lora", "any"]

NEEDS = {
    "answers_checkable": "a program can tell a right answer from a wrong one",
    "demonstrations": "prompts with good answers exist",
    "preferences": "pairs of a better and a worse answer exist",
    "binary_feedback": "single answers marked good or bad exist",
    "prompts": "prompts without answers exist",
    "teacher": "a stronger model may be asked",
    "reward_model": "a model that scores answers exists",
    "step_labels": "single steps of solutions are marked right or wrong",
    "checkpoints": "several trained checkpoints of one base exist",
}
"""What a card may ask for; `search(needs=...)` takes the set of what one has."""

SIGNS = {
    "wrong_format": "right content in a form the evaluation does not accept",
    "never_ends": "answers run on without a stop token",
    "plateau": "the held-out score has stopped rising",
    "underfitting": "training loss still falls, or the adapter is too small",
    "overfitting": "training improves while the held-out score falls",
    "entropy_collapse": "sampling has lost its diversity while the score is flat",
    "length_runaway": "answers grow and grow",
    "truncation": "answers are cut at the length limit",
    "reward_hacking": "the reward rises while the held-out score does not",
    "divergence": "loss, KL or gradients explode, or the score collapses",
    "off_policy": "samples are stale or come from another engine than the one trained",
    "no_signal": "every sample of a group earns the same reward",
    "too_hard": "the model solves almost none of the questions",
    "too_easy": "the model solves almost all of the questions",
    "noisy_labels": "some answers or preferences are wrong",
    "few_examples": "little data",
    "duplicates": "the same or nearly the same rows again and again",
    "contamination": "evaluation samples may be in the training data",
    "low_diversity": "synthetic or kept samples are all alike",
    "forgetting": "skills of the base are lost",
    "likelihood_displacement": "the chosen answers lose likelihood in preference training",
    "out_of_memory": "the training does not fit",
    "slow": "the training does not fit the time",
    "noisy_evaluation": "the difference may be chance",
    "small_model_collapse": "reinforcement learning broke a small model",
    "style": "the tone or helpfulness is off, not the facts",
    "off_topic": "the model does not follow the instruction",
    "mixed_rewards": "several rewards pull against each other",
}
"""Symptoms a card may remedy, as detectors and the playbook name them."""

_SUFFIX = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class Hyperparameter(msgspec.Struct, frozen=True, kw_only=True):
    """One value or range, for whom it holds and where it stands."""

    name: str
    """`lr`, `batch` (sequences an update), `epochs`, `beta`, `generations`, `temperature`, `warmup_ratio`, ..."""
    place: str
    """Section, table or file of the source. Never empty."""
    method: str = ""
    """The training method it is for; empty: the card's own."""
    weights: Weights = "any"
    low: float | None = None
    high: float | None = None
    value: str | None = None
    """A word instead of a number (a scheduler's name)."""
    params_min: float = 0.0
    """Smallest model, in parameters, for which it is given."""
    params_max: float = float("inf")
    basis: Basis = "paper"

    def covers(self, params: int, *, lora: bool) -> bool:
        """Whether it was given for models of this size, trained this way."""
        fits = self.weights == "any" or self.weights == ("lora" if lora else "full")
        return fits and self.params_min <= params <= self.params_max


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A reported number. `baseline` is what the same measure gave without the method, where the source says so."""

    metric: str
    value: float
    place: str
    baseline: float | None = None


class TrlRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """The TRL trainer and arguments that implement the card; a test checks them against the installed version."""

    trainer: str
    config: str
    module: str = "trl"
    args: dict[str, Any] = {}
    peft: dict[str, Any] = {}
    """Arguments of `peft.LoraConfig`, where adapters are part of the recipe."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of post-training work. `hyper`, `failures` and `results` hold only what the source says."""

    id: str
    title: str
    year: int
    kind: Kind
    method: str
    summary: str
    when: str
    arxiv: str = ""
    url: str = ""
    aliases: tuple[str, ...] = ()
    """Other names under which people look for it."""
    needs: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    data: str = ""
    hyper: tuple[Hyperparameter, ...] = ()
    failures: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    cites: tuple[str, ...] = ()
    reference_for: tuple[str, ...] = ()
    """Methods for which this card is the table of values by model size (see `recipes.lr_range`)."""
    trl: TrlRecipe | None = None

    @property
    def source(self) -> str:
        """Where to read the original: an arXiv id or an address."""
        return f"arXiv {self.arxiv}" if self.arxiv else self.url


def parse_size(text: str) -> float:
    """Parameters from `"800k"`, `"1.7B"`, `"0"` or `"inf"`. Raises ValueError on anything else."""
    if text and text[-1] in _SUFFIX:
        return float(text[:-1]) * _SUFFIX[text[-1]]
    return float(text)


def _hyper(raw: dict[str, Any]) -> dict[str, Any]:
    """Spread the `params = ["1B", "10B"]` of the file over the two fields."""
    fields = dict(raw)
    if (bounds := fields.pop("params", None)) is not None:
        fields["params_min"], fields["params_max"] = (parse_size(text) for text in bounds)
    return fields


def read_cards(path: Path) -> tuple[Card, ...]:
    """The cards of one file. Raises msgspec.ValidationError or tomllib.TOMLDecodeError when a card is malformed."""
    raw = tomllib.loads(path.read_text("utf-8"))
    cards = [{**card, "hyper": [_hyper(h) for h in card.get("hyper", [])]} for card in raw["card"]]
    return msgspec.convert(cards, type=tuple[Card, ...], strict=False)


@cache
def load_cards() -> tuple[Card, ...]:
    """All cards that ship with the program, ordered by file and place; read once a process."""
    return tuple(card for path in sorted(CARDS.glob("*.toml")) for card in read_cards(path))
