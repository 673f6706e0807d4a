"""Which hosts are asked, and which of them may see the token."""

from __future__ import annotations

import os
from urllib.parse import urlsplit


def endpoint() -> str:
    """The Hub: HF_ENDPOINT, or huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def viewer() -> str:
    """The data set viewer. Its host is fixed in every client and does not follow HF_ENDPOINT: INTERN_VIEWER names another."""
    return os.environ.get("INTERN_VIEWER", "").rstrip("/") or "https://datasets-server.huggingface.co"


def authorization(address: str) -> dict[str, str]:
    """The token's header for the Hub's own hosts, nothing for any other: another port of the same machine is another host,
    and the public Hub is never told it in the clear."""
    token = os.environ.get("HF_TOKEN", "")
    parts, hub = urlsplit(address), urlsplit(endpoint())
    host = parts.hostname or ""
    public = parts.scheme == "https" and (host == "huggingface.co" or host.endswith(".huggingface.co"))
    # A viewer that a person put beside their own Hub belongs to it.
    beside = host == hub.hostname and parts.netloc == urlsplit(viewer()).netloc
    own = public or (parts.scheme, parts.netloc) == (hub.scheme, hub.netloc) or beside
    return {"Authorization": f"Bearer {token}"} if token and own else {}
