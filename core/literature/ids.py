"""arXiv ids in all the forms in which people and pages write them, brought to one: `2402.03300`, without a version."""

from __future__ import annotations

import re

from core.errors import UsageError

_NEW = re.compile(r"(?<![\d.])(\d{4}\.\d{4,5})(?:v\d+)?(?![\d.]*\d)")
_OLD = re.compile(r"(?<![\w-])([a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?(?!\d)")
_PREFIX = re.compile(
    r"^(?:(?:https?://)?[^/\s]+\.[^/\s]+/(?:abs|pdf|html|papers|e-print|src|format)/|arxiv[:.]\s*|doi:\s*|(?:https?://)?(?:dx\.)?doi\.org/)",
    re.IGNORECASE,
)
_DOI = re.compile(r"^10\.48550/arxiv\.", re.IGNORECASE)
_AFTER = re.compile(r"[?#].*$|\s*\[[A-Za-z][\w.-]*\]$")
"""What an address carries behind the id, and the class as arXiv prints it: `arXiv:2402.03300v3 [cs.CL]`."""


def arxiv_id(text: str) -> str:
    """The bare id in an address, a DOI, `arXiv:...` or the id itself. Raises UsageError if there is none."""
    if found := find_arxiv_id(text):
        return found
    raise UsageError(f"{text[:80]!r} is not an arXiv id", next="Give one like 2402.03300 or an arxiv.org address.")


def find_arxiv_id(text: str | None) -> str | None:
    """As `arxiv_id`, or None. The whole text must be an id in one of those forms: prose is not searched."""
    if not text or len(text) > 300:
        return None
    bare = _DOI.sub("", _PREFIX.sub("", _PREFIX.sub("", _AFTER.sub("", text.strip()))))
    bare = bare.rstrip("/").removesuffix(".pdf").removesuffix(".md")
    match = _NEW.fullmatch(bare) or _OLD.fullmatch(bare)
    return re.sub(r"\.[A-Z]{2}/", "/", match.group(1)) if match else None  # arXiv's own form of math.GT/0309136


def version_in(text: str) -> str:
    """The version that an id or address names (`v2`), else empty. Sources give the newest: who asked for another is told."""
    match = re.search(r"\d(v\d{1,3})(?![\w])", text) if find_arxiv_id(text) else None
    return match.group(1) if match else ""
