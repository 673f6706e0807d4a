"""What can go wrong between us and a source of papers. All are ToolErrors: the brain reads them and goes on.

ToolError
└── LiteratureError
    ├── Unreachable      no connection, a time-out, a name that does not resolve
    ├── RateLimited      the host asked to wait longer than we are willing to
    ├── SourceBroken     an answer that is not what the source promises (5xx, cut off, not its format)
    ├── SourceRefused    the source understood and said no (4xx)
    ├── PaperMissing     the source does not have this paper
    └── OfflineMiss      offline: no host is asked, and neither cache nor library has it
"""

from __future__ import annotations

from core.errors import ToolError


class LiteratureError(ToolError):
    """A source of papers did not give what was asked. `code`: its own word for why, where it says one (the Hub does)."""

    code: str = ""


class Unreachable(LiteratureError):
    """No connection, a time-out, or a name that does not resolve."""


class RateLimited(LiteratureError):
    """The host, or a run beside this one, makes us wait longer than we are willing to."""

    def __init__(self, what: str, *, where: str = "", next: str = "", wait_s: float = 0.0) -> None:
        super().__init__(what, where=where, next=next)
        self.wait_s = wait_s


class SourceBroken(LiteratureError):
    """A server error, a body cut off, or a body that is not the promised format."""


class SourceRefused(LiteratureError):
    """The source understood the request and refused it."""


class PaperMissing(LiteratureError):
    """The source does not have this paper."""


class OfflineMiss(LiteratureError):
    """Offline, and neither the cache nor the recipe library has it."""
