"""A person's SQL, let in safely: one statement that reads, inside a read-only transaction, for a limited time."""

from __future__ import annotations

import threading

import duckdb

from store.errors import BadQuery
from store.source import Rows

_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


def ask(cursor: duckdb.DuckDBPyConnection, sql: str, limit: int, timeout_s: float) -> Rows:
    """The first `limit` rows of `sql`. Raises BadQuery if it is wrong, wants to write or takes too long."""
    try:
        statements = cursor.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READING:
            raise BadQuery("only one statement that reads is allowed", next="Write one SELECT")
        return _answer(cursor, statements[0], limit, timeout_s)
    except duckdb.InterruptException:
        raise BadQuery(f"the query took more than {timeout_s:g} s", next="Narrow it, or export") from None
    except duckdb.Error as error:
        raise BadQuery(str(error).strip()) from error


def _answer(cursor: duckdb.DuckDBPyConnection, statement: duckdb.Statement, limit: int, timeout_s: float) -> Rows:
    timer = threading.Timer(timeout_s, cursor.interrupt)
    timer.daemon = True
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    timer.start()
    try:
        result = cursor.execute(statement)
        rows = result.fetchmany(limit + 1)
        about = result.description or []
    finally:
        timer.cancel()
        cursor.execute("ROLLBACK")
    return Rows(
        columns=[str(column[0]) for column in about],
        types=[str(column[1]) for column in about],
        rows=[list(row) for row in rows[:limit]],
        truncated=len(rows) > limit,
    )
