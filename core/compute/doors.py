"""Which hosts code of a brain may reach while it trains: the Hub, the package index, and what a person adds. Pure but for
reading pip's configuration and `hosts.txt`.

A door is a name, a port and a scheme. The name is decided on before it is looked up; what it leads to is looked at then
(core/compute/outlet.py). The Hub's own list of its content hosts: https://huggingface.co/.well-known/meta.json
(huggingface/hub-docs says `*.hf.co` and `*.xethub.hf.co` cover present and future ones).
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from core.errors import UsageError
from core.home import home
from core.hub.hosts import endpoint

Scheme = Literal["https", "http"]

HUB_CONTENT = ("*.hf.co", "cdn-lfs.huggingface.co", "cdn-lfs-us-1.huggingface.co", "cdn-lfs-eu-1.huggingface.co")
"""Where the Hub's redirects lead: Xet and its CDN (below hf.co), and the older LFS hosts."""
HUB_SIDE = ("huggingface.co", "hf.co", "datasets-server.huggingface.co")
"""The public Hub itself and the data set viewer that `datasets` asks; not where HF_ENDPOINT names another Hub."""
PACKAGES = ("pypi.org", "files.pythonhosted.org")

NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
ONLY_DIGITS = re.compile(r"[0-9.]+|0x[0-9a-f.x]*|[0-9a-f:.]*:[0-9a-f:.]*")
"""An address in any spelling that a resolver takes (127.1, 2130706433, 0x7f000001, ::1): not a name."""

HOSTS_FILE = "hosts.txt"


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """One way out."""

    host: str
    """A name; `*.hf.co` is every name below hf.co."""
    port: int = 443
    scheme: Scheme = "https"
    """https: a tunnel of which only the two ends know what is in it. http: requests that the proxy passes on."""
    private: bool = False
    """A person configured this very host as the Hub or the index: it may lie in a private network, or be an address."""

    def fits(self, scheme: str, host: str, port: int) -> bool:
        below = self.host.startswith("*.") and host.endswith(self.host[1:]) and len(host) >= len(self.host)
        return scheme == self.scheme and port == self.port and (host == self.host or below)


def door_for(doors: Iterable[Door], scheme: str, host: str, port: int) -> Door | None:
    return next((d for d in doors if d.fits(scheme, host, port)), None)


def plain_name(host: str) -> str:
    """Lower case, without the dot of the root: the form in which names are compared."""
    return host.lower().removesuffix(".")


def is_name(host: str) -> bool:
    """Whether that is the name of a host, not an address in one of its spellings."""
    return bool(NAME.fullmatch(host)) and not ONLY_DIGITS.fullmatch(host)


def told(doors: Iterable[Door]) -> str:
    """For people: `huggingface.co, *.hf.co, 127.0.0.1:8080`."""
    usual = {"https": 443, "http": 80}
    return ", ".join(d.host if d.port == usual[d.scheme] else f"{d.host}:{d.port}" for d in doors)


def in_short(doors: Sequence[Door]) -> str:
    """The same where each of the Hub's hosts need not be named: `huggingface.co, its content hosts, the package index`."""
    known = {*HUB_SIDE, *HUB_CONTENT, *PACKAGES}
    more = [d for d in doors[1:] if d.host not in known]
    return ", ".join([told(doors[:1]), "its content hosts, the package index", *([told(more)] if more else [])])


def open_doors(environ: Mapping[str, str] | None = None) -> tuple[Door, ...]:
    """The ways out of this machine's configuration. Raises UsageError for a line of hosts.txt that names no host."""
    environ = os.environ if environ is None else environ
    own = [configured(endpoint())]
    side = HUB_SIDE if own[0].host == "huggingface.co" else ()
    public = [Door(host=h) for h in (*side, *HUB_CONTENT, *PACKAGES)]
    indexes = [configured(address) for address in pip_indexes(environ)]
    return tuple(dict.fromkeys([*own, *indexes, *(d for d in public if d.host not in {o.host for o in own}), *added()]))


def configured(address: str) -> Door:
    """The door to an address that a person configured."""
    parts = urlsplit(address)
    scheme: Scheme = "http" if parts.scheme == "http" else "https"
    host = plain_name(parts.hostname or "")
    try:
        port = parts.port or (80 if scheme == "http" else 443)
    except ValueError:  # no number
        port = 0
    if not host or not port:
        raise UsageError(
            f"{address!r} is no web address", where="HF_ENDPOINT or pip's index-url", next="Give one with https://"
        )
    return Door(host=host, port=port, scheme=scheme, private=host not in (*HUB_SIDE, *PACKAGES))


def added() -> list[Door]:
    """Hosts that a person added: one a line in hosts.txt under INTERN_HOME, `host`, `host:port` or `*.host`."""
    path = home() / HOSTS_FILE
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    found: list[Door] = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        host, _, port = text.partition(":")
        host = plain_name(host)
        wide = host.startswith("*.")
        right = is_name(host.removeprefix("*.")) and (not wide or host.count(".") >= 2)
        if not right or (port and not (port.isdecimal() and 0 < int(port) < 65_536)):
            raise UsageError(
                f"{text!r} is no host", where=f"{path}, line {number}",
                next="Write host, host:port or *.host.tld; an address of a private network goes into HF_ENDPOINT or pip's index-url",
            )  # fmt: skip
        found.append(Door(host=host, port=int(port or 443)))
    return found


def pip_indexes(environ: Mapping[str, str]) -> list[str]:
    """index-url and extra-index-url as pip would take them: its environment, else its files."""
    files = _pip_settings(environ)
    found = [environ.get("PIP_INDEX_URL") or files.get("index-url", "")]
    found += (environ.get("PIP_EXTRA_INDEX_URL") or files.get("extra-index-url", "")).split()
    return [address for address in found if urlsplit(address).scheme in ("http", "https")]


def environment_inside(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What clients inside must know to find the same Hub and index; credentials stay outside."""
    environ = os.environ if environ is None else environ
    first, *rest = [without_credentials(a) for a in pip_indexes(environ)] or [""]
    inside = {
        "HF_ENDPOINT": without_credentials(environ.get("HF_ENDPOINT", "")), "PIP_INDEX_URL": first,
        "PIP_EXTRA_INDEX_URL": " ".join(rest),
    }  # fmt: skip
    return {k: v for k, v in inside.items() if v} | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def without_credentials(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if address else ""


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's files, the later before the earlier (pip's manual, "Configuration"); what cannot be read, pip says itself."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return {}
    user = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    paths = [
        Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), Path.home() / ".pip/pip.conf", user / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf", *([Path(named)] if named else []),
    ]  # fmt: skip
    parser = configparser.RawConfigParser()
    found: dict[str, str] = {}
    try:
        parser.read(paths, "utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    for section in ("global", "download", "install"):
        found |= {k.replace("_", "-"): v for k, v in (parser.items(section) if parser.has_section(section) else [])}
    return found
