"""Which script, and where it can be told which language, a row is in.

The script is counted; among languages in Latin letters the small words decide (of, und, que ...), so a language is told
only from about eight words on, and only of those listed. A minority is reported only where one language rules.
"""

from __future__ import annotations

from core.data.files import Data
from core.data.flags import conclude, flag
from core.data.schema import Concern

SCRIPTS = ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Thai", "Hangul", "Han", "Kana")
SMALL_WORDS = {
    "en": "the and of is to in that with for are was what how many this which from has each have does will you be by an it on as at or",
    "de": "der die das und ist nicht ein eine mit auf für von zu den dem im sich wie viele was wird sind hat auch als bei aus",
    "fr": "le la les et est des une un dans pour que qui avec sur pas du au ce sont combien quelle par plus il elle ont cette",
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
_LETTER_CLASS = {"Kana": r"[\p{Hiragana}\p{Katakana}]"}
SAMPLE_ABOVE = 400_000
"""Beyond this many rows every k-th row is looked at."""


def mixed(data: Data) -> tuple[dict[str, float], Concern | None]:
    """Share of rows by language, and the rows in another language than the ruling one."""
    step = max(1, -(-data.rows // SAMPLE_ABOVE))
    _tell(data, step)
    counts = data.all("SELECT lang, count(*) FROM tongues WHERE lang IS NOT NULL GROUP BY lang ORDER BY count(*) DESC, lang")
    checked = int(data.one("SELECT count(*) FROM tongues"))
    told = sum(c for _, c in counts)
    shares = {lang: round(c / told, 4) for lang, c in counts[:8]} if told else {}
    ruling = counts[0][0] if counts and counts[0][1] >= RULES * told else None
    if ruling:
        same = f"lang <> '{ruling}'" + (" AND lang <> 'Latin'" if ruling in SMALL_WORDS else "")
        same += f" AND lang NOT IN ({', '.join(repr(k) for k in SMALL_WORDS)})" if ruling == "Latin" else ""
        same += " AND lang <> 'Han'" if ruling == "Kana" else ""
        flag(data, "mixed_languages", f"SELECT n, lang || ' among ' || '{ruling}' AS note FROM tongues WHERE {same}")
    data.con.execute("DROP TABLE tongues")
    return shares, conclude(data, "mixed_languages", f"{{n}} rows ({{share}}) are in another language or script than {ruling}", checked)


def _tell(data: Data, step: int) -> None:
    """Table `tongues`: n and the language of prompt (else answer): a code, a script's name, or null."""
    letters = ", ".join(
        f"length(regexp_replace(t, '{_LETTER_CLASS.get(s, chr(92) + 'P{' + s + '}').replace('[', '[^')}', '', 'g')) AS \"{s}\""
        for s in SCRIPTS
    )
    hits = ", ".join(f"len(list_filter(w, lambda x: list_contains({_listed(k)}, x))) AS {_column(k)}" for k in SMALL_WORDS)
    best_script = "CASE " + " ".join(f"WHEN \"{s}\" > 0 AND \"{s}\" * 2 > total THEN '{s}'" for s in SCRIPTS) + ' WHEN "Kana" > 0 AND ("Kana" + "Han") * 2 > total THEN \'Kana\' END'
    top = f"greatest({', '.join(_column(k) for k in SMALL_WORDS)})"
    ranked = f"list_sort([{', '.join(_column(k) for k in SMALL_WORDS)}], 'DESC')"
    which = "CASE " + " ".join(f"WHEN {_column(k)} = top THEN '{k}'" for k in SMALL_WORDS) + " END"
    text = "left(concat_ws(' ', prompt, CASE WHEN length(answer) > 30 OR prompt IS NULL THEN answer END), 600)"
    data.con.execute(
        f"""CREATE OR REPLACE TABLE tongues AS SELECT n, CASE WHEN script IS NULL THEN NULL WHEN script <> 'Latin' THEN script
        WHEN words >= 6 AND top >= greatest(2, 0.12 * words) AND top >= second * 1.4 THEN {which} ELSE 'Latin' END AS lang
        FROM (SELECT *, {top} AS top, {ranked}[2] AS second FROM (SELECT n, {best_script} AS script, len(w) AS words, {hits} FROM
        (SELECT n, string_split_regex(lower(t), '[^\\p{{L}}]+') AS w, length(regexp_replace(t, '\\P{{L}}', '', 'g')) AS total, {letters}
        FROM (SELECT n, {text} AS t FROM rows WHERE n % {step} = 0))))"""
    )


def _column(code: str) -> str:
    return f'"in_{code}"'


def _listed(code: str) -> str:
    return "[" + ", ".join(f"'{w}'" for w in SMALL_WORDS[code].split()) + "]"
