"""Repeated rows, conflicting labels and near duplicates.

Near duplicates are sought only where a text is long enough to be recognised by its own words. What many rows share (the
words of a template, an instruction) says nothing about likeness and is taken out first; two texts whose numbers
differ are
different questions. So `12+7=` and `12+8=` are never near duplicates, nor are two word problems from one template.
"""

from __future__ import annotations

from core.data.files import Data
from core.data.flags import conclude, flag
from core.data.schema import Concern
from core.data.short_copies import flag_copies

BANDS, ROWS_PER_BAND = 16, 2
"""MinHash bands: at likeness .5 a pair becomes a candidate with probability .99, at .4 with .94, at .1 with .15."""
LIKENESS = 0.35
"""Jaccard likeness of the distinctive word triples. One word in twenty replaced leaves about .74, one in ten .54; less
where most of a text is template. Texts that share a template only stay under .15."""
DISTINCTIVE = 10
"""Fewer distinctive word triples than this cannot tell a copy from a sibling."""
_TEMPLATE_SAMPLE = 20_000

_CHUNK = 250_000
"""Rows sketched at once: bounds the memory of 32 minima a row."""
_MACROS = r"""CREATE OR REPLACE MACRO word_hashes(t) AS list_transform(list_filter(string_split(regexp_replace(lower(t),
    '[\n\t\r]', ' ', 'g'), ' '), lambda x: x <> ''), lambda x: hash(x));
CREATE OR REPLACE MACRO triples_of(w) AS list_transform(w[:-3], lambda x, i: hash(x, w[i + 1], w[i + 2]));
CREATE OR REPLACE MACRO numbers(t) AS list_sort(regexp_extract_all(t, '[0-9]+([.,][0-9]+)*'))"""
_TEXT = "coalesce(prompt, answer)"


def repeated(data: Data) -> Concern | None:
    """Rows that say what an earlier row says, prompt and answer alike."""
    key = "coalesce(pkey, 0), coalesce(akey, 0), hash(rejected), hash(turns)"
    flag(
        data,
        "repeated_row",
        f"""SELECT n, 'as line ' || (first_line) AS note FROM (SELECT n, min(n) OVER w AS first, first_value(line)
        OVER w AS
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
        count(*) FILTER (WHERE c = m) AS tops FROM (SELECT pkey, akey, count(*) AS c, max(count(*)) OVER (PARTITION BY
        pkey)
        AS m FROM rows WHERE trim(prompt) <> '' AND trim(answer) <> '' GROUP BY pkey, akey) GROUP BY pkey HAVING
        count(*) > 1"""
    )
    flag(
        data,
        "conflicting_labels",
        """SELECT n, CASE WHEN tops = 1 THEN 'majority ' || top || ' of ' || total ELSE 'no majority of ' || total END
        AS note
        FROM rows JOIN conflicts USING (pkey) WHERE trim(answer) <> ''""",
    )
    prompts, clear = data.all("SELECT count(*), count(*) FILTER (WHERE tops = 1) FROM conflicts")[0]
    text = f"{{n}} rows ({{share}}): {prompts} prompts have different answers, {clear} of them with a clear majority"
    return conclude(data, "conflicting_labels", text)


def short_answers(data: Data) -> bool:
    """Whether answers (their final part, where one is marked) are short enough for two to contradict each other."""
    median = data.one(
        "SELECT median(length(final_part(answer))) FROM rows WHERE trim(answer) <> '' AND prompt IS NOT NULL"
    )
    return median is not None and median <= 60


def near(data: Data) -> Concern | None:
    """Rows that are a slightly edited copy of an earlier one."""
    data.con.execute(_MACROS)
    long_enough = f"length(coalesce(prompt, answer)) >= {DISTINCTIVE * 4}"
    if data.one(f"SELECT count(*) FROM rows WHERE {long_enough}"):
        _long_copies(data, long_enough)
    flag_copies(data)
    return conclude(data, "near_duplicates", "{n} rows ({share}) are slightly edited copies of an earlier row")


def _long_copies(data: Data, long_enough: str) -> None:
    """Rows told by their own word triples: candidates by MinHash, then the likeness itself."""
    _find_template(data, long_enough)
    _sketch(data, long_enough)
    _candidates(data)
    flag(
        data,
        "near_duplicates",
        f"""SELECT b AS n, 'as line ' || min(x.line) AS note FROM (SELECT a, b, count(*) AS shared FROM candidates
        JOIN own AS x ON
        x.n = a JOIN own AS y ON y.n = b AND y.t = x.t GROUP BY a, b) JOIN texts AS x ON x.n = a JOIN texts AS y ON
        y.n = b
        WHERE x.numbers = y.numbers AND x.pkey IS DISTINCT FROM y.pkey
        AND shared >= {LIKENESS} * (x.size + y.size - shared) GROUP BY b""",
    )
    for table in ("template", "sketch", "bands", "candidates", "own", "texts"):
        data.con.execute(f"DROP TABLE {table}")


def _triples(where: str) -> str:
    """Query: n and, one a row, the word triples of its text."""
    words = f"SELECT n, word_hashes({_TEXT}) AS w FROM rows WHERE {where}"
    return f"SELECT n, unnest(triples_of(w)) AS t FROM ({words})"


def _find_template(data: Data, where: str) -> None:
    """Word triples that at least 1 % of a sample of the rows (and ten of them) share."""
    sample = f"{where} AND n % {max(1, data.rows // _TEMPLATE_SAMPLE)} = 0"
    data.con.execute(
        f"""CREATE OR REPLACE TABLE template AS SELECT t FROM ({_triples(sample)}) GROUP BY t HAVING count(DISTINCT n)
        >=
        greatest(10, 0.01 * (SELECT count(*) FROM rows WHERE {sample}))"""
    )


def _sketch(data: Data, where: str) -> None:
    """One number a band for each row that has enough words of its own, exact repeats left out."""
    count = BANDS * ROWS_PER_BAND
    minima = ", ".join(f"min(hash(t, {k})) AS m{k}" for k in range(count))
    bands = ", ".join(
        f"hash({', '.join(f'm{b * ROWS_PER_BAND + r}' for r in range(ROWS_PER_BAND))}) AS b{b}" for b in range(BANDS)
    )
    fresh = f"{where} AND n NOT IN (SELECT n FROM flags WHERE concern = 'repeated_row')"
    data.con.execute(f"CREATE OR REPLACE TABLE sketch (n BIGINT, {', '.join(f'b{b} UBIGINT' for b in range(BANDS))})")
    for start in range(0, data.rows, _CHUNK):
        part = _triples(f"{fresh} AND n >= {start} AND n < {start + _CHUNK}")
        data.con.execute(
            f"""INSERT INTO sketch SELECT n, {bands} FROM (SELECT n, {minima}, count(*) AS size FROM ({part}) ANTI
            JOIN template
            USING (t) GROUP BY n) WHERE size >= {DISTINCTIVE}"""
        )


def _candidates(data: Data) -> None:
    """Pairs that share a band: each row with the bucket's first row and with the one before it."""
    data.con.execute("CREATE OR REPLACE TABLE bands (a BIGINT, b BIGINT)")
    for band in range(BANDS):
        data.con.execute(
            f"""INSERT INTO bands SELECT unnest([first, before]) AS a, n AS b FROM (SELECT n, min(n) OVER w AS first,
            lag(n) OVER w AS before FROM (SELECT n, b{band} FROM sketch WHERE b{band} IN (SELECT b{band} FROM sketch
            GROUP BY
            b{band} HAVING count(*) > 1)) WINDOW w AS (PARTITION BY b{band} ORDER BY n)) WHERE before IS NOT NULL"""
        )
    data.con.execute("CREATE OR REPLACE TABLE candidates AS SELECT DISTINCT a, b FROM bands")
    some = "n IN (SELECT a FROM candidates UNION SELECT b FROM candidates)"
    data.con.execute(
        f"CREATE OR REPLACE TABLE own AS SELECT DISTINCT n, t FROM ({_triples(some)}) ANTI JOIN template USING (t)"
    )
    data.con.execute(
        f"""CREATE OR REPLACE TABLE texts AS SELECT n, any_value(line) AS line,
        any_value(pkey) AS pkey, any_value(numbers({_TEXT})) AS
        numbers, count(*)
        AS size FROM own JOIN rows USING (n) GROUP BY n"""
    )
