"""Research: what was read and taken from where, what the data looks like, what was tried and what came of it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from core.describe import percent, points
from core.events import CitationFollowed, RecipeExtracted, payload_of
from core.hub.stated import licence_of
from core.state import Dataset, Experiment, Paper, RunState
from screens.base import RunScreen
from screens.findings import Finding, findings
from screens.pane import Pane
from screens.text import Row, Span, cut, row, span_of, wrap
from screens.view import View
from screens.widgets.diagnosis import labelled, names, verdict_role
from screens.widgets.footer import Tabs
from screens.widgets.plan import empty
from store.source import EventSource

NARROW = 100
"""Columns below which one pane is shown, with tabs."""
VERDICTS = {"better": "good", "worse": "bad", "failed": "bad", "no_difference": ""}


class Papers(Pane):
    """Papers that were read first, with what was taken from each and its place; then those only found."""

    NAME = "Papers"
    LETTER = "p"

    def title(self, view: View) -> str:
        papers = view.state.papers.values()
        return f"Papers: {sum(p.read for p in papers)} read, {len(papers)} found" if papers else "Papers"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        state = view.state
        if not state.papers and not state.recipes:
            return empty(
                width, "Nothing read yet.", "Reading comes first in the plan; offline, the recipe library answers."
            )
        ordered = sorted(state.papers.values(), key=lambda p: (not p.read, p.seq))
        rows = [r for p in ordered if p.read for r in self._read(p, width)]
        found = [p for p in ordered if not p.read]
        if found:
            rows += [row(), row(("Found, not read", "title"))]
            rows += [r for p in found for r in _titled(p, width, "○ ", "dim")]
        return rows

    def _read(self, p: Paper, width: int) -> list[Row]:
        rows = _titled(p, width, "✓ ", "good")
        rows.append(row((cut(f"  {p.id} via {p.source}", width), "dim"), seq=p.seq))
        for taken in p.taken:
            rows += [row(("  › " if i == 0 else "    ", "dim"), (line, "accent"), seq=p.seq)
                     for i, line in enumerate(wrap(taken, width - 4, 3))]  # fmt: skip
        return rows


def _titled(p: Paper, width: int, sign: str, role: str) -> list[Row]:
    year = f" ({p.year})" if p.year else ""
    return [
        row((sign if i == 0 else "  ", role), (line, "dim" if role == "dim" else ""), seq=p.seq)
        for i, line in enumerate(wrap(p.title + year, width - 2, 2))
    ]


class Citations(Pane):
    """The citation graph of what was met: each citing work, under it what it cites; works cited most stand first."""

    NAME = "Citations"
    LETTER = "c"

    def __init__(self) -> None:
        super().__init__(id="citations")
        self.read = FromLog({}, {})

    def title(self, view: View) -> str:
        links = sum(len(p.cites) for p in view.state.papers.values())
        return f"Citations: {links} followed" if links else "Citations"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        papers = view.state.papers
        times = Counter(cited for p in papers.values() for cited in p.cites)
        if not times and not view.state.recipes:
            return empty(width, "No citation followed yet.", "They are followed from what was read.")
        rows: list[Row] = []
        for paper in papers.values():
            if paper.cites:
                rows += _titled(paper, width, "✓ " if paper.read else "○ ", "good" if paper.read else "")
                rows += self._cited(paper, papers, times, width)
        if view.state.recipes:
            rows += [*([row()] if rows else []), row(("Recipes taken", "title"))]
            rows += [r for recipe in view.state.recipes for r in self._recipe(recipe, papers, width)]
        return rows

    def _cited(self, paper: Paper, papers: dict[str, Paper], times: Counter[str], width: int) -> list[Row]:
        rows: list[Row] = []
        ordered = sorted(paper.cites, key=lambda c: -times[c])
        for at, cited in enumerate(ordered):
            branch = "  └ " if at == len(ordered) - 1 else "  ├ "
            known = papers.get(cited)
            name = (known.title if known is not None else self.read.titles.get(cited, "")) or cited
            often = f"  cited {times[cited]} times" if times[cited] > 1 else ""
            role = "good" if known is not None and known.read else ""
            name = cut(name, max(width - 4 - len(often), 8))
            rows.append(
                row((branch, "band"), (name, role), (often, "accent"), seq=known.seq if known else paper.cites[cited])
            )
        return rows

    def _recipe(self, name: str, papers: dict[str, Paper], width: int) -> list[Row]:
        """Its name, the work it is from, and which of the works met here cite that."""
        recipe = self.read.recipes.get(name)
        if recipe is None:
            return [row((cut("› " + name, width), "accent"))]
        rows = [row((line, "accent"), seq=recipe.seq) for line in wrap(f"› {name}: {recipe.title}", width, 2)]
        by = [p for p in papers.values() if recipe.paper in p.cites]
        rows += [row((cut(f"    cited by {p.title}", width), "dim"), seq=p.cites[recipe.paper]) for p in by]
        return rows if by else [*rows, row(("    cited by nothing read here", "dim"), seq=recipe.seq)]


class Recipe(NamedTuple):
    """Where a recipe was taken from."""

    seq: int
    paper: str
    title: str


class FromLog(NamedTuple):
    """What the state does not keep of works and recipes."""

    titles: dict[str, str]
    """Titles of cited works, by their ids."""
    recipes: dict[str, Recipe]


def read_log(source: EventSource) -> FromLog:
    """Raises StoreError."""
    found = FromLog({}, {})
    for event in source.events(types=frozenset({"citation_followed", "recipe_extracted"})):
        p = payload_of(event)
        if isinstance(p, CitationFollowed) and p.title:
            found.titles[p.cites] = p.title
        elif isinstance(p, RecipeExtracted):
            found.recipes.setdefault(p.recipe, Recipe(event.seq, p.paper, p.title))
    return found


class Data(Pane):
    """Data sets with what inspection found, and rows as they are."""

    NAME = "Data"
    LETTER = "d"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        data = view.state.datasets.values()
        if not data:
            return empty(width, "No data seen yet.", "Inspection comes before the first training.")
        return [r for d in data for r in (*self._dataset(view, d, width), row())]

    def _dataset(self, view: View, d: Dataset, width: int) -> list[Row]:
        rows = [row((line, "strong"), seq=d.seq) for line in wrap(d.name + (" (chosen)" if d.chosen else ""), width, 2)]
        if d.prepared:
            rows.append(row((f"{d.train_rows} train + {d.dev_rows} dev rows of {d.rows} read", ""), seq=d.seq))
            rows += [
                row((f"  {n:>6} dropped: {why.replace('_', ' ')}", "dim"), seq=d.seq) for why, n in d.dropped.items()
            ]
        else:
            rows.append(row((f"{d.rows} rows", ""), (f"   {', '.join(d.columns)}"[: width - 12], "dim"), seq=d.seq))
        if d.prepared or d.columns:
            told = f"licence: {licence_of(view.state, d)}"
            rows += [row(("  " + line, "dim"), seq=d.licence_seq or d.seq) for line in wrap(told, width - 2, 3)]
        for c in d.concerns:
            role = "bad" if c.score >= 0.5 else "waiting"
            rows.append(row((f"  {c.count:>6} {c.kind.replace('_', ' ')}", role), seq=d.seq))
            rows += [row(("         " + line, "dim"), seq=d.seq) for line in wrap(c.note, width - 9, 2)]
        for sample in d.samples[:3]:
            rows += [row(("  “" + line if i == 0 else "   " + line, "dim"), seq=d.seq)
                     for i, line in enumerate(wrap(sample, width - 3, 3))]  # fmt: skip
        return rows


MOST_DEPTH = 6
"""Branches below it are drawn at this depth: a chain of improvements must not leave the screen."""


def branches(state: RunState) -> list[tuple[int, Experiment]]:
    """The search tree, each experiment with its depth: behind its parent, in the order in which they began."""
    below: dict[str, list[Experiment]] = {}
    for x in state.experiments.values():
        known = x.parent in state.experiments and state.experiments[x.parent].seq < x.seq
        below.setdefault(x.parent if known else "", []).append(x)
    told: list[tuple[int, Experiment]] = []
    waiting = [(0, x) for x in reversed(below.get("", []))]
    while waiting:
        depth, x = waiting.pop()
        told.append((depth, x))
        waiting += [(depth + 1, child) for child in reversed(below.get(x.id, []))]
    return told


def _below(line: Row, branch: str) -> Row:
    return line._replace(spans=(Span(branch, "band"), *line.spans))


class Tried(Pane):
    """The search tree: experiments with their verdicts, and every diagnosis with its evidence."""

    NAME = "Tried"
    LETTER = "x"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        state = view.state
        if not state.experiments and not state.failures:
            return empty(width, "Nothing tried yet.", "An experiment is a hypothesis, its jobs and its verdict.")
        found = findings(state)
        rows: list[Row] = []
        for depth, x in branches(state):
            indent = "  " * min(depth, MOST_DEPTH)
            inner = self._experiment(x, width - len(indent) - 2 * (depth > 0))
            inner += [
                r
                for f in found
                if f.newest.experiment == x.id
                for r in self._finding(f, width - len(indent) - 2 * (depth > 0))
            ]
            rows += [_below(r, indent + ("└ " if i == 0 else "  ")) for i, r in enumerate(inner)] if depth else inner
            rows.append(row())
        loose = [f for f in found if f.newest.experiment not in state.experiments]
        return rows + [r for f in loose for r in (*self._finding(f, width), row())]

    def _finding(self, found: Finding, width: int) -> list[Row]:
        """What was found wrong in one or several jobs, how it is known, and what was done."""
        f = found.newest
        role = "bad strong" if found.failing else "waiting"
        head = f"{found.kind} from step {f.first_step}: {names(found.jobs)}"
        rows = [
            row(("! " if i == 0 else "  ", role), (line, role), seq=f.seq)
            for i, line in enumerate(wrap(head, width - 2))
        ]
        for name, texts, seq in (("  evidence", f.evidence, f.seq), ("  cause", f.causes, f.seq)):
            for i, text in enumerate(texts):
                rows += labelled(name if i == 0 else "", text, width, seq)
        rows += labelled("  done", found.done, width, f.remedy_seq or f.seq)
        if found.result:
            rows += labelled("  result", found.result, width, f.remedy_seq or f.seq, verdict_role(found.result))
        return rows

    def _experiment(self, x: Experiment, width: int) -> list[Row]:
        rows = [row((line, "strong"), seq=x.seq) for line in wrap(f"{x.id}: {x.hypothesis or x.change}", width)]
        verdict = x.verdict.replace("_", " ") or "running"
        if x.delta is not None and x.interval is not None:
            verdict += f", {points(x.delta)} [{points(x.interval[0])}, {points(x.interval[1])}] points"
        elif x.delta is not None:
            verdict += f", {percent(x.delta)}"
        if x.change and x.hypothesis and x.change != x.hypothesis:
            rows += labelled("change", x.change, width, x.seq)
        rows += labelled("verdict", verdict, width, x.concluded_seq or x.seq, VERDICTS.get(x.verdict, "accent"))
        if x.budget_s is not None:
            used = f", used {span_of((x.ended_us - x.began_us) / 1e6)}" if x.concluded_seq else ""
            rows += labelled("budget", f"{span_of(x.budget_s)}{used}", width, x.seq, "dim")
        return rows + (labelled("", x.why, width, x.concluded_seq, "dim") if x.why else [])


class Research(RunScreen):
    """Four panes; where it is narrow two by two, zoomed one."""

    NAME = "research"
    DEFAULT_CSS = """
    Research #quarters { height: 1fr; layout: grid; grid-size: 2 2; }
    Research.-wide #quarters { grid-size: 4 1; }
    Research.-narrow #quarters { grid-size: 1 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.zoomed = False
        self.at = 0
        """Which pane is the current one."""
        self._known = (0, 0)
        """Citations and recipes there were when the log was read."""

    def body(self) -> ComposeResult:
        yield Tabs([(cls.NAME, "") for cls in (Papers, Citations, Data, Tried)])
        with Container(id="quarters"):
            yield Papers(id="papers")
            yield Citations()
            yield Data(id="data")
            yield Tried(id="tried")

    def on_mount(self) -> None:
        self._arrange()

    def show(self, view: View) -> None:
        super().show(view)
        known = sum(len(p.cites) for p in view.state.papers.values()), len(view.state.recipes)
        if known[0] > self._known[0] or known[1] > self._known[1]:
            self._known = known
            self.desk.in_background(lambda: read_log(self.desk.source()), self._came)

    def _came(self, found: FromLog) -> None:
        for pane in self.query(Citations):
            pane.read = found
        self.refresh_view()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        single = self.zoomed or self.app.size.width < NARROW
        tabs = self.query_one(Tabs)
        tabs.display, tabs.current = single, self.at
        self.query_one("#quarters").styles.grid_size_columns = 1 if single else None
        self.query_one("#quarters").styles.grid_size_rows = 1 if single else None
        for at, pane in enumerate(self.panes()):
            pane.display = not single or at == self.at
        self.panes()[self.at].focus()
        self.call_after_refresh(self.refresh_view)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and event.widget in self.panes():
            self.at = self.panes().index(event.widget)

    def on_tabs_chosen(self, message: Tabs.Chosen) -> None:
        self.go_to_pane(message.at)

    def action_pane(self, by: int) -> None:
        self.go_to_pane((self.at + by) % len(self.panes()))

    def go_to_pane(self, at: int) -> None:
        self.at = at
        self._arrange()

    def focus_first(self) -> None:
        self.panes()[self.at].focus()

    @property
    def zooms(self) -> bool:
        return self.app.size.width >= NARROW

    def action_zoom(self) -> None:
        if not self.zooms:
            self.desk.notice("one pane at a time at this size: Tab shows the next", "dim")
            return
        self.zoomed = not self.zoomed
        self._arrange()
