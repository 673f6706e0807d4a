"""Which script, and where it can be told which language, a row is in.

The script is counted; among languages in Latin letters the small words decide (of, und, que ...), so a language is told
only from about eight words on, and only of those listed. A minority is reported only where one language rules.
"""

from __future__ import annotations

from core.data.files import Data, looked_at, stride
from core.data.flags import conclude, flag
from core.data.schema import Concern

SCRIPTS = ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Thai", "Hangul", "Han", "Kana")
SMALL_WORDS = {
    "en": "the and of is to in that with for are was what how many this which from has each have does will you be by "
    "an it on as at or a i not can if when but all we they he she his her their been were had more than its one",
    "de": "der die das und ist nicht ein eine mit auf für von zu den dem im sich wie viele was wird sind hat auch "
    "als bei aus",
    "fr": "le la les et est des une un dans pour que qui avec sur pas du au ce sont combien quelle par plus il elle "
    "ont cette",
    "es": "el la los las y es de que en un una por con para se del cuántos qué son como más su al tiene cada pero fue",
    "it": "il lo la gli e è di che un una per con non del della sono nel quanti come più si alla ha anche questo",
    "pt": "o a os as e é de que em um uma para com não do da no na por mais quantos são se como ao tem foi",
    "nl": "de het een en is van niet dat op te zijn met voor in die hoeveel heeft ook aan er wordt naar bij",
    "pl": "i w na nie jest się z do to że ile jak od po dla są przez ma który ale tym co",
    "tr": "ve bir bu için ile ne kadar olarak daha çok gibi olan de da var değil kaç mı her",
    "sv": "och är att det en ett som på av för med inte den till har de hur många om från kan var",
}
RULES = 0.7
"""A language rules when it has this share of the rows whose language could be told."""
_NO_LETTER = r"[^\p{L} ]+"
SAMPLE_ABOVE = 200_000
"""Beyond this many rows every k-th row is looked at."""


def mixed(data: Data) -> tuple[dict[str, float], Concern | None]:
    """Share of texts by language, and the rows whose prompt or answer is in another than the ruling one of its kind."""
    step = stride(data.rows, SAMPLE_ABOVE)
    told: dict[str, int] = {}
    for part in ("prompt", "answer"):
        _tell(data, part, step)
        counts = data.all(
            "SELECT lang, count(*) FROM tongues WHERE lang IS NOT NULL GROUP BY lang ORDER BY count(*) DESC, lang"
        )
        for lang, count in counts:
            told[lang] = told.get(lang, 0) + int(count)
        if counts and counts[0][1] >= RULES * sum(c for _, c in counts):
            _flag_others(data, part, counts[0][0])
        data.con.execute("DROP TABLE tongues")
    total = sum(told.values())
    shares = {lang: round(c / total, 4) for lang, c in sorted(told.items(), key=lambda x: (-x[1], x[0]))[:8]}
    checked = looked_at(data.rows, step)
    return shares, conclude(
        data, "mixed_languages", "{n} rows ({share}) are in another language or script than the others", checked
    )


def _flag_others(data: Data, part: str, ruling: str) -> None:
    """Another script, or another language of the same script that could be told."""
    other = f"lang <> '{ruling}'"
    if ruling in SMALL_WORDS:
        other += " AND lang <> 'Latin'"
    if ruling == "Latin":
        other += f" AND lang NOT IN ({', '.join(repr(k) for k in SMALL_WORDS)})"
    if ruling == "Kana":
        other += " AND lang <> 'Han'"
    flag(
        data,
        "mixed_languages",
        f"SELECT n, '{part} in ' || lang || ', not {ruling}' AS note FROM tongues WHERE {other}",
    )


def _tell(data: Data, part: str, step: int) -> None:
    """Table `tongues`: n and the language of this part: a code, a script's name, or null.

    Words of one letter count for no more than the longer ones: in code and formulas they are names.
    """
    data.con.execute("CREATE OR REPLACE TABLE small_words (w VARCHAR, lang VARCHAR)")
    for code, listed in SMALL_WORDS.items():
        data.con.execute("INSERT INTO small_words SELECT DISTINCT unnest(?::VARCHAR[]), ?", [listed.split(), code])
    data.con.execute(
        f"CREATE OR REPLACE TABLE heads AS SELECT n, left({_spoken(part)}, 400) AS t FROM rows WHERE n % {step} = 0 AND "
        f"{part} IS NOT NULL"
    )
    _scripts(data)
    data.con.execute(
        f"""CREATE OR REPLACE TABLE tongues AS SELECT n, CASE WHEN script = 'Latin' AND words >= 6 AND top >=
        greatest(2, 0.12 *
        words) AND top >= second * 1.4 THEN best ELSE script END AS lang FROM scripts LEFT JOIN (SELECT n, max(c) AS
        top,
        arg_max(lang, c) AS best, coalesce(max(c, 2)[2], 0) AS second FROM (SELECT n, lang, count(*) FILTER (WHERE length(w) > 1) +
        least(count(*) FILTER (WHERE length(w) = 1), count(*) FILTER (WHERE length(w) > 1)) AS c FROM (SELECT
        n, unnest(
        string_split(regexp_replace(lower(t), '{_NO_LETTER}', ' ', 'g'), ' ')) AS w FROM heads) JOIN small_words USING (w) GROUP BY n, lang)
        GROUP BY n) USING (n)"""
    )
    data.con.execute("DROP TABLE heads; DROP TABLE scripts; DROP TABLE small_words")


def _spoken(part: str) -> str:
    """Of a chat, what the user says last: a system prompt is in the developer's language, whoever asks."""
    if part != "prompt":
        return part
    return "CASE WHEN turns IS NULL THEN prompt ELSE coalesce(list_last(list_filter(turns, lambda m: m.role = 'user')).content, prompt) END"


def _scripts(data: Data) -> None:
    """Table `scripts`: n, the script most letters are in, and the number of words. ASCII texts are decided at once."""
    letters = ", ".join(f"length(regexp_replace(t, '{_other_than(s)}', '', 'g')) AS \"{s}\"" for s in SCRIPTS)
    most = " ".join(f"WHEN \"{s}\" * 2 > total THEN '{s}'" for s in SCRIPTS if s != "Kana")
    data.con.execute(
        f"""CREATE OR REPLACE TABLE scripts AS SELECT n, len(string_split(t, ' ')) AS words, CASE WHEN
        regexp_matches(t, '[a-zA-Z]') THEN 'Latin' END AS script FROM heads WHERE strlen(t) = length(t) UNION ALL
        SELECT n, words, CASE WHEN total = 0 THEN NULL WHEN "Kana" * 10 > total THEN 'Kana' {most} END FROM (SELECT n,
        len(string_split(t, ' ')) AS words, length(regexp_replace(t, '\\P{{L}}', '', 'g')) AS total, {letters} FROM
        heads WHERE
        strlen(t) > length(t))"""
    )


def _other_than(script: str) -> str:
    """A pattern for every character that is not of the script."""
    return r"[^\p{Hiragana}\p{Katakana}]" if script == "Kana" else r"\P{" + script + "}"
