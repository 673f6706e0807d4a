"""The packages a pack needs, with exact versions: those the run recorded, completed from this environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata

ROOT = "ml-intern-tui"
EXTRAS = ("train",)


def pins(recorded: Mapping[str, str]) -> dict[str, str]:
    """{package: version}: everything the program and its training part need here; what the run recorded goes first."""
    found: dict[str, str] = {}
    waiting = [(ROOT, EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = metadata.version(name)
            waiting += [item for item in _needs(name, extras) if item[0] not in found]
        except metadata.PackageNotFoundError:
            continue  # optional, or of another platform
    found.pop(ROOT, None)
    return dict(sorted({**found, **{_plain(n): v for n, v in recorded.items() if v}}.items()))


def requirements(pinned: Mapping[str, str]) -> str:
    """requirements.txt. A local label (`2.13.0+cpu`) is not on the package index: it stands as a comment."""
    lines = [
        f"{name}=={version.split('+')[0]}" + (f"  # the run had {version}" if "+" in version else "")
        for name, version in pinned.items()
    ]
    return "\n".join(lines) + "\n"


def _needs(name: str, extras: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    from packaging.requirements import InvalidRequirement, Requirement

    needed: list[tuple[str, tuple[str, ...]]] = []
    for text in metadata.requires(name) or []:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            needed.append((_plain(one.name), tuple(one.extras)))
    return needed


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
