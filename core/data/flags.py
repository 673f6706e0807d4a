"""The ledger of row-level findings: checks write flags (concern, row, note) and conclude them as a `Concern`."""

from __future__ import annotations

from core.data.files import Data, place_examples
from core.data.schema import Concern, Example
from core.data.text import clip

EXAMPLES = 5
WEIGHTS = {
    "contaminated": 30.0,
    "verifier_mismatch": 10.0, "conflicting_labels": 8.0, "broken_turns": 8.0,
    "broken_lines": 5.0,    "personal_data": 10.0, "answer_shape": 6.0, "mojibake": 6.0,
    "hidden_characters": 6.0, "empty": 4.0,
    "repeated_row": 2.0, "near_duplicates": 2.0, "mixed_languages": 3.0, "mixed_types": 4.0, "encoding": 2.0,
}  # fmt: skip
"""How many times worse a flagged row is than a row that is merely odd. A score is 1 - (1 - share) ** weight."""


def flag(data: Data, concern: str, select: str) -> None:
    """Record rows: `select` yields (n, note)."""
    data.con.execute(f"INSERT INTO flags SELECT '{concern}', n, note FROM ({select})")


def flag_rows(data: Data, concern: str, rows: list[tuple[int, str]]) -> None:
    """Record rows found outside SQL."""
    if rows:
        found = [{"n": n, "note": note} for n, note in rows]
        query = "INSERT INTO flags SELECT ?, u.n, u.note FROM (SELECT unnest(?::STRUCT(n BIGINT, note VARCHAR)[]) u)"
        data.con.execute(query, [concern, found])


def conclude(data: Data, name: str, text: str, checked: int | None = None) -> Concern | None:
    """The concern from its flags, or None if no row was flagged. `{n}` and `{share}` in the text are filled in."""
    count = int(data.one("SELECT count(DISTINCT n) FROM flags WHERE concern = ?", [name]))
    if not count:
        return None
    total = data.rows if checked is None else checked
    picked = data.all(
        "SELECT n, min(note) FROM flags WHERE concern = ? GROUP BY n ORDER BY hash(n), n LIMIT ?", [name, EXAMPLES]
    )
    examples = tuple(
        Example(file=file, line=line, text=clip(shown), note=clip(note or "", 100))
        for file, line, shown, note in place_examples(data, sorted(picked))
    )
    return build(name, text, count, total, examples)


def build(name: str, text: str, count: int, checked: int, examples: tuple[Example, ...] = ()) -> Concern:
    """A concern with its score."""
    share = min(1.0, count / checked) if checked else 0.0
    score = 1.0 - (1.0 - share) ** WEIGHTS.get(name, 1.0)
    filled = text.replace("{n}", f"{count:,}").replace("{share}", f"{share:.2%}")
    return Concern(name=name, score=round(score, 4), count=count, checked=checked, text=filled, examples=examples)
