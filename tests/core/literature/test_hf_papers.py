"""Hugging Face Papers: our reader and the real `huggingface_hub` see the same in the same endpoints."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi

from core.literature.errors import PaperMissing, SourceBroken
from core.literature.hf_papers import HubPapers
from core.literature.web import Web
from tests.core.literature.conftest import Services
from tests.servers.loopback import Fault


@pytest.fixture
def hub(web: Web, services: Services) -> HubPapers:
    return HubPapers(web, services.hub.url)


def test_the_installed_hub_client_reads_the_same_papers(hub: HubPapers, services: Services) -> None:
    theirs = HfApi(endpoint=services.hub.url, token=False)
    ours = hub.search("counting", 7)
    listed = list(theirs.list_papers(query="counting", limit=7, token=False))
    assert [(p.id, p.title, p.abstract, p.upvotes) for p in ours] == [
        (p.id, p.title, p.summary, p.upvotes) for p in listed
    ]
    one, info = hub.info("3101.00001"), theirs.paper_info("3101.00001")
    assert (one.id, one.title, one.abstract) == (info.id, info.title, info.summary)
    assert info.authors is not None
    assert one.authors == tuple(author.name for author in info.authors)
    linked = hub.linked("3101.00001")
    assert linked.models == tuple(model.id for model in info.linked_models or ())
    assert linked.datasets == tuple(data.id for data in info.linked_datasets or ())
    assert linked.code == info.github_repo
    held = list(theirs.list_collections(item="papers/3101.00001", token=False))
    assert linked.collections == tuple(one.slug for one in held) != ()
    assert hub.markdown("3101.00001").text() == theirs.read_paper("3101.00001")
    trending = [paper.id for paper in theirs.list_daily_papers(sort="trending", limit=3, token=False)]
    assert [paper.id for paper in hub.trending(3)] == trending


def test_links_are_told_also_where_the_collections_cannot_be_asked(hub: HubPapers, services: Services) -> None:
    services.hub.break_next(Fault(status=403), 1, "/api/collections")
    linked = hub.linked("3101.00001")
    assert linked.models
    assert linked.collections == ()
    assert linked.notes[0].startswith("collections: ")


def test_no_token_is_sent(hub: HubPapers, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.search("parrots", 2)
    assert "authorization" not in services.hub.requests[-1].headers


def test_a_paper_the_hub_does_not_have_is_missing(hub: HubPapers) -> None:
    with pytest.raises(PaperMissing):
        hub.info("3999.99999")
    with pytest.raises(PaperMissing):
        hub.markdown("3101.00002")


def test_an_answer_in_another_shape_is_broken_not_empty(hub: HubPapers, services: Services) -> None:
    services.hub.break_next(Fault(body=b"<html>maintenance</html>"))
    with pytest.raises(SourceBroken, match="format"):
        hub.search("parrots", 2)
    services.hub.break_next(Fault(body=b'{"error": "x"}'))
    with pytest.raises(SourceBroken, match="format"):
        hub.search("parrots", 2)
