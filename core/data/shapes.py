"""The form answers have, the rows that break it, and the balance of labels.

No knowledge of any task: the dominant form is found by counting. Only closed forms (a number, a JSON object with the
same
keys, a choice, ...) are a rule that a row can break; free text is not.
"""

from __future__ import annotations

import json

from core.data.files import Data, looked_at
from core.data.flags import build, conclude, flag
from core.data.schema import AnswerShape, Concern

DOMINANT = 0.8
"""Share of the answers from which a form is taken for the rule."""
MAX_CLASSES = 50
LONGEST_LABEL = 60
SMALL_CLASSES = 6
SAMPLE = 50_000
"""Answers whose form is told first when there are four times as many; all others only where a rule may come of it."""
_SHAPES: tuple[tuple[str, str], ...] = (
    ("json object", r"json_valid(a) AND a LIKE '{%'"),
    ("json array", r"json_valid(a) AND a LIKE '[%'"),
    ("integer", r"regexp_full_match(a, '[-+]?[0-9]+')"),
    ("grouped integer", r"regexp_full_match(a, '[-+]?[0-9]{1,3}(,[0-9]{3})+')"),
    ("decimal", r"regexp_full_match(a, '[-+]?[0-9]*[.][0-9]+([eE][-+]?[0-9]+)?')"),
    ("fraction", r"regexp_full_match(a, '-?[0-9]+ ?/ ?[0-9]+')"),
    ("amount", r"regexp_full_match(a, '[$€£] ?[0-9.,]+|[0-9.,]+ ?[%€$£]')"),
    ("list of numbers", r"regexp_full_match(a, '-?[0-9]+([.][0-9]+)?([ ,;]+-?[0-9]+([.][0-9]+)?)+')"),
    ("choice", r"regexp_full_match(a, '[(]?[A-Ja-j][).]?')"),
    ("yes or no", r"regexp_full_match(a, '(?i)(yes|no|true|false)')"),
    ("final after ####", r"regexp_matches(a, '####[ ]*[^\s]')"),
    ("boxed", r"contains(a, '\boxed{')"),
    ("tagged", r"regexp_matches(a, '(?s)<([a-z_]+)>.*</[a-z_]+>')"),
    ("code block", r"contains(a, '```')"),
    ("word", r"regexp_full_match(a, '[\p{L}\p{M}]+')"),
    ("words", r"regexp_full_match(a, '[\p{L}\p{M}]+( [\p{L}\p{M}]+){1,5}')"),
    ("token", r"regexp_full_match(a, '[^\s]+')"),
)
CLOSED = {name for name, _ in _SHAPES} - {"words", "token", "word"}
_COMPATIBLE = {
    "decimal": ("integer",),
    "fraction": ("integer",),
    "grouped integer": ("integer",),
    "list of numbers": ("integer",),
}
"""Forms that are special cases of another: an integer among decimals breaks no rule."""


def shape(data: Data) -> tuple[AnswerShape, list[Concern]]:
    """The dominant form of the answers, and the rows outside it (flag `answer_shape`)."""
    step = _tell(data)
    counts = data.all("SELECT shape, count(*) FROM shapes GROUP BY shape ORDER BY count(*) DESC, shape")
    if not counts:
        return AnswerShape(name="none", share=0.0, checked=looked_at(data.rows, step)), []
    total = sum(c for _, c in counts)
    classes = _classes(data)
    name, share, keys = _rule(data, dict(counts), total)
    if name == "mixed" and classes:
        name, share = "label", _label_rule(data, total)
    concerns = [_mismatches(data, name, total), _balance(data, classes, total)]
    data.con.execute("DROP TABLE shapes")
    return AnswerShape(
        name=name, share=round(share, 4), keys=keys, classes=classes, checked=looked_at(data.rows, step)
    ), [c for c in concerns if c]


def _tell(data: Data) -> int:
    """Table `shapes`: n, the answer a, and its form; of a sample where the answers are free text, which breaks no rule.

    Returns k where every k-th row was looked at.
    """
    step = data.rows // SAMPLE if data.rows >= 4 * SAMPLE else 1
    _fill(data, step)
    if step > 1:
        closed = ", ".join(f"'{name}'" for name in sorted(CLOSED))
        ruled, short = data.all(
            f"SELECT avg((shape IN ({closed}))::INT), avg((length(a) <= {LONGEST_LABEL})::INT) FROM shapes"
        )[0]
        if (ruled or 0) >= 0.5 or (short or 0) >= 0.5:
            _fill(data, 1)
            return 1
    return step


def _fill(data: Data, step: int) -> None:
    cases = " ".join(f"WHEN {test} THEN '{name}'" for name, test in _SHAPES)
    data.con.execute(
        f"CREATE OR REPLACE TABLE shapes AS SELECT n, a, CASE {cases} ELSE 'text' END AS shape FROM (SELECT n, "
        f"trim(answer, ' ' || chr(9) || chr(10) || chr(13)) AS a FROM rows WHERE n % {step} = 0) WHERE a <> ''"
    )


def _rule(data: Data, counts: dict[str, int], total: int) -> tuple[str, float, tuple[str, ...]]:
    for name in counts:
        allowed = (name, *_COMPATIBLE.get(name, ()))
        share = sum(counts.get(x, 0) for x in allowed) / total
        if (
            name in CLOSED
            and share >= DOMINANT
            and counts[name] >= total * 0.02
            and not (name == "integer" and share < 1 and _wider(counts, total))
        ):
            listed = ", ".join(f"'{x}'" for x in allowed)
            flag(
                data,
                "answer_shape",
                f"SELECT n, shape || ', not {name}' AS note FROM shapes WHERE shape NOT IN ({listed})",
            )
            return name, share, _keys(data) if name == "json object" else ()
    top, count = next(iter(counts.items()))
    return (top, count / total, ()) if count >= total * DOMINANT else ("mixed", count / total, ())


def _wider(counts: dict[str, int], total: int) -> bool:
    """Whether decimals (or lists) are common enough among the integers to be part of the rule."""
    return any(counts.get(wide, 0) >= 0.1 * total for wide in _COMPATIBLE)


def _keys(data: Data) -> tuple[str, ...]:
    """Keys of nearly all JSON objects; objects with other keys, or other types under them, are flagged."""
    data.con.execute(
        "CREATE OR REPLACE TABLE objects AS SELECT n, list_sort(json_keys(a)) AS keys, "
        "list_transform(list_sort(json_keys(a)), "
        "lambda k: CASE WHEN json_type(a, '$.\"' || k || '\"') IN ('UBIGINT', 'BIGINT', 'DOUBLE', 'HUGEINT') THEN "
        "'NUMBER' ELSE "
        "json_type(a, '$.\"' || k || '\"') END) AS types FROM shapes WHERE shape = 'json object' AND NOT contains(a, "
        "'\\\"')"
    )
    top = data.all(
        "SELECT keys, count(*) c, sum(count(*)) OVER () s FROM objects GROUP BY keys ORDER BY c DESC, keys LIMIT 1"
    )
    if not top or top[0][1] < DOMINANT * top[0][2]:
        return ()
    keys: list[str] = top[0][0]
    listed = _list(keys)
    flag(
        data,
        "answer_shape",
        f"SELECT n, 'keys ' || array_to_string(keys, ', ') AS note FROM objects WHERE keys <> {listed}",
    )
    kinds = data.all(
        f"SELECT types, count(*) c, sum(count(*)) OVER () s FROM objects WHERE keys = {listed} GROUP BY types ORDER "
        f"BY c DESC LIMIT 1"
    )
    if kinds and kinds[0][1] >= 0.9 * kinds[0][2]:
        types = _list([str(t) for t in kinds[0][0]])
        query = (
            f"SELECT n, 'types ' || lower(array_to_string(types, ', ')) AS note FROM objects WHERE keys = "
            f"{listed} AND types <> {types}"
        )
        flag(data, "answer_shape", query)
    return tuple(keys)


def _list(values: list[str]) -> str:
    return "[" + ", ".join("'" + v.replace("'", "''") + "'" for v in values) + "]::VARCHAR[]"


def _classes(data: Data) -> dict[str, int]:
    """Answers by value where few different ones cover nearly all rows."""
    found = data.all(
        f"SELECT a, count(*) c FROM shapes WHERE length(a) <= {LONGEST_LABEL} GROUP BY a ORDER BY c DESC, a LIMIT ?",
        [MAX_CLASSES + 1],
    )
    total = int(data.one("SELECT count(*) FROM shapes"))
    frequent = [(value, int(c)) for value, c in found if c >= max(3, 0.002 * total)]
    covered = sum(c for _, c in frequent)
    few = len(frequent) <= MAX_CLASSES and total >= 20 * len(frequent)
    return dict(frequent) if frequent and few and covered >= 0.9 * total else {}


def _label_rule(data: Data, total: int) -> float:
    """Answers that are none of the labels, where labels are few."""
    query = """SELECT n, 'not one of the labels' AS note FROM shapes WHERE a NOT IN (SELECT a FROM shapes GROUP BY a
        HAVING count(*) >= greatest(3, 0.002 * (SELECT count(*) FROM shapes)))"""
    flag(data, "answer_shape", query)
    return 1 - int(data.one(f"SELECT count(*) FROM ({query})")) / max(1, total)


def _mismatches(data: Data, name: str, total: int) -> Concern | None:
    return conclude(
        data, "answer_shape", f"{{n}} answers ({{share}}) do not have the form of the others ({name})", total
    )


def _balance(data: Data, classes: dict[str, int], total: int) -> Concern | None:
    """A concern when one label of few takes most rows, or a label is nearly absent."""
    if not 2 <= len(classes) <= SMALL_CLASSES * 4:
        return None
    largest, count = next(iter(classes.items()))
    rarest = min(classes.values())
    if count < 0.7 * total and rarest >= count / 20:
        return None
    text = (
        f"labels are unbalanced: {json.dumps(largest)} has {count / total:.0%} of the rows, the rarest of "
        f"{len(classes)} has {rarest:,}"
    )
    surplus = count - total // len(classes)
    return build("unbalanced_labels", text, surplus, total)


def prompt_patterns(data: Data) -> Concern | None:
    """Short prompts that do not look like the others, digits and letters masked; only where few patterns rule."""
    if (data.one("SELECT quantile_disc(length(prompt), .95) FROM rows WHERE trim(prompt) <> ''") or 999) > 40:
        return None
    mask = r"regexp_replace(regexp_replace(trim(prompt), '[0-9]+', '0', 'g'), '[\p{L}]+', 'a', 'g')"
    data.con.execute(f"CREATE OR REPLACE TABLE patterns AS SELECT n, {mask} AS p FROM rows WHERE trim(prompt) <> ''")
    total = int(data.one("SELECT count(*) FROM patterns"))
    common = "SELECT p FROM patterns GROUP BY p HAVING count(*) >= greatest(3, 0.01 * (SELECT count(*) FROM patterns))"
    covered = int(data.one(f"SELECT count(*) FROM patterns WHERE p IN ({common})"))
    if covered >= 0.95 * total and int(data.one(f"SELECT count(*) FROM ({common})")) <= 20:
        flag(data, "prompt_form", f"SELECT n, 'pattern ' || p AS note FROM patterns WHERE p NOT IN ({common})")
    data.con.execute("DROP TABLE patterns")
    return conclude(data, "prompt_form", "{n} prompts ({share}) do not have the form of the others")
