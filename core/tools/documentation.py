"""Documentation and code: the installed libraries first, then documentation, repositories and pages on the network."""

from __future__ import annotations

import msgspec

from core.agent.desk import Desk
from core.errors import ToolError
from core.libraries import examples
from core.libraries.fitting import fitted
from core.libraries.lookup import LIBRARIES, look_up
from core.literature.library import chosen
from core.research import docs, github, hub_api, pages
from core.tools.excerpts import MOST, bodies, lines_from
from core.tools.toolbox import array, integer, text, tool, within


@tool(
    {
        "name": text(
            f"A dotted name in {', '.join(LIBRARIES)}, such as trl.GRPOConfig, or a field: trl.GRPOConfig.beta"
        ),
        "containing": text("Only fields and members with this word", optional=True),
    }
)
def read_api(desk: Desk, name: str, containing: str | None = None) -> object:
    """Signature, fields with defaults and docstring of a public object of the installed training libraries."""
    return fitted(look_up(name), containing or "")


@tool(
    {
        "name": text("Such as trl/scripts/sft.py; empty for the list", optional=True),
        "from_line": integer("Where to begin in a long one (default 1)"),
    }
)
def read_example(desk: Desk, name: str | None = None, from_line: int | None = None) -> object:
    """Example scripts of the installed training libraries: the list, or one script's text."""
    if not name:
        return {"examples": examples.list_examples()}
    return {"name": name, **lines_from(examples.read_example(name), from_line or 1)}


@tool(
    {
        "library": text(
            "Such as trl, peft, transformers, datasets, accelerate, hub; hub-api for the calls of the Hub's API"
        ),
        "query": text("What to look for"),
        "limit": integer("Default 8"),
    },
    effect="idempotent",
    tier="network",
)
def search_docs(desk: Desk, library: str, query: str, limit: int | None = None) -> object:
    """Search the pages of a Hugging Face library's documentation (hub: the Hub), or the calls of the Hub's API."""
    _online(desk)
    if library == "hub-api":
        calls = hub_api.search_api(desk.literature.web, query, within(limit, 8, 30))
        return _untrusted("the Hub's description of its API", msgspec.to_builtins(calls))
    found = docs.search_docs(desk.literature.web, library, query, within(limit, 8, 30))
    return _untrusted(f"documentation of {library}", msgspec.to_builtins(found))


@tool(
    {
        "url": text("Address from search_docs, or library/page, or any public https address"),
        "sections": array("Only sections whose titles hold one of these words", optional=True),
    },
    effect="idempotent",
    tier="network",
)
def read_page(desk: Desk, url: str, sections: list[str] | None = None) -> object:
    """Read a page of the documentation or the web (HTML, Markdown, PDF) by section. No token is sent."""
    _online(desk)
    web = desk.literature.web
    page = docs.read_docs(web, url) if "://" not in url else pages.read_page(web, url)
    wanted = [word for word in sections or () if word.strip()]
    taken = chosen(page.sections, wanted) if wanted else page.sections
    labels = [section.label for section in page.sections]
    if wanted and not taken:
        raise ToolError(
            f"{page.url} has no section of that name: {', '.join(wanted)[:80]}",
            next=f"It has: {'; '.join(labels)[:1500] or 'no sections'}",
        )
    body, cut = bodies(taken, MOST)
    told = {
        "title": page.title,
        "form": page.form,
        "all_sections": labels[:200],
        "cut_or_left_out": cut[:200],
        "sections": body,
    }
    return _untrusted(page.url, told)


@tool({"query": text("Words"), "limit": integer("Default 8")}, effect="idempotent", tier="network")
def search_web(desk: Desk, query: str, limit: int | None = None) -> object:
    """Search the web with the engine a person configured. Never look up the benchmark, its answers or its leaderboard."""
    _online(desk)
    engine, hits = pages.search_web(desk.literature.web, query, within(limit, 8, 30))
    return _untrusted(f"web search by {engine}", msgspec.to_builtins(hits))


@tool(
    {
        "query": text("Words, such as: grpo reward functions"),
        "owner": text("Only repositories of this user or organisation", optional=True),
        "limit": integer("Default 8"),
    },
    effect="idempotent",
    tier="network",
)
def search_repositories(desk: Desk, query: str, owner: str | None = None, limit: int | None = None) -> object:
    """Search public GitHub repositories by words and owner; read_repository shows their examples and files."""
    _online(desk)
    found = github.search_repositories(desk.literature.web, query, owner or "", within(limit, 8, 30))
    return _untrusted("repositories on GitHub", msgspec.to_builtins(found))


@tool(
    {
        "repo": text("owner/name on GitHub"),
        "path": text("A file to read; empty: list the files", optional=True),
        "under": text("List only below this folder, such as examples", optional=True),
        "containing": text("List only paths with this word", optional=True),
        "from_line": integer("Where to begin in a long file (default 1)"),
    },
    effect="idempotent",
    tier="network",
)
def read_repository(
    desk: Desk, repo: str, path: str | None = None, under: str | None = None, containing: str | None = None,
    from_line: int | None = None,
) -> object:  # fmt: skip
    """List the files of a public GitHub repository, or read one of them (examples, training scripts)."""
    _online(desk)
    web = desk.literature.web
    if path:
        return _untrusted(f"github.com/{repo}/{path}", lines_from(github.read_file(web, repo, path), from_line or 1))
    return _untrusted(
        f"github.com/{repo}", msgspec.to_builtins(github.list_files(web, repo, under or "", containing or ""))
    )


def _online(desk: Desk) -> None:
    if desk.literature.offline:
        raise ToolError("This run is offline: pages are not read", next="read_api and read_example need no network")


def _untrusted(source: str, content: object) -> object:
    return {"untrusted_source": source, "content": content}


TOOLS = [read_api, read_example, search_docs, read_page, search_web, search_repositories, read_repository]
