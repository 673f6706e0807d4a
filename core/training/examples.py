# pyright: basic
"""From prepared rows to token ids, exactly as the evaluation will see them.

The prompt is rendered by `core.evaluation.prompting` (the evaluation's template, byte for byte) and tokenised alone, as
at inference; the answer follows, then the end-of-turn token, inside the loss: a model that never learns to stop loses
most of its score (nearly all failures of one PostTrainBench base were answers that did not end).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from core.errors import NotFound, UsageError
from core.evaluation.generate import turn_end_id
from core.evaluation.prompting import Prompting, messages, render

_MARK = "Q7Z"
"""An answer that no chat template contains."""


class Row(msgspec.Struct, frozen=True):
    """A line of train.jsonl or dev.jsonl; further columns are ignored."""

    prompt: str
    answer: str
    id: str = ""


class Pair(msgspec.Struct, frozen=True):
    """A line of train.jsonl for DPO and reward models; the better answer is `chosen` (or `answer`)."""

    prompt: str
    rejected: str
    chosen: str = ""
    answer: str = ""
    id: str = ""

    @property
    def better(self) -> str:
        return self.chosen or self.answer


class Ending(NamedTuple):
    """What the model is taught to write after an answer."""

    ids: list[int]
    note: str
    """Why, for the log."""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a prepared file, in order. A line that is no such row is an error with its number."""
    return _read(path, Row)


def read_pairs(path: Path) -> Iterator[Pair]:
    """The preference pairs of a prepared file. A file without the columns is an error that says which are missing."""
    return _read(path, Pair)


def _read(path: Path, kind: type) -> Iterator[Any]:
    try:
        lines = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound("no prepared data", where=str(path), next="Prepare the data first.") from error
    decoder = msgspec.json.Decoder(kind)
    with lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise UsageError(f"line {number}: {error}", where=str(path), next="Prepare it again.") from error


def template_text(tokenizer, prompting: Prompting) -> str | None:
    """The chat template in use, or None for plain text."""
    if prompting.format == "text":
        return None
    if prompting.template_path:
        return Path(prompting.template_path).read_text(encoding="utf-8")
    if not tokenizer.chat_template:
        raise UsageError(
            "the tokenizer has no chat template", where="prompting", next="Give a template, or format `text`."
        )
    return tokenizer.chat_template


def ending(tokenizer, prompting: Prompting) -> Ending:
    """The end of an answer: the template's end-of-turn token, then eos where that is another token.

    Both, because an evaluation may stop at either: with one of them missing answers run on to the token limit.
    """
    eos = tokenizer.eos_token_id
    template = template_text(tokenizer, prompting)
    end = turn_end_id(tokenizer, template) if template else None
    if end is None and eos is None:
        raise UsageError(
            "neither the tokenizer nor the chat template has an end token",
            where="tokenizer_config.json",
            next="Set eos_token: without one no answer can be taught to end.",
        )
    if end is None or end == eos:
        why = "eos" if end is None else "the template's end of turn, which is eos"
        return Ending([eos], f"answers end with {tokenizer.convert_ids_to_tokens(eos)} ({why})")
    ids = [end] if eos is None else [end, eos]
    return Ending(ids, f"answers end with {' '.join(tokenizer.convert_ids_to_tokens(ids))} (end of turn, then eos)")


def lead(tokenizer, prompting: Prompting) -> str:
    """White space that a template writes between the generation prompt and an answer; "" for most."""
    template = template_text(tokenizer, prompting)
    if template is None:
        return ""
    before = render(tokenizer, prompting, "a")
    turns = messages(prompting, "a", _MARK)
    whole = tokenizer.apply_chat_template(turns, tokenize=False, chat_template=template)
    between = whole.rpartition(_MARK)[0].removeprefix(before) if whole.startswith(before) else ""
    return between if between.isspace() else ""


class Encoded(NamedTuple):
    """SFT examples: token ids, and labels with -100 where no loss is taken (the prompt)."""

    input_ids: list[list[int]]
    labels: list[list[int]]
    too_long: int
    note: str


def encode_sft(tokenizer, prompting: Prompting, rows: list[Row], max_length: int) -> Encoded:
    """Prompt and answer of each row as ids. Rows above `max_length` are left out: a cut answer teaches no end."""
    stop, space = ending(tokenizer, prompting), lead(tokenizer, prompting)
    prompts = _ids(tokenizer, [render(tokenizer, prompting, row.prompt) for row in rows])
    answers = _ids(tokenizer, [space + row.answer for row in rows])
    input_ids: list[list[int]] = []
    labels: list[list[int]] = []
    for prompt, answer in zip(prompts, answers, strict=True):
        target = answer + stop.ids
        if len(prompt) + len(target) <= max_length:
            input_ids.append(prompt + target)
            labels.append([-100] * len(prompt) + target)
    if not input_ids:
        raise UsageError(
            f"none of {len(rows)} rows fits in {max_length} tokens", where="train.jsonl", next="Raise max_length."
        )
    return Encoded(input_ids, labels, len(rows) - len(input_ids), stop.note)


class EncodedPairs(NamedTuple):
    """Preference examples as token ids, under the names of TRL's collators."""

    prompt_ids: list[list[int]]
    chosen_ids: list[list[int]]
    rejected_ids: list[list[int]]
    too_long: int
    note: str


def encode_pairs(tokenizer, prompting: Prompting, pairs: list[Pair], max_length: int) -> EncodedPairs:
    """Prompt, chosen and rejected of each pair as ids; both answers end as in SFT. Pairs above `max_length` are left out."""
    stop, space = ending(tokenizer, prompting), lead(tokenizer, prompting)
    prompts = _ids(tokenizer, [render(tokenizer, prompting, pair.prompt) for pair in pairs])
    better = _ids(tokenizer, [space + pair.better for pair in pairs])
    worse = _ids(tokenizer, [space + pair.rejected for pair in pairs])
    kept = [
        (p, c + stop.ids, r + stop.ids)
        for p, c, r in zip(prompts, better, worse, strict=True)
        if len(p) + max(len(c), len(r)) + len(stop.ids) <= max_length
    ]
    if not kept:
        raise UsageError(
            f"none of {len(pairs)} pairs fits in {max_length} tokens", where="train.jsonl", next="Raise max_length."
        )
    ids = [list(column) for column in zip(*kept, strict=True)]
    return EncodedPairs(ids[0], ids[1], ids[2], len(pairs) - len(kept), stop.note)


def _ids(tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False).input_ids
