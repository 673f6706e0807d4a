"""Whole runs of an LLM brain over HTTP whose Hub, arXiv, Semantic Scholar and OpenAlex are loopback servers that stumble."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.session import open_source, state_at
from tests.core.run.quick import Person, Quick
from tests.servers.arxiv_api import ArxivApi
from tests.servers.hub import HubDataset, HubServer
from tests.servers.hub_papers import HubPaperServer
from tests.servers.llm import LLMServer, observations
from tests.servers.loopback import Answer, Fault, Request
from tests.servers.openalex import OpenAlexServer
from tests.servers.paper_site import PaperSite
from tests.servers.researchers import Capable, call, succeeded
from tests.servers.semantic_scholar import SemanticScholarServer

pytestmark = pytest.mark.slow
PARROTS = "3101.00001"
TOKEN = "hf_token_of_mine_1234"


class WholeHub(HubServer):
    """One Hub: papers, data sets and repositories under one address, as HF_ENDPOINT wants it."""

    def __init__(self, datasets: dict[str, HubDataset]) -> None:
        super().__init__(datasets)
        self.papers = HubPaperServer()

    def respond(self, request: Request) -> Answer:
        if request.path.startswith(("/api/papers", "/api/daily_papers", "/papers/")) or "item" in request.query:
            return self.papers.respond(request)
        return super().respond(request)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Quick, dict[str, Any]]]:
    sets = {
        "aviary/parrot-counts-10k": HubDataset(
            [{"prompt": f"{i}+3=", "answer": str(i + 3)} for i in range(130)], ["license:mit", f"arxiv:{PARROTS}"]
        ),
        "aviary/gated": HubDataset(
            [{"prompt": f"{i}+5=", "answer": str(i + 5)} for i in range(130)], ["license:mit"], 900, gated="manual"
        ),
        "aviary/members": HubDataset(
            [{"prompt": f"{i}+4=", "answer": str(i + 4)} for i in range(130)],
            ["license:mit"],
            gated=True,
            readers=frozenset({TOKEN}),
        ),
    }
    with ExitStack() as stack:
        servers: dict[str, Any] = {
            "hub": stack.enter_context(WholeHub(sets)),
            "arxiv": stack.enter_context(ArxivApi()),
            "scholar": stack.enter_context(SemanticScholarServer()),
            "openalex": stack.enter_context(OpenAlexServer()),
            "site": stack.enter_context(PaperSite()),
        }
        lab = stack.enter_context(
            Quick(
                tmp_path / "lab",
                HF_HUB_OFFLINE="0",
                INTERN_OFFLINE="0",
                HF_ENDPOINT=servers["hub"].url,
                INTERN_VIEWER=servers["hub"].url,
                INTERN_ARXIV_API=f"{servers['arxiv'].url}/api/query",
                INTERN_ARXIV=servers["site"].url,
                INTERN_AR5IV=servers["site"].url,
                INTERN_SEMANTIC_SCHOLAR=servers["scholar"].url,
                INTERN_OPENALEX=servers["openalex"].url,
                S2_API_KEY="s2-key-of-mine-123",
                HF_TOKEN=TOKEN,
                HF_HUB_DISABLE_XET="1",
            )
        )
        yield lab, servers


def payloads(run: Path, kind: type[Any]) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return [e.payload_of(x) for x in source.events(1) if x.type == kind.type]


def test_a_run_reads_follows_extracts_and_fetches_over_stumbling_services(world: tuple[Quick, dict[str, Any]]) -> None:
    lab, servers = world
    servers["hub"].break_next(Fault(status=503), 1, "/api/papers/search")
    servers["arxiv"].break_next(Fault(status=429, headers={"Retry-After": "1"}), 1)
    servers["hub"].break_next(Fault(truncate=50), 1, f"/papers/{PARROTS}")
    servers["scholar"].break_next(Fault(status=500), 8)  # stays down: OpenAlex answers in its place
    reading = [
        lambda good: call("search_papers", query="parrots count"),
        lambda good: call("read_paper", paper=PARROTS, sections=["setup"]),
        lambda good: call("extract_recipe", paper=PARROTS),
        lambda good: call("follow_citations", paper=PARROTS, direction="citations"),
        lambda good: call("linked_to_paper", paper=PARROTS),
        lambda good: call("search_snippets", query="KL coefficient"),
        lambda good: call("search_datasets", paper=PARROTS),
        lambda good: call("fetch_dataset", dataset="aviary/parrot-counts-10k", rows=120),
    ]
    with LLMServer(Capable({"max_steps": 4}, extra=reading)) as brain:
        run = lab.create(f"openai:t@{brain.url}", autonomy="network")
        assert lab.host(run) == 0
        told = str(brain.requests)
    state = state_at(run)
    assert state.status == "finished"
    assert not payloads(run, e.ToolFailed)
    assert PARROTS in {p.paper for p in payloads(run, e.PaperFound)}
    read = next(p for p in payloads(run, e.PaperRead) if p.paper == PARROTS)
    assert read.source == "hub"
    recipe = next(p for p in payloads(run, e.RecipeExtracted) if p.paper == PARROTS)
    assert recipe.settings["lr"] == 3e-6
    assert "2.2" in recipe.places["lr"]
    assert recipe.settings.keys() == recipe.places.keys(), "nothing without a place"
    followed = [p for p in payloads(run, e.CitationFollowed) if p.cites == PARROTS]
    assert not [p for p in payloads(run, e.CitationFollowed) if p.paper == PARROTS], "nobody asked what it cites"
    assert {p.source.partition(" ")[0] for p in followed} == {"openalex"}
    assert (run / "data" / "fetched").is_dir()
    assert "\\x1b" not in told, "control characters never reach the brain raw"
    for name in ("arxiv", "openalex", "site"):
        heard = str([r.headers for r in servers[name].requests])
        assert "hf_token" not in heard
        assert "s2-key" not in heard
    assert all(r.headers.get("x-api-key") == "s2-key-of-mine-123" for r in servers["scholar"].requests)


class Refused(Capable):
    """Wants a data set that its token may not read, says so, and takes another one that it may."""

    def __call__(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        refusals = [o for o in observations(messages) if o.startswith("ERROR") and "aviary/gated" in o]
        if len(succeeded(messages)) == 2 and not refusals:
            return call("fetch_dataset", dataset="aviary/gated", rows=120)
        self.refusal = refusals[0] if refusals else ""
        return super().__call__(messages)

    def steps(self, good: list[Any]) -> list[Any]:
        greedy = [{"name": "greedy", "temperature": 0.0}]
        return [
            lambda: call("read_task"),
            lambda: call("search_datasets", query="aviary"),
            lambda: call("note", content=f"aviary/gated is closed to us ({self.refusal[:60]}); aviary/members instead", kind="lesson"),
            lambda: call("fetch_dataset", dataset="aviary/members", rows=120),
            lambda: call("inspect_data", path=good[3]["path"]),
            lambda: call("prepare_data", name="clean", sources=[good[3]["path"]]),
            lambda: call("evaluate", model="base", label="base", variants=greedy),
            lambda: call("promote", model="base", evaluation=good[6]["evaluations"][0]["evaluation"]),
            lambda: call("train", method="sft", data="clean", model="base", title="SFT", settings={"max_steps": 4}),
            lambda: call("wait_for_jobs", jobs=[good[8]["job"]]),
            lambda: call("evaluate", model=good[8]["job"], label="SFT", variants=greedy),
        ]  # fmt: skip


def test_a_run_that_is_refused_a_gated_set_takes_another_openly(world: tuple[Quick, dict[str, Any]]) -> None:
    """The token is set and has no access to the one; it was given access to the other, which is gated too."""
    lab, servers = world
    with LLMServer(Refused()) as brain:
        run = lab.create(f"openai:t@{brain.url}", autonomy="network")
        assert lab.host(run) == 0
        told = str(brain.requests[-1])
    state = state_at(run)
    assert state.status == "finished", state.reason
    [failed] = payloads(run, e.ToolFailed)
    assert failed.tool == "fetch_dataset"
    assert "aviary/gated is gated, and the account of HF_TOKEN has no access to it" in failed.error
    page = f"{servers['hub'].url}/datasets/aviary/gated"
    assert f"ask its authors for access at {page}" in told, "the brain is told what a person can do"
    assert "choose another data set and say so" in told
    rows = {r.query["dataset"] for r in servers["hub"].requests if r.path == "/rows"}
    assert rows == {"aviary/members"}
    assert [p.name for p in (run / "data" / "fetched").iterdir()] == ["aviary--members.jsonl"]
    assert {p.source for p in payloads(run, e.DatasetFound) if p.dataset == "aviary/gated"} == {"hub"}, "only as a find"
    [prepared] = payloads(run, e.DatasetPrepared)
    assert prepared.sources == [str(run / "data" / "fetched" / "aviary--members.jsonl")]
    kept = [json.loads(line) for line in (Path(prepared.path) / "train.jsonl").read_text().splitlines()]
    assert {int(r["answer"]) - int(r["prompt"].split("+")[0]) for r in kept} == {4}, "rows of the one that was named"
    report = (run / "report.md").read_text()
    assert "aviary/gated is closed to us (ERROR" in report, "the change of mind is open"
    assert "- `aviary/members`: mit" in report
    assert TOKEN not in report + told


def test_a_run_publishes_after_a_yes_to_a_hub_that_stumbles(world: tuple[Quick, dict[str, Any]]) -> None:
    lab, servers = world
    hub = servers["hub"]
    publishing = [
        lambda good: call("publish", repo="me/quick", tag="v1"),
        lambda good: call("publish", repo="me/clean", data="clean"),
        lambda good: call("publish", repo="me/trace", record="trace"),
    ]
    hub.break_next(Fault(status=503), 1, "/api/models/me/quick/preupload")
    hub.break_next(Fault(status=429, headers={"Retry-After": "1"}), 1, "/api/datasets/me/clean/preupload")
    hub.break_next(Fault(truncate=5), 1, "/api/datasets/me/trace/preupload")
    with LLMServer(Capable({"max_steps": 4}, extra=publishing)) as model:
        run = lab.create(f"openai:t@{model.url}", autonomy="network")
        person = Person(run)
        person.start()
        assert lab.host(run) == 0
        person.over.set()
    state = state_at(run)
    assert state.status == "finished"
    assert len(payloads(run, e.ToolFailed)) <= 3, "each stumble costs one call at most"
    asked = [a for a in payloads(run, e.ApprovalRequested) if a.tool == "publish"]
    assert {a.tier for a in asked} == {"publish"}
    assert all(hub.private[f"me/{name}"] for name in ("quick", "clean", "trace"))
    assert {"README.md", "config.json"} <= hub.repos["me/quick"].keys()
    assert "train.jsonl" in hub.repos["me/clean"]
    assert hub.tags["me/quick"] == ["v1"]
    card = hub.repos["me/quick"]["README.md"].decode()
    assert "quick" in card
    assert "heldout" not in str(hub.repos["me/clean"].keys())


def test_a_run_without_a_network_says_that_its_answers_come_from_the_library(tmp_path: Path) -> None:
    reading = [lambda good: call("search_papers", query="group relative policy optimization")]
    with Quick(tmp_path / "lab") as lab, LLMServer(Capable({"max_steps": 4}, extra=reading)) as brain:
        run = lab.create(f"openai:t@{brain.url}", autonomy="network")
        assert lab.host(run) == 0
        assert "library (offline)" in str(brain.requests[-1])
    assert {p.source for p in payloads(run, e.PaperFound)} == {"library (offline)"}


def test_the_playbook_finds_data_on_the_hub_for_a_task_that_has_none(tmp_path: Path) -> None:
    """The more popular one is gated, the other holds the evaluation's questions; what is trained on has none of these."""
    leaked = [{"prompt": f"{i}+{i}=", "answer": str(2 * i)} for i in range(600, 640)]
    sums = [{"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(60)]
    sets = {
        "ana/quick-sums-gated": HubDataset([], ["license:mit"], downloads=90_000, gated=True),
        "ben/quick-sums": HubDataset(sums + leaked, ["license:mit"], downloads=50_000),
    }
    with WholeHub(sets) as hub, Quick(
        tmp_path / "lab", HF_HUB_OFFLINE="0", INTERN_OFFLINE="0", HF_ENDPOINT=hub.url, INTERN_VIEWER=hub.url
    ) as lab:  # fmt: skip
        (lab.task / "data" / "train.jsonl").unlink()
        run = lab.create("playbook")
        assert lab.host(run) == 0
        state = state_at(run)
        assert state.status == "finished", state.reason
        found = payloads(run, e.DatasetFound)
        assert any(x.dataset == "ben/quick-sums" and x.rows == 100 and x.licence == "mit" for x in found)
        prepared = payloads(run, e.DatasetPrepared)[0]
        assert (prepared.rows, prepared.dropped) == (len(sums), {"contaminated": len(leaked)})
        assert any(j.kind == "training" and j.status == "finished" for j in state.jobs.values())
        assert any("ben/quick-sums from the Hub, 100 of 100 rows, licence mit" in lesson for lesson in state.lessons)
