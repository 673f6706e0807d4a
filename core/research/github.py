"""Repositories on GitHub: which there are, which files one has, and one file's text. GITHUB_TOKEN, if set, goes to GitHub's API alone."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, quote_plus

import msgspec

from core.errors import ToolError
from core.literature.errors import PaperMissing, SourceBroken, SourceRefused
from core.literature.web import Reply, Web
from core.research.reach import check_address

MOST_FILES = 300
LARGEST = 200_000
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}/[\w.-]{1,100}")


class _Node(msgspec.Struct):
    path: str
    type: str = "blob"
    size: int = 0


class _Tree(msgspec.Struct):
    tree: list[_Node]
    sha: str = ""
    truncated: bool = False


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a repository."""

    repo: str
    commit: str
    files: tuple[str, ...]
    left_out: int = 0
    """Files that fit and are not listed."""
    truncated: bool = False
    """GitHub itself did not list all."""


class _Repository(msgspec.Struct):
    full_name: str
    description: str | None = None
    stargazers_count: int = 0
    pushed_at: str | None = None
    license: dict[str, object] | None = None
    archived: bool = False


class _Repositories(msgspec.Struct):
    items: list[_Repository]


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that a search found."""

    repo: str
    about: str
    stars: int
    pushed: str
    """Date of its last change."""
    licence: str
    archived: bool = False


def search_repositories(web: Web, query: str, owner: str = "", limit: int = 8) -> list[Repository]:
    """Public repositories in GitHub's order. Raises ToolError for an owner that is no name."""
    if owner and not _OWNER.fullmatch(owner):
        raise ToolError(f"{owner[:80]!r} is no user or organisation", next="Say the first half of owner/name")
    asked = f"{query} user:{owner}" if owner else query
    reply = _api(web, f"/search/repositories?q={quote_plus(asked, errors='replace')}&per_page={max(1, min(limit, 50))}", asked)  # fmt: skip
    try:
        found = msgspec.json.decode(reply.body, type=_Repositories)
    except msgspec.DecodeError as error:
        raise SourceBroken(f"not GitHub's format: {error}", where=reply.url, next="Try again later.") from error
    return [
        Repository(
            repo=r.full_name, about=(r.description or "")[:300], stars=r.stargazers_count, pushed=(r.pushed_at or "")[:10],
            licence=str((r.license or {}).get("spdx_id") or ""), archived=r.archived,
        )
        for r in found.items[:limit]
    ]  # fmt: skip


def list_files(web: Web, repo: str, under: str = "", containing: str = "") -> Files:
    """Files of the default branch below a folder, with a word in their path. Raises ToolError for what is not there."""
    _check(repo)
    try:
        reply = _api(web, f"/repos/{repo}/git/trees/HEAD?recursive=1", repo)
        found = msgspec.json.decode(reply.body, type=_Tree)
    except PaperMissing as error:
        raise ToolError(f"GitHub has no repository {repo}, or it is private", where=error.where, next="Check the name") from error  # fmt: skip
    except msgspec.DecodeError as error:
        raise SourceBroken(f"not GitHub's format: {error}", where=repo, next="Try again later.") from error
    prefix = under.strip("/") + "/" if under.strip("/") else ""
    fitting = [
        n.path for n in found.tree
        if n.type == "blob" and n.path.startswith(prefix) and containing.lower() in n.path.lower()
    ]  # fmt: skip
    return Files(
        repo=repo, commit=found.sha, files=tuple(fitting[:MOST_FILES]), left_out=max(0, len(fitting) - MOST_FILES),
        truncated=found.truncated,
    )  # fmt: skip


def _api(web: Web, path: str, what: str) -> Reply:
    """GitHub's API, the only host that sees the token. Raises ToolError where it refuses."""
    api = os.environ.get("INTERN_GITHUB", "").rstrip("/") or "https://api.github.com"
    token = os.environ.get("GITHUB_TOKEN", "")
    headers = {"Accept": "application/vnd.github+json", **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        return web.get(f"{api}{path}", headers=headers, check=check_address)
    except SourceRefused as error:  # 401: a token that is not valid; 403: too many requests; 409: an empty repository
        advice = (
            "Check GITHUB_TOKEN"
            if token
            else "Without GITHUB_TOKEN GitHub answers 60 requests an hour: set it, or wait"
        )
        raise ToolError(f"GitHub refused {what[:80]}: {error.what}", where=error.where, next=advice) from error


def read_file(web: Web, repo: str, path: str, commit: str = "HEAD") -> str:
    """A file's text, without any token: only public files are read. Raises ToolError for what is not there or no text."""
    _check(repo)
    if not re.fullmatch(r"[\w./-]{1,100}", commit) or ".." in path.split("/"):
        raise ToolError("that is no path or commit", next="Use a path read_repository lists")
    raw = os.environ.get("INTERN_GITHUB_RAW", "").rstrip("/") or "https://raw.githubusercontent.com"
    try:
        reply = web.get(f"{raw}/{repo}/{quote(commit)}/{quote(path.lstrip('/'))}", check=check_address)
    except PaperMissing as error:
        raise ToolError(f"{repo} has no file {path}", where=error.where, next="read_repository lists them") from error
    if b"\0" in reply.body[:4000]:
        raise ToolError(f"{path} is no text file", next="Only text is read")
    return reply.text()[:LARGEST]


def _check(repo: str) -> None:
    if not _NAME.fullmatch(repo) or ".." in repo:
        raise ToolError(f"{repo[:80]!r} is no repository", next="Say owner/name")
