"""The licences of a run's data in words: for the report, the card of published data and the Research screen.

What is unknown is said to be unknown: a reader must never take silence for freedom.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.hub.licences import is_open, warning
from core.state import Dataset, RunState


def said_of(licence: str, seq: int = 0, made: str = "") -> str:
    """`mit [12]`, `cc-by-nc-4.0 [12]: non-commercial use only`, or what is to be done where nothing is known."""
    if made:
        return "written by another model in this run: its terms apply" if made == "teacher" else "written by a program"
    if not licence:
        return warning("")
    place = f"{licence} [{seq}]" if seq else licence
    told = warning(licence)
    return f"{place}: {told}" if told else place


def licence_of(state: RunState, data: Dataset) -> str:
    """What is said of one data set; of a prepared one, each source with what is said of it."""
    if not data.prepared:
        return said_of(data.licence, data.licence_seq, data.made)
    return "; ".join(
        f"{shown(d.name)} {said_of(d.licence, d.licence_seq, d.made)}" for d in origins(state, data)
    ) or said_of("")


def origins(state: RunState, data: Dataset) -> list[Dataset]:
    """What a data set was made of, followed back to what was there before the run."""
    found = {d.name: d for d in _followed(state, data, frozenset())}
    return [found[name] for name in sorted(found)]


def _followed(state: RunState, data: Dataset, seen: frozenset[str]) -> Iterator[Dataset]:
    if not data.prepared or data.name in seen:
        yield data
        return
    for source in data.sources:
        yield from _followed(state, _source(state, source), seen | {data.name})


def _source(state: RunState, source: str) -> Dataset:
    """What a preparation names: a file that was fetched is known by the name of its repository, and by what its rows say."""
    here = state.datasets.get(source, Dataset(source, 0))
    fetched = next((d for d in state.datasets.values() if d.path == source and d.name != source), None)
    if fetched is None or fetched.licence or not here.licence:
        return fetched or here
    return msgspec.structs.replace(fetched, licence=here.licence, licence_seq=here.licence_seq)


def settled(state: RunState, data: Dataset) -> str:
    """The one licence that all sources state, where credit is all it asks; else empty: a person has to decide."""
    stated = {d.licence for d in origins(state, data) if d.made != "program"}
    only = next(iter(stated)) if len(stated) == 1 else ""
    return only if only and is_open(only) and "," not in only else ""


def shown(name: str) -> str:
    """Without the folders of the machine it lies on."""
    return Path(name).name if Path(name).is_absolute() or name.startswith("~") else name


def data_card(state: RunState, data: Dataset) -> str:
    """README.md of published rows: what they were made of, under which licences, and what was left out."""
    licence = settled(state, data)
    head = ["---", *([f"license: {licence}"] if licence else []), "tags:", "- post-training", "- ml-intern", "---"]
    dropped = [f"- {n} rows left out: {reason.replace('_', ' ')}" for reason, n in data.dropped.items()]
    sources = [f"- `{shown(d.name)}`: {said_of(d.licence, d.licence_seq, d.made)}" for d in origins(state, data)] or [
        f"- Its sources: {said_of('')}"
    ]
    outcome = (
        f"All of it is under {licence}."
        if licence
        else "**No licence is set for these rows**: it does not follow from their sources. Before passing them on, choose one "
        "that all of them allow."
    )
    return "\n".join([
        *head, "", f"# {shown(data.name)}", "",
        f"Prepared by run `{state.run}` of intern. Numbers in brackets name the event in its log.", "",
        "## Rows", "", f"- {data.train_rows} for training, {data.dev_rows} for development, of {data.rows} read [{data.seq}]",
        *dropped, "", "## Licences", "", *sources, "", outcome, "",
    ])  # fmt: skip
