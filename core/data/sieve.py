"""Which rows are worth a look for which evaluation samples: a superset of the copies, found in SQL over all rows.

Four sieves. The same letters and digits; several rare word triples in common; for short samples, where one replaced word leaves
no triple, the same words but for one; and for samples made by a template, whose triples many share, most of the words that are
their own (fillers: names, numbers). Words are compared in their compatibility form (NFKC, case folded): what
SQL cannot fold (full-width letters, ligatures, combining marks, final sigma) is folded in Python, for the few rows that
have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.data.files import Data, stride
from core.data.overlap import LONG, Sample
from core.data.text import folded

BRIEF = 16
"""Words up to which a sample is also sought by all its words but one."""
CROWD = 20
"""Rows with the same words but one from which the place of that one is a slot that anything may fill."""
EDITED, BROKEN = 0.1, 4
"""Share of a copy's words that are replaced, and word triples that one replaced piece may break."""
OWN = 8
"""Words of a sample, the rarest, by which a copy is sought where its triples do not tell it from others."""
MOST_OWN = 24
"""Words of a row that are some sample's own: a text with more is none of a template."""
EACH, ALIKE = 4, 30_000
"""Pairs of one row, and of all, found by their own words that are looked at: those first that share most. What is left out
by the second is counted (`Sifted.uncompared`)."""
_ODD = (
    r"[\x{aa}\x{b2}\x{b3}\x{b5}\x{b9}\x{ba}\x{bc}-\x{be}\x{df}\x{132}-\x{149}\x{17f}\x{1c4}-\x{1cc}\x{1f0}-\x{1f3}"
    r"\x{2b0}-\x{2e4}\x{300}-\x{37a}\x{390}\x{3b0}\x{3c2}\x{3d0}-\x{3f9}\x{587}\x{610}-\x{678}\x{958}-\x{9df}"
    r"\x{a33}-\x{a5e}\x{b5c}-\x{b5d}\x{e33}\x{eb3}-\x{edd}\x{f43}-\x{f69}\x{10fc}-\x{11ff}\x{13a0}-\x{13fd}"
    r"\x{1c80}-\x{1c88}\x{1d2c}-\x{1dbf}\x{1e96}-\x{1e9e}\x{1f50}-\x{1ffc}\x{2070}-\x{2094}\x{2100}-\x{2189}"
    r"\x{2460}-\x{24ea}\x{2c7c}-\x{2d6f}\x{2e9f}-\x{2fd5}\x{3038}-\x{303a}\x{3099}-\x{309f}\x{30ff}-\x{319f}"
    r"\x{3200}-\x{33ff}\x{a69c}-\x{a7f9}\x{ab5c}-\x{abbf}\x{f900}-\x{fefc}\x{ff10}-\x{ff19}\x{ff21}-\x{ff3a}"
    r"\x{ff41}-\x{ff5a}\x{ff66}-\x{ffdc}\x{10781}-\x{107ba}\x{1d400}-\x{1eebb}\x{1f100}-\x{1f251}\x{2f800}-\x{2fa1d}]"
)
"""Letters and digits whose compatibility form is not what SQL's `lower` gives, and the marks that compose with others."""
_MACROS = r"""CREATE OR REPLACE MACRO letters(t) AS hash(replace(regexp_replace(nfc_normalize(t), '[^\p{L}\p{N} ]+', '',
'g'), ' ', ''));
CREATE OR REPLACE MACRO spaced(t) AS CASE WHEN strlen(t) > length(t) AND regexp_matches(t,
'[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]') THEN
    regexp_replace(t, '([\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}])', ' \1 ', 'g') ELSE t END;
CREATE OR REPLACE MACRO plain_words(t) AS list_transform(bare_words(spaced(t)), lambda x: hash(x));
CREATE OR REPLACE MACRO triples(w) AS list_transform(w[:-3], lambda x, i: hash(x, w[i + 1], w[i + 2]));
CREATE OR REPLACE MACRO all_of(w) AS list_reduce(w, lambda x, y: xor(x, y));
CREATE OR REPLACE MACRO but_one(w) AS list_concat([all_of(w)], list_transform(w, lambda x: xor(all_of(w), x)));
CREATE OR REPLACE TABLE samples (i BIGINT, t VARCHAR);"""
# A row's `head` is what a sample may equal as a whole: the prompt, or the running text.
_SAID = """SELECT n, pkey, {0}(CASE WHEN trim(coalesce(prompt, '')) = '' THEN answer ELSE prompt END) AS head,
    {0}(concat_ws(' ', prompt, answer, rejected)) AS whole FROM rows"""


class Sifted(NamedTuple):
    """What is worth a look."""

    pairs: set[tuple[int, int]]
    """(row, sample) pairs to be judged."""
    brief: dict[tuple[int, int], int]
    """Of those that share all words but one: how many different texts share them."""
    uncompared: int
    """Pairs that were found by their own words, and left out because there are more than `ALIKE`."""


def sift(data: Data, samples: Sequence[Sample]) -> Sifted:
    """The pairs to be judged, and how many more there are than are looked at."""
    data.con.execute(_MACROS)
    _load(data, samples)
    _say(data)
    brief = _brief_pairs(data) if any(3 <= len(s.words) <= BRIEF for s in samples) else {}
    overlapping, brittle = _overlapping_pairs(data, samples)
    kindred, found = _kindred_pairs(data, brittle)
    pairs = _equal_pairs(data) | overlapping | set(brief) | kindred
    data.con.execute("DROP VIEW said; DROP TABLE odd; DROP TABLE samples")
    return Sifted(pairs, brief, found - len(kindred))


def _load(data: Data, samples: Sequence[Sample]) -> None:
    for start in range(0, len(samples), 2000):
        part = [{"i": s.index, "t": folded(s.text)} for s in samples[start : start + 2000]]
        data.con.execute(
            "INSERT INTO samples SELECT u.i, u.t FROM (SELECT unnest(?::STRUCT(i BIGINT, t VARCHAR)[]) u)", [part]
        )


def _say(data: Data) -> None:
    """View `said`: n, pkey, head and whole, folded."""
    data.con.execute("CREATE OR REPLACE TABLE odd (n BIGINT, pkey UBIGINT, head VARCHAR, whole VARCHAR)")
    cursor = data.con.cursor()
    cursor.execute(
        f"SELECT * FROM ({_SAID.format('')}) WHERE strlen(whole) > length(whole) AND regexp_matches(whole, '{_ODD}')"
    )
    kind = "STRUCT(n BIGINT, k UBIGINT, h VARCHAR, w VARCHAR)[]"
    while batch := cursor.fetchmany(2000):
        rows = [{"n": n, "k": k, "h": folded(h or ""), "w": folded(w or "")} for n, k, h, w in batch]
        data.con.execute(f"INSERT INTO odd SELECT u.n, u.k, u.h, u.w FROM (SELECT unnest(?::{kind}) u)", [rows])
    data.con.execute(
        f"CREATE OR REPLACE VIEW said AS {_SAID.format('lower')} WHERE n NOT IN (SELECT n FROM odd) UNION ALL "
        "SELECT n, pkey, head, whole FROM odd"
    )


def _equal_pairs(data: Data) -> set[tuple[int, int]]:
    """Rows whose prompt, running text or one turn of the user has the same letters and digits as a sample.

    Answers are not compared so: a short answer equals others by its nature.
    """
    heads = "SELECT n, head AS t FROM said WHERE head IS NOT NULL"
    if "messages" in data.kinds:
        heads += """ UNION ALL SELECT n, lower(u.content) AS t FROM (SELECT n, unnest(turns) AS u FROM rows
            WHERE len(turns) > 2) WHERE u.role = 'user' AND u.content IS NOT NULL"""
    query = f"""SELECT DISTINCT n, i FROM (SELECT n, letters(t) AS k FROM ({heads})) JOIN
        (SELECT min(i) AS i, letters(t) AS k FROM samples GROUP BY k, t) USING (k)"""
    return {(int(n), int(i)) for n, i in data.all(query)}


def _overlapping_pairs(data: Data, samples: Sequence[Sample]) -> tuple[set[tuple[int, int]], list[Sample]]:
    """Pairs with several rare word triples in common (six, or a quarter of a shorter sample's); and the samples of which a
    copy with a tenth of its words replaced may keep less."""
    data.con.execute(
        "CREATE OR REPLACE TABLE grams AS SELECT DISTINCT i, unnest(triples(w)) AS h FROM (SELECT i, plain_words(t) "
        "AS w FROM samples)"
    )
    data.con.execute(
        """DELETE FROM grams WHERE h IN (SELECT h FROM grams GROUP BY h
        HAVING count(*) > greatest(5, 0.02 * (SELECT count(*) FROM samples)))"""
    )
    data.con.execute(
        """CREATE OR REPLACE TABLE hits AS SELECT DISTINCT n, h FROM (SELECT n, unnest(triples(w)) AS h FROM
        (SELECT n, plain_words(whole) AS w FROM said)) WHERE h IN (SELECT h FROM grams)"""
    )
    data.con.execute(
        """CREATE OR REPLACE TABLE common AS SELECT h FROM hits JOIN (SELECT n, pkey FROM rows) USING (n) GROUP BY h
        HAVING count(DISTINCT pkey) > greatest(20, 0.01 * (SELECT count(*) FROM rows))"""
    )
    data.con.execute("DELETE FROM hits WHERE h IN (SELECT h FROM common)")
    found = data.all(
        """SELECT n, i FROM hits JOIN grams USING (h) JOIN (SELECT i, count(*) AS size FROM grams GROUP BY i) USING (i)
        GROUP BY n, i, size HAVING count(*) >= least(6, greatest(1, 0.25 * size))"""
    )
    kept = data.all("SELECT i, count(*) FROM grams WHERE h NOT IN (SELECT h FROM common) GROUP BY i")
    rare = {int(i): int(count) for i, count in kept}
    for table in ("grams", "hits", "common"):
        data.con.execute(f"DROP TABLE {table}")
    return {(int(n), int(i)) for n, i in found}, [s for s in samples if _is_brittle(s, rare.get(s.index, 0))]


def _edits(sample: Sample) -> int:
    return max(1, round(EDITED * len(sample.words)))


def _is_brittle(sample: Sample, rare: int) -> bool:
    """Whether a copy may have too few of so many rare triples left."""
    return sample.size >= LONG and rare - BROKEN * _edits(sample) < min(6, max(1, 0.25 * rare))


def _kindred_pairs(data: Data, samples: Sequence[Sample]) -> tuple[set[tuple[int, int]], int]:
    """Pairs that have all of the sample's own words in common but as many as a copy may have replaced: the `ALIKE` that
    share most, and how many there are in all.

    Two words say together what neither says alone, so rows are found by couples of them.
    """
    if not samples:
        return set(), 0
    wanted = [{"i": s.index, "e": _edits(s)} for s in samples]
    longest = 4 * max(len(s.text) for s in samples) + 200
    step = stride(data.rows, 20_000)
    data.con.execute(
        """CREATE OR REPLACE TABLE brittle AS SELECT i, e, unnest(list_distinct(plain_words(t))) AS w FROM samples JOIN
        (SELECT u.i, u.e FROM (SELECT unnest(?::STRUCT(i BIGINT, e BIGINT)[]) u)) USING (i)""",
        [wanted],
    )
    data.con.execute(
        f"""CREATE OR REPLACE TABLE own AS WITH texts AS (SELECT DISTINCT list_distinct(plain_words(head)) AS w FROM said
            WHERE n % {step} = 0 AND length(head) <= {longest}),
        having_ AS (SELECT w, count(*) AS texts FROM (SELECT unnest(w) AS w FROM texts UNION ALL SELECT w FROM brittle) GROUP BY w)
        SELECT i, e, w FROM brittle JOIN having_ USING (w)
        WHERE texts < 0.5 * ((SELECT count(*) FROM texts) + {len(samples)})
        QUALIFY row_number() OVER (PARTITION BY i ORDER BY texts, w) <= {OWN}"""
    )
    data.con.execute(
        """CREATE OR REPLACE TABLE couples AS SELECT a.i, hash(a.w, b.w) AS h FROM own a JOIN own b ON a.i = b.i AND a.w < b.w"""
    )
    found = data.all(
        f"""WITH needed AS (SELECT i, greatest(2, count(*) - any_value(e)) AS m FROM own GROUP BY i),
        mine AS (SELECT n, list(w) AS w FROM (SELECT n, unnest(list_distinct(plain_words(head))) AS w FROM said
            WHERE length(head) <= {longest}) WHERE w IN (SELECT w FROM own) GROUP BY n HAVING count(*) BETWEEN 2 AND {MOST_OWN}),
        each AS (SELECT n, x, unnest(w) AS y FROM (SELECT n, w, unnest(w) AS x FROM mine)),
        alike AS (SELECT n, i, count(*) AS shared FROM (SELECT n, hash(x, y) AS h FROM each WHERE x < y)
            JOIN couples USING (h) JOIN needed USING (i) GROUP BY n, i, m HAVING count(*) >= m * (m - 1) // 2
            QUALIFY row_number() OVER (PARTITION BY n ORDER BY count(*) DESC, i) <= {EACH})
        SELECT n, i, count(*) OVER () FROM alike ORDER BY shared DESC, n, i LIMIT {ALIKE}"""
    )
    for table in ("brittle", "own", "couples"):
        data.con.execute(f"DROP TABLE {table}")
    return {(int(n), int(i)) for n, i, _ in found}, int(found[0][2]) if found else 0


def _brief_pairs(data: Data) -> dict[tuple[int, int], int]:
    """Short texts with the same words but one (replaced, left out, put in), in whatever order.

    The exclusive or of the words' hashes forgets the order; without one word of each it is equal where the others are. The
    value is how many different texts, samples among them, have these words: two for a copy beside its sample, more where
    the odd word stands in a slot.
    """
    few = f"length(head) <= {BRIEF * 20} AND len(w) BETWEEN 2 AND {BRIEF + 1}"
    data.con.execute(
        f"""CREATE OR REPLACE TABLE briefs AS SELECT i AS n, true AS mine, all_of(w) AS whole, unnest(but_one(w)) AS h,
        generate_subscripts(but_one(w), 1) > 1 AS hole FROM (SELECT i, plain_words(t) AS w FROM samples)
        WHERE len(w) BETWEEN 3 AND {BRIEF}"""
    )
    data.con.execute(
        f"""INSERT INTO briefs SELECT * FROM (SELECT n, false, all_of(w) AS whole, unnest(but_one(w)) AS h,
        generate_subscripts(but_one(w), 1) > 1 AS hole FROM (SELECT n, plain_words(head) AS w, head FROM said)
        WHERE {few}) WHERE h IN (SELECT h FROM briefs)"""
    )
    found = data.all(
        f"""SELECT a.n, b.n, min(c.texts) FROM briefs a JOIN briefs b USING (h) JOIN (SELECT h, count(DISTINCT whole) AS texts
        FROM briefs GROUP BY h HAVING count(DISTINCT whole) FILTER (WHERE NOT mine) <= {CROWD}) c USING (h)
        WHERE NOT a.mine AND b.mine AND (a.hole OR b.hole OR a.whole = b.whole) GROUP BY ALL"""
    )
    data.con.execute("DROP TABLE briefs")
    return {(int(n), int(i)): int(texts) for n, i, texts in found}
