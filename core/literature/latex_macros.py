r"""What TeX itself does before a reader sees anything: parts that are switched off, and the author's own abbreviations.

`\iffalse ... \fi` is how authors comment a page out: what stands there is not in the paper, and a number found in it
would be a false finding. `\newcommand{\ours}{ParrotRL}` and `\newcommand{\lr}{10^{-6}}` are how they write names and
values: left alone, a text reader drops both. Macros with arguments stay as they are. Time and size are bounded.
"""

from __future__ import annotations

import re

_SWITCH = re.compile(r"\\(newif\s*\\if[A-Za-z@]+|if[A-Za-z@]*|else|fi)(?![A-Za-z@])")
_CONDITIONS = {
    "if", "ifx", "ifnum", "ifdim", "ifodd", "ifcase", "ifcat", "iffalse", "iftrue", "ifdefined", "ifcsname", "ifmmode",
    "ifvmode", "ifhmode", "ifinner", "ifvoid", "ifhbox", "ifvbox", "ifeof", "iffontchar", "ifpdf", "ifxetex", "ifluatex",
}  # fmt: skip
r"""Those that end with `\fi`; `\iff` and `\ifthenelse` do not."""
_DEFINITION = re.compile(
    r"\\(?:(?:re)?new|provide)command\*?\s*(?:\{\s*\\([A-Za-z]{1,40})\s*\}|\\([A-Za-z]{1,40}))\s*(?=\{)"
    r"|\\def\s*\\([A-Za-z]{1,40})\s*(?=\{)"
)
_MACRO = re.compile(r"\\([A-Za-z]{1,40})(\{\})?")
_LONGEST = 300
"""Characters of a definition: longer ones are layout, not names or values."""
_ROUNDS = 4
_MOST_ADDED = 300_000
"""Characters that expansion may add, in all: definitions of definitions could multiply without end."""


def without_switched_off(source: str) -> str:
    r"""The source without `\iffalse` to its `\fi`, or to its `\else`. One that is never closed stays."""
    own = set(re.findall(r"\\newif\s*\\(if[A-Za-z@]+)", source))
    kept: list[str] = []
    opened: list[str] = []
    at = 0
    off: int | None = None  # how many conditions were open where the text was switched off
    for match in _SWITCH.finditer(source):
        word = match.group(1)
        if word in _CONDITIONS or word in own:
            if word == "iffalse" and off is None:
                kept.append(source[at : match.start()])
                at, off = match.end(), len(opened)
            opened.append(word)
        elif word == "else" and off is not None and len(opened) == off + 1:
            at, off = match.end(), None
            opened[-1] = "taken"
        elif word == "fi" and opened:
            last = opened.pop()
            if off is not None and len(opened) == off:
                at, off = match.end(), None
            elif last == "taken" and off is None:
                kept.append(source[at : match.start()])
                at = match.end()
    if off is not None:  # TeX would not have ended either
        return source
    return "".join([*kept, source[at:]])


def expanded(source: str) -> str:
    """The source with macros of no arguments replaced by what they stand for, and their definitions gone."""
    known: dict[str, str] = {}
    kept: list[str] = []
    at = 0
    for match in _DEFINITION.finditer(source):
        body = _group(source, match.end()) if match.start() >= at else None
        if body is not None and "#" not in body:
            # The blank after a macro stays here, which is what \xspace is for.
            known[match.group(1) or match.group(2) or match.group(3)] = re.sub(r"\\xspace(?![A-Za-z])", "", body)
            kept.append(source[at : match.start()])
            at = match.end() + len(body) + 2
    text = "".join([*kept, source[at:]])
    added = 0

    def put(match: re.Match[str]) -> str:
        nonlocal added
        body = known.get(match.group(1))
        if body is None or added > _MOST_ADDED:
            return match.group(0)
        added += len(body)
        return body

    for _ in range(_ROUNDS if known else 0):
        before = text
        text = _MACRO.sub(put, text)
        if text == before:
            break
    return text


def _group(source: str, at: int) -> str | None:
    """What stands in the braces that open at `at`; None for what is too long for a name or a value."""
    depth = 0
    for i in range(at, min(len(source), at + _LONGEST + 2)):
        if source[i] in "{}" and source[i - 1] != "\\":
            depth += 1 if source[i] == "{" else -1
            if depth == 0:
                return source[at + 1 : i]
    return None
