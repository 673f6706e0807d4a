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
_OFFLINE = ("train", "sweep", "evaluate", "prepare_data", "inspect_data", "sample_and_verify", "audit_labels", "note", "update_plan",
            "start_experiment", "conclude_experiment", "choose_remedy", "promote", "final_answer", "read_task", "write_file")  # fmt: skip
"""Tools that look nothing up."""


def terms(benchmark: str) -> list[str]:
    """What the scope of a submission's run holds."""
    return [*ALWAYS, *([benchmark] if benchmark else [])]


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
            if not _plain(name) or _plain(name) not in plain:
                continue
            fetches = tool in ("fetch_dataset", "search_datasets") or "://" in said or tool == "run_command"
            if name in ALWAYS or fetches or _ABOUT.search(said):
                return f"{said[:80]!r} would look up {name}, which this run is measured with"
    return ""


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
