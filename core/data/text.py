"""Normal forms of a text, and the words in it.

Which difference between two texts matters depends on what kind of text it is. `12+7=` and `12-7=` differ in one
character and are different questions; `What is it?` and `what is it` are the same one. So there are two normal forms:
`same_key` keeps every operator and bracket as soon as a text looks like a formula, `loose_key` keeps words alone and is
only to be trusted on texts that are made of words.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
"""One word; in scripts written without spaces one character counts as a word."""
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Thai, Lao, Burmese, Khmer (cut at their vowel signs), and those of which one character counts as a word."""
_FORMULA = re.compile(
    r"(?:\d|[)\]]|\b[^\W\d_]\b)\s*[-+*/=<>^%&|~]+\s*(?:[\d(\[]|[^\W\d_]\b|[?.]?\s*$)|(?:^|[\s(\[])[-+~]\d"
)
"""An operator with a number, a bracket or a one-letter name beside it, or a signed number."""
_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})")
_AROUND_SYMBOL = re.compile(r"\s*([^\w\s])\s*")
_EDGES = " \t\r\n.,;:!?=\"'`"
_SPACE = re.compile(r"\s+")
_OPERATOR = re.compile(r"[-+*/=<>^%&|~]")


def row_id(prompt: str) -> str:
    """16 hex digits of the SHA-256 of the prompt without differences of case, width and white space."""
    normal = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def folded(text: str) -> str:
    """The compatibility form (full-width letters, ligatures, composed accents made one), without case."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> list[str]:
    """The words of a text, folded; punctuation and operators are not words."""
    return _WORD.findall(folded(text))


def weight(words_: Sequence[str]) -> float:
    """How much a run of words says, in words of a script that parts them: elsewhere a piece is half a word on average."""
    return sum(0.5 if _UNSPACED.match(word) else 1.0 for word in words_)


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """(folded word, start, end) with offsets into `text` as it is; the words are those of `words`."""
    if text.isascii():
        return [(m.group(), m.start(), m.end()) for m in _WORD.finditer(text.lower())]
    whole = folded(text)
    if len(whole) == len(text) and unicodedata.is_normalized("NFKC", text):
        return [(m.group(), m.start(), m.end()) for m in _WORD.finditer(whole)]
    parts, places = _clusters(text)
    return [(m.group(), places[m.start()][0], places[m.end() - 1][1]) for m in _WORD.finditer("".join(parts))]


def _clusters(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The text folded piece by piece, a letter with the marks (and the jamo) that compose with it; and for each character
    of what comes out, where in the text it was."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    start = 0
    for at in range(1, len(text) + 1):
        if at < len(text) and (unicodedata.combining(text[at]) or "\u1160" <= text[at] <= "\u11ff"):
            continue
        parts.append(folded(text[start:at]))
        places += [(start, at)] * len(parts[-1])
        start = at
    return parts, places


def is_formula(text: str) -> bool:
    """Whether symbols carry meaning here: an operator between operands (a hyphenated word is none)."""
    return bool(_FORMULA.search(_HYPHEN.sub(" ", text)))


def same_key(text: str) -> str:
    """Two texts with the same key ask the same thing: case, space and sentence punctuation aside."""
    folded = _HYPHEN.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    if is_formula(folded):
        return _SPACE.sub(" ", _AROUND_SYMBOL.sub(r"\1", folded)).strip(_EDGES)
    return loose_key(folded) or folded.strip()


def loose_key(text: str) -> str:
    """The words alone, in order."""
    return " ".join(words(text))


def squashed(text: str) -> str:
    """Letters and digits alone: equal even where taking out punctuation joined what it had parted ("1.5" and "15")."""
    return "".join(words(text))


def operators(text: str) -> str:
    """The arithmetic and comparison signs of a text, in order."""
    return "".join(_OPERATOR.findall(_HYPHEN.sub(" ", text)))


def is_wordy(text: str) -> bool:
    """At least four words of two letters or more: long enough for its words alone to identify it."""
    return sum(1 for word in words(text) if len(word) > 1 and not word.isdigit()) >= 4


def clip(text: str, size: int = 160) -> str:
    """One line of at most `size` characters, control characters made visible; for examples on a screen."""
    flat = "".join(c if c.isprintable() else _visible(c) for c in text[: size * 2])
    return flat if len(flat) <= size and len(text) <= size * 2 else flat[: size - 3] + "..."


def _visible(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\u{ord(char):04x}")
