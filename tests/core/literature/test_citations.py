"""The citation graph: both directions, both sources, several hops within a budget."""

from __future__ import annotations

import pytest

from core.literature.citations import CitationGraph, walk
from core.literature.errors import PaperMissing, SourceBroken, Unreachable
from core.literature.openalex import OpenAlex
from core.literature.papers import CitationList, Direction
from core.literature.semantic_scholar import SemanticScholar
from core.literature.web import Web
from tests.core.literature.conftest import Services
from tests.servers.loopback import Fault


@pytest.fixture
def scholar(web: Web, services: Services) -> SemanticScholar:
    return SemanticScholar(web, services.scholar.url, api_key="key-1")


@pytest.fixture
def graph(web: Web, services: Services, scholar: SemanticScholar) -> CitationGraph:
    return CitationGraph(scholar, OpenAlex(web, services.openalex.url, contact="someone@example.org"))


def test_references_carry_intent_and_influence(scholar: SemanticScholar) -> None:
    found = scholar.edges("3101.00001", "references", 50)
    assert [(edge.paper.id, edge.influential, edge.intents) for edge in found.items] == [
        ("3101.00002", True, ("methodology",)),
        ("3101.00003", False, ("background",)),
    ]
    assert found.complete
    assert found.items[0].contexts == ("We follow Crows Count: Rewards for Birds.",)


def test_citations_are_paged_to_the_end(scholar: SemanticScholar, services: Services) -> None:
    found = scholar.edges("3101.00001", "citations", 1000)
    assert len({edge.paper.id for edge in found.items}) == 231
    assert services.scholar.asked() == 3
    assert all(request.headers["x-api-key"] == "key-1" for request in services.scholar.requests)


def test_a_limit_leaves_the_list_marked_incomplete(scholar: SemanticScholar, services: Services) -> None:
    found = scholar.edges("3101.00001", "citations", 20)
    assert (len(found.items), found.complete) == (20, False)
    assert services.scholar.asked() == 1


def test_a_page_that_fails_leaves_what_was_read_and_says_so(scholar: SemanticScholar, services: Services) -> None:
    services.scholar.break_next(Fault(), times=1)
    services.scholar.break_next(Fault(status=403), times=1)
    found = scholar.edges("3101.00001", "citations", 1000)
    assert len(found.items) == 100
    assert not found.complete
    assert "403" in found.notes[0]


def test_a_server_that_repeats_its_page_cannot_keep_us(scholar: SemanticScholar, services: Services) -> None:
    looping = b'{"offset": 0, "next": 0, "data": [{"citingPaper": {"paperId": "x", "title": "Again"}}]}'
    services.scholar.break_next(Fault(body=looping), times=50)
    assert len(scholar.edges("3101.00001", "citations", 500).items) == 1
    assert services.scholar.asked() == 1


def test_openalex_gives_the_same_edges_without_intents(graph: CitationGraph, web: Web, services: Services) -> None:
    second = OpenAlex(web, services.openalex.url)
    assert {e.paper.id for e in second.edges("3101.00001", "references", 50).items} == {"3101.00002", "3101.00003"}
    found = second.edges("3101.00001", "citations", 1000)
    assert len({edge.paper.id for edge in found.items}) == 231
    assert {edge.influential for edge in found.items} == {None}
    assert "mailto" not in services.openalex.requests[0].query


def test_openalex_stands_in_when_semantic_scholar_is_down(graph: CitationGraph, services: Services) -> None:
    services.scholar.break_next(Fault(status=500), times=4)
    found = graph.edges("3101.00001", "references", 10)
    assert found.source == "openalex"
    assert "Semantic Scholar" in found.notes[0]
    assert services.openalex.requests[0].query["mailto"] == "someone@example.org"


def test_when_both_are_down_the_error_names_both(graph: CitationGraph, services: Services) -> None:
    services.scholar.break_next(Fault(body=b"nonsense"))
    services.openalex.break_next(Fault(status=400))
    with pytest.raises(SourceBroken, match="OpenAlex"):
        graph.edges("3101.00001", "references", 10)
    with pytest.raises(PaperMissing):
        graph.edges("3999.99999", "references", 10)


def test_a_walk_follows_the_most_telling_edges_and_keeps_to_its_budget(
    scholar: SemanticScholar, services: Services
) -> None:
    steps = walk(lambda one, way: scholar.edges(one, way, 300), "3101.00002", "citations", hops=3, budget=3, width=2)
    assert steps[0].citation.paper.id == "3101.00001"
    assert {step.origin for step in steps if step.hop == 2} >= {"3101.00001"}
    assert len({request.path for request in services.scholar.requests}) == 3
    ids = [step.citation.paper.id for step in steps]
    assert len(ids) == len(set(ids)), "a paper is met once"


def test_a_walk_survives_a_branch_that_fails_but_not_its_start(scholar: SemanticScholar) -> None:
    def lookup(one: str, way: Direction) -> CitationList:
        if one != "3101.00001":
            raise Unreachable("down")
        return scholar.edges(one, way, 50)

    assert {step.hop for step in walk(lookup, "3101.00001", "references", hops=2, budget=9)} == {1}
    with pytest.raises(Unreachable):
        walk(lookup, "3101.00003", "references", hops=2, budget=9)


def test_recommendations_are_papers(scholar: SemanticScholar) -> None:
    assert len(scholar.recommended("3101.00001", 4)) == 4
