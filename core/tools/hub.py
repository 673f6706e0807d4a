"""The Hub: find data sets, fetch a sample of one."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.hub import datasets
from core.tools.toolbox import array, integer, text, tool


@tool(
    {
        "query": text("Words to look for", optional=True),
        "task": text("A task category of the Hub, such as question-answering", optional=True),
        "tags": array("Further tags", optional=True),
        "paper": text("arXiv id the data set's card must name", optional=True),
        "licence": text("Such as apache-2.0", optional=True),
        "size": text("Such as 10K<n<100K", optional=True),
        "downloads": integer("At least so many in the last 30 days"),
        "limit": integer("How many (default 10)"),
    },
    effect="idempotent",
    tier="network",
)
def search_datasets(
    desk: Desk, query: str | None = None, task: str | None = None, tags: Sequence[str] | None = None,
    paper: str | None = None, licence: str | None = None, size: str | None = None,
    downloads: int | None = None, limit: int | None = None,
) -> object:  # fmt: skip
    """Search data sets on the Hub by words, task, tag, paper, licence, size and downloads; ranked, with the reasons."""
    wanted = datasets.Wanted(
        query=query or "", task=task or "", tags=tuple(tags or ()), paper=paper or "", licence=licence or "",
        size=size or "", downloads=downloads or 0, limit=limit or 10,
    )  # fmt: skip
    found = datasets.search(desk.literature.web, wanted)
    for one in found:
        desk.emit(e.DatasetFound(dataset=one.id, source="hub", why="; ".join(one.reasons), licence=one.licence))
    told = {"untrusted_source": "data sets on the Hub", "content": msgspec.to_builtins(found)}
    return told if found else {**told, "nothing_fits": _filters(wanted)}


def _filters(wanted: datasets.Wanted) -> str:
    """What was asked, and which of it to give up first."""
    asked = [f"{name} {value!r}" for name, value in msgspec.structs.asdict(wanted).items() if value and name != "limit"]
    return f"The Hub has no data set with {' and '.join(asked) or 'anything'}. Fewer words or one filter less may find some."


@tool(
    {
        "dataset": text("owner/name"),
        "rows": integer("How many at most (default 10000), spread evenly over the split"),
        "split": text("Default train", optional=True),
        "config": text("Default the first", optional=True),
    },
    effect="idempotent",
    tier="network",
)
def fetch_dataset(
    desk: Desk, dataset: str, rows: int | None = None, split: str | None = None, config: str | None = None
) -> object:
    """Fetch rows of a Hub data set into a file for inspect_data and prepare_data. No code from the Hub is run."""
    name = "-".join([dataset.replace("/", "--"), *(quote(p, safe="") for p in (config, split) if p)])
    target = desk.folder / "data" / "fetched" / f"{name}.jsonl"
    made = datasets.fetch(
        desk.literature.web, dataset, target, split=split or "", config=config or "", rows=max(1, rows or 10_000)
    )
    why = f"{made.config}/{made.split}: " + (
        "all rows" if made.complete else f"{made.rows} of {made.total} rows, evenly spread"
    )
    why += f"; {made.left_out} with cut cells left out" if made.left_out else ""
    why += f"; without {', '.join(made.without)}" if made.without else ""
    desk.emit(e.DatasetFound(dataset=dataset, source=made.path, rows=made.rows, why=why, licence=made.licence))
    return msgspec.to_builtins(made)


TOOLS = [search_datasets, fetch_dataset]
