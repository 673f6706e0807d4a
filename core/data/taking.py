"""From the table `stage` to the table `rows`: recognise the columns' parts, and put prompt and answer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from core.data.roles import recognise
from core.data.schema import ColumnInfo, Roles, SourceFile
from core.data.staging import name as quoted
from core.data.staging import quote

if TYPE_CHECKING:
    from core.data.files import Data

_SAMPLE = 200
"""Rows by which the columns' parts are recognised."""
_PLACE = "place in stage, from 0"
"""A name that no column of a file has."""
OTHER_KIND = "of another kind than the first file:"


def take(data: Data, file: SourceFile, roles: Roles | None, split: str | None) -> None:
    """Move `stage` into `rows` by the roles of its columns."""
    have = data.rows
    columns = [c[0] for c in data.all("DESCRIBE stage")][2:]
    own = roles or _recognise(data, columns)
    counts = dict(data.all("SELECT kind, count(*) FROM stage GROUP BY kind"))
    broken = data.all("SELECT line FROM stage WHERE kind = 'broken' ORDER BY line LIMIT 5")
    unknown = () if own.kind != "unknown" else ("no column recognised",)
    if "unknown" not in (own.kind, data.roles.kind) and own.kind != data.roles.kind:
        unknown = (f"{OTHER_KIND} {own.kind}",)
    data.kinds.append(own.kind)
    data.files.append(
        msgspec.structs.replace(
            file, rows=int(counts.get("row", 0)), broken_lines=int(counts.get("broken", 0)), notes=file.notes + unknown,
            blank_lines=int(counts.get("blank", 0)), broken_at=tuple(int(b) for (b,) in broken),
        )
    )  # fmt: skip
    data.columns += [c for c in _describe(data, columns) if c.name not in {d.name for d in data.columns}]
    if data.roles.kind == "unknown":
        data.roles = own
    values = _values(own, columns)
    told = f"coalesce({values['split']}, {quote(split or '')})"
    # The place in `stage` is the number, unless lines in between are no rows; numbering by a window sorts all the texts.
    number = "row_number() OVER (ORDER BY line) - 1" if set(counts) - {"row"} else quoted(_PLACE)
    data.con.execute(
        f"""INSERT INTO rows SELECT n, s, line, nullif(split, ''), prompt, answer, turns, chosen, rejected, system,
        licence,
        hash(same_text(prompt)), hash(same_answer(answer)) FROM (SELECT {number} + {have} AS n,
        {len(data.files) - 1} AS s, line, {told} AS split, {values["prompt"]} AS prompt, {values["answer"]} AS answer,
        {values["turns"]} AS turns, {values["chosen"]} AS chosen, {values["rejected"]} AS rejected, {values["system"]}
        AS
        system, {values["licence"]} AS licence FROM {values["from"]})"""
    )
    data.con.execute("DROP TABLE stage")


def _recognise(data: Data, columns: Sequence[str]) -> Roles:
    rows = data.all(f"SELECT * EXCLUDE (line, kind) FROM stage WHERE kind = 'row' LIMIT {_SAMPLE}") if columns else []
    return recognise({c: [row[i] for row in rows] for i, c in enumerate(columns)})


def _values(roles: Roles, columns: Sequence[str]) -> dict[str, str]:
    """SQL expressions for each part of a row."""

    def column(name: str | None) -> str:
        return quoted(name) if name in columns else "NULL"

    values = {part: column(getattr(roles, part)) for part in ("chosen", "rejected", "system", "split", "licence")}
    stage = f"(SELECT *, rowid AS {quoted(_PLACE)} FROM stage) WHERE kind = 'row'"
    values |= {"turns": "NULL", "from": stage}
    if roles.messages in columns:
        values["turns"] = "all_turns"
        last = "len(all_turns) > 0 AND all_turns[len(all_turns)].role = 'assistant'"
        values["prompt"] = f"CASE WHEN {last} THEN contents(all_turns[:-2]) ELSE contents(all_turns) END"
        values["answer"] = f"CASE WHEN {last} THEN all_turns[len(all_turns)].content END"
        m = column(roles.messages)
        values["from"] = f"(SELECT *, CASE WHEN json_valid({m}) THEN turns_of({m}) END AS all_turns FROM {stage})"
    elif roles.text in columns:
        values |= {"prompt": "NULL", "answer": column(roles.text)}
    else:
        parts = [f"nullif(flat({column(c)}), '')" for c in roles.prompt if c in columns]
        joined = f"nullif(concat_ws(chr(10) || chr(10), {', '.join(parts)}), '')"
        alone = f"flat({column(roles.prompt[0])})" if parts else f"before_reply({values['chosen']}::VARCHAR)"
        values["prompt"] = joined if len(parts) > 1 else alone
        values |= {part: f"reply({values[part]}::VARCHAR)" for part in ("chosen", "rejected")}
        values["answer"] = f"reply(found_in({column(roles.answer)}))" if roles.answer in columns else values["chosen"]
    return values


def _describe(data: Data, columns: Sequence[str]) -> list[ColumnInfo]:
    found: list[ColumnInfo] = []
    asked = [
        f"count(*) FILTER (WHERE {name} IS NULL), count(*) FILTER (WHERE trim({name}) IN ('', '[]', '{{}}')), "
        f"approx_count_distinct({name})"
        for name in map(quoted, columns)
    ]
    rows = int(data.one("SELECT count(*) FROM stage WHERE kind = 'row'"))
    counts = list(data.all(f"SELECT {', '.join(asked)} FROM stage WHERE kind = 'row'")[0]) if asked else []
    for i, c in enumerate(columns):
        name = quoted(c)
        nulls, empty, distinct = counts[3 * i : 3 * i + 3]
        kind = " or ".join(sorted(data.mixed[c])).lower() if c in data.mixed else _kind(data, name)
        data.held[c] = data.held.get(c, 0) + rows - int(nulls) - int(empty)
        if 0 < int(distinct) <= 3:
            data.values[c] = tuple(
                str(v)
                for (v,) in data.all(f"SELECT DISTINCT {name} FROM stage WHERE {name} IS NOT NULL ORDER BY 1 LIMIT 3")
            )
        found.append(ColumnInfo(name=c, type=kind, nulls=int(nulls), empty=int(empty), distinct=int(distinct)))
    return found


def _kind(data: Data, name: str) -> str:
    value = data.one(f"SELECT {name} FROM stage WHERE {name} IS NOT NULL LIMIT 1")
    if value is None:
        return "null"
    if value[:1] in "[{" and data.one("SELECT json_valid(?)", [value]):
        return "list" if value[0] == "[" else "object"
    return "number" if data.one("SELECT try_cast(? AS DOUBLE) IS NOT NULL", [value]) else "text"
