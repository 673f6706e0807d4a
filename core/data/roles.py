"""Which column is the question and which the answer: by name first, by content where names say nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from core.data.schema import Roles

NAMES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "turns", "chat", "dialogue", "dialog"),
    "chosen": ("chosen", "chosen_response", "preferred", "accepted", "winner"),
    "rejected": ("rejected", "rejected_response", "dispreferred", "refused", "loser"),
    "prompt": (
        "prompt", "question", "instruction", "instructions", "query", "problem", "user", "human", "input", "inputs",
        "source", "src", "task", "utterance", "sentence", "x",
    ),
    "answer": (
        "answer", "completion", "response", "output", "outputs", "target", "targets", "solution", "label", "labels",
        "assistant", "reply", "gold", "reference", "expected", "expected_output", "final_answer", "answers", "answerkey", "tgt",
        "category", "class", "y",
    ),
    "text": ("text", "content", "document", "body", "passage", "review", "article"),
    "system": ("system", "system_prompt"),
    "split": ("split", "subset", "partition"),
    "licence": ("license", "licence"),
}  # fmt: skip
"""Names of each part, the most telling first; compared without case, hyphens and blanks."""


def recognise(samples: Mapping[str, Sequence[str | None]]) -> Roles:
    """The parts of a table. `samples`: a few values of each column, as text (lists and objects as JSON).

    >>> recognise({"question": ["1+1="], "label": ["2"]}).kind
    'answers'
    """
    found = {part: _by_name(part, samples) for part in NAMES}
    messages = found["messages"] or _by_content(samples)
    if messages and not _is_chat(samples[messages]):
        messages = None
    if found["chosen"] and found["rejected"]:
        return _preference(found)
    if messages:
        return _rest(found, Roles(messages=messages, reason=f"'{messages}' holds chat turns"))
    if found["prompt"] or (found["text"] and found["answer"]):
        return _rest(found, _question_and_answer(found, samples))
    return _rest(found, _guess(found, samples))


_ABOUT = ("_id", "_type", "_source", "_len", "_length")
"""Ends of names of columns that say something about a part."""


def may_be_part(column: str) -> bool:
    """Whether a column's name is one of those that say which part of a row it is."""
    return any(_canonical(column) in names for names in NAMES.values())


def _canonical(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _by_name(part: str, columns: Mapping[str, Sequence[str | None]]) -> str | None:
    canonical = {_canonical(c): c for c in reversed(list(columns))}
    for name in NAMES[part]:
        if name in canonical:
            return canonical[name]
    for name in (n for n in NAMES[part] if len(n) > 4 and part in ("prompt", "answer")):
        fitting = [
            original
            for column, original in canonical.items()
            if (column.endswith(f"_{name}") or column.startswith(f"{name}_")) and not column.endswith(_ABOUT)
        ]
        if fitting:  # of response_a and response_b neither is the answer
            return fitting[0] if len(fitting) == 1 else None
    return None


def _by_content(samples: Mapping[str, Sequence[str | None]]) -> str | None:
    skip = {c for part in ("prompt", "answer", "chosen", "rejected") for c in [_by_name(part, samples)] if c}
    return next((c for c in samples if c not in skip and _is_chat(samples[c])), None)


def _is_chat(values: Sequence[str | None]) -> bool:
    """Whether most values are lists of objects with a speaker and a text (broken ones among them are allowed)."""
    present = [v for v in values if v]
    good = sum(1 for v in present if _speakers(v))
    return bool(present) and good * 2 > len(present)


def _speakers(value: str) -> bool:
    if not value.lstrip().startswith("["):
        return False
    try:
        turns = json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return False
    items = cast("list[object]", turns) if isinstance(turns, list) else []
    return any(isinstance(t, dict) and ("role" in t or "from" in t) for t in items)


def _preference(found: dict[str, str | None]) -> Roles:
    prompt = (found["prompt"],) if found["prompt"] else ()
    reason = f"'{found['chosen']}' and '{found['rejected']}' are a preferred and a rejected answer"
    parts = Roles(prompt=prompt, chosen=found["chosen"], rejected=found["rejected"], reason=reason)
    return _rest(found, parts)


def _question_and_answer(found: dict[str, str | None], samples: Mapping[str, Sequence[str | None]]) -> Roles:
    prompt = found["prompt"] or cast("str", found["text"])
    answer = found["answer"] if found["answer"] != prompt else None
    names = {_canonical(c): c for c in samples}
    second = names.get("input") or names.get("context")
    columns: tuple[str, ...] = (prompt,)
    if second and second not in (prompt, answer) and _canonical(prompt) in ("instruction", "question", "query"):
        columns = (prompt, second) if _canonical(prompt) == "instruction" else (second, prompt)
    reason = f"the name{'s' if len(columns) > 1 else ''} {', '.join(repr(c) for c in columns)} say question"
    reason += f", '{answer}' says answer" if answer else "; no column for an answer"
    return Roles(prompt=columns, answer=answer, reason=reason)


def _guess(found: dict[str, str | None], samples: Mapping[str, Sequence[str | None]]) -> Roles:
    """No telling name: one text column is running text, two are question and answer in their order."""
    known = {found[part] for part in ("split", "licence", "system")}
    free = [
        c
        for c in samples
        if c not in known and any(samples[c]) and not _is_key(c, samples[c]) and not _is_media(samples[c])
    ]
    text = found["text"]
    if (text and len(free) <= 1) or (text and not found["answer"]):
        return Roles(text=text, reason=f"'{text}' is running text; no question and answer columns")
    if len(free) == 2:
        return Roles(
            prompt=(free[0],), answer=free[1], sure=False, reason=f"guessed from the order: {free[0]}, {free[1]}"
        )
    if len(free) == 1:
        return Roles(text=free[0], sure=False, reason=f"the only column with text is '{free[0]}'")
    return Roles(sure=False, reason=f"no column among {', '.join(list(samples)[:12]) or 'none'} could be recognised")


def _is_media(values: Sequence[str | None]) -> bool:
    """Pictures and sounds: bytes, or a struct that holds some."""
    present = [v for v in values if v]
    return bool(present) and all(v.startswith('{"bytes":') or re.fullmatch(r"\(\d+ bytes\)", v) for v in present)


def _is_key(name: str, values: Sequence[str | None]) -> bool:
    if _canonical(name) in ("id", "idx", "index", "key", "uuid", "hash") or name.lower().endswith("_id"):
        return True
    present = [v for v in values if v]
    return (
        bool(present)
        and len(set(present)) == len(present) > 3
        and all(v.isdigit() for v in present)
        and present == sorted(present, key=int)
    )


def _rest(found: dict[str, str | None], parts: Roles) -> Roles:
    import msgspec

    used = {*parts.prompt, parts.answer, parts.messages, parts.chosen, parts.rejected, parts.text}
    extra = {part: found[part] for part in ("system", "split", "licence") if found[part] not in used}
    return msgspec.structs.replace(parts, **extra)
