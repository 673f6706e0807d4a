"""The Hub: find data sets, fetch a sample of one, publish what the run made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.errors import ToolError
from core.hub import datasets
from core.hub.card import model_card
from core.hub.push import Push, push
from core.tools.toolbox import array, integer, text, tool


@tool(
    {
        "query": text("Words to look for", optional=True),
        "task": text("A task category of the Hub, such as question-answering", optional=True),
        "tags": array("Further tags", optional=True),
        "paper": text("arXiv id the data set's card must name", optional=True),
        "licence": text("Such as apache-2.0", optional=True),
        "size": text("Such as 10K<n<100K", optional=True),
        "limit": integer("How many (default 10)"),
    },
    effect="idempotent",
    tier="network",
)
def search_datasets(
    desk: Desk, query: str | None = None, task: str | None = None, tags: Sequence[str] | None = None,
    paper: str | None = None, licence: str | None = None, size: str | None = None, limit: int | None = None,
) -> object:  # fmt: skip
    """Search data sets on the Hub by words, task, tag, paper, licence and size; ranked, with the reasons."""
    wanted = datasets.Wanted(
        query=query or "", task=task or "", tags=tuple(tags or ()), paper=paper or "", licence=licence or "",
        size=size or "", limit=limit or 10,
    )  # fmt: skip
    found = datasets.search(desk.literature.web, wanted)
    for one in found:
        desk.emit(e.DatasetFound(dataset=one.id, source="hub", why="; ".join(one.reasons)))
    return {"untrusted_source": "data sets on the Hub", "content": msgspec.to_builtins(found)}


@tool(
    {
        "dataset": text("owner/name"),
        "rows": integer("How many at most (default 1000), spread evenly over the split"),
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
    name = "-".join([dataset.replace("/", "--"), *(p for p in (config, split) if p)])
    target = desk.folder / "data" / "fetched" / f"{name}.jsonl"
    made = datasets.fetch(
        desk.literature.web, dataset, target, split=split or "", config=config or "", rows=max(1, rows or 1000)
    )
    why = "all rows" if made.complete else f"{made.rows} of {made.total} rows, evenly spread"
    desk.emit(e.DatasetFound(dataset=dataset, source=made.path, rows=made.rows, why=why))
    return msgspec.to_builtins(made)


@tool(
    {
        "repo": text("owner/name on the Hub"),
        "model": text("final (default), or a job's id", optional=True),
        "data": text("Publish this prepared data set instead of a model", optional=True),
        "visibility": text("private (default) or public", optional=True),
        "collection": text("Title of a collection to join", optional=True),
    },
    effect="keyed",
    tier="publish",
)
def publish(
    desk: Desk, repo: str, model: str | None = None, data: str | None = None, visibility: str | None = None,
    collection: str | None = None,
) -> object:  # fmt: skip
    """Publish a model (with a card written from the log) or a prepared data set on the Hub; private unless told otherwise."""
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ToolError(f"{repo[:80]!r} is no repository", next="Say owner/name")
    if model and data:
        raise ToolError("One repository holds a model or a data set", next="Publish them one after the other")
    source = desk.data_path(data) if data else Path(desk.model_path(model or "final"))
    if not source.is_dir():
        raise ToolError(f"{source} is not here", next="Only a model of this run can be published")
    with tempfile.TemporaryDirectory(dir=desk.folder) as scratch:
        folder = Path(scratch) / "upload"
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("optimizer.pt", "checkpoint-*", "dropped.jsonl"))
        if not data:
            adapter = (folder / "adapter_config.json").exists()
            (folder / "README.md").write_text(model_card(desk.state, adapter=adapter))
        made = push(
            Push(
                repo=repo, folder=str(folder), kind="dataset" if data else "model", private=visibility != "public",
                message=f"From run {desk.settings.run}", collection=collection or "",
            )
        )  # fmt: skip
    desk.emit(e.NoteAdded(text=f"Published {data or model or 'final'} at {made.url}", kind="note"))
    return msgspec.to_builtins(made)


TOOLS = [search_datasets, fetch_dataset, publish]
