"""arXiv ids in all the forms in which people and pages write them, brought to one: `2402.03300`, without a version."""

from __future__ import annotations

import re

from core.errors import UsageError

_NEW = re.compile(r"(?<![\d.])(\d{4}\.\d{4,5})(?:v\d+)?(?![\d.]*\d)")
_OLD = re.compile(r"(?<![\w-])([a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?(?!\d)")
_PREFIX = re.compile(
    r"^(?:https?://[^/\s]+/(?:abs|pdf|html|papers|e-print|src)/|arxiv:\s*|doi:|https?://doi\.org/)", re.IGNORECASE
)
_DOI = re.compile(r"^10\.48550/arxiv\.", re.IGNORECASE)


def arxiv_id(text: str) -> str:
    """The bare id in an address, a DOI, `arXiv:...` or the id itself. Raises UsageError if there is none."""
    if found := find_arxiv_id(text):
        return found
    raise UsageError(f"{text[:80]!r} is not an arXiv id", next="Give one like 2402.03300 or an arxiv.org address.")


def find_arxiv_id(text: str | None) -> str | None:
    """As `arxiv_id`, or None. The whole text must be an id in one of those forms: prose is not searched."""
    if not text:
        return None
    bare = _DOI.sub("", _PREFIX.sub("", text.strip())).removesuffix(".pdf").removesuffix(".md").rstrip("/")
    match = _NEW.fullmatch(bare) or _OLD.fullmatch(bare)
    return match.group(1) if match else None
