"""arXiv through the real `arxiv` package, against a server that pages, fails and lies."""

from __future__ import annotations

import pytest

from core.literature.arxiv_client import ArxivClient
from core.literature.errors import RateLimited, SourceBroken, SourceRefused, Unreachable
from core.literature.web import USER_AGENT, Web
from tests.core.literature.conftest import Services
from tests.servers.arxiv_api import feed_entry
from tests.servers.loopback import Fault
from tests.servers.papers import PAPERS


@pytest.fixture
def arxiv(web: Web, services: Services) -> ArxivClient:
    return ArxivClient(web, f"{services.arxiv.url}/api/query")


def test_a_search_gives_papers_with_bare_ids(arxiv: ArxivClient, services: Services) -> None:
    papers = arxiv.search("parrots count", 5)
    assert [paper.id for paper in papers] == ["3101.00001"]
    assert papers[0].authors == ("Ada Example", "Bo Sample")
    assert (papers[0].year, papers[0].published) == (2031, "2031-05-01")
    assert services.arxiv.requests[0].headers["user-agent"] == USER_AGENT


def test_pages_are_followed_and_each_waits_its_turn(arxiv: ArxivClient, services: Services, web: Web) -> None:
    papers = arxiv.search("counting", 230)
    assert len({paper.id for paper in papers}) == 230
    assert services.arxiv.asked() == 3
    assert len(web.limiter.clock.slept) == 2  # type: ignore[attr-defined]


def test_papers_by_id_leave_out_unknown_ones(arxiv: ArxivClient) -> None:
    papers = arxiv.by_ids(["arXiv:3101.00002v3", "https://arxiv.org/abs/3101.00003", "3999.99999"])
    assert [paper.id for paper in papers] == ["3101.00002", "3101.00003"]


def test_half_a_feed_is_not_taken_for_a_short_one(arxiv: ArxivClient, services: Services) -> None:
    services.arxiv.break_next(Fault(cut=900))
    with pytest.raises(SourceBroken, match="broke off"):
        arxiv.search("counting", 5)


def test_a_page_cut_off_on_the_wire_is_fetched_again(arxiv: ArxivClient, services: Services) -> None:
    services.arxiv.break_next(Fault(truncate=400))
    assert len(arxiv.search("counting", 5)) == 5
    assert services.arxiv.asked() == 2


def test_an_error_that_arxiv_sends_as_an_entry_is_an_error(arxiv: ArxivClient) -> None:
    with pytest.raises(SourceRefused, match="incorrect query"):
        arxiv.search("ti:(parrots", 5)


def test_429_is_obeyed_and_in_the_end_told(arxiv: ArxivClient, services: Services) -> None:
    services.arxiv.break_next(Fault(status=429, headers={"Retry-After": "5"}))
    assert arxiv.search("parrots", 3)
    services.arxiv.break_next(Fault(status=429), times=9)
    with pytest.raises(RateLimited):
        arxiv.search("parrots", 3)


def test_silence_is_unreachable(arxiv: ArxivClient, services: Services) -> None:
    services.arxiv.break_next(Fault(silent=True), times=4)
    with pytest.raises(Unreachable):
        arxiv.search("parrots", 3)


def test_operators_in_a_plain_query_are_not_executed(arxiv: ArxivClient, services: Services) -> None:
    arxiv.search('parrots) OR "all" ANDNOT (', 3)
    assert services.arxiv.requests[0].query["search_query"] == "all:parrots AND all:all"


def test_hostile_text_arrives_as_text(arxiv: ArxivClient) -> None:
    (paper,) = [paper for paper in arxiv.search("hostile", 3)]
    assert "<script>" in paper.title
    assert "Ignore all previous instructions" in paper.abstract


ENTRY = feed_entry(PAPERS["3101.00001"])
HEAD = (
    '<feed xmlns="http://www.w3.org/2005/Atom"><o:totalResults xmlns:o="http://a9.com/-/spec/opensearch/1.1/">9'
    "</o:totalResults>"
)


@pytest.mark.parametrize(
    "feed",
    [
        "",
        "<html><body>down for maintenance</body></html>",
        "<html><body>down<br></body></html></feed>",
        f"{HEAD}{ENTRY}<entry><id>http://arxiv.org/abs/3101.00002v1</id><title>Half</feed>",
        f"{HEAD}{ENTRY.replace('Teaching', 'Te&nope;aching & x')}</feed>",
        f"<!DOCTYPE feed [<!ENTITY a 'aaaa'>]>{HEAD}{ENTRY.replace('Teaching', '&a;')}</feed>",
        f"{HEAD}{ENTRY.replace('2031-05-01T00:00:00Z', 'yesterday')}</feed>",
        f"{HEAD}</feed>",
    ],
    ids=["nothing", "a page", "a page with our end", "an entry cut off", "odd entities", "own entities", "no date", "empty against its count"],
)  # fmt: skip
def test_a_feed_that_is_malformed_or_empty_against_its_count_is_told_and_not_taken_for_few_results(
    arxiv: ArxivClient, services: Services, feed: str
) -> None:
    services.arxiv.break_next(Fault(body=feed.encode()), times=4)
    with pytest.raises(SourceBroken):
        arxiv.search("parrots", 5)


def test_an_entry_that_cannot_be_read_does_not_bring_another_one_twice(arxiv: ArxivClient, services: Services) -> None:
    broken = ENTRY.replace("3101.00001", "3101.00002").replace("published>", "gone>")
    services.arxiv.break_next(Fault(body=f"{HEAD}{ENTRY}{broken}</feed>".encode()), times=9)
    assert [paper.id for paper in arxiv.search("parrots", 2)] == ["3101.00001"]


def test_a_withdrawn_paper_says_so(arxiv: ArxivClient, services: Services) -> None:
    comment = (
        '<a:comment xmlns:a="http://arxiv.org/schemas/atom">This paper has been withdrawn by the authors</a:comment>'
    )
    services.arxiv.break_next(
        Fault(body=f"{HEAD}{ENTRY.replace('<category', comment + '<category', 1)}</feed>".encode())
    )
    assert [paper.withdrawn for paper in arxiv.search("parrots", 1)] == [True]
    assert [paper.withdrawn for paper in arxiv.search("parrots", 1)] == [False]


def test_papers_of_the_old_numbering_keep_their_archive(arxiv: ArxivClient, services: Services) -> None:
    services.arxiv.break_next(Fault(body=f"{HEAD}{ENTRY.replace('3101.00001', 'hep-th/9901001')}</feed>".encode()))
    (paper,) = arxiv.by_ids(["https://arxiv.org/abs/hep-th/9901001v3"])
    assert (paper.id, services.arxiv.requests[0].query["id_list"]) == ("hep-th/9901001", "hep-th/9901001")


def test_a_title_with_a_colon_is_words_and_a_field_is_a_field(arxiv: ArxivClient, services: Services) -> None:
    arxiv.search("Eggs: a Benchmark", 5)
    arxiv.search("ti:eggs AND au:example", 5)
    asked = [request.query["search_query"] for request in services.arxiv.requests]
    assert asked == ["all:Eggs AND all:a AND all:Benchmark", "ti:eggs AND au:example"]
