"""Repeated rows, conflicting labels and near duplicates.

Near duplicates are sought only where a text is long enough to be recognised by its own words. What many rows share (the
words of a template, an instruction) says nothing about likeness and is taken out first; two texts whose numbers differ are
different questions. So `12+7=` and `12+8=` are never near duplicates, nor are two word problems from one template.
"""

from __future__ import annotations

from core.data.files import Data
from core.data.flags import conclude, flag
from core.data.schema import Concern

BANDS, ROWS_PER_BAND = 12, 2
"""MinHash bands: at likeness .6 a pair becomes a candidate with probability .995, at .1 with .11."""
LIKENESS = 0.6
"""Jaccard likeness of the distinctive word pairs. One word in twenty replaced leaves about .8, one in ten .67."""
DISTINCTIVE = 10
"""Fewer distinctive word pairs than this cannot tell a copy from a sibling."""
_TEMPLATE_SAMPLE = 20_000

_PAIRS = r"""CREATE OR REPLACE MACRO split_words(t) AS list_filter(string_split_regex(lower(t), '[^\p{L}\p{N}\p{M}]+'),
    lambda x: x <> '');
CREATE OR REPLACE MACRO word_pairs(w) AS list_transform(list_zip(w[:-2], w[2:]), lambda z: hash(z));
CREATE OR REPLACE MACRO numbers(t) AS list_sort(regexp_extract_all(t, '[0-9]+([.,][0-9]+)*'))"""


def repeated(data: Data) -> Concern | None:
    """Rows that say what an earlier row says, prompt and answer alike."""
    key = "coalesce(pkey, 0), coalesce(akey, 0), hash(rejected), hash(turns)"
    flag(
        data,
        "repeated_row",
        f"""SELECT n, 'as line ' || (first_line) AS note FROM (SELECT n, min(n) OVER w AS first, first_value(line) OVER w AS
        first_line FROM rows WHERE coalesce(prompt, answer) IS NOT NULL WINDOW w AS (PARTITION BY {key} ORDER BY n))
        WHERE n > first""",
    )
    return conclude(data, "repeated_row", "{n} rows ({share}) repeat an earlier row (prompt and answer)")


def conflicting(data: Data) -> Concern | None:
    """Rows whose prompt has more than one answer; the note says whether a majority is clear.

    Only where answers are short: to an open question several good answers exist.
    """
    if not short_answers(data):
        return None
    data.con.execute(
        """CREATE OR REPLACE TABLE conflicts AS SELECT pkey, sum(c) AS total, max(c) AS top,
        count(*) FILTER (WHERE c = m) AS tops FROM (SELECT pkey, akey, count(*) AS c, max(count(*)) OVER (PARTITION BY pkey)
        AS m FROM rows WHERE trim(prompt) <> '' AND trim(answer) <> '' GROUP BY pkey, akey) GROUP BY pkey HAVING count(*) > 1"""
    )
    flag(
        data,
        "conflicting_labels",
        """SELECT n, CASE WHEN tops = 1 THEN 'majority ' || top || ' of ' || total ELSE 'no majority of ' || total END AS note
        FROM rows JOIN conflicts USING (pkey) WHERE trim(answer) <> ''""",
    )
    prompts, clear = data.all("SELECT count(*), count(*) FILTER (WHERE tops = 1) FROM conflicts")[0]
    text = f"{{n}} rows ({{share}}): {prompts} prompts have different answers, {clear} of them with a clear majority"
    return conclude(data, "conflicting_labels", text)


def short_answers(data: Data) -> bool:
    """Whether answers (their final part, where one is marked) are short enough for two to contradict each other."""
    median = data.one("SELECT median(length(final_part(answer))) FROM rows WHERE trim(answer) <> '' AND prompt IS NOT NULL")
    return median is not None and median <= 60


def near(data: Data) -> Concern | None:
    """Rows that are a slightly edited copy of an earlier one."""
    data.con.execute(_PAIRS)
    long_enough = f"length(coalesce(prompt, answer)) >= {DISTINCTIVE * 4}"
    if not data.one(f"SELECT count(*) FROM rows WHERE {long_enough}"):
        return None
    _find_template_pairs(data, long_enough)
    _sketch(data, long_enough)
    _candidates(data)
    flag(
        data,
        "near_duplicates",
        f"""SELECT b AS n, 'as line ' || any_value(line) AS note FROM (SELECT a, b, x.line, x.pairs AS p, y.pairs AS q FROM
        candidates JOIN texts x ON x.n = a JOIN texts y ON y.n = b WHERE x.numbers = y.numbers)
        WHERE len(list_intersect(p, q)) >= {LIKENESS} * len(list_distinct(list_concat(p, q))) GROUP BY b""",
    )
    for table in ("sketch", "bands", "candidates", "texts"):
        data.con.execute(f"DROP TABLE {table}")
    return conclude(data, "near_duplicates", "{n} rows ({share}) are slightly edited copies of an earlier row")


def _find_template_pairs(data: Data, where: str) -> None:
    """Word pairs that at least 1 % of a sample of the rows (and ten of them) share."""
    step = max(1, data.rows // _TEMPLATE_SAMPLE)
    data.con.execute(
        f"""CREATE OR REPLACE TABLE template AS SELECT p FROM (SELECT n, unnest(list_distinct(word_pairs(split_words(
        coalesce(prompt, answer))))) AS p FROM rows WHERE {where} AND n % {step} = 0) GROUP BY p HAVING count(*) >= greatest(10,
        0.01 * (SELECT count(*) FROM rows WHERE {where} AND n % {step} = 0))"""
    )


def _distinctive(where: str, data: Data) -> str:
    """Query: n, line and the word pairs of a row that are its own."""
    template = [row[0] for row in data.all("SELECT p FROM template ORDER BY p LIMIT 5000")]
    own = "word_pairs(split_words(coalesce(prompt, answer)))"
    if template:
        listed = "[" + ",".join(f"{p}::UBIGINT" for p in template) + "]"
        own = f"list_filter({own}, lambda p: NOT list_contains({listed}, p))" if len(template) <= 16 else own
    if len(template) <= 16:
        return f"SELECT n, line, list_distinct({own}) AS pairs FROM rows WHERE {where}"
    return f"""SELECT n, any_value(line) AS line, list(DISTINCT p) AS pairs FROM (SELECT n, line, unnest({own}) AS p FROM rows
        WHERE {where}) WHERE p NOT IN (SELECT p FROM template) GROUP BY n"""


def _sketch(data: Data, where: str) -> None:
    """One number a band for each row that has enough words of its own, exact repeats left out."""
    hashes = [
        "hash(" + ", ".join(f"list_min(list_transform(pairs, lambda p: hash(p, {b * ROWS_PER_BAND + r})))" for r in range(ROWS_PER_BAND)) + ")"
        for b in range(BANDS)
    ]  # fmt: skip
    fresh = f"{where} AND n NOT IN (SELECT n FROM flags WHERE concern = 'repeated_row')"
    data.con.execute(
        f"""CREATE OR REPLACE TABLE sketch AS SELECT n, {", ".join(f"{h} AS b{i}" for i, h in enumerate(hashes))}
        FROM ({_distinctive(fresh, data)}) WHERE len(pairs) >= {DISTINCTIVE}"""
    )


def _candidates(data: Data) -> None:
    """Pairs that share a band: each row with the bucket's first row and with the one before it."""
    data.con.execute("CREATE OR REPLACE TABLE bands (a BIGINT, b BIGINT)")
    for band in range(BANDS):
        data.con.execute(
            f"""INSERT INTO bands SELECT unnest([first, before]) AS a, n AS b FROM (SELECT n, min(n) OVER w AS first,
            lag(n) OVER w AS before FROM (SELECT n, b{band} FROM sketch WHERE b{band} IN (SELECT b{band} FROM sketch GROUP BY
            b{band} HAVING count(*) > 1)) WINDOW w AS (PARTITION BY b{band} ORDER BY n)) WHERE before IS NOT NULL"""
        )
    data.con.execute("CREATE OR REPLACE TABLE candidates AS SELECT DISTINCT a, b FROM bands")
    some = "n IN (SELECT a FROM candidates UNION SELECT b FROM candidates)"
    data.con.execute(
        f"""CREATE OR REPLACE TABLE texts AS SELECT n, line, pairs, numbers(coalesce(prompt, answer)) AS numbers
        FROM ({_distinctive(some, data)}) JOIN (SELECT n, prompt, answer FROM rows) USING (n)"""
    )
