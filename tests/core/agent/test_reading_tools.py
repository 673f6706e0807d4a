"""The reading tools as a brain calls them, over loopback services: what is told, what is left out by name, what the log says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from core import events as e
from core.agent.desk import Desk, Settings
from core.clock import Clock
from core.compute.local import LocalCompute
from core.errors import ToolError
from core.evaluation.prompting import Prompting
from core.journal import Journal
from core.literature.library import Endpoints, Literature
from core.literature.web import Politeness
from core.redact import Redactor
from core.state import RunState
from core.tables import TABLES
from core.tools import literature as tools
from core.tools.toolbox import observation
from store.log import EventLog
from tests.servers.arxiv_api import ArxivApi
from tests.servers.clock import FakeClock
from tests.servers.hub_papers import HubPaperServer
from tests.servers.loopback import Fault
from tests.servers.openalex import OpenAlexServer
from tests.servers.paper_site import PaperSite
from tests.servers.papers import PAPERS
from tests.servers.semantic_scholar import SemanticScholarServer

PARROTS, CROWS, EGGS, HOSTILE = "3101.00001", "3101.00002", "3101.00003", "3101.00004"
GRPO = "2402.03300"


class World:
    """The services, and a desk before them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.hub = stack.enter_context(HubPaperServer())
        self.arxiv = stack.enter_context(ArxivApi())
        self.scholar = stack.enter_context(SemanticScholarServer())
        self.openalex = stack.enter_context(OpenAlexServer())
        self.site = stack.enter_context(PaperSite())
        at = Endpoints(
            arxiv_api=f"{self.arxiv.url}/api/query", arxiv_site=self.site.url, ar5iv_site=self.site.url, hub=self.hub.url,
            semantic_scholar=self.scholar.url, openalex=self.openalex.url,
        )  # fmt: skip
        (folder / "run").mkdir()
        log = stack.enter_context(EventLog.create(folder / "run", TABLES))
        self.literature = Literature(
            folder / "cache", offline=False, endpoints=at, clock=FakeClock(), politeness=Politeness(timeout_s=0.5)
        )
        self.desk = Desk(
            folder=folder / "run", settings=Settings(run="r", goal="g", model="m", autonomy="network"),
            task=cast(Any, SimpleNamespace(verifier=None, max_new_tokens=8, dev_file=None)),
            card=cast(Any, SimpleNamespace(params=7_000_000_000)), journal=Journal(log, RunState(), Redactor({})),
            compute=LocalCompute(folder / "jobs"), literature=self.literature, clock=Clock(1.0), prompting=Prompting(),
        )  # fmt: skip
        self.emitted: list[Any] = []
        say = self.desk.emit_soon

        def kept(payload: Any) -> Any:
            self.emitted.append(payload)
            return say(payload)

        self.desk.emit_soon = kept  # pyright: ignore[reportAttributeAccessIssue]

    def told(self, tool: Any, **arguments: Any) -> Any:
        """What the brain reads, decoded."""
        return msgspec.json.decode(observation(tool.run(self.desk, **arguments)))

    @property
    def papers(self) -> dict[str, Any]:
        """As the run's state has them."""
        self.desk.journal.flush()
        return self.desk.state.papers

    def events(self, kind: type[Any]) -> list[Any]:
        return [p for p in self.emitted if isinstance(p, kind)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, tmp_path)


def test_a_paper_is_known_by_one_id_however_it_was_named(world: World) -> None:
    world.told(tools.search_papers, query="parrots count")
    world.told(tools.read_paper, paper=f"https://arxiv.org/abs/{PARROTS}?context=cs")
    world.told(tools.extract_recipe, paper=f"arXiv:{PARROTS} [cs.CL]")
    world.told(tools.follow_citations, paper=f"arxiv.org/abs/{PARROTS}", direction="references")
    assert {p.paper for p in world.events(e.PaperRead)} == {PARROTS}
    assert {p.paper for p in world.events(e.RecipeExtracted)} == {PARROTS}
    assert {p.paper for p in world.events(e.CitationFollowed)} == {PARROTS}
    assert world.papers[PARROTS].read


def test_a_paper_is_told_with_its_tables_and_the_names_of_all_sections(world: World) -> None:
    content = world.told(tools.read_paper, paper=PARROTS)["content"]
    results = next(s for s in content["sections"] if s["section"] == "Section 3 (Results)")
    assert "Parrot + group rewards | 61.7 | 19.4 ± 0.8" in results["tables"][0]
    assert "Section 2.2 (Setup)" in content["all_sections"]
    assert content["cut_or_left_out"] == []


def test_a_long_paper_names_what_is_not_told_and_it_can_be_asked_for(world: World) -> None:
    sections = "\n\n".join(f"## {n} Part {n}\n\n{f'Word{n} ' * 1500}" for n in range(1, 12))
    world.hub.break_next(Fault(body=f"# Long\n\n{sections}".encode()), path=f"/papers/{PARROTS}")
    told = world.told(tools.read_paper, paper=PARROTS)
    content = told["content"]
    assert len(observation(told)) < 24_000, "a longer result would be cut behind our backs"
    assert len(content["all_sections"]) == 11
    assert "Section 11 (Part 11)" in content["cut_or_left_out"]
    alone = world.told(tools.read_paper, paper=PARROTS, sections=["Section 11"])["content"]
    assert alone["cut_or_left_out"] == []
    assert alone["sections"][0]["text"].count("Word11") == 1500


def test_a_section_is_taken_with_what_stands_below_it(world: World) -> None:
    content = world.told(tools.read_paper, paper=PARROTS, sections=["method"])["content"]
    assert [s["section"] for s in content["sections"]] == ["Section 2 (Method)", "Section 2.1 (Objective)", "Section 2.2 (Setup)"]  # fmt: skip


def test_a_section_that_is_not_there_is_said_with_those_that_are(world: World) -> None:
    with pytest.raises(ToolError, match=r"no section of that name: hyperparameters[\s\S]*Section 2\.2 \(Setup\)"):
        world.told(tools.read_paper, paper=PARROTS, sections=["hyperparameters"])
    assert not world.events(e.PaperRead)


def test_an_edge_stands_in_the_log_as_it_stands_in_the_world(world: World) -> None:
    """The follow-up cites the parrots, whichever of them was asked about."""
    told = world.told(tools.follow_citations, paper=EGGS, direction="citations")
    assert [one["id"] for one in told["content"]["edges"]] == [PARROTS]
    world.told(tools.follow_citations, paper=EGGS, direction="references")
    edges = {(p.paper, p.cites) for p in world.events(e.CitationFollowed)}
    assert edges == {(PARROTS, EGGS), (EGGS, CROWS)}
    papers = world.papers
    assert papers[PARROTS].cites.keys() == {EGGS}
    assert papers[PARROTS].title == PAPERS[PARROTS].title


def test_a_walk_backwards_has_its_edges_the_right_way_round(world: World) -> None:
    world.told(tools.walk_citations, paper=CROWS, direction="citations", hops=2, budget=3)
    assert world.events(e.CitationFollowed)
    for edge in world.events(e.CitationFollowed):
        assert edge.cites in PAPERS[edge.paper].cites


def test_edges_say_their_intent_and_that_there_are_more(world: World) -> None:
    told = world.told(tools.follow_citations, paper=PARROTS, direction="citations", limit=5)["content"]
    assert (len(told["edges"]), told["known"], told["complete"]) == (5, 200, False)
    assert told["edges"][0].keys() >= {"intents", "influential", "where"}
    world.scholar.break_next(Fault(status=500), times=4)
    told = world.told(tools.follow_citations, paper=EGGS, direction="references")
    assert told["untrusted_source"].endswith("via openalex")
    assert "Semantic Scholar" in told["content"]["notes"][0]


def test_every_value_of_a_recipe_has_its_place_the_method_too(world: World) -> None:
    text = "We train a 1.5B model with GRPO. A learning rate of 1e-6 is used on GSM8K."
    body = f"# Birds\n\n## 1 Setup\n\n{text}\n\n## 2 DPO\n\n{'Nothing more. ' * 200}"
    world.hub.break_next(Fault(body=body.encode()), path=f"/papers/{PARROTS}")
    world.told(tools.extract_recipe, paper=PARROTS)
    (found,) = world.events(e.RecipeExtracted)
    assert found.method == "grpo"
    assert found.places["method"] == found.places["lr"] == found.places["data"] == found.places["model_size"] == "Section 1 (Setup), paragraph 1"  # fmt: skip
    assert found.settings.keys() == found.places.keys()


def test_our_words_on_a_paper_are_never_told_as_places_in_it(world: World) -> None:
    world.literature.offline = True
    with pytest.raises(ToolError, match="read_recipe deepseekmath"):
        world.told(tools.extract_recipe, paper=GRPO)
    assert not world.events(e.RecipeExtracted)
    assert world.told(tools.read_paper, paper=GRPO)["untrusted_source"].endswith("via library (offline)")


def test_a_card_is_told_with_data_results_and_baseline(world: World) -> None:
    told = world.told(tools.read_recipe, recipe="deepseekmath")
    assert told["data"]
    assert told["results"][0]["place"]
    (found,) = world.events(e.RecipeExtracted)
    assert found.settings.keys() == found.places.keys() >= {"result", "baseline", "lr"}


def test_hostile_titles_come_marked_as_foreign(world: World) -> None:
    told = world.told(tools.search_papers, query="hostile")
    assert told["untrusted_source"]
    assert [p["id"] for p in told["content"]] == [HOSTILE]


@pytest.mark.parametrize("limit", [-5, 0, 1_000_000])
def test_no_number_makes_a_search_endless(world: World, limit: int) -> None:
    told = world.told(tools.search_papers, query="counting", limit=limit)
    assert 1 <= len(told["content"]) <= 50
    assert world.arxiv.asked() == 1
    steps = world.told(tools.walk_citations, paper=PARROTS, direction="citations", hops=limit, budget=limit)
    assert steps["content"]["edges"]
    assert world.scholar.asked() <= 120


def test_an_edge_from_the_cache_says_so_in_the_log_too(world: World) -> None:
    world.told(tools.follow_citations, paper=EGGS, direction="references")
    world.literature.offline = True
    told = world.told(tools.walk_citations, paper=EGGS, direction="references", hops=1)
    assert told["content"]["sources"] == ["semantic-scholar (cache)"]
    assert [p.source for p in world.events(e.CitationFollowed)] == ["semantic-scholar", "semantic-scholar (cache)"]
