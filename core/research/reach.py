"""Which addresses may be read: public hosts, and the mirrors a person configured. A page must not lead into the local network.

A language model chooses these addresses, often from texts that strangers wrote; an address of the machine's own network
(a router, a cloud's metadata service) could give away what no reader should see.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import urlsplit

from core.errors import ToolError

MIRRORS = (
    "HF_ENDPOINT", "INTERN_GITHUB", "INTERN_GITHUB_RAW", "INTERN_SEARXNG", "INTERN_ARXIV", "INTERN_WEB",
)  # fmt: skip
"""Variables by which a person names hosts, private ones too."""


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def check_address(address: str) -> None:
    """Raises ToolError for what is not a public http address. Called for every hop of a redirect."""
    try:
        parts = urlsplit(address)
        port = parts.port or 443
    except ValueError as error:
        raise ToolError(f"{address[:120]!r} is no web address: {error}", next="Check the address") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ToolError(f"{address[:120]!r} is no web address", next="Give one that begins with https://")
    if parts.netloc in _configured():
        return
    try:
        found = socket.getaddrinfo(parts.hostname, port, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:  # a label that is empty or too long
        raise ToolError(
            f"{parts.hostname} cannot be found: {error}", next="Check the address, or the network"
        ) from error
    if not all(is_public(str(one[4][0])) for one in found):
        raise ToolError(
            f"{parts.hostname} is no public host: it is not read", next="Name it in INTERN_WEB if you mean it"
        )


def is_public(address: str) -> bool:
    """Whether that numeric address lies in the internet, also the IPv4 one inside an IPv6 one (mapped, NAT64, 6to4)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast


def _configured() -> set[str]:
    return {urlsplit(os.environ[name]).netloc for name in MIRRORS if os.environ.get(name)}
