"""Look-ups that a submission may not make: the benchmark's own samples, its leaderboard, traces and papers of it.

A run that looked its benchmark up is scored as the base model. What is blocked is data of the run (`blocked` in its scope),
so a replay and a fork know it; nothing but a new run changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

ALWAYS = ("posttrainbench", "2603.08640")
"""The benchmark of benchmarks: its site, its repository, its traces, its paper."""
_ABOUT = re.compile(
    r"leader ?board|trace|answer|solution|test ?set|test ?split|held ?out|benchmark|state of the art|score", re.I
)
_OFFLINE = ("train", "sweep", "compare", "evaluate", "prepare_data", "inspect_data", "sample_and_verify", "audit_labels", "note", "update_plan",
            "start_experiment", "conclude_experiment", "choose_remedy", "promote", "final_answer", "read_task", "write_file")  # fmt: skip
"""Tools that look nothing up."""


_OTHER_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"aime(?:20)?(\d\d)", (r"aime20\1", r"aime\1")),
    (r"gpqa", ("gpqa",)),
    (r"healthbench", ("healthbench",)),
    (r"arenahard", ("arenahard",)),
    (r"humaneval", ("humaneval",)),
    (r"mbpp", ("mbpp",)),
    (r"gsm8k", ("gsm8k", "gradeschoolmath")),
    (r"bfcl|berkeleyfunction", ("bfcl", "berkeleyfunctioncalling")),
    (r"ifeval", ("ifeval",)),
    (r"truthfulqa", ("truthfulqa",)),
)
"""By a benchmark's name without spaces and dashes: under what names its samples lie. A task's text names a part of it (GPQA main,
HealthBench-Easy), its data set has the name of the whole; an AIME of another year is another test."""


def terms(benchmark: str) -> list[str]:
    """What the scope of a submission's run holds: the benchmark under each of its names."""
    if not benchmark:
        return list(ALWAYS)
    found = [
        match.expand(name)
        for pattern, names in _OTHER_NAMES
        if (match := re.match(pattern, _plain(benchmark)))
        for name in names
    ]
    return [*ALWAYS, *dict.fromkeys([benchmark, *found])]


def reason(blocked: list[str], tool: str, arguments: dict[str, Any]) -> str:
    """Why the call may not be made; empty where it may.

    A data set or a page that carries the benchmark's name is blocked; a search for methods that mentions it is not, unless
    it asks for scores, answers or traces.
    """
    if not blocked or tool in _OFFLINE:
        return ""
    for said in _texts(arguments):
        plain = _plain(said)
        for name in blocked:
            if not _plain(name) or not _names(name, said, plain):
                continue
            fetches = tool in ("fetch_dataset", "search_datasets") or "://" in said or tool == "run_command"
            if name in ALWAYS or fetches or _ABOUT.search(said):
                return f"{said[:80]!r} would look up {name}, which this run is measured with"
    return ""


_WORDS = ("math", "drop", "arc")
"""Benchmarks whose name is a word of other things."""


def _names(name: str, said: str, plain: str) -> bool:
    """Whether a text names it, however it is written: MATH only in capitals or as the name of a repository, others anywhere."""
    word = _plain(name)
    if word in _WORDS:
        return re.search(rf"\b{word.upper()}\b|/{word}(?![\w.-])", said) is not None
    return _plain(name) in plain


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.lower())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in cast(dict[str, Any], value).values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in cast(list[Any], value):
            yield from _texts(part)
