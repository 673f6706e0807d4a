"""Upload a folder to the Hub, private unless told otherwise: `python -P -m core.hub.push SPEC`, one JSON object out.

In a process of its own, so that a stalled upload can be ended. Resumable: what the Hub has already is not sent again, an
existing repository is taken up, and a folder without changes makes no commit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import msgspec

from core.errors import ToolError
from core.hub.hosts import endpoint
from core.hub.transfer import or_without_xet


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """What goes where."""

    repo: str
    """owner/name"""
    folder: str
    kind: str = "model"
    """model or dataset"""
    private: bool = True
    message: str = "Upload"
    collection: str = ""
    """Title of the collection it joins; empty for none."""
    tag: str = ""
    branch: str = ""
    """Commit to this branch, made if need be; empty: main."""
    pull_request: bool = False
    """Propose the upload instead of committing it."""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What the Hub answered."""

    url: str
    commit: str
    collection: str = ""
    pull_request: str = ""
    """Address of the pull request, where one was asked for."""
    notes: tuple[str, ...] = ()
    """What was uploaded but could not be tagged or put into its collection, and why."""


def push(spec: Push, *, timeout_s: float = 3600.0) -> Pushed:
    """Carry it out. Raises ToolError with the Hub's reason; nothing is lost, the same call goes on where it stopped."""
    if not os.environ.get("HF_TOKEN"):
        raise ToolError("Publishing needs a token that may write", next="Set HF_TOKEN (a write token of your account)")
    env = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-P", "-m", "core.hub.push", json.dumps(msgspec.to_builtins(spec))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=env, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"The upload took over {timeout_s:.0f} s", where=spec.repo, next="Publish again: it goes on"
        ) from error
    try:
        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError) as error:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ToolError(f"The upload broke: {last[:300]}", where=spec.repo, next="Publish again: it goes on") from error
    if "error" in told:
        raise ToolError(
            str(told["error"])[:400],
            where=f"{endpoint()}/{spec.repo}",
            next="Check the name and the token; publish again",
        )
    return msgspec.convert(told, Pushed)


def _carry_out(spec: Push) -> Pushed:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=endpoint(), token=os.environ["HF_TOKEN"])
    api.create_repo(spec.repo, repo_type=spec.kind, private=spec.private, exist_ok=True)
    if spec.branch:
        api.create_branch(spec.repo, branch=spec.branch, repo_type=spec.kind, exist_ok=True)
    made = or_without_xet(
        lambda: api.upload_folder(
            repo_id=spec.repo, folder_path=spec.folder, repo_type=spec.kind, commit_message=spec.message,
            revision=spec.branch or None, create_pr=spec.pull_request, ignore_patterns=["*.tmp", ".*", "optimizer.pt"],
        )
    )  # fmt: skip
    slug, notes = "", list[str]()
    # The upload is done and kept: what follows is a label on it, and its failure is told, not thrown.
    try:
        slug = _collect(api, spec) if spec.collection else ""
    except HfHubHTTPError as error:
        notes.append(f"not in the collection {spec.collection!r}: {str(error)[:200]}")
    try:
        if spec.tag:
            api.create_tag(
                spec.repo, tag=spec.tag, repo_type=spec.kind, revision=made.pr_revision or made.oid, exist_ok=True
            )
    except HfHubHTTPError as error:
        notes.append(f"not tagged {spec.tag!r}: {str(error)[:200]}")
    return Pushed(
        url=made.commit_url, commit=made.oid, collection=slug, pull_request=made.pr_url or "", notes=tuple(notes)
    )


def _collect(api: Any, spec: Push) -> str:
    """Put the repository into its collection, made if need be; returns the collection's slug."""
    owner = spec.repo.split("/")[0]
    slug: str = api.create_collection(spec.collection, namespace=owner, private=spec.private, exists_ok=True).slug
    api.add_collection_item(slug, spec.repo, "dataset" if spec.kind == "dataset" else "model", exists_ok=True)
    return slug


if __name__ == "__main__":
    try:
        print(json.dumps(msgspec.to_builtins(_carry_out(msgspec.json.decode(sys.argv[1].encode(), type=Push)))))
    except Exception as problem:  # noqa: BLE001 - the boundary of the process: the reason goes to the caller
        print(json.dumps({"error": f"{type(problem).__name__}: {problem}"}))
