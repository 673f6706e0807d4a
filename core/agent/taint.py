"""Which text from outside took part in a call: shown with its approval, so that a person sees where a wish comes from.

It decides nothing: an approval is a person's command and nothing else can give one. What a brain took over word for word
from a paper, a page, a log or a foreign server is found; what it rephrased is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

MARK = re.compile(r"[\w./:@+-]{8,}")
"""Names, paths, addresses, settings: what is taken over exactly."""

_SOURCE = re.compile(r'"untrusted_source":\s*"([^"]{1,200})"')


def sources_of(arguments: dict[str, Any], observations: Iterable[str], trusted: Iterable[str] = ()) -> list[str]:
    """Untrusted sources whose words stand in `arguments` and in nothing trusted (the goal, a person's words, other results)."""
    marks = {mark for leaf in leaves(arguments) for mark in MARK.findall(leaf)}
    outside: list[tuple[str, str]] = []
    for said in observations:
        named = _SOURCE.findall(said)
        if named:
            outside += [(name, said) for name in named]
        elif "ERROR:" not in said:  # an error repeats what it was asked for: that makes no word a trusted one
            marks = {m for m in marks if m not in said}
    for said in trusted:
        marks = {m for m in marks if m not in said}
    return list(dict.fromkeys(name for name, said in outside if any(m in said for m in marks)))


def leaves(value: Any) -> list[str]:
    """All texts in a value of JSON."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        inside: list[Any] = list(cast(dict[str, Any], value).values())
    else:
        inside = list(cast(list[Any], value)) if isinstance(value, list) else []
    return [leaf for v in inside for leaf in leaves(v)]
