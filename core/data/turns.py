"""The order of a chat's turns: what a chat template would refuse or silently garble."""

from __future__ import annotations

from core.data.files import Data
from core.data.flags import conclude, flag
from core.data.schema import Concern

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython", "environment")


def broken(data: Data) -> Concern | None:
    """Chats that are no list, have no user or no final answer, repeat a speaker, know no speaker or say nothing."""
    chats = [str(i) for i, kind in enumerate(data.kinds) if kind == "messages"]
    if not chats:
        return None
    known = ", ".join(f"'{r}'" for r in ROLES)
    talk = "list_filter(turns, lambda m: m.role NOT IN ('system', 'developer'))"
    pair = "list_zip(t[:-2], t[2:])"
    tests = (
        ("no list of turns", "turns IS NULL OR len(turns) = 0"),
        ("unknown speaker", f"len(list_filter(turns, lambda m: m.role IS NULL OR m.role NOT IN ({known}))) > 0"),
        ("empty turn", "len(list_filter(turns, lambda m: trim(coalesce(m.content, '')) = '' AND m.role <> "
            "'assistant')) > 0 "
                       "OR trim(coalesce(t[len(t)].content, '')) = ''"),
        ("no user turn", "len(list_filter(turns, lambda m: m.role = 'user')) = 0"),
        ("starts with the assistant", "t[1].role = 'assistant'"),
        ("does not end with the assistant", "t[len(t)].role <> 'assistant'"),
        ("a speaker twice in a row", f"len(list_filter({pair}, lambda z: z[1].role = z[2].role AND z[1].role IN "
            f"('user', 'assistant'))) > 0"),
        ("system turn not first", "len(list_filter(turns[2:], lambda m: m.role = 'system')) > 0"),
    )  # fmt: skip
    cases = " ".join(f"WHEN {test} THEN '{note}'" for note, test in tests)
    flag(
        data,
        "broken_turns",
        f"SELECT n, note FROM (SELECT n, CASE {cases} END AS note FROM (SELECT n, turns, {talk} AS t FROM rows "
        f"WHERE source IN ({', '.join(chats)}))) "
        f"WHERE note IS NOT NULL",
    )
    kinds = data.all(
        "SELECT note, count(*) FROM flags WHERE concern = 'broken_turns' GROUP BY note ORDER BY count(*) DESC, note"
    )
    listed = ", ".join(f"{note} {count}" for note, count in kinds)
    return conclude(data, "broken_turns", f"{{n}} chats ({{share}}) have broken turns: {listed}")
