"""The one door to the literature: search, read, follow citations, ask for recipes; online, from cache, or offline.

Every answer names its source. With a network the sources are asked and answers cached on disk for all runs of the
machine; a source that does not answer is left alone for some minutes and the next one takes its place. Offline (by
wish, or because nothing answers) cache and recipe library stand in, and `source` says so: "... (cache)",
"library (offline)". Texts are as the sources gave them: the caller sanitises them and marks them untrusted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from core.literature import recipes
from core.literature.arxiv_client import ENDPOINT as ARXIV_API
from core.literature.arxiv_client import ArxivClient
from core.literature.cache import Cache
from core.literature.card import Card, load_cards
from core.literature.citations import CitationGraph, Step, walk
from core.literature.errors import LiteratureError, OfflineMiss, RateLimited, SourceBroken, Unreachable
from core.literature.extract import Extract, extract
from core.literature.fulltext import AR5IV, ARXIV, FullText
from core.literature.hf_papers import ENDPOINT as HUB
from core.literature.hf_papers import HubPapers
from core.literature.ids import arxiv_id, find_arxiv_id, version_in
from core.literature.limiter import Clock, Limiter
from core.literature.openalex import ENDPOINT as OPENALEX
from core.literature.openalex import OpenAlex
from core.literature.papers import CitationList, Linked, Paper, PaperText, SearchResult, Section, as_direction
from core.literature.semantic_scholar import ENDPOINT as SEMANTIC_SCHOLAR
from core.literature.semantic_scholar import SemanticScholar
from core.literature.snippets import Snippet, find
from core.literature.web import Politeness, Web

T = TypeVar("T")
OFFLINE = "library (offline)"
LIBRARY = "recipe library"
_DAY = 86_400.0
_REST_S = 300.0
"""How long a source that did not answer is left alone."""


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where the sources are. Tests and mirrors change them."""

    arxiv_api: str = ARXIV_API
    arxiv_site: str = ARXIV
    ar5iv_site: str = AR5IV
    hub: str = HUB
    semantic_scholar: str = SEMANTIC_SCHOLAR
    openalex: str = OPENALEX

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Endpoints:
        """The public sources, or the mirrors that INTERN_ARXIV_API, INTERN_ARXIV, INTERN_AR5IV, HF_ENDPOINT,
        INTERN_SEMANTIC_SCHOLAR and INTERN_OPENALEX name."""
        names = {field: f"INTERN_{field.removesuffix('_site').upper()}" for field in cls.__struct_fields__}
        names["hub"] = "HF_ENDPOINT"
        given = {field: environment.get(name, "").rstrip("/") for field, name in names.items()}
        return cls(**{field: address for field, address in given.items() if address})


def from_environment(cache_dir: Path, environment: Mapping[str, str] = os.environ) -> Literature:
    """As the environment says. S2_API_KEY goes to Semantic Scholar alone, INTERN_CONTACT (a mail address) to OpenAlex."""
    return Literature(
        cache_dir,
        endpoints=Endpoints.from_environment(environment),
        semantic_scholar_key=environment.get("S2_API_KEY", ""),
        contact=environment.get("INTERN_CONTACT", ""),
    )


class Literature:
    """What is known about a subject.

    Args:
        cache_dir: folder for cache and rate-limit files; one for all runs of the machine.
        offline: True never touches the network; False and None do. None also obeys INTERN_OFFLINE and HF_HUB_OFFLINE.
        endpoints, politeness, clock, intervals_s: for mirrors and tests.
        semantic_scholar_key: sent to Semantic Scholar only. contact: mail address for OpenAlex's polite pool.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        offline: bool | None = None,
        endpoints: Endpoints | None = None,
        politeness: Politeness | None = None,
        clock: Clock | None = None,
        intervals_s: dict[str, float] | None = None,
        semantic_scholar_key: str = "",
        contact: str = "",
    ) -> None:
        at = endpoints or Endpoints()
        self.offline = asked_offline() if offline is None else offline
        limiter = Limiter(cache_dir / "limits", clock=clock, intervals_s=intervals_s)
        self._clock = limiter.clock
        self._cache = Cache(cache_dir / "answers", now=limiter.clock.now)
        web = self.web = Web(limiter, politeness, offline=lambda: self.offline)
        self._hub = HubPapers(web, at.hub)
        self._arxiv = ArxivClient(web, at.arxiv_api)
        self._scholar = SemanticScholar(web, at.semantic_scholar, semantic_scholar_key)
        self._graph = CitationGraph(self._scholar, OpenAlex(web, at.openalex, contact))
        self._fulltext = FullText(web, self._hub, self._arxiv, arxiv_site=at.arxiv_site, ar5iv_site=at.ar5iv_site)
        self._resting: dict[str, float] = {}
        self._read: dict[str, PaperText] = {}

    @property
    def source(self) -> str:
        """Where answers come from just now: "network", or "library (offline)"."""
        return OFFLINE if self.offline else "network"

    def search(self, query: str, limit: int = 10) -> list[Paper]:
        """Papers on a subject, best first. See `search_all` for what did not answer."""
        return list(self.search_all(query, limit).papers)

    def search_all(self, query: str, limit: int = 10) -> SearchResult:
        """As `search`, with the sources that answered and notes on those that did not.

        Hugging Face Papers and arXiv are merged by rank (reciprocal rank fusion). Papers with a recipe card name it.
        """
        notes: list[str] = []
        lists: list[list[Paper]] = []
        many = _asked_for(limit)
        for name, ask in (("hf-papers", self._hub.search), ("arxiv", self._arxiv.search)):
            try:
                lists.append(
                    self._cached(
                        f"search/{name}/{many}/{query}", list[Paper], name, _DAY, lambda ask=ask: ask(query, many)
                    )
                )
            except LiteratureError as error:
                notes.append(f"{name}: {error.what}")
        papers = _merge(lists)[:limit]
        if not papers:
            # Where the sources answered and have nothing, the library is not a stand-in for a network.
            source = OFFLINE if self.offline or notes else LIBRARY
            papers = [_from_card(match.card, source) for match in recipes.search(query, limit=limit)]
        names = tuple(dict.fromkeys(paper.source for paper in papers))
        return SearchResult(
            papers=tuple(map(_with_card, papers)), source=", ".join(names) or self.source, notes=tuple(notes)
        )

    def trending(self, limit: int = 10) -> list[Paper]:
        """What the Hub's readers look at these days. Raises OfflineMiss offline without a cached list."""
        many = _asked_for(limit)
        found = self._cached(f"trending/{many}", list[Paper], "hf-papers", _DAY / 4, lambda: self._hub.trending(many))
        return found[:limit]

    def recommended(self, paper_id: str, limit: int = 10) -> list[Paper]:
        """Papers like this one (Semantic Scholar)."""
        bare, many = arxiv_id(paper_id), _asked_for(limit)
        key = f"recommended/{many}/{bare}"
        found = self._cached(
            key, list[Paper], "semantic-scholar", 7 * _DAY, lambda: self._scholar.recommended(bare, many)
        )
        return found[:limit]

    def linked(self, paper_id: str) -> Linked:
        """Models, data sets, Spaces, collections and code that the Hub links to the paper."""
        bare = arxiv_id(paper_id)
        return self._cached(f"linked/{bare}", Linked, "hf-papers", _linked_fresh_s, lambda: self._hub.linked(bare))

    def read(self, paper_id: str, sections: list[str] | None = None) -> PaperText:
        """The paper's text. `sections` keeps those whose number or title contains one of the words ("4.1", "method").

        Offline and uncached, a paper with a recipe card gives the card's words, marked as such. Raises OfflineMiss when
        there is nothing, and the last source's error when online.
        """
        bare, version = arxiv_id(paper_id), version_in(paper_id)
        try:
            text = self._cached(
                f"text/{bare}{version}", PaperText, "full text", _text_fresh_s,
                lambda: self._fulltext.read(bare + version),
            )  # fmt: skip
        except (OfflineMiss, Unreachable, RateLimited, SourceBroken) as error:
            card = next((card for card in load_cards() if card.arxiv == bare), None)
            if card is None:
                raise
            text = _card_text(card, error.what)
        else:
            self._read[bare] = text
        return text if sections is None else msgspec.structs.replace(text, sections=chosen(text.sections, sections))

    def citations(self, paper_id: str, direction: str = "citations", limit: int = 200) -> CitationList:
        """What the paper cites (`references`) or what cites it (`citations`). Raises UsageError for another word."""
        bare, way = arxiv_id(paper_id), as_direction(direction)
        key = f"edges/{way}/{limit}/{bare}"
        found = self._cached(
            key, CitationList, "citation graph", _edges_fresh_s, lambda: self._graph.edges(bare, way, limit)
        )
        # Edges are told one by one, on walks and in the log: each says where it came from, the cache too.
        items = tuple(
            msgspec.structs.replace(edge, paper=msgspec.structs.replace(edge.paper, source=found.source))
            for edge in found.items
        )
        return msgspec.structs.replace(found, items=items)

    def follow(self, paper_id: str, direction: str = "citations", *, hops: int = 2, budget: int = 8) -> list[Step]:
        """Walk the citation graph outwards, asking at most `budget` papers (see `citations.walk`)."""
        way = as_direction(direction)
        return walk(lambda one, to: self.citations(one, to), arxiv_id(paper_id), way, hops=hops, budget=budget)

    def recipes(self, query: str, limit: int = 10) -> list[recipes.Match]:
        """Recipe cards on a subject; never needs a network. `recipes.search` takes the finer filters."""
        return recipes.search(query, limit=limit)

    def snippets(self, query: str, limit: int = 8) -> list[Snippet]:
        """Paragraphs and tables of the papers read so far that answer a question, each with its place."""
        return find(query, self._read.values(), limit=limit)

    def recall(self, papers: Iterable[str]) -> None:
        """Have papers at hand for `snippets` again that this machine read before, without asking the network."""
        for paper in papers:
            if (bare := find_arxiv_id(paper)) and bare not in self._read:
                hit = self._cache.get_as(f"text/{bare}", PaperText)
                if hit is not None:
                    self._read[bare] = _label(hit[0], " (cache)")

    def extract(self, paper_id: str) -> Extract:
        """Hyperparameters, data sets and results of a paper, each with its place (see `extract.py`)."""
        return extract(self.read(paper_id))

    def _cached(
        self, key: str, kind: type[T], name: str, fresh_s: float | Callable[[T], float], ask: Callable[[], T]
    ) -> T:
        """A fresh cached answer, else the source's, else an old cached one. The answer's source says which.

        `fresh_s` may depend on the answer: what an outage made poorer is asked for again soon.
        """
        hit = self._cache.get_as(key, kind)
        if hit is not None and hit[1] <= (fresh_s(hit[0]) if callable(fresh_s) else fresh_s):
            return _label(hit[0], " (cache)")
        try:
            if self.offline:
                raise OfflineMiss(
                    f"offline, and {name} is not cached for this",
                    where=name,
                    next="Run once with a network, or ask the recipe library.",
                )
            self._rested(name)
            answer = ask()
        except (Unreachable, RateLimited, SourceBroken, OfflineMiss) as error:
            if isinstance(error, Unreachable):
                self._resting[name] = self._clock.now() + _REST_S
            if hit is not None:
                return _label(hit[0], f" (cache, {hit[1] / _DAY:.0f} days old)")
            raise
        self._cache.put_json(key, answer)
        return answer

    def _rested(self, name: str) -> None:
        """Raises Unreachable without asking while a source that did not answer is left alone."""
        if self._clock.now() < self._resting.get(name, 0.0):
            raise Unreachable(
                f"{name} did not answer a moment ago", where=name, next="It is tried again in some minutes."
            )


def _asked_for(limit: int) -> int:
    """How many a source is asked for: round numbers, so that the cache answers whoever wants a few more or less."""
    return next((many for many in (10, 25, 50, 100) if limit <= many), limit)


def _text_fresh_s(text: PaperText) -> float:
    """A full text stays; an abstract may only mean that the better sources were down."""
    return _DAY if text.source == "abstract" else 30 * _DAY


def _linked_fresh_s(linked: Linked) -> float:
    return _DAY / 4 if linked.notes else _DAY


def _edges_fresh_s(edges: CitationList) -> float:
    """Edges with notes come from the second source or broke off."""
    return _DAY / 4 if edges.notes else 7 * _DAY


def asked_offline() -> bool:
    """Whether the environment forbids the network."""
    return any(
        os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in ("INTERN_OFFLINE", "HF_HUB_OFFLINE")
    )


def _label(answer: T, suffix: str) -> T:
    """The answer with its source marked as cached, for lists of papers and for single structs."""
    if isinstance(answer, list):
        return [msgspec.structs.replace(one, source=one.source + suffix) for one in answer]  # type: ignore[return-value]
    return msgspec.structs.replace(answer, source=f"{answer.source}{suffix}")  # type: ignore[arg-type, attr-defined]


def _merge(lists: list[list[Paper]]) -> list[Paper]:
    """Reciprocal rank fusion (k = 60) by id; a paper in several lists keeps the first record that has an abstract."""
    score: dict[str, float] = {}
    best: dict[str, Paper] = {}
    for papers in lists:
        for rank, paper in enumerate(papers):
            score[paper.id] = score.get(paper.id, 0.0) + 1 / (60 + rank)
            if paper.id not in best or (not best[paper.id].abstract and paper.abstract):
                best[paper.id] = paper
    return sorted(best.values(), key=lambda paper: (-score[paper.id], paper.id))


def _with_card(paper: Paper) -> Paper:
    card = next((card for card in load_cards() if card.arxiv and card.arxiv == paper.id), None)
    return msgspec.structs.replace(paper, card=card.id) if card and not paper.card else paper


def _from_card(card: Card, source: str) -> Paper:
    """A card as a search result, when no source answers or has anything."""
    address = f"https://arxiv.org/abs/{card.arxiv}" if card.arxiv else card.url
    return Paper(
        id=card.arxiv or f"card:{card.id}",
        title=card.title,
        abstract=card.summary,
        year=card.year,
        url=address,
        source=source,
        card=card.id,
    )


def _card_text(card: Card, why: str) -> PaperText:
    """A card in the shape of a paper, for reading offline. These are our words, and its source says so."""
    values = "\n".join(
        f"{h.name} {h.low if h.value is None else h.value} to {h.high} ({h.place})"
        for h in card.hyper
        if h.value is None
    )
    parts = {
        "Summary": card.summary,
        "When to use": card.when,
        "Data": card.data,
        "Hyperparameters": values,
        "Failures": "\n".join(card.failures),
    }
    sections = tuple(Section(number="", title=name, level=2, text=text) for name, text in parts.items() if text)
    return PaperText(
        id=card.arxiv,
        title=card.title,
        source=OFFLINE,
        url=f"https://arxiv.org/abs/{card.arxiv}",
        sections=sections,
        notes=(why,),
    )


def chosen(sections: Sequence[Section], wanted: Iterable[str]) -> tuple[Section, ...]:
    """Sections whose number is, or whose title contains, one of the words, each with what stands below it."""
    low = [word.lower().removeprefix("section ").removeprefix("appendix ").strip() for word in wanted if word.strip()]
    found: list[Section] = []
    above: int | None = None  # level of the section whose parts are being taken
    for section in sections:
        if above is not None and section.level <= above:
            above = None
        number, label = section.number.lower(), section.label.lower()
        hit = any(number == word or word in section.title.lower() or label == word for word in low)
        hit = hit or any(number and number.startswith(f"{word}.") for word in low)
        if hit and above is None:
            above = section.level
        if above is not None:
            found.append(section)
    return tuple(found)
