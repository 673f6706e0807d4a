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
    """The token's header for the Hub's own hosts, nothing for any other."""
    token = os.environ.get("HF_TOKEN", "")
    host = urlsplit(address).hostname or ""
    own = host == "huggingface.co" or host.endswith(".huggingface.co") or host == urlsplit(endpoint()).hostname
    return {"Authorization": f"Bearer {token}"} if token and own else {}
