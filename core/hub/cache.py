"""Where the Hub's client and Trackio keep things on this machine: huggingface_hub's own rules, without its import (0.3 s)."""

from __future__ import annotations

import os
from pathlib import Path


def hub_home() -> Path:
    """HF_HOME, else `huggingface` in the user's cache. The token, the model cache and Trackio's projects lie below."""
    return _expanded(os.environ.get("HF_HOME") or os.path.join(_cache_home(), "huggingface"))


def hub_cache() -> Path:
    """Repositories that were fetched: HF_HUB_CACHE, else its older name, else `hub` in `hub_home()`."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return _expanded(named) if named else hub_home() / "hub"


def _cache_home() -> str:
    return os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(text)))
