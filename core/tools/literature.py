"""Reading: the recipe library first (always there), papers where a network or a cache has them.

Whatever comes from outside is data: it is returned between marks that name its source, and nothing in it can order
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.errors import InternError, ToolError
from core.literature import recipes
from core.literature.card import Card, load_cards
from core.literature.extract import extract, placed
from core.literature.ids import arxiv_id
from core.literature.library import LIBRARY, OFFLINE, chosen
from core.literature.papers import Citation, Direction, as_direction
from core.tools.excerpts import LONGEST, MOST, bodies
from core.tools.toolbox import array, integer, text, tool, within


@tool(
    {
        "query": text("What to look for, in words"),
        "needs": array(
            "What we have, as the library names it: answers_checkable, demonstrations, prompts, ...", optional=True
        ),
        "signs": array(
            "Symptoms to remedy: never_ends, wrong_format, noisy_labels, plateau, divergence, ...", optional=True
        ),
        "limit": integer("How many at most (default 5)"),
    },
    effect="idempotent",
)
def search_recipes(
    desk: Desk,
    query: str,
    needs: Sequence[str] | None = None,
    signs: Sequence[str] | None = None,
    limit: int | None = None,
) -> object:
    """Search the recipe library: cards of post-training papers with methods, settings by model size and failure modes."""
    try:
        matches = recipes.search(
            query,
            needs=set(needs) if needs is not None else None,
            signs=set(signs) if signs is not None else None,
            params=desk.card.params,
            limit=within(limit, 5, 30),
        )
    except InternError as error:
        raise ToolError(str(error)) from error
    found: list[object] = []
    for match in matches:
        card = match.card
        why = "; ".join(match.why)
        desk.emit_soon(
            e.PaperFound(paper=_paper(card), title=card.title, year=card.year, query=query, source=_LIBRARY, why=why)
        )
        found.append({"id": card.id, "title": card.title, "year": card.year, "kind": card.kind, "method": card.method, "when": card.when, "signs": list(card.signs), "why": why})  # fmt: skip
    return {"source": _LIBRARY, "recipes": found}


@tool(
    {"recipe": text("The card's id"), "weights": text("full (default) or lora", optional=True)},
    effect="idempotent",
)
def read_recipe(desk: Desk, recipe: str, weights: str | None = None) -> object:
    """Read one recipe card: summary, failure modes, results, and its settings for a model of our size with their place."""
    try:
        card = recipes.get(recipe)
    except InternError as error:
        raise ToolError(str(error)) from error
    lora = weights == "lora"
    size = desk.card.params or 0
    settings = {
        h.name: (h.value if h.value is not None else [h.low, h.high]) for h in card.hyper if h.covers(size, lora=lora)
    }
    places = {h.name: h.place for h in card.hyper if h.covers(size, lora=lora)}
    taken = [f"{name}: {_said(value)} ({places[name]})" for name, value in settings.items()] or [card.summary]
    desk.emit_soon(e.PaperRead(paper=_paper(card), title=card.title, source=_LIBRARY, sections=["card"], taken=taken))
    values, places = {**settings, **_results(card)}, {**places, **{n: card.results[0].place for n in _results(card)}}
    if values:
        desk.emit_soon(e.RecipeExtracted(recipe=card.id, paper=_paper(card), title=card.title, method=card.method, settings=values, places=places, source=_LIBRARY))  # fmt: skip
    known = {c.id: c for c in recipes.load_cards()}
    for cited in card.cites:
        if cited in known:
            desk.emit_soon(
                e.CitationFollowed(
                    paper=_paper(card), cites=_paper(known[cited]), title=known[cited].title, source=_LIBRARY
                )
            )
    return {
        "id": card.id, "title": card.title, "source": card.source, "summary": card.summary, "when": card.when,
        "data": card.data, "settings_for_our_size": settings, "places": places, "failures": list(card.failures),
        "results": [msgspec.to_builtins(one) for one in card.results], "cites": list(card.cites), "trl": card.trl,
    }  # fmt: skip


@tool(
    {"method": text("sft, grpo, dpo or rft"), "weights": text("full (default) or lora", optional=True)},
    effect="idempotent",
)
def recommend_settings(desk: Desk, method: str, weights: str | None = None) -> object:
    """Ranges for every hyperparameter of a method at our model's size, each with the card and place it stands in."""
    try:
        chosen = recipes.hyperparameters(method, desk.card.params or 0, weights == "lora")
    except InternError as error:
        raise ToolError(str(error)) from error
    if not chosen:
        raise ToolError(f"The library has no settings for {method!r}", next="Known methods: sft, grpo, dpo, rft")
    known = {c.id: c for c in recipes.load_cards()}
    for card in {choice.card for choice in chosen.values()}:
        settings = {n: (c.word if c.word is not None else [c.low, c.high]) for n, c in chosen.items() if c.card == card}
        places = {n: c.place for n, c in chosen.items() if c.card == card}
        title = known[card].title
        desk.emit_soon(e.RecipeExtracted(recipe=card, paper=_paper(known[card]), title=title, method=method, settings=settings, places=places, source=_LIBRARY))  # fmt: skip
    return {
        name: {"low": c.low, "high": c.high, "word": c.word, "card": c.card, "place": c.place, "basis": c.basis}
        for name, c in chosen.items()
    }


@tool(
    {"query": text("Search words"), "limit": integer("How many (default 8)")},
    effect="idempotent",
    tier="network",
    timeout_s=180.0,
)
def search_papers(desk: Desk, query: str, limit: int | None = None) -> object:
    """Search arXiv and Hugging Face Papers; offline the cache and the recipe library answer, and say so."""
    found = desk.literature.search_all(query, within(limit, 8, 50))
    for paper in found.papers:
        desk.emit_soon(
            e.PaperFound(paper=paper.id, title=paper.title, year=paper.year, query=query, source=paper.source)
        )
    told = [
        {
            "id": p.id, "title": p.title, "year": p.year, "source": p.source, "about": p.abstract[:ABSTRACT],
            **({"recipe": p.card} if p.card else {}), **({"withdrawn": True} if p.withdrawn else {}),
        }
        for p in found.papers
    ]  # fmt: skip
    return {**_untrusted(f"paper search: {found.source}", told), "did_not_answer": list(found.notes)}


@tool(
    {
        "paper": text("arXiv id; with a version (2402.03300v1) for that one"),
        "sections": array("Only these sections, by words of their titles or by numbers such as 4.1", optional=True),
    },
    effect="idempotent",
    tier="network",
    timeout_s=180.0,
)
def read_paper(desk: Desk, paper: str, sections: Sequence[str] | None = None) -> object:
    """Read a paper by section, with its tables: full text where it can be had, else the abstract; says which was used."""
    read = desk.literature.read(paper)
    wanted = [word for word in sections or () if word.strip()]
    taken = chosen(read.sections, wanted) if wanted else read.sections
    labels = [section.label for section in read.sections]
    if not taken:
        raise ToolError(
            f"{read.id} ({read.source}) has no section of that name: {', '.join(wanted)[:80]}",
            next=f"It has: {'; '.join(labels)[:1500]}",
        )
    names = [section.title or section.label for section in taken]
    desk.emit_soon(e.PaperRead(paper=read.id, title=read.title, source=read.source, sections=names))
    body, cut = bodies(taken, MOST if wanted else LONGEST)
    told = {"title": read.title, "url": read.url, "all_sections": labels, "cut_or_left_out": cut, "sections": body}
    notes = {"better_sources_failed": list(read.notes)} if read.notes else {}
    return {**notes, **_untrusted(f"paper {read.id} via {read.source}", told)}


@tool(
    {"paper": text("arXiv id"), "direction": text("references or citations"), "limit": integer("Default 50")},
    effect="idempotent",
    tier="network",
    timeout_s=180.0,
)
def follow_citations(desk: Desk, paper: str, direction: str, limit: int | None = None) -> object:
    """Follow the citation graph one hop: what the paper cites, or who cites it; intent and influence where they are known."""
    bare, way = arxiv_id(paper), as_direction(direction)
    links = desk.literature.citations(bare, way)
    shown = links[: within(limit, 50, 200)]
    for link in shown:
        _followed(desk, bare, way, link)
    told = {
        "known": len(links), "complete": links.complete, "notes": list(links.notes),
        "edges": [
            {
                "id": x.paper.id, "title": x.paper.title, "year": x.paper.year, "intents": list(x.intents),
                "influential": x.influential, **({"where": x.contexts[0][:200]} if x.contexts else {}),
            }
            for x in shown
        ],
    }  # fmt: skip
    return _untrusted(f"{way} of {bare} via {links.source}", told)


def _followed(desk: Desk, paper: str, way: Direction, link: Citation) -> None:
    """The edge as an event, in the direction in which it stands: the later paper cites the earlier one."""
    other = link.paper
    if way == "references":
        desk.emit_soon(e.CitationFollowed(paper=paper, cites=other.id, title=other.title, source=other.source))
        return
    why = f"cites {paper}"
    desk.emit_soon(e.PaperFound(paper=other.id, title=other.title, year=other.year, source=other.source, why=why))
    known = desk.state.papers.get(paper)
    desk.emit_soon(
        e.CitationFollowed(paper=other.id, cites=paper, title=known.title if known else "", source=other.source)
    )


@tool(
    {
        "paper": text("arXiv id"),
        "direction": text("references or citations"),
        "hops": integer("How far (default 2)"),
        "budget": integer("Papers asked at most (default 8)"),
    },
    effect="idempotent",
    tier="network",
)
def walk_citations(
    desk: Desk, paper: str, direction: str, hops: int | None = None, budget: int | None = None
) -> object:
    """Follow the citation graph several hops, the most telling edges first: influential, used as method, recent, cited."""
    way = as_direction(direction)
    walked = desk.literature.follow(paper, way, hops=within(hops, 2, 5), budget=within(budget, 8, 40))
    steps = walked[:60]
    for step in steps:
        _followed(desk, step.origin, way, step.citation)
    told = {
        "known": len(walked), "sources": sorted({s.citation.paper.source for s in steps}),
        "edges": [
            {"hop": s.hop, "from": s.origin, "id": s.citation.paper.id, "title": s.citation.paper.title,
             "year": s.citation.paper.year, "intents": list(s.citation.intents), "influential": s.citation.influential}
            for s in steps
        ],
    }  # fmt: skip
    return _untrusted(f"{way} of {arxiv_id(paper)}", told)


@tool(
    {"paper": text("arXiv id; empty for what is read most these days", optional=True), "limit": integer("Default 8")},
    effect="idempotent",
    tier="network",
)
def discover_papers(desk: Desk, paper: str | None = None, limit: int | None = None) -> object:
    """Papers like a given one (recommended by Semantic Scholar), or what is trending on Hugging Face Papers."""
    many = within(limit, 8, 50)
    papers = desk.literature.recommended(paper, many) if paper else desk.literature.trending(many)
    why = f"like {paper}" if paper else "trending"
    for found in papers:
        desk.emit_soon(e.PaperFound(paper=found.id, title=found.title, year=found.year, source=found.source, why=why))
    return _untrusted(why, [{"id": p.id, "title": p.title, "year": p.year, "source": p.source} for p in papers])


@tool({"paper": text("arXiv id")}, effect="idempotent", tier="network")
def linked_to_paper(desk: Desk, paper: str) -> object:
    """Models, data sets, Spaces, collections and code that the Hub links to a paper."""
    return _untrusted(f"the Hub's links of {paper}", msgspec.to_builtins(desk.literature.linked(paper)))


@tool({"query": text("What to look for"), "limit": integer("Default 6")}, effect="idempotent")
def search_snippets(desk: Desk, query: str, limit: int | None = None) -> object:
    """Search inside the papers read so far: the paragraphs and tables that answer a question, each with its place."""
    desk.literature.recall(p.id for p in desk.state.papers.values() if p.read)
    found = desk.literature.snippets(query, within(limit, 6, 15))
    if not found:
        raise ToolError("Nothing read so far answers that", next="Read a paper first (read_paper)")
    return _untrusted("papers read in this run", msgspec.to_builtins(found))


@tool({"paper": text("arXiv id")}, effect="idempotent", tier="network")
def extract_recipe(desk: Desk, paper: str) -> object:
    """Hyperparameters, data sets and results a paper states, each with the exact place and sentence; nothing without one."""
    read = desk.literature.read(paper)
    if read.source == OFFLINE:  # our own words: a place in them is no place in the paper
        card = next(card.id for card in load_cards() if card.arxiv == read.id)
        raise ToolError(
            f"{read.id} itself cannot be read now ({'; '.join(read.notes)[:200]})",
            next=f"read_recipe {card} gives our card on it, with places in the paper",
        )
    found = extract(read)
    if not (found.findings or found.datasets or found.results):
        raise ToolError(
            f"{read.id} states no setting in a form that can be read ({read.source})", next="read_paper shows it"
        )
    settings, places = placed(found, read)
    if settings:
        desk.emit_soon(
            e.RecipeExtracted(
                recipe=read.id, paper=read.id, title=read.title, method=str(settings.get("method", "not named")),
                settings=settings, places=places, source=found.source,
            )
        )  # fmt: skip
    return _untrusted(f"paper {read.id} via {found.source}", msgspec.to_builtins(found))


_LIBRARY = LIBRARY
ABSTRACT = 400


def _results(card: Card) -> dict[str, object]:
    """The card's first result, with its baseline where the source gives one."""
    if not card.results:
        return {}
    first = card.results[0]
    found: dict[str, object] = {"result": {"metric": first.metric, "value": first.value}}
    if first.baseline is not None:
        found["baseline"] = {"metric": first.metric, "value": first.baseline}
    return found


def _said(value: Any) -> str:
    """A setting in words: a range whose ends are one value is that value."""
    if isinstance(value, list | tuple):
        ends: list[Any] = list(cast("list[Any]", value))
        if len(ends) != 2:
            return str(ends)
        return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _paper(card: Card) -> str:
    return card.arxiv or card.id


def _untrusted(source: str, content: object) -> dict[str, object]:
    return {"untrusted_source": source, "content": content}


TOOLS = [
    search_recipes, read_recipe, recommend_settings, search_papers, read_paper, follow_citations, walk_citations,
    discover_papers, linked_to_paper, search_snippets, extract_recipe,
]  # fmt: skip
