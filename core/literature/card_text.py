"""A recipe card as lines for a terminal: everything it holds, each number with its place."""

from __future__ import annotations

import textwrap

from core.literature.card import NEEDS, SIGNS, Card, Hyperparameter

WIDTH = 110


def card_lines(card: Card, width: int = WIDTH) -> list[str]:
    """The card under its headings; empty parts are left out."""
    lines = [card.title, f"{card.id} · {card.year} · {card.kind} · {card.method} · {card.source}"]
    for heading, text in (("Summary", card.summary), ("When", card.when), ("Data", card.data)):
        lines += ["", heading, *_wrapped(text, width)] if text else []
    for heading, names, known in (("Needs", card.needs, NEEDS), ("Remedy for", card.signs, SIGNS)):
        lines += ["", heading, *(f"  {name}: {known[name]}" for name in names)] if names else []
    if card.hyper:
        lines += ["", "Settings", *(_setting(one) for one in card.hyper)]
    elif card.method in ("sft", "dpo", "grpo"):
        lines += ["", f"Settings: none from this source; by model size: intern recipes sizes-{card.method}"]
    lines += (
        ["", "Fails when", *(line for one in card.failures for line in _wrapped(one, width))] if card.failures else []
    )
    if card.results:
        lines += ["", "Results"]
        for one in card.results:
            base = f" (baseline {one.baseline:g})" if one.baseline is not None else ""
            lines.append(f"  {one.metric}: {one.value:g}{base}  [{one.place}]")
    lines += ["", f"Builds on: {', '.join(card.cites)}"] if card.cites else []
    if card.trl:
        lines += ["", f"TRL: {card.trl.module}.{card.trl.trainer} with {card.trl.config}"]
        lines += [f"  {name} = {value!r}" for name, value in card.trl.args.items()]
        lines += [f"  peft {name} = {value!r}" for name, value in card.trl.peft.items()]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    indent = "  "
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _setting(one: Hyperparameter) -> str:
    value = (
        one.value
        if one.value is not None
        else f"{one.low:g}"
        if one.low == one.high
        else f"{one.low:g} to {one.high:g}"
    )
    whom = [one.method, "" if one.weights == "any" else one.weights, _size(one)]
    told = ", ".join(part for part in whom if part)
    basis = "" if one.basis == "paper" else f"; {one.basis}"
    return f"  {one.name} = {value}{f' ({told})' if told else ''}  [{one.place}{basis}]"


def _size(one: Hyperparameter) -> str:
    if one.params_min <= 0 and one.params_max == float("inf"):
        return ""
    if one.params_max == float("inf"):
        return f"from {_count(one.params_min)}"
    return f"{_count(one.params_min)} to {_count(one.params_max)} parameters"


def _count(params: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if params >= unit:
            return f"{params / unit:g}{name}"
    return f"{params:g}"
