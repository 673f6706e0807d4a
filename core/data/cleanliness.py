"""Faults inside single rows: nothing there, garbled bytes, hidden characters, personal data, odd lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from core.data.files import Data
from core.data.flags import conclude, flag, flag_rows
from core.data.schema import Concern, Lengths

_HIGH = (
    "[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014\u2018-\u201a"
    "\u201c-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]"
)
"""What the bytes 0x80 to 0xbf become in Latin-1 or Windows-1252."""
MOJIBAKE = (
    f"[\u00c2\u00c3]{_HIGH}|\u00e2\u20ac{_HIGH}?|[\u00c4\u00c5][\u0080-\u009f\u00a1-\u00ba\u00bc-\u00bf\u0178\u017e\u0192\u201a\u201e\u2020\u2021\u2030]|\u00e2{_HIGH}{{2}}|\u00f0[\u0178\u009f]{_HIGH}?|\u00ef\u00bb\u00bf|\ufffd|(?:[\u00d0\u00d1]{_HIGH}){{2,}}"
    f"|(?:[\u00e3-\u00e9]{_HIGH}{_HIGH}){{2,}}|(?:[\u0420\u0421][\u0430-\u045f\u0490\u0491\u00a0-\u00bf\u2013-\u203a\u20ac\u2116\u2122]){{5,}}"
)
"""UTF-8 read as another encoding: accents, quotes, emoji, Cyrillic (as Latin or as cp1251), East Asian; and U+FFFD."""
HIDDEN = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\u200b\u2060\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
"""Control characters, zero-width spaces, direction overrides and tag characters; joiners of scripts and emoji are
not."""
HIDDEN_PATTERN = re.compile(HIDDEN)

_EMAIL = re.compile(
    r"(?<![\w.%+-])(?!(?:git|hg|svn|no-?reply|donotreply)@)[A-Za-z0-9._%+-]+@(?!example\.|test\.|domain\.|email\.com|self\.|\d+\.\d+)"
    r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:[A-Za-z]{2,6}|technology|solutions|photography)"
    r"(?![\w(\[-]|:[~/\w])"
)
"""An address; not a version (`react@18.2.0`), a matrix product (`q@k.mean()`), a copy over SSH (`git@github.com:a/b`)."""
_PHONE = re.compile(
    r"(?<![\w.+*/=-])(?:\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}|\(\d{3}\)[ "
    r"-]?\d{3}-\d{4}|\d{3}[-.]\d{3}[-.]\d{4}|0\d{2,4}[ /]\d{3,4}[ -]?\d{3,5})(?!\w|\s*[=+*/]|\s*-\s*\d)"
)
_SSN = re.compile(r"(?<![\w+*/=-])\d{3}-\d{2}-\d{4}(?!\w|\s*[=+*/]|\s*-\s*\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(
    r"(?<![\d.+*/=-])(?:\d{4}[ -]){3}\d{4}(?![\d.]|\s*[=+*/-])|(?<![\d.+*/=-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\d.])|(?<![\w.+*/=-])\d{16}(?![\w.]|\s*[=+*/-])"
)
_SECRET = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{25,}|AKIA[A-Z0-9]{16}"
    r"|xox[bap]-[A-Za-z0-9-]{20,})\b|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_PERSONAL_HINT = (
    r"@|\+[0-9]{1,3}[ .(-]?[0-9(]|[0-9]{3}[-. )][ ]?[0-9]{2,4}[-. "
    r"]?[0-9]{3}|[A-Z]{2}[0-9]{2}|[0-9]{16}|sk-|gh[pousr]_|hf_|AKIA|xox|PRIVATE KEY"
)


def empty(data: Data) -> Concern | None:
    """Rows without a prompt, or without the answer the other rows have."""
    blank = "NOT regexp_matches(coalesce({0}, ''), '[^\\s\\p{{Z}}]')"
    needs_prompt = data.one("SELECT count(*) FROM rows WHERE prompt IS NOT NULL") > 0
    needs_answer = data.roles.kind in ("answers", "messages", "preference", "text")
    parts = [("prompt", needs_prompt), ("answer", needs_answer), ("rejected", data.roles.kind == "preference")]
    for column, needed in parts:
        if needed:
            flag(data, "empty", f"SELECT n, 'no {column}' AS note FROM rows WHERE {blank.format(column)}")
    asked = "list_last(list_filter(turns, lambda m: m.role = 'user'))"  # a system prompt is no question
    where = f"{asked} IS NOT NULL AND {blank.format(asked + '.content')} AND NOT ({blank.format('prompt')})"
    flag(data, "empty", f"SELECT n, 'no question' AS note FROM rows WHERE {where}")
    return conclude(data, "empty", "{n} rows ({share}) have an empty prompt or answer")


def mojibake(data: Data) -> Concern | None:
    """Texts that were decoded with the wrong encoding."""
    _by_pattern(data, "mojibake", MOJIBAKE, f"({_NOT_ASCII}) AND ")
    return conclude(data, "mojibake", "{n} rows ({share}) hold text decoded with the wrong encoding")


def hidden(data: Data) -> Concern | None:
    """Characters a reader does not see."""
    _by_pattern(data, "hidden_characters", HIDDEN)
    return conclude(data, "hidden_characters", "{n} rows ({share}) hold control or invisible characters")


def _by_pattern(data: Data, concern: str, pattern: str, sieve: str = "") -> None:
    expression = _re2(pattern)
    whole = "concat_ws(' ', prompt, answer, rejected)"
    flag(
        data,
        concern,
        f"SELECT n, regexp_extract({whole}, {expression}) AS note FROM rows WHERE {sieve}regexp_matches({whole}, "
        f"{expression})",
    )


_NOT_ASCII = " OR ".join(f"strlen({part}) > length({part})" for part in ("prompt", "answer", "rejected"))


def _re2(pattern: str) -> str:
    return "'" + pattern.replace("'", "''").replace("\\x00", "\\x{0}") + "'"


def personal(data: Data) -> Concern | None:
    """E-mail addresses, telephone, card and account numbers, keys. A first sieve in SQL, the decision in Python."""
    whole = "concat_ws(' ', prompt, answer, rejected)"
    found: list[tuple[int, str]] = []
    cursor = data.con.cursor()
    cursor.execute(f"SELECT n, {whole} FROM rows WHERE regexp_matches({whole}, '{_PERSONAL_HINT}') ORDER BY n")
    while batch := cursor.fetchmany(2000):
        found += [(int(n), kind) for n, text in batch if (kind := personal_kind(text))]
    flag_rows(data, "personal_data", found)
    return conclude(data, "personal_data", "{n} rows ({share}) seem to hold personal data or secrets")


def personal_kind(text: str) -> str | None:
    """email, phone, card, iban, ssn or secret if the text holds one."""
    for kind, pattern in (("secret", _SECRET), ("email", _EMAIL)):
        if pattern.search(text):
            return kind
    if any(_iban(m.group()) for m in _IBAN.finditer(text)):
        return "iban"
    if any(_luhn(m.group()) for m in _CARD.finditer(text)):
        return "card"
    return next((kind for kind, pattern in (("ssn", _SSN), ("phone", _PHONE)) if pattern.search(text)), None)


def _luhn(text: str) -> bool:
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    doubled = [d * 2 - 9 * (d > 4) for d in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    code = text.replace(" ", "")
    moved = code[4:] + code[:4]
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def lengths(data: Data) -> dict[str, Lengths]:
    """Characters of prompts and answers."""
    found: dict[str, Lengths] = {}
    for part in ("prompt", "answer"):
        counts = _counts(data, part, f"{part} IS NOT NULL")
        if counts:
            total = sum(c for _, c in counts)
            mean = sum(size * c for size, c in counts) / total
            found[part] = Lengths(
                unit="characters", checked=total, min=int(counts[0][0]), p50=int(_at(counts, math.ceil(total * 0.5) - 1)),
                p95=int(_at(counts, math.ceil(total * 0.95) - 1)), max=int(counts[-1][0]), mean=round(mean, 1),
            )  # fmt: skip
    return found


def _counts(data: Data, part: str, where: str) -> list[tuple[float, int]]:
    """(length, rows) in order of length: a few thousand pairs stand for a million rows."""
    rows = data.all(f"SELECT length({part}) AS l, count(*) FROM rows WHERE {where} GROUP BY l ORDER BY l")
    return [(int(length), int(count)) for length, count in rows]


def _at(counts: Sequence[tuple[float, int]], place: int) -> float:
    """The value at a place (from 0) of the sorted values that the counts stand for."""
    for value, count in counts:
        if place < count:
            return value
        place -= count
    return counts[-1][0]


def _median(counts: Sequence[tuple[float, int]]) -> float:
    total = sum(c for _, c in counts)
    return (_at(counts, (total - 1) // 2) + _at(counts, total // 2)) / 2


def length_outliers(data: Data) -> Concern | None:
    """Texts many times longer or shorter than the rest: over 8 robust deviations of the logarithm, and threefold."""
    for part in ("prompt", "answer"):
        counts = [(math.log1p(size), c) for size, c in _counts(data, part, f"trim({part}) <> ''")]
        if not counts:
            continue
        middle = _median(counts)
        spread = _median(sorted((abs(value - middle), c) for value, c in counts))
        bound = max(8 * 1.4826 * max(spread, 0.1), math.log(3))
        low, high = math.expm1(middle - bound), math.expm1(middle + bound)
        flag(
            data,
            "length_outliers",
            f"""SELECT n, '{part} of ' || length({part}) || ' characters' AS note FROM rows
            WHERE (length({part}) < {low} OR length({part}) > {high}) AND trim({part}) <> ''""",
        )
    return conclude(data, "length_outliers", "{n} rows ({share}) are far longer or shorter than the others")
