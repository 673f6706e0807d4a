"""Papers, recipes and data sets."""

from __future__ import annotations

from core import events as e
from core.fold.registry import on
from core.state import ContaminationVerdict, Dataset, Paper, RunState
from store.event import Record


@on(e.PaperFound)
def _paper_found(state: RunState, event: Record, p: e.PaperFound) -> None:
    if p.paper not in state.papers:
        state.papers[p.paper] = Paper(p.paper, event.seq, p.title, p.year, p.source, p.why)


@on(e.PaperRead)
def _paper_read(state: RunState, event: Record, p: e.PaperRead) -> None:
    paper = state.papers.setdefault(p.paper, Paper(p.paper, event.seq, p.title, source=p.source))
    paper.read, paper.source = True, p.source
    paper.taken.extend(p.taken)


@on(e.CitationFollowed)
def _citation_followed(state: RunState, event: Record, p: e.CitationFollowed) -> None:
    paper = state.papers.setdefault(p.paper, Paper(p.paper, event.seq, p.paper, source=p.source))
    paper.cites.setdefault(p.cites, event.seq)


@on(e.RecipeExtracted)
def _recipe_extracted(state: RunState, event: Record, p: e.RecipeExtracted) -> None:
    if p.recipe not in state.recipes:
        state.recipes.append(p.recipe)


@on(e.DatasetFound)
def _dataset_found(state: RunState, event: Record, p: e.DatasetFound) -> None:
    data = state.datasets.setdefault(p.dataset, Dataset(p.dataset, event.seq, rows=p.rows or 0, why=p.why))
    data.made = p.made or data.made
    if p.source not in (p.dataset, "hub") and not p.made:
        data.path = p.source
    if p.licence:
        data.licence, data.licence_seq = p.licence, event.seq


@on(e.DatasetInspected)
def _dataset_inspected(state: RunState, event: Record, p: e.DatasetInspected) -> None:
    data = state.datasets.setdefault(p.dataset, Dataset(p.dataset, event.seq))
    data.seq, data.rows, data.columns = event.seq, p.rows, p.columns
    data.concerns, data.samples = p.concerns, p.samples
    if p.licence and not data.licence:  # what a repository states stands above what a copy of some of its rows holds
        data.licence, data.licence_seq = p.licence, event.seq


@on(e.LicenceFound)
def _licence_found(state: RunState, event: Record, p: e.LicenceFound) -> None:
    if p.model == state.model:
        state.licence, state.licence_seq = p.licence, event.seq


@on(e.DatasetChosen)
def _dataset_chosen(state: RunState, event: Record, p: e.DatasetChosen) -> None:
    data = state.datasets.setdefault(p.dataset, Dataset(p.dataset, event.seq))
    data.chosen, data.why = True, p.why


@on(e.DatasetPrepared)
def _dataset_prepared(state: RunState, event: Record, p: e.DatasetPrepared) -> None:
    data = state.datasets.setdefault(p.name, Dataset(p.name, event.seq))
    data.seq, data.prepared, data.rows = event.seq, p.path, p.read
    data.train_rows, data.dev_rows, data.dropped = p.rows, p.dev_rows, p.dropped
    data.sources = p.sources


@on(e.ContaminationChecked)
def _contamination_checked(state: RunState, event: Record, p: e.ContaminationChecked) -> None:
    if p.digest:
        state.contamination[p.digest] = ContaminationVerdict(p.dataset, event.seq, p.rows, p.overlapping, p.uncompared)
