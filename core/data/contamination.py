"""Training rows against the evaluation's samples.

A sieve in SQL finds the pairs worth a look (`sieve`); `overlap` judges each, `brief` and `family` tell copies from siblings. The
evaluation's texts are compared and forgotten: nothing of them is written anywhere but the matched spans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache

import msgspec

from core.data import sieve
from core.data.brief import Uses, edited
from core.data.evaluation_text import evaluation_strings
from core.data.family import CERTAIN, TEXTS, Families
from core.data.files import Data, open_rows, stride
from core.data.flags import build, flag_rows
from core.data.overlap import LONG, Match, Rarity, Sample, Text, compare
from core.data.schema import Concern, Example
from core.data.text import clip, words

__all__ = ["Contamination", "Finding", "check_data", "check_rows", "concern", "evaluation_strings", "uncompared"]

LISTED = 20
ASKED = 4
"""Samples that a row resembles most, of which one may be the one it copies."""
CROWD_SAMPLES, CROWD_PROMPTS = 3, 4
"""A row that shares rare wording with so many samples, a sample that shares it with so many different prompts: there eight
words in a row are what the sentences of a pattern share."""
_RARITY_SAMPLE = 20_000
_AT_ONCE = 2000


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
    uncompared: int = 0
    """Pairs of a row and a sample that resemble each other by their own words and were not compared (see `uncompared`)."""


def check_rows(
    rows: Sequence[tuple[str | None, str | None]], texts: Sequence[str]
) -> tuple[Contamination, dict[int, Match]]:
    """(prompt, answer) pairs against evaluation texts: the summary, and the match of each row found."""
    with open_rows(rows) as data:
        found, left = matches(data, texts)
        return _record(data, texts, found, left), found


def check_data(data: Data, texts: Sequence[str]) -> Contamination:
    """Open data against evaluation texts. Flags rows as `contaminated` or `overlap_alert`."""
    return _record(data, texts, *matches(data, texts))


def uncompared(count: int) -> str:
    """What a reader is told where a check left pairs out; empty where it left none."""
    if not count:
        return ""
    return (
        f"contamination: {count:,} pairs of a row and an evaluation sample that resemble each other were not compared, only the "
        f"{sieve.ALIKE:,} that share most of their own words: a copy with replaced words may be among the others. Check less data at once"
    )


def _record(data: Data, texts: Sequence[str], found: dict[int, Match], left: int) -> Contamination:
    flag_rows(data, "contaminated", [(n, m.kind) for n, m in sorted(found.items()) if m.sure])
    flag_rows(data, "overlap_alert", [(n, m.kind) for n, m in sorted(found.items()) if m.alert])
    sure = {n: m for n, m in found.items() if m.sure}
    alerts = {n: m for n, m in found.items() if m.alert}
    ordered = [*sorted(sure.items()), *sorted(alerts.items())]
    return Contamination(
        checked=data.rows, samples=len({t.strip() for t in texts if t.strip()}), contaminated=len(sure),
        alerts=len(alerts), samples_hit=len({m.sample for m in sure.values()}),
        kinds=dict(sorted(Counter(m.kind for m in found.values()).items())),
        findings=tuple(_finding(data, n, m) for n, m in ordered[:LISTED]), uncompared=left,
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


def matches(data: Data, texts: Sequence[str]) -> tuple[dict[int, Match], int]:
    """The surest match of each row that has one, and how many pairs were not compared. Offsets are into prompt, answer and
    rejected answer, a line each; any may be missing."""
    samples = [Sample(i, t.strip()) for i, t in enumerate(texts) if t.strip()]
    if not samples:
        return {}, 0
    pairs, brief, left = sieve.sift(data, samples)
    if not pairs:
        return {}, left
    rarity = Rarity(_corpus(data, samples), [s.words for s in samples])
    by_index = {s.index: s for s in samples}
    asked: dict[int, list[int]] = {}
    for n, i in sorted(pairs):
        asked.setdefault(n, []).append(i)
    known = cache(lambda: _corpus(data, samples, parts=True))
    families = cache(lambda: Families(known(), _resembling(data, sorted(asked))))
    best: dict[int, Match] = {}
    prompts: dict[int, str] = {}
    for n, row in _rows(data, sorted(asked)):
        prompts[n] = row.prompt
        found = row.judge([by_index[i] for i in asked[n]], rarity)
        if found is not None and found.otherwise is None:
            best[n] = found
        elif (settled := _settled(row, families)) is not None:
            best[n] = settled
    best |= _edited(data, brief, best, by_index, known)
    crowded = _crowded(best, pairs, prompts)
    return {
        n: msgspec.structs.replace(m, kind="template") if n in crowded and m.kind == "ngram8" else m
        for n, m in best.items()
    }, left


def _settled(row: _Row, families: Callable[[], Families]) -> Match | None:
    """The best of a row's undecided matches, decided by what the family of its sample says."""
    best: Match | None = None
    for match, text, sample in row.undecided(ASKED):
        if match.otherwise is None:
            settled = match
        elif families().evidence(sample.index, sample.words, row.around(text, sample), row.own) >= CERTAIN:
            return msgspec.structs.replace(match, otherwise=None)
        else:
            settled = msgspec.structs.replace(match, kind=match.otherwise, otherwise=None)
        if best is None or _rank(settled) > _rank(best):
            best = settled
    return best


def _crowded(best: Mapping[int, Match], pairs: Iterable[tuple[int, int]], prompts: Mapping[int, str]) -> set[int]:
    beside: Counter[int] = Counter()
    asking: dict[int, set[str]] = {}
    for n, i in pairs:
        beside[n] += 1
        asking.setdefault(i, set()).add(prompts[n])
    return {n for n, m in best.items() if beside[n] >= CROWD_SAMPLES or len(asking.get(m.sample, ())) >= CROWD_PROMPTS}


def _resembling(data: Data, numbers: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """The words of rows under judgement, evenly spread."""
    for _, row in _rows(data, numbers[:: stride(len(numbers), TEXTS)]):
        yield from row.own


def _edited(
    data: Data, brief: Mapping[tuple[int, int], int], best: Mapping[int, Match], samples: Mapping[int, Sample],
    known: Callable[[], AbstractSet[tuple[str, ...]]],
) -> dict[int, Match]:  # fmt: skip
    """Short samples but for one word, among the rows for which nothing surer was found."""
    open_ = sorted((n, i) for n, i in brief if samples[i].size < LONG and (n not in best or not best[n].sure))
    if not open_:
        return {}
    heads = {n: row.head for n, row in _rows(data, sorted({n for n, _ in open_}))}
    uses = Uses([*known(), *(words(head) for head in heads.values())])
    return {
        n: Match(kind="one_word", score=round(1 - 1 / len(samples[i].words), 3), sample=i, start=0, end=len(heads[n]))
        for n, i in open_
        if edited(heads[n], samples[i].text, brief[n, i], uses)
    }


_ORDER = (
    "template", "ngram8", "characters", "one_word", "edited", "idf5", "ngram13", "contained",
    "normalised", "exact",
)  # fmt: skip


def _rank(match: Match) -> tuple[int, float]:
    return _ORDER.index(match.kind), match.score


def _corpus(data: Data, samples: Iterable[Sample], *, parts: bool = False) -> set[tuple[str, ...]]:
    """The words of the samples and of, evenly spread, different training rows: whole, or prompts and answers for themselves."""
    step = max(1, data.rows // _RARITY_SAMPLE)
    query = f"SELECT any_value(prompt), any_value(answer) FROM rows WHERE n % {step} = 0 GROUP BY pkey"
    rows = ([text for text in row if text] for row in data.all(query))
    texts = (text for row in rows for text in (row if parts else [" ".join(row)]))
    return {tuple(words(text)) for text in texts} | {tuple(s.words) for s in samples}


class _Row:
    """The parts of a row: they are looked at one by one, then together (a sample may hold question and answer)."""

    def __init__(self, prompt: str, answer: str, rejected: str, asked: Sequence[str]) -> None:
        self.prompt, self.answer, self.rejected = prompt, answer, rejected
        self.asked = [turn for turn in asked if turn.strip() and turn != prompt]
        """What the user says in each turn of a chat."""
        self.head = prompt if prompt.strip() else answer
        self.own = {tuple(words(part)) for part in (prompt, answer) if part.strip()}
        """The words of its parts."""
        self._texts: dict[str, Text] = {}
        self._undecided: list[tuple[Match, str, Sample]] = []

    def judge(self, samples: Iterable[Sample], rarity: Rarity) -> Match | None:
        """The surest match with one of the samples, with offsets into the whole."""
        best: Match | None = None
        for sample in samples:
            for text, offset in self._parts(sample.size >= LONG):
                found = compare(self._text(text), sample, rarity)
                if found is None:
                    continue
                moved = msgspec.structs.replace(found, start=found.start + offset, end=found.end + offset)
                self._undecided.append((moved, text, sample))
                if best is None or _rank(moved) > _rank(best):
                    best = moved
                if moved.sure and moved.otherwise is None:
                    break
        return best

    def undecided(self, most: int) -> list[tuple[Match, str, Sample]]:
        """The matches that were found, those first that have the largest share of their sample's words."""
        told = [(self._share(text, sample), (match, text, sample)) for match, text, sample in self._undecided]
        return [one for _, one in sorted(told, key=lambda t: (-t[0], t[1][0].sample, t[1][0].start))[:most]]

    def _share(self, text: str, sample: Sample) -> float:
        return (Counter(sample.words) & Counter(self.around(text, sample))).total() / len(sample.words)

    @property
    def whole(self) -> str:
        """Prompt, answer and rejected answer, each on a line of its own."""
        return "\n".join(part for part in (self.prompt, self.answer, self.rejected) if part)

    def _parts(self, long: bool) -> Iterator[tuple[str, int]]:
        """The texts that may be or hold a sample, each with its place in the whole. A short one is no answer: many have it."""
        if self.prompt.strip():
            bare = self.prompt.strip()
            yield bare, self.prompt.index(bare)
            yield from ((turn.strip(), max(0, self.prompt.find(turn.strip()))) for turn in self.asked)
        at = len(self.prompt) + 1 if self.prompt else 0
        for part in (self.answer, self.rejected):
            if part.strip() and (long or not self.prompt.strip()):
                yield part, at
            at += len(part) + 1 if part else 0
        if long and self.prompt.strip() and self.answer.strip():
            yield self.whole, 0

    def _text(self, text: str) -> Text:
        if text not in self._texts:
            self._texts[text] = Text(text)
        return self._texts[text]

    def around(self, text: str, sample: Sample) -> list[str]:
        """The words of one of its texts among which the sample lies."""
        found = self._text(text)
        start, end = found.window(sample)
        return found.words[start:end]


def _rows(data: Data, numbers: Sequence[int]) -> Iterator[tuple[int, _Row]]:
    """The rows with these numbers, in order."""
    said = "list_transform(list_filter(turns, lambda m: m.role = 'user'), lambda m: coalesce(m.content, ''))"
    query = f"""SELECT n, coalesce(prompt, ''), coalesce(answer, ''), coalesce(rejected, ''), {said} FROM rows
        WHERE n IN (SELECT unnest(?::BIGINT[])) ORDER BY n"""
    for start in range(0, len(numbers), _AT_ONCE):
        for n, prompt, answer, rejected, asked in data.all(query, [list(numbers[start : start + _AT_ONCE])]):
            yield int(n), _Row(prompt, answer, rejected, asked or ())


def _finding(data: Data, n: int, match: Match) -> Finding:
    _, row = next(_rows(data, [n]))
    file, line = data.place(n)
    prompt = row.prompt
    part = (
        "prompt"
        if prompt and match.end <= len(prompt)
        else "answer"
        if match.start > len(prompt) or not prompt
        else "both"
    )
    return Finding(
        row=n, file=file, line=line, part=part, kind=match.kind, score=match.score, sample=match.sample,
        span=clip(row.whole[match.start : match.end], 120), start=match.start, end=match.end,
    )  # fmt: skip
