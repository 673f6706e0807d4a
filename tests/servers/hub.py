"""The Hub on loopback: data sets (search, info, viewer), repositories (create, upload by Git LFS, commit), collections.

Speaks to the real huggingface_hub through HF_ENDPOINT. A data set may be gated, or only a script; uploads need a token.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tests.servers.loopback import Answer, Loopback, Request, as_json


@dataclass
class HubDataset:
    """A data set of the Hub."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    downloads: int = 10
    likes: int = 1
    gated: bool | str = False
    """True, `auto` or `manual`."""
    readers: frozenset[str] = frozenset()
    """Tokens whose account was given access to it."""
    files: list[str] = field(default_factory=lambda: ["data/train-00000.parquet"])
    description: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    """Front matter of its README."""
    splits: list[tuple[str, str]] = field(default_factory=lambda: [("default", "train")])
    cut: frozenset[int] = frozenset()
    """Rows that the viewer gives with a cell cut off."""
    partial: bool = False
    unseen: bool = False
    """The viewer knows nothing of it."""
    parquet: dict[str, bytes] = field(default_factory=dict)
    """Files at refs/convert/parquet, `config/split/0000.parquet`."""


def _may_read(d: HubDataset, request: Request) -> bool:
    return not d.gated or request.headers.get("authorization", "").removeprefix("Bearer ") in d.readers


def _refusal(status: int, code: str, message: str) -> Answer:
    """With the headers by which the Hub's own client tells one refusal from another."""
    body = json.dumps({"error": message}).encode()
    return Answer(body, status, headers={"X-Error-Code": code, "X-Error-Message": message})


class HubServer(Loopback):
    """`datasets` by id, `models` the tags of each; `repos` (id -> path -> bytes) and `collections` are what clients published."""

    def __init__(self, datasets: dict[str, HubDataset] | None = None) -> None:
        super().__init__()
        self.datasets = datasets or {}
        self.models: dict[str, list[str]] = {}
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.collections: dict[str, list[str]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits = 0
        self.branches: dict[str, list[str]] = {}
        self.tags: dict[str, list[str]] = {}
        self.proposed: dict[str, int] = {}
        """Pull requests by repository."""

    def respond(self, request: Request) -> Answer:
        path = request.path
        if request.method == "GET" and path == "/api/datasets":
            return self._search(request)
        if path in ("/splits", "/rows", "/parquet"):
            return self._viewer(request)
        if request.method in ("GET", "HEAD") and "/resolve/refs" in path:
            return self._parquet(request)
        if request.method == "GET" and path.startswith("/api/datasets/"):
            return self._info(request, path.removeprefix("/api/datasets/"))
        if request.method == "GET" and path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/")
            known = name in self.models
            return as_json(
                {"id": name, "tags": self.models[name]} if known else {"error": "no model"}, 200 if known else 404
            )
        if request.method == "PUT" and path.startswith("/objects/"):
            self.objects[path.removeprefix("/objects/")] = request.body
            return Answer()
        if "authorization" not in request.headers:
            return as_json({"error": "Unauthorized"}, 401)
        return self._write(request)

    def _search(self, request: Request) -> Answer:
        wanted, word = request.query.get("filter", ""), request.query.get("search", "").lower()
        found = [
            {"id": name, "downloads": d.downloads, "likes": d.likes, "gated": "auto" if d.gated is True else d.gated,
             "tags": d.tags, "description": d.description}
            for name, d in self.datasets.items()
            if word in (name + d.description).lower() and (not wanted or wanted in d.tags)
        ]  # fmt: skip
        return as_json(found)

    def _info(self, request: Request, name: str) -> Answer:
        """Of a gated one everybody is told; of one that is not there who has no token learns only that he has none."""
        d = self.datasets.get(name)
        if d is None:
            known = "authorization" in request.headers
            return _refusal(404 if known else 401, "RepoNotFound", "Repository not found" if known else "Invalid username or password.")  # fmt: skip
        siblings = [{"rfilename": f} for f in d.files]
        return as_json(
            {
                "id": name,
                "gated": "auto" if d.gated is True else d.gated,
                "siblings": siblings,
                "tags": d.tags,
                "cardData": d.card or None,
            }
        )

    def _viewer(self, request: Request) -> Answer:
        name = request.query["dataset"]
        d = self.datasets[name]
        if d.gated and "authorization" not in request.headers:
            return _refusal(401, "ExternalUnauthenticatedError", "The dataset does not exist, or is not accessible without authentication (private or gated).")  # fmt: skip
        if not _may_read(d, request):  # 404 although it is there, as the real one answers
            return _refusal(404, "ExternalAuthenticatedError", "The dataset does not exist, or is not accessible with the current credentials (private or gated).")  # fmt: skip
        if request.path == "/splits":
            if d.unseen:
                return as_json({"error": "The dataset is empty."}, 404)
            return as_json({"splits": [{"dataset": name, "config": c, "split": s} for c, s in d.splits]})
        if request.path == "/parquet":
            files = [
                {"dataset": name, "config": at.split("/")[0], "split": at.split("/")[1], "size": len(data),
                 "url": f"{self.url}/datasets/{name}/resolve/refs%2Fconvert%2Fparquet/{at}", "filename": at.split("/")[2]}
                for at, data in d.parquet.items()
            ]  # fmt: skip
            known = as_json({"parquet_files": files, "pending": [], "failed": [], "partial": d.partial})
            return known if files else as_json({"error": "The dataset has no Parquet files."}, 404)
        start, length = int(request.query["offset"]), min(100, int(request.query["length"]))
        page = [
            {"row_idx": i, "row": d.rows[i], "truncated_cells": ["question"] if i in d.cut else []}
            for i in range(start, min(start + length, len(d.rows)))
        ]
        return as_json({"features": [], "rows": page, "num_rows_total": len(d.rows), "partial": d.partial})

    def _parquet(self, request: Request) -> Answer:
        name, _, at = request.path.removeprefix("/datasets/").partition("/resolve/")
        d = self.datasets[name]
        if not _may_read(d, request):
            known = "authorization" in request.headers
            why = "and you are not in the authorized list" if known else ": you must be authenticated to access it"
            return _refusal(403 if known else 401, "GatedRepo", f"Access to dataset {name} is restricted {why}.")
        data = d.parquet[at.replace("%2F", "/").removeprefix("refs/convert/parquet/")]
        told = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": "a" * 40, "Accept-Ranges": "bytes"}
        return Answer(data, content_type="application/octet-stream", headers=told)

    def _write(self, request: Request) -> Answer:
        path = request.path
        if path == "/api/repos/create":
            asked = json.loads(request.body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in self.repos:
                return as_json({"error": "You already created this repo", "url": f"{self.url}/{name}"}, 409)
            self.repos[name], self.private[name] = {}, asked.get("visibility", "private" if asked.get("private") else "public") == "private"  # fmt: skip
            return as_json({"url": f"{self.url}/{name}"})
        if "/preupload/" in path:
            files = json.loads(request.body)["files"]
            return as_json({"files": [{"path": f["path"], "uploadMode": "lfs" if f["size"] > 1000 else "regular", "shouldIgnore": False} for f in files]})  # fmt: skip
        if path.endswith("/info/lfs/objects/batch"):
            asked = json.loads(request.body)["objects"]
            return as_json({"transfer": "basic", "objects": [self._object(o) for o in asked]})
        if "/commit/" in path:
            return self._commit(request)
        for kind, kept in (("/branch/", self.branches), ("/tag/", self.tags)):
            if kind in path:
                name = path.split(kind)[0].split("/", 3)[3]
                told = json.loads(request.body or b"{}")
                kept.setdefault(name, []).append(told.get("tag") or path.split(kind)[1])
                return as_json({})
        if path.startswith("/api/collections"):
            return self._collection(request)
        if path == "/api/validate-yaml":
            return as_json({"errors": [], "warnings": []})
        return as_json({"error": f"no {path}"}, 404)

    def _object(self, asked: dict[str, Any]) -> dict[str, Any]:
        known = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self.objects:
            return known
        return {**known, "actions": {"upload": {"href": f"{self.url}/objects/{asked['oid']}"}}}

    def _commit(self, request: Request) -> Answer:
        name = request.path.split("/commit/")[0].split("/", 3)[3]
        for line in request.body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                self.repos[name][item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                self.repos[name][item["value"]["path"]] = self.objects[item["value"]["oid"]]
        self.commits += 1
        sha = hashlib.sha1(request.body).hexdigest()
        told = {"commitUrl": f"{self.url}/{name}/commit/{sha}", "commitOid": sha, "success": True}
        if request.query.get("create_pr") == "1":
            self.proposed[name] = self.proposed.get(name, 0) + 1
            told["pullRequestUrl"] = f"{self.url}/{name}/discussions/{self.proposed[name]}"
        return as_json(told)

    def _collection(self, request: Request) -> Answer:
        if request.path.endswith("/items"):
            slug = request.path.split("/api/collections/")[1].removesuffix("/items")
            self.collections[slug].append(json.loads(request.body)["item"]["id"])
        else:
            asked = json.loads(request.body)
            slug = f"{asked['namespace']}/{asked['title'].lower().replace(' ', '-')}-64f9a55bb3115b4f513ec026"
            self.collections.setdefault(slug, [])
        told = {"slug": slug, "title": slug, "owner": {"name": "me"}, "items": [], "lastUpdated": "2030-01-01T00:00:00.000Z", "position": 0, "private": True, "theme": "blue", "upvotes": 0}  # fmt: skip
        return as_json(told)
