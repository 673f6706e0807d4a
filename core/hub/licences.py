"""What a licence says in one word, where a folder or the Hub states it, and what follows for a model made from several.

No legal advice: identifiers are sorted by what they are known to ask, so that a person sees at once what to read. A licence
that is not recognised is never taken for an open one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

Terms = Literal["open", "share-alike", "non-commercial", "no-derivatives", "own terms", "unknown"]

SAYS: dict[Terms, str] = {
    "open": "",
    "share-alike": "what is made from it has to carry the same licence",
    "non-commercial": "non-commercial use only",
    "no-derivatives": "no derivatives may be passed on",
    "own terms": "terms of its own: read them before use",
    "unknown": "unknown: ask its authors before use",
}
"""What a reader is told of each kind; nothing where credit is all that is asked."""
_OPEN = re.compile(
    r"(apache-?2(\.0)?|mit(-0)?|bsd(-\w+)*|isc|zlib|unlicense|wtfpl|postgresql|ncsa|bsl-1\.0|afl-3\.0|ecl-2\.0|artistic-2\.0|"
    r"cc0(-1\.0)?|pddl|odc-by(-1\.0)?|cc-by(-\d(\.\d)?)?|cdla-permissive-\d\.0|ms-pl|public-domain)"
)
_ASKED: tuple[tuple[Terms, str], ...] = (
    ("share-alike", r"^((a|l)?gpl|odbl|cdla-sharing|mpl-|epl-|eupl-|osl-|gfdl)|(^|-)sa(-|$)"),
    ("non-commercial", r"(^|-)nc(-|$)|non-?commercial|research-(only|use)"),
    ("no-derivatives", r"(^|-)nd(-|$)|no-?deriv"),
)
_UNSTATED = frozenset({"", "unknown", "none", "n/a", "na", "null", "unlicensed", "-"})
_NAMES = (
    (r"apache license,? *(version)? *2", "apache-2.0"),
    (r"(the )?mit license( \(mit\))?$", "mit"),
    (r"creative commons attribution[- ]noncommercial", "cc-by-nc"),
    (r"creative commons (zero|cc0)", "cc0-1.0"),
    (r"bsd (2|3)-clause", "bsd"),
    (r"gnu affero general public", "agpl"),
    (r"gnu lesser general public", "lgpl"),
    (r"gnu general public", "gpl"),
)
"""Beginnings of licence texts, and the identifier each stands for."""


def terms(licence: str) -> tuple[Terms, ...]:
    """What a licence asks, in the order of `SAYS`; of several, joined by commas, everything that any of them asks."""
    found = {kind for part in re.split(r"[,;|]| and | or ", licence) for kind in _one(part)}
    return tuple(kind for kind in SAYS if kind in found and (kind != "open" or found == {"open"}))


def is_open(licence: str) -> bool:
    """Whether credit is all it asks."""
    return terms(licence) == ("open",)


def warning(licence: str) -> str:
    """What a reader has to know before use; empty for an open licence."""
    return "; ".join(SAYS[kind] for kind in terms(licence) if SAYS[kind])


def _one(licence: str) -> list[Terms]:
    name = re.sub(r"[\s_]+", "-", licence.strip().casefold()).removeprefix("license:")
    if name in _UNSTATED:
        return ["unknown"]
    if _OPEN.fullmatch(name):
        return ["open"]
    asked: list[Terms] = [kind for kind, pattern in _ASKED if re.search(pattern, name)]
    return asked or ["own terms"]


def stated_by_hub(tags: Iterable[str], card: Mapping[str, object] | None = None) -> str:
    """The licence a repository of the Hub states: its `license:` tags, the name of its own terms behind `other`; empty for none."""
    named = dict.fromkeys(t.partition(":")[2].strip() for t in tags if t.startswith("license:"))
    own = str((card or {}).get("license_name") or "").strip()
    return ", ".join(f"other ({own})" if n == "other" and own else n for n in named if n)[:120]


def stated_in(folder: Path) -> str:
    """The licence that a folder's README.md (its front matter) or LICENSE states; empty for none."""
    named = _front_matter(folder / "README.md")
    if named:
        return ", ".join(named)[:120]
    for path in sorted(p for p in folder.glob("LICEN[SC]E*") if p.is_file()):
        if named_by := _by_text(path):
            return named_by
    return ""


def _by_text(path: Path) -> str:
    """The identifier of a licence's text, else its first line."""
    begin = _read(path)
    flat = " ".join(begin.split())
    for pattern, name in _NAMES:
        if re.match(pattern, flat[:60], re.IGNORECASE) or re.match(
            pattern, begin.strip().split("\n")[0], re.IGNORECASE
        ):
            return name
    return "".join(c for c in begin.strip().split("\n")[0].strip() if c.isprintable())[:80]


def _front_matter(readme: Path) -> list[str]:
    """The values of `license` in the YAML block a README begins with: one, `[a, b]`, or a list of lines."""
    head = re.match(r"---\r?\n(.*?)\n---", _read(readme), re.DOTALL)
    lines = head.group(1).splitlines() if head else []
    own = next((_values(line.partition(":")[2]) for line in lines if line.startswith("license_name:")), list[str]())
    for at, line in enumerate(lines):
        if line.startswith("license:"):
            found = _values(line.partition(":")[2])
            for below in lines[at + 1 :] if not found else []:
                if not below.lstrip().startswith("- "):
                    break
                found += _values(below.lstrip()[2:])
            return [f"other ({own[0]})" if value == "other" and own else value for value in found]
    return []


def _values(text: str) -> list[str]:
    bare = re.sub(r"(^|\s)#.*", "", text).strip().strip("[]")
    return [value for part in bare.split(",") if (value := part.strip().strip("'\""))]


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(20_000)
    except OSError:
        return ""


def follows(base: str, data: Sequence[str]) -> str:
    """The licence that a model made from `base` with `data` has by its sources alone; empty where a person has to decide.

    A model is a derivative of its base, so the base's terms go on to it. They settle the matter only where they allow a
    derivative, are one identifier of the Hub's list, and no data set asks for more than credit.
    """
    single = re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", base)
    if not single or base == "other" or {"no-derivatives", "unknown"} & set(terms(base)):
        return ""
    return base if all(map(is_open, data)) else ""
