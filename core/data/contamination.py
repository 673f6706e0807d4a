"""Training rows against the evaluation's samples.

A sieve in SQL finds the pairs worth a look (the same letters and digits, or several rare word triples in common);
`overlap`
judges each. The evaluation's texts are compared and forgotten: nothing of them is written anywhere but the matched
spans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from core.data.evaluation_text import evaluation_strings
from core.data.files import Data, open_rows
from core.data.flags import build, flag_rows
from core.data.overlap import LONG, Match, Rarity, Sample, compare
from core.data.schema import Concern, Example
from core.data.settling import settle
from core.data.text import clip, words

__all__ = ["Contamination", "Finding", "check_data", "check_rows", "concern", "evaluation_strings"]

LISTED = 20
_RARITY_SAMPLE = 20_000
_SQL = r"""CREATE OR REPLACE MACRO letters(t) AS hash(replace(regexp_replace(lower(nfc_normalize(t)), '[^\p{L}\p{N} ]+', '',
'g'), ' ', ''));
CREATE OR REPLACE MACRO spaced(t) AS CASE WHEN strlen(t) > length(t) AND regexp_matches(t,
'[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]') THEN
    regexp_replace(t, '([\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}])', ' \1 ', 'g') ELSE t END;
CREATE OR REPLACE MACRO plain_words(t) AS list_transform(bare_words(spaced(t)), lambda x: hash(x));
CREATE OR REPLACE MACRO triples(w) AS list_transform(w[:-3], lambda x, i: hash(x, w[i + 1], w[i + 2]));
CREATE OR REPLACE TABLE samples (i BIGINT, t VARCHAR);"""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One training row that holds an evaluation sample."""

    row: int
    file: str
    line: int
    part: str
    """prompt or answer, or both (the sample spans them)"""
    kind: str
    score: float
    sample: int
    """Index into the evaluation texts given."""
    span: str
    """The matched stretch of the row."""
    start: int
    end: int


class Contamination(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `contaminated` rows hold a sample for sure, `alerts` share eight words in a row with one."""

    checked: int
    samples: int
    contaminated: int
    alerts: int
    samples_hit: int
    """Different evaluation samples found in the training rows."""
    kinds: dict[str, int]
    findings: tuple[Finding, ...]
    """The first twenty."""


def check_rows(
    rows: Sequence[tuple[str | None, str | None]], texts: Sequence[str]
) -> tuple[Contamination, dict[int, Match]]:
    """(prompt, answer) pairs against evaluation texts: the summary, and the match of each row found."""
    with open_rows(rows) as data:
        found = matches(data, texts)
        return _record(data, texts, found), found


def check_data(data: Data, texts: Sequence[str]) -> Contamination:
    """Open data against evaluation texts. Flags rows as `contaminated` or `overlap_alert`."""
    return _record(data, texts, matches(data, texts))


def _record(data: Data, texts: Sequence[str], found: dict[int, Match]) -> Contamination:
    flag_rows(data, "contaminated", [(n, m.kind) for n, m in sorted(found.items()) if m.sure])
    flag_rows(data, "overlap_alert", [(n, m.kind) for n, m in sorted(found.items()) if m.alert])
    sure = {n: m for n, m in found.items() if m.sure}
    alerts = {n: m for n, m in found.items() if m.alert}
    ordered = [*sorted(sure.items()), *sorted(alerts.items())]
    return Contamination(
        checked=data.rows, samples=len({t.strip() for t in texts if t.strip()}), contaminated=len(sure),
        alerts=len(alerts), samples_hit=len({m.sample for m in sure.values()}),
        kinds=dict(sorted(Counter(m.kind for m in found.values()).items())),
        findings=tuple(_finding(data, n, m) for n, m in ordered[:LISTED]),
    )  # fmt: skip


def concern(result: Contamination) -> Concern | None:
    """The result as a concern of an inspection."""
    if not result.contaminated and not result.alerts:
        return None
    kinds = ", ".join(f"{kind} {count}" for kind, count in result.kinds.items())
    text = (
        f"{{n}} rows ({{share}}) hold {result.samples_hit} of {result.samples} evaluation samples ({kinds}); "
        f"{result.alerts} more to look at"
    )
    examples = tuple(
        Example(file=f.file, line=f.line, text=clip(f.span), note=f"{f.kind} {f.score}") for f in result.findings[:5]
    )
    return build("contaminated", text, result.contaminated, result.checked, examples)


def matches(data: Data, texts: Sequence[str]) -> dict[int, Match]:
    """The surest match of each row that has one. Offsets are into prompt + newline + answer, where either may be
    missing."""
    samples = [Sample(i, t.strip()) for i, t in enumerate(texts) if t.strip()]
    if not samples:
        return {}
    data.con.execute(_SQL)
    _load(data, samples)
    pairs = sorted(_equal_pairs(data) | _overlapping_pairs(data))
    rarity = Rarity(_corpus(data, samples), [s.words for s in samples])
    by_index = {s.index: s for s in samples}
    rows = _texts(data, sorted({n for n, _ in pairs}))
    best: dict[int, Match] = {}
    for n, i in pairs:
        match = _judge(*rows[n], by_index[i], rarity)
        if match and (n not in best or _rank(match) > _rank(best[n])):
            best[n] = match
    prompts = {n: prompt for n, (prompt, _) in rows.items()}
    return settle(best, pairs, prompts, by_index, lambda: _corpus(data, samples, parts=True))


_ORDER = ("ngram8", "template", "covered", "characters", "edited", "idf5", "ngram13", "normalised", "exact")


def _rank(match: Match) -> tuple[int, float]:
    return _ORDER.index(match.kind), match.score


def _load(data: Data, samples: Sequence[Sample]) -> None:
    for start in range(0, len(samples), 2000):
        part = [{"i": s.index, "t": s.text} for s in samples[start : start + 2000]]
        data.con.execute(
            "INSERT INTO samples SELECT u.i, u.t FROM (SELECT unnest(?::STRUCT(i BIGINT, t VARCHAR)[]) u)", [part]
        )


def _equal_pairs(data: Data) -> set[tuple[int, int]]:
    """Rows whose prompt (or running text) has the same letters and digits as a sample: a superset of the equal ones.

    Answers are not compared so: a short answer equals others by its nature.
    """
    part = "answer" if data.roles.kind == "text" else "prompt"
    query = f"""SELECT n, i FROM (SELECT n, letters({part}) AS k FROM rows WHERE {part} IS NOT NULL) JOIN
        (SELECT min(i) AS i, letters(t) AS k FROM samples GROUP BY k, t) USING (k)"""
    return {(int(n), int(i)) for n, i in data.all(query)}


def _overlapping_pairs(data: Data) -> set[tuple[int, int]]:
    """Pairs with several rare word triples in common (six, or three in ten of the sample's, or two of a short
    one's)."""
    whole = "concat_ws(' ', prompt, answer)"
    data.con.execute(
        "CREATE OR REPLACE TABLE grams AS SELECT DISTINCT i, unnest(triples(w)) AS h FROM (SELECT i, plain_words(t) "
        "AS w FROM samples)"
    )
    data.con.execute(
        """DELETE FROM grams WHERE h IN (SELECT h FROM grams GROUP BY h
        HAVING count(*) > greatest(5, 0.02 * (SELECT count(*) FROM samples)))"""
    )
    data.con.execute(
        f"""CREATE OR REPLACE TABLE hits AS SELECT DISTINCT n, h FROM (SELECT n, unnest(triples(w)) AS h FROM
        (SELECT n, plain_words({whole}) AS w FROM rows)) WHERE h IN (SELECT h FROM grams)"""
    )
    data.con.execute(
        """DELETE FROM hits WHERE h IN (SELECT h FROM hits JOIN (SELECT n, pkey FROM rows) USING (n) GROUP BY h
        HAVING count(DISTINCT pkey) > greatest(20, 0.01 * (SELECT count(*) FROM rows)))"""
    )
    found = data.all(
        """SELECT n, i FROM hits JOIN grams USING (h) JOIN (SELECT i, count(*) AS size FROM grams GROUP BY i) USING (i)
        GROUP BY n, i, size HAVING count(*) >= least(6, greatest(1, 0.25 * size))"""
    )
    for table in ("grams", "hits"):
        data.con.execute(f"DROP TABLE {table}")
    return {(int(n), int(i)) for n, i in found}


def _corpus(data: Data, samples: Iterable[Sample], *, parts: bool = False) -> set[tuple[str, ...]]:
    """The words of the samples and of, evenly spread, different training rows: whole, or prompts and answers for themselves."""
    step = max(1, data.rows // _RARITY_SAMPLE)
    query = f"SELECT any_value(prompt), any_value(answer) FROM rows WHERE n % {step} = 0 GROUP BY pkey"
    rows = ([text for text in row if text] for row in data.all(query))
    texts = (text for row in rows for text in (row if parts else [" ".join(row)]))
    return {tuple(words(text)) for text in texts} | {tuple(s.words) for s in samples}


def _texts(data: Data, numbers: Sequence[int]) -> dict[int, tuple[str, str]]:
    query = "SELECT n, coalesce(prompt, ''), coalesce(answer, '') FROM rows WHERE n IN (SELECT unnest(?::BIGINT[]))"
    return {int(n): (p, a) for n, p, a in data.all(query, [list(numbers)])}


def _judge(prompt: str, answer: str, sample: Sample, rarity: Rarity) -> Match | None:
    """The prompt alone, a long answer alone, then both together (a sample may hold question and answer)."""
    found = compare(prompt.strip(), sample, rarity) if prompt.strip() else None
    if found or not answer.strip():
        return found
    offset = len(prompt) + 1 if prompt else 0
    if len(sample.words) < LONG and prompt:
        return None
    found = compare(answer, sample, rarity)
    if found:
        return msgspec.structs.replace(found, start=found.start + offset, end=found.end + offset)
    return compare(f"{prompt}\n{answer}", sample, rarity) if prompt else None


def _finding(data: Data, n: int, match: Match) -> Finding:
    prompt, answer = _texts(data, [n])[n]
    file, line = data.place(n)
    text = f"{prompt}\n{answer}" if prompt else answer
    part = (
        "prompt"
        if prompt and match.end <= len(prompt)
        else "answer"
        if match.start > len(prompt) or not prompt
        else "both"
    )
    return Finding(
        row=n, file=file, line=line, part=part, kind=match.kind, score=match.score, sample=match.sample,
        span=clip(text[match.start : match.end], 120), start=match.start, end=match.end,
    )  # fmt: skip
