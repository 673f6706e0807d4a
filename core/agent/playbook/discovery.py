"""A task that brings no data: look for some on the Hub, and take the first that can be trained on.

The words come from the task's own name and description, for the playbook knows no task. The ranking and its reasons are the
search's; a data set that is gated, missing, a script, or of a form that cannot be trained on is noted, and the next one tried.
"""

from __future__ import annotations

import re
from typing import Any

from core.agent.playbook.bench import Bench
from core.agent.playbook.model import Act, Observation
from core.literature.rank import STOP

ROWS = 20_000
"""Rows to fetch: as many as a training of some hours sees."""
MOST_TRIED = 4
"""Data sets that are fetched and looked at before it gives up."""
MOST_REFUSED = 2
"""Searches that may fail: the first may be for the benchmark itself, which a submission must not look up; two are no network."""
_SMALL_WORDS = STOP | {
    "this", "into", "onto", "over", "than", "then", "who", "whom", "whose", "your", "you", "was", "were", "has", "have", "had",
    "its", "his", "her", "their", "there", "here", "only", "alone", "one", "each", "every", "all", "any", "some", "not", "must",
    "should", "answer", "answers", "question", "questions", "give", "given", "write", "writes", "uses", "using", "task", "model",
    "models", "base", "improve", "score", "scores", "benchmark", "evaluation",
}  # fmt: skip
"""Words that say nothing of what a task is about."""


def find_data(bench: Bench) -> Act:
    """Path of a file of rows from the Hub that can be trained on; empty where there is none or the Hub cannot be asked."""
    tried: list[str] = []
    refused = 0
    for query in queries(*bench.subject):
        found: Observation = yield from bench.call(
            "search_datasets", {"query": query, "limit": 8}, f"The task brings no data to train on: what does the Hub have on {query!r}?"
        )  # fmt: skip
        if found.error:
            refused += 1
            words = f"The Hub was not searched for {query!r}: {found.error}"
            yield from bench.call("note", {"content": words, "kind": "lesson"})
            if refused == MOST_REFUSED:
                return ""
            continue
        for one in _open_first(found.rows("content")):
            if one["id"] in tried:
                continue
            if len(tried) >= MOST_TRIED:
                return ""
            tried.append(one["id"])
            path = yield from _fetched(bench, one)
            if path:
                return path
    return ""


def _open_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of the search, those that anybody may have before those whose terms must be accepted."""
    return sorted(found, key=lambda one: bool(one.get("gated")))


def _fetched(bench: Bench, one: dict[str, Any]) -> Act:
    why = "; ".join(one.get("reasons") or [])[:200]
    made: Observation = yield from bench.call(
        "fetch_dataset", {"dataset": one["id"], "rows": ROWS}, f"Ranked first: {why}"
    )
    if made.error:
        yield from bench.call("note", {"content": f"{one['id']} is left out: {made.error}"})
        return ""
    path = str(made.get("path"))
    if (yield from bench.inspect(path)):
        said = f"Training data: {one['id']} from the Hub, {made.get('rows')} of {made.get('total')} rows, licence {made.get('licence') or 'not stated'}."
        yield from bench.call("note", {"content": said, "kind": "lesson"})
        return path
    yield from bench.call(
        "note", {"content": f"{one['id']} is left out: no question and answer can be told apart in it"}
    )
    return ""


def queries(name: str, description: str) -> list[str]:
    """What to search for: the task's name, its words, then the words of its description that say most, each for itself: the Hub
    looks for what it is given as it stands."""
    plain = name.rpartition("/")[2]
    parts = [w for w in re.split(r"[^A-Za-z0-9]+", plain) if len(w) > 2 and w.lower() not in _SMALL_WORDS]
    told = [w for w in re.findall(r"[A-Za-z][A-Za-z0-9-]{3,}", description) if w.lower() not in _SMALL_WORDS]
    longest = sorted(dict.fromkeys(w.lower() for w in told), key=lambda w: -len(w))[:4]
    return list(dict.fromkeys(q for q in (plain, *parts, *longest) if q))
