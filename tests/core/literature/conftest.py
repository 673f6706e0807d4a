"""Loopback services, a clock that does not wait, and clients between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.literature.library import Endpoints, Literature
from core.literature.limiter import Limiter
from core.literature.web import Politeness, Web
from tests.servers.arxiv_api import ArxivApi
from tests.servers.clock import FakeClock
from tests.servers.hub_papers import HubPaperServer
from tests.servers.openalex import OpenAlexServer
from tests.servers.paper_site import PaperSite
from tests.servers.semantic_scholar import SemanticScholarServer


@dataclass
class Services:
    """Every service of the literature, on loopback."""

    arxiv: ArxivApi
    hub: HubPaperServer
    scholar: SemanticScholarServer
    openalex: OpenAlexServer
    html: PaperSite
    ar5iv: PaperSite

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(
            arxiv_api=f"{self.arxiv.url}/api/query",
            arxiv_site=self.html.url,
            ar5iv_site=self.ar5iv.url,
            hub=self.hub.url,
            semantic_scholar=self.scholar.url,
            openalex=self.openalex.url,
        )

    @property
    def asked(self) -> int:
        """Requests over all services."""
        servers = (self.arxiv, self.hub, self.scholar, self.openalex, self.html, self.ar5iv)
        return sum(len(server.requests) for server in servers)


@pytest.fixture
def services() -> Iterator[Services]:
    with ExitStack() as stack:
        yield Services(
            arxiv=stack.enter_context(ArxivApi()),
            hub=stack.enter_context(HubPaperServer()),
            scholar=stack.enter_context(SemanticScholarServer()),
            openalex=stack.enter_context(OpenAlexServer()),
            html=stack.enter_context(PaperSite()),
            ar5iv=stack.enter_context(PaperSite("ar5iv", converted=("3101.00002",))),
        )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def web(tmp_path: Path, clock: FakeClock) -> Web:
    """Asks with a clock that does not wait; silence is given up after a third of a second."""
    return Web(Limiter(tmp_path / "limits", clock=clock), Politeness(timeout_s=0.3))


@pytest.fixture
def library(tmp_path: Path, services: Services, clock: FakeClock) -> Literature:
    return Literature(
        tmp_path / "cache",
        offline=False,
        endpoints=services.endpoints,
        clock=clock,
        politeness=Politeness(timeout_s=0.5),
    )
