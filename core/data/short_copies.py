"""Slightly edited copies among rows that are too short to be told by their own word triples (see `duplicates`).

In short texts one word decides: "the capital of France" and "the capital of Spain" are two questions, "the capital of
France, please" is the same one. So four signs, each safe by itself:

- the same long answer under two prompts that share most of their words;
- the same prompt under two long answers that share most of theirs;
- prompts that differ in one word only, and that word is a filler, or the same word misspelt;
- the same three or more numbers in the same order in prompts that share most of their words.

Numbers must agree in all of them.
"""

from __future__ import annotations

from core.data.files import Data
from core.data.flags import flag

MOST = 0.6
"""Share of words in common (Jaccard) from which two texts of one answer are the same question in other words."""
LONG_ANSWER = 30
"""Characters from which an answer is too particular to be shared by two questions."""
SAME_NUMBERS, LEAST_WORDS = 0.7, 12
"""Share of words in common where all numbers are, and words of a prompt below which a formula may be meant."""
CROWD = 20
"""An answer or prompt that more rows than this have is a class or a template, and proves nothing."""
SHORT_WORDS = 30
FILLERS = (
    "please", "now", "kindly", "just", "the", "a", "an", "really", "so", "then", "also", "simply", "hi", "hello", "hey",
    "thanks", "ok", "okay", "well", "question", "q", "bitte", "svp", "por", "favor",
)  # fmt: skip
_MACROS = r"""CREATE OR REPLACE MACRO digits(t) AS list_sort(regexp_extract_all(t, '[0-9]+([.,][0-9]+)*'));
CREATE OR REPLACE MACRO without(w, i) AS CASE WHEN i = 0 THEN w ELSE list_concat(w[:i - 1], w[i + 1:]) END;
CREATE OR REPLACE MACRO alike(v, w) AS len(list_intersect(v, w)) / greatest(1, len(list_distinct(list_concat(v, w))))"""
_NEW = "n NOT IN (SELECT n FROM flags WHERE concern IN ('repeated_row', 'near_duplicates'))"


def flag_copies(data: Data) -> None:
    """Flag the later row of each such pair as `near_duplicates`."""
    if data.roles.kind not in ("answers", "preference"):
        return
    data.con.execute(_MACROS)
    _same_other(data, same="akey", shown="answer", differing="prompt")
    _same_other(data, same="pkey", shown="answer", differing="answer")
    _one_word(data)
    _same_numbers(data)


def _same_numbers(data: Data) -> None:
    """Prompts with the same three or more numbers in the same order and most words in common: siblings of one template have
    other numbers."""
    flag(
        data,
        "near_duplicates",
        f"""WITH counted AS (SELECT n, line, pkey, prompt, regexp_extract_all(prompt, '[0-9]+([.,][0-9]+)*') AS d FROM rows
            WHERE regexp_matches(prompt, '[0-9]+[^0-9]+[0-9]+[^0-9]+[0-9]') AND {_NEW}),
        told AS (SELECT * FROM counted WHERE len(list_distinct(d)) >= 3 AND length(array_to_string(d, '')) >= 5),
        few AS (SELECT d FROM told GROUP BY d HAVING count(*) BETWEEN 2 AND {CROWD}),
        cand AS (SELECT n, line, pkey, d, bare_words(prompt) AS w FROM told WHERE d IN (SELECT d FROM few))
        SELECT b.n, 'as line ' || min(a.line) AS note FROM cand a JOIN cand b ON a.d = b.d AND a.n < b.n
        WHERE a.pkey <> b.pkey AND len(a.w) >= {LEAST_WORDS} AND alike(a.w, b.w) >= {SAME_NUMBERS} GROUP BY b.n""",
    )


def _same_other(data: Data, *, same: str, shown: str, differing: str) -> None:
    """Pairs that share one part and most words of the other; `shown` must be long enough to be particular."""
    flag(
        data,
        "near_duplicates",
        f"""WITH few AS (SELECT {same} AS k FROM rows WHERE length({shown}) >= {LONG_ANSWER} AND trim(prompt) <> ''
            GROUP BY 1 HAVING count(*) BETWEEN 2 AND {CROWD}),
        cand AS (SELECT n, line, {same} AS k, pkey, akey, bare_words({differing}) AS w, digits({differing}) AS d FROM rows
            WHERE {same} IN (SELECT k FROM few) AND length({shown}) >= {LONG_ANSWER} AND {_NEW})
        SELECT b.n, 'as line ' || min(a.line) AS note FROM cand a JOIN cand b ON a.k = b.k AND a.n < b.n
        WHERE a.d = b.d AND (a.pkey <> b.pkey OR a.akey <> b.akey) AND alike(a.w, b.w) >= {MOST} GROUP BY b.n""",
    )


def _one_word(data: Data) -> None:
    """Prompts of 4 to 30 words that become equal when one word of each, or of one, is taken out.

    Candidates have the same words (by the exclusive or of their hashes, which forgets the order and words said twice) without
    the one taken out: one operation a place instead of a text. The order is then compared for the candidates alone.
    """
    listed = ", ".join(f"'{word}'" for word in FILLERS)
    short = f"length(prompt) < 240 AND {_NEW}"
    data.con.execute(
        f"""CREATE OR REPLACE TABLE brief AS SELECT n, line, w, d, pkey FROM (SELECT n, line, pkey, bare_words(prompt) AS w,
        digits(prompt) AS d FROM rows WHERE {short}) WHERE len(w) BETWEEN 4 AND {SHORT_WORDS}"""
    )
    data.con.execute(
        """CREATE OR REPLACE TABLE holes AS WITH every AS (SELECT n, w, list_reduce(list_transform(w, lambda x: hash(x)),
        lambda x, y: xor(x, y)) AS h FROM brief),
        SELECT n, 0 AS hole, h FROM every UNION ALL SELECT n, i AS hole, xor(h, hash(x)) AS h FROM
        (SELECT n, h, unnest(w) AS x, unnest(range(1, len(w) + 1)) AS i FROM every)"""
    )
    data.con.execute(
        f"""CREATE OR REPLACE TABLE pairs AS SELECT DISTINCT a.n AS a, b.n AS b, a.hole AS here, b.hole AS there FROM
        (SELECT * FROM holes WHERE h IN (SELECT h FROM holes GROUP BY h HAVING count(*) BETWEEN 2 AND {CROWD})) a
        JOIN holes b ON a.h = b.h AND a.n < b.n AND a.hole + b.hole > 0"""
    )
    # Hole 0 is the whole text: then the other has one word more, which must be a filler.
    flag(
        data,
        "near_duplicates",
        f"""SELECT n, 'as line ' || min(line) AS note FROM (SELECT b AS n, x.line, CASE WHEN here = 0 THEN '' ELSE x.w[here] END
        AS v, CASE WHEN there = 0 THEN '' ELSE y.w[there] END AS w FROM pairs JOIN brief x ON x.n = a JOIN brief y ON y.n = b
        WHERE x.d = y.d AND x.pkey <> y.pkey AND without(x.w, here) = without(y.w, there))
        WHERE (v IN ('', {listed}) AND w IN ('', {listed})) OR (length(v) > 3 AND length(w) > 3 AND v[1] = w[1] AND levenshtein(v, w) = 1 AND NOT regexp_matches(v || w, '[0-9]')
        AND v || 's' <> w AND w || 's' <> v) GROUP BY n""",
    )
    for table in ("brief", "holes", "pairs"):
        data.con.execute(f"DROP TABLE {table}")
