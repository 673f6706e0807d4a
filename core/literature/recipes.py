"""The recipe library: search the cards, and ask for a learning rate that fits a model's size.

Works without a network and is deterministic: same question, same answer, so that replay and tests stand. The playbook,
the LLM brains and `intern recipes` all use these functions. Ranking of text is BM25 (k1 1.2, b 0.75); the structured
filters come first: a card that needs what one lacks is not shown.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from functools import cache

import msgspec

from core.errors import NotFound
from core.literature.card import NEEDS, SIGNS, Card, Hyperparameter, load_cards
from core.literature.rank import Index, words

_SHARED = frozenset(
    (
        "lr",
        "batch",
        "epochs",
        "beta",
        "generations",
        "temperature",
        "epsilon",
        "epsilon_high",
        "warmup_ratio",
        "scheduler",
        "max_completion",
        "weight_decay",
        "rank",
        "lora_alpha",
        "samples_per_prompt",
    )
)


_WITH_PROMPTS = {"answers_checkable", "demonstrations", "preferences", "binary_feedback", "step_labels"}
"""Whoever has one of these has prompts too."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A card that answers a question, with the reasons in words."""

    card: Card
    score: float
    why: tuple[str, ...]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A hyperparameter as one card gives it. `low == high` when the source gives one value; `word` for a name."""

    low: float | None
    high: float | None
    word: str | None
    card: str
    place: str
    basis: str


def get(card_id: str) -> Card:
    """The card of this id. Raises NotFound naming the nearest ids."""
    cards = {card.id: card for card in load_cards()}
    if card_id in cards:
        return cards[card_id]
    near = [match.card.id for match in search(card_id.replace("-", " "), limit=3)]
    hint = f"Near: {', '.join(near)}. " if near else ""
    raise NotFound(f"no recipe card named {card_id!r}", where="recipe library", next=f"{hint}Try `intern recipes`.")


def search(
    query: str,
    *,
    needs: AbstractSet[str] | None = None,
    signs: AbstractSet[str] | None = None,
    params: int | None = None,
    limit: int = 10,
) -> list[Match]:
    """The best cards for a question, best first.

    `needs` is what one has (keys of card.NEEDS): a card asking for more is left out. `signs` are symptoms (keys of
    card.SIGNS): only cards that remedy one of them are kept. `params` is the model's size in parameters: cards with
    values for that size come earlier. An empty query with filters lists what passes them. Raises NotFound for a word
    that is not in those vocabularies, so that a misspelt symptom never looks like "nothing known".
    """
    _known(needs, NEEDS, "need")
    _known(signs, SIGNS, "symptom")
    if needs and needs & _WITH_PROMPTS:
        needs = needs | {"prompts"}
    texts = _index().scores(query)
    matches: list[Match] = []
    for position, card in enumerate(load_cards()):
        if needs is not None and not set(card.needs) <= needs:
            continue
        hits = sorted(set(card.signs) & signs) if signs is not None else []
        if (signs is not None and not hits) or (query.strip() and not texts[position] and not hits):
            continue
        matches.append(_match(card, texts[position] + _named(card, query), hits, params))
    matches.sort(key=lambda match: (-match.score, -match.card.year, match.card.id))
    return matches[:limit]


def lr_range(card_or_method: str, params: int, lora: bool) -> tuple[float, float, Card]:
    """Lowest and highest learning rate for a model of `params` parameters, and the card that says so.

    Takes a card's id or a method (`sft`, `dpo`, `grpo`, ...). For a method the table of sizes written for it is asked
    first, then the card whose size bracket is tightest. Raises NotFound when no card gives a rate for that size: a
    guess is never dressed up as a source.
    """
    for card, hyper in _candidates(card_or_method, params, lora):
        if hyper.name == "lr" and hyper.low is not None and hyper.high is not None:
            return hyper.low, hyper.high, card
    kind = "LoRA" if lora else "full weights"
    raise NotFound(
        f"no card gives a learning rate for {card_or_method} with {kind} at {params:,} parameters",
        where="recipe library",
        next="Ask for a method with a size table: sft, dpo, grpo, rft.",
    )


def hyperparameters(method: str, params: int, lora: bool) -> dict[str, Choice]:
    """Every hyperparameter the library has for a method at a size, each with the card it comes from.

    The first source of a name wins: the method's own table of sizes, then the tightest bracket. A method gets the
    settings all its variants share (`_SHARED`); a variant's own knobs (`delta`, `entropy_target`) are given when that
    card's id is asked for. Names as in the cards.
    """
    chosen: dict[str, Choice] = {}
    for card, hyper in _candidates(method, params, lora):
        if hyper.name not in chosen and (hyper.name in _SHARED or method not in _methods()):
            chosen[hyper.name] = Choice(
                low=hyper.low, high=hyper.high, word=hyper.value, card=card.id, place=hyper.place, basis=hyper.basis
            )
    return chosen


def _candidates(card_or_method: str, params: int, lora: bool) -> list[tuple[Card, Hyperparameter]]:
    """What applies, best source first. `rft` trains by supervised loss, so it falls back on `sft`."""
    methods = [card_or_method, *(["sft"] if card_or_method == "rft" else []), *(["lora"] if lora else [])]
    # Some ids are methods too (`dpo`, `rft`): the method is meant, and its candidates include the card.
    named = card_or_method not in _methods()
    found: list[tuple[tuple[int, int, float, int, str], Card, Hyperparameter]] = []
    for card in load_cards():
        for hyper in card.hyper:
            method = hyper.method or card.method
            wanted = card.id == card_or_method if named else method in methods
            if wanted and hyper.covers(params, lora=lora):
                table = 0 if method in card.reference_for else 1
                rank = (0 if named else methods.index(method), table, _width(hyper), -card.year, card.id)
                found.append((rank, card, hyper))
    found.sort(key=lambda item: item[0])
    return [(card, hyper) for _, card, hyper in found]


@cache
def _methods() -> frozenset[str]:
    """Every method a card is about or gives a value for."""
    own = {card.method for card in load_cards()}
    return frozenset(own | {hyper.method for card in load_cards() for hyper in card.hyper if hyper.method})


def _width(hyper: Hyperparameter) -> float:
    """Orders of magnitude between the smallest and largest model a value was given for; tighter is more telling."""
    return math.log10(min(hyper.params_max, 1e15)) - math.log10(max(hyper.params_min, 1.0))


def _known(given: AbstractSet[str] | None, vocabulary: dict[str, str], what: str) -> None:
    unknown = sorted(given - set(vocabulary)) if given else []
    if unknown:
        raise NotFound(
            f"unknown {what}: {', '.join(unknown)}", where="recipe search", next=f"Known: {', '.join(vocabulary)}."
        )


def _named(card: Card, query: str) -> float:
    """More for a card that the question names, and a little for one of a method it names: the words of a method stand in so
    many cards that their rarity, which BM25 goes by, says nothing."""
    asked = set(words(query))
    return 5.0 * (set(words(card.id)) <= asked) + 3.0 * (card.method in asked)


def _match(card: Card, text: float, hits: list[str], params: int | None) -> Match:
    why = [f"remedy for {sign}: {SIGNS[sign]}" for sign in hits]
    score = text + 2.0 * len(hits)
    if text:
        why.insert(0, f"text ({text:.1f})")
    if params is not None:
        sized = [h for h in card.hyper if h.params_min > 0 and h.params_min <= params <= h.params_max]
        if sized:
            score += 3.0
            why.append(f"has values for {params:,} parameters: {', '.join(sorted({h.name for h in sized}))}")
        elif any(h.params_min > 0 for h in card.hyper):
            score *= 0.6
            why.append(f"no values for {params:,} parameters")
    if card.needs:
        why.append(f"needs {', '.join(card.needs)}")
    return Match(card=card, score=round(score, 6), why=tuple(why))


def _document(card: Card) -> list[str]:
    """A card's words; its id, title and method count three times."""
    head = f"{card.id} {card.title} {' '.join(card.aliases)} {card.method} {card.arxiv} {' '.join(card.signs)}".replace(
        "_", " "
    )
    body = " ".join((card.summary, card.when, card.data, *card.failures))
    return words(head) * 3 + words(body)


@cache
def _index() -> Index:
    return Index([_document(card) for card in load_cards()])
