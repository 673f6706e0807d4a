"""The one door: online, from cache, offline; and every answer says where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UsageError
from core.literature.errors import OfflineMiss, PaperMissing, Unreachable
from core.literature.library import OFFLINE, Endpoints, Literature
from core.literature.web import Politeness
from tests.core.literature.conftest import Services
from tests.servers.clock import FakeClock
from tests.servers.loopback import Fault


def offline(tmp_path: Path, clock: FakeClock, services: Services | None = None) -> Literature:
    at = services.endpoints if services else Endpoints()
    return Literature(tmp_path / "cache", offline=True, clock=clock, endpoints=at)


def test_a_search_merges_both_sources(library: Literature, services: Services) -> None:
    found = library.search_all("count", 6)
    assert len(found.papers) == len({paper.id for paper in found.papers}) == 6
    assert services.hub.asked() == services.arxiv.asked() == 1
    assert found.source == "hf-papers"
    assert found.papers[0].upvotes is not None


def test_a_second_search_and_a_second_run_do_not_ask_again(
    library: Literature, services: Services, tmp_path: Path, clock: FakeClock
) -> None:
    first = library.search("parrots")
    asked = services.asked
    again = library.search("parrots")
    assert [p.id for p in again] == [p.id for p in first]
    assert again[0].source == "hf-papers (cache)"
    other = Literature(tmp_path / "cache", offline=False, clock=clock, endpoints=services.endpoints)
    assert [p.id for p in other.search("parrots")] == [p.id for p in first]
    assert services.asked == asked


def test_one_source_down_is_noted_and_the_other_serves(library: Literature, services: Services) -> None:
    services.hub.break_next(Fault(status=500), times=4)
    found = library.search_all("parrots", 5)
    assert found.source == "arxiv"
    assert found.papers
    assert found.notes[0].startswith("hf-papers: HTTP 500")


def test_a_silent_source_is_left_alone_for_a_while(library: Literature, services: Services, clock: FakeClock) -> None:
    services.hub.break_next(Fault(silent=True), times=4)
    library.search("parrots")
    library.search("crows")
    assert services.hub.asked() == 4, "the second search goes past it"
    clock.time += 400
    library.search("eggs")
    assert services.hub.asked() == 5


def test_offline_from_the_cache(library: Literature, tmp_path: Path, clock: FakeClock, services: Services) -> None:
    library.search("parrots")
    library.read("3101.00001")
    library.citations("3101.00001", "references")
    asked = services.asked
    clock.time += 90 * 86_400
    later = offline(tmp_path, clock, services)
    assert later.source == OFFLINE
    assert later.search("parrots")[0].source == "hf-papers (cache, 90 days old)"
    assert later.read("3101.00001").source == "hub (cache, 90 days old)"
    assert later.citations("3101.00001", "references").source == "semantic-scholar (cache, 90 days old)"
    assert services.asked == asked


def test_offline_without_a_cache_the_library_answers_and_says_so(tmp_path: Path, clock: FakeClock) -> None:
    library = offline(tmp_path, clock)
    found = library.search_all("group relative policy optimization entropy collapse", 5)
    assert found.source == OFFLINE
    assert {paper.source for paper in found.papers} == {OFFLINE}
    assert all(paper.card for paper in found.papers)
    assert len(found.notes) == 2
    text = library.read("2402.03300", sections=["hyperparameters"])
    assert text.source == OFFLINE
    assert "lr 1e-06 to 1e-06 (Section 4.2)" in text.sections[0].text
    assert library.recipes("group relative policy optimization")
    with pytest.raises(OfflineMiss, match="not cached"):
        library.read("3101.00001")
    with pytest.raises(OfflineMiss):
        library.trending()


def test_no_network_at_all_behaves_like_offline(tmp_path: Path, clock: FakeClock) -> None:
    nowhere = "http://127.0.0.1:9"  # the discard port: nobody listens
    ends = Endpoints(
        arxiv_api=nowhere,
        arxiv_site=nowhere,
        ar5iv_site=nowhere,
        hub=nowhere,
        semantic_scholar=nowhere,
        openalex=nowhere,
    )
    library = Literature(tmp_path, offline=False, endpoints=ends, clock=clock, politeness=Politeness(timeout_s=1))
    assert library.search_all("dpo", 3).source == OFFLINE
    assert library.read("2305.18290").source == OFFLINE
    with pytest.raises(Unreachable):
        library.citations("2305.18290")


def test_the_environment_can_ask_for_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("INTERN_OFFLINE", "1")
    assert Literature(tmp_path).source == OFFLINE
    monkeypatch.setenv("INTERN_OFFLINE", "0")
    assert Literature(tmp_path).source == "network"


def test_sections_are_chosen_by_number_or_title(library: Literature) -> None:
    labels = [s.label for s in library.read("3101.00001", sections=["2", "details"]).sections]
    assert labels == ["Section 2 (Method)", "Section 2.1 (Objective)", "Section 2.2 (Setup)", "Appendix A (Details)"]
    assert library.read("3101.00001", sections=["nothing like it"]).sections == ()


def test_snippets_come_from_what_was_read(library: Literature) -> None:
    assert library.snippets("learning rate") == []
    library.read("3101.00001")
    best = library.snippets("learning rate batch size", limit=2)[0]
    assert best.place == "Section 2.2 (Setup), paragraph 1"
    assert library.snippets("accuracy seeds SFT")[0].place == "Table 1 (Section 3 (Results))"


def test_a_recipe_is_extracted_from_a_paper(library: Literature) -> None:
    found = library.extract("arXiv:3101.00001v2")
    assert ("lr", 3e-6) in {(f.name, f.value) for f in found.findings}
    assert found.source.startswith("hub")


def test_linked_trending_and_recommended(library: Literature) -> None:
    assert library.linked("3101.00001").datasets == ("aviary/parrot-counts-10k",)
    assert library.trending(1)[0].id == "3101.00001"
    assert library.recommended("3101.00001", 3)


def test_the_graph_is_followed_through_the_cache(library: Literature, services: Services) -> None:
    library.follow("3101.00001", "references", hops=2, budget=4)
    asked = services.scholar.asked()
    library.follow("3101.00001", "references", hops=2, budget=4)
    assert services.scholar.asked() == asked


def test_a_paper_that_does_not_exist_is_missing_not_offline(library: Literature) -> None:
    with pytest.raises(PaperMissing):
        library.read("3999.99999")


@pytest.mark.parametrize(
    "bad", ["", "../../etc/passwd", "2402.03300/../x", "https://evil.example/abs/2402.03300@x", "not an id"]
)
def test_what_is_not_an_id_never_reaches_a_host(library: Literature, services: Services, bad: str) -> None:
    with pytest.raises(UsageError):
        library.read(bad)
    assert services.asked == 0


def test_a_direction_that_is_none_is_refused_before_anyone_is_asked(library: Literature, services: Services) -> None:
    with pytest.raises(UsageError, match="references or citations"):
        library.citations("3101.00001", "../../v1/author")
    assert services.asked == 0


def test_citations_read_like_a_list(library: Literature) -> None:
    found = library.citations("3101.00001", "references")
    assert [edge.paper.id for edge in found] == ["3101.00002", "3101.00003"]
    assert (len(found), found[:1]) == (2, found.items[:1])


def test_an_abstract_taken_during_an_outage_gives_way_to_the_full_text(
    library: Literature, services: Services, clock: FakeClock
) -> None:
    services.hub.break_next(Fault(status=500), times=4, path="/papers/")
    services.html.break_next(Fault(status=500), times=4)
    assert library.read("3101.00001").source == "abstract"
    clock.time += 2 * 86_400
    assert library.read("3101.00001").source == "hub"


def test_a_broken_source_gives_way_to_an_old_answer(library: Literature, services: Services, clock: FakeClock) -> None:
    library.linked("3101.00001")
    clock.time += 3 * 86_400
    services.hub.break_next(Fault(body=b"<html>down</html>"))
    assert library.linked("3101.00001").source == "hf-papers (cache, 3 days old)"


def test_where_the_sources_have_nothing_the_library_is_not_called_offline(
    library: Literature, services: Services
) -> None:
    found = library.search_all("low-rank adapters", 3)
    assert services.asked == 2
    assert (found.source, found.notes) == ("recipe library", ())
    services.hub.break_next(Fault(status=403))
    services.arxiv.break_next(Fault(status=403))
    assert library.search_all("low-rank adapters of models", 3).source == OFFLINE


def test_the_cache_answers_who_wants_a_few_more_or_less(library: Literature, services: Services) -> None:
    library.search_all("counting", 8)
    library.trending(8)
    library.recommended("3101.00001", 8)
    library.offline = True
    assert len(library.search_all("counting", 10).papers) == 10
    assert "(cache)" in library.search_all("counting", 3).source
    assert (len(library.trending(3)), len(library.recommended("3101.00001", 10))) == (3, 10)
