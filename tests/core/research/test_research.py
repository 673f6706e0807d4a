"""Documentation, repositories and pages over loopback: found, read, refused; tokens stay with their own hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from core.errors import ToolError
from core.libraries import examples
from core.literature.errors import SourceBroken
from core.literature.limiter import Limiter
from core.literature.web import Politeness, Web
from core.research.docs import read_docs, search_docs
from core.research.github import list_files, read_file, search_repositories
from core.research.hub_api import search_api
from core.research.pages import read_page, search_web
from core.research.reach import check_address
from core.tools.documentation import read_page as read_page_tool
from core.tools.documentation import read_repository
from core.tools.excerpts import lines_from
from core.tools.toolbox import observation
from tests.servers.clock import FakeClock
from tests.servers.loopback import Answer, Fault, Loopback, Request, as_json

INDEX = "# TRL\n\n- [GRPO Trainer](/docs/trl/grpo_trainer): group relative policy optimization\n- [SFT Trainer](/docs/trl/sft_trainer)\n"


API = {
    "openapi": "3.1.0",
    "paths": {
        "/api/models/{namespace}/{repo}/refs": {
            "parameters": [],
            "get": {"summary": "List references", "description": "Branches and tags of a repository", "tags": ["repos"], "parameters": [{"name": "repo", "in": "path", "required": True, "schema": {"type": "string"}}, {"name": "include_prs", "in": "query", "schema": {"anyOf": []}}]},
        },
        "/api/collections": {
            "post": {"summary": "Create a collection", "requestBody": {"content": {"application/json": {"schema": {"type": "object", "required": ["title"], "properties": {"title": {}, "private": {}}}}}}},
        },
    },
}  # fmt: skip
REPOSITORY = {"full_name": "ana/code", "description": "GRPO examples", "stargazers_count": 7, "pushed_at": "2031-02-03T04:05:06Z", "license": {"spdx_id": "MIT"}, "fork": False}  # fmt: skip


class Pages(Loopback):
    """Documentation, a repository, a search engine, and a page that leads elsewhere."""

    def respond(self, request: Request) -> Answer:
        known = {
            "/docs/trl/llms.txt": Answer(INDEX.encode(), content_type="text/plain"),
            "/docs/trl/grpo_trainer.md": Answer(b"# GRPO\n\n## Usage\n\nUse GRPOTrainer.", content_type="text/markdown"),
            "/.well-known/openapi.json": as_json(API),
            "/search/repositories": as_json({"total_count": 1, "items": [REPOSITORY] if "user:ana" in request.query.get("q", "") else []}),
            "/repos/ana/code/git/trees/HEAD": as_json({"sha": "c0", "tree": [{"path": "examples/grpo.py"}, {"path": "README.md"}, {"path": "examples", "type": "tree"}]}),
            "/ana/code/HEAD/examples/grpo.py": Answer(b"print('grpo')", content_type="text/plain"),
            "/search": as_json({"results": [{"url": "https://example.org/a", "title": "A", "content": "about a"}]}),
            "/inside": Answer(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
            "/page": Answer(b"<html><title>T</title><h1>T</h1><h2>One</h2><p>Words.</p></html>", content_type="text/html"),
        }  # fmt: skip
        return known.get(request.path, Answer(b"not found", 404, "text/plain"))


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    with Pages() as server:
        for name in ("HF_ENDPOINT", "INTERN_GITHUB", "INTERN_GITHUB_RAW", "INTERN_SEARXNG"):
            monkeypatch.setenv(name, server.url)
        monkeypatch.setenv("GITHUB_TOKEN", "ghp_mine")
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        yield server


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(Limiter(tmp_path / "limits", clock=FakeClock()), Politeness(timeout_s=2))


def test_documentation_is_found_by_words_and_read_by_section(pages: Pages, web: Web) -> None:
    pages.break_next(Fault(status=503), 1, "/docs/trl/llms.txt")
    found = search_docs(web, "trl", "grpo policy")
    assert [f.url for f in found] == [f"{pages.url}/docs/trl/grpo_trainer"]
    page = read_docs(web, found[0].url)
    assert (page.form, page.sections[-1].title) == ("markdown", "Usage")
    with pytest.raises(ToolError, match="not known"):
        search_docs(web, "nolib", "x")
    with pytest.raises(ToolError, match="no documentation page"):
        read_docs(web, "https://example.org/x")


def test_calls_of_the_hubs_api_are_found_with_what_they_take(pages: Pages, web: Web) -> None:
    (found,) = search_api(web, "branches and tags")
    assert (found.method, found.path) == ("GET", "/api/models/{namespace}/{repo}/refs")
    assert found.parameters == ("repo* (path, string)", "include_prs (query, any)")
    (made,) = search_api(web, "create collection")
    assert (made.method, made.body) == ("POST", ("title*", "private"))
    assert "mine" not in json.dumps([r.headers for r in pages.requests])
    pages.break_next(Fault(body=b"[]"))
    with pytest.raises(SourceBroken):
        search_api(web, "x")


def test_repositories_are_searched_by_words_and_owner(pages: Pages, web: Web) -> None:
    (found,) = search_repositories(web, "grpo examples", owner="ana")
    assert (found.repo, found.stars, found.pushed, found.licence) == ("ana/code", 7, "2031-02-03", "MIT")
    assert search_repositories(web, "grpo examples") == []
    assert pages.requests[-1].headers["authorization"] == "Bearer ghp_mine"
    with pytest.raises(ToolError, match="no user"):
        search_repositories(web, "x", owner="a b")
    pages.break_next(Fault(status=403, body=b"{}"))
    with pytest.raises(ToolError, match="GITHUB_TOKEN"):
        search_repositories(web, "x")


def test_a_repository_is_listed_and_read_and_its_token_goes_to_the_api_alone(pages: Pages, web: Web) -> None:
    assert list_files(web, "ana/code", under="examples").files == ("examples/grpo.py",)
    assert read_file(web, "ana/code", "examples/grpo.py") == "print('grpo')"
    sent = {r.path: r.headers.get("authorization", "") for r in pages.requests}
    assert sent["/repos/ana/code/git/trees/HEAD"] == "Bearer ghp_mine"
    assert sent["/ana/code/HEAD/examples/grpo.py"] == ""
    for repo, path in (("ana/code", "../../etc/passwd"), ("no", "x"), ("ana/code", "missing.py")):
        with pytest.raises(ToolError):
            read_file(web, repo, path)


def test_a_page_is_read_without_tokens_and_may_not_lead_into_the_local_network(pages: Pages, web: Web) -> None:
    page = read_page(web, f"{pages.url}/page")
    assert page.form == "html"
    assert "Words." in "".join(s.text for s in page.sections)
    assert search_web(web, "a")[1][0].url == "https://example.org/a"
    with pytest.raises(ToolError, match="no public host"):
        read_page(web, f"{pages.url}/inside")
    assert "mine" not in json.dumps([r.headers for r in pages.requests])


@pytest.mark.parametrize("address", ["file:///etc/passwd", "http://127.0.0.1:1/", "http://[::1]/", "http://10.0.0.1", "ftp://x", ""])  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    with pytest.raises(ToolError):
        check_address(address)


def test_installed_examples_are_listed_and_read() -> None:
    names = examples.list_examples()
    assert any(name.startswith("trl/scripts/") for name in names)
    assert "Trainer" in examples.read_example("trl/scripts/sft.py")
    with pytest.raises(ToolError, match="No installed example"):
        examples.read_example("trl/../../../etc/passwd")


def desk_with(web: Web) -> Any:
    return SimpleNamespace(literature=SimpleNamespace(web=web, offline=False))


def test_a_long_page_names_what_is_not_told_and_it_can_be_asked_for(pages: Pages, web: Web) -> None:
    page = "# Long\n\n" + "\n\n".join(f"## Part {n}\n\n{f'word{n} ' * 1500}" for n in range(1, 6))
    pages.break_next(Fault(body=page.encode()), 3, "/docs/trl/grpo_trainer.md")
    told = msgspec.json.decode(observation(read_page_tool.run(desk_with(web), url="trl/grpo_trainer")))["content"]
    assert len(observation(told)) < 24_000
    assert told["cut_or_left_out"] == ["Part 3", "Part 4", "Part 5"]
    alone = msgspec.json.decode(observation(read_page_tool.run(desk_with(web), url="trl/grpo_trainer", sections=["Part 5"])))["content"]  # fmt: skip
    assert alone["sections"][0]["text"].count("word5") == 1500
    assert alone["cut_or_left_out"] == []
    with pytest.raises(ToolError, match=r"no section of that name[\s\S]*Part 1"):
        read_page_tool.run(desk_with(web), url="trl/grpo_trainer", sections=["Part 9"])


def test_a_long_file_is_read_on_from_where_it_was_left(pages: Pages, web: Web) -> None:
    whole = "".join(f"line {n}\n" for n in range(1, 6001))
    pages.break_next(Fault(body=whole.encode(), content_type="text/plain"), 9, "/ana/code/HEAD")
    read, at = "", 1
    while at:
        part: Any = read_repository.run(desk_with(web), repo="ana/code", path="examples/grpo.py", from_line=at)
        assert len(observation(part)) < 24_000
        read, at = read + part["content"]["text"], part["content"].get("next_line", 0)
    assert read == whole


@pytest.mark.parametrize(("text", "first"), [("", 1), ("one", 5), ("x" * 90_000, 1), ("a\nb", -3)])
def test_odd_files_and_places_give_some_lines(text: str, first: int) -> None:
    told = lines_from(text, first)
    assert len(str(told["text"])) <= 20_000
    assert "next_line" not in told
