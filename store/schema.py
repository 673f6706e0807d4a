"""The tables of a log file.

`event_log` holds the events as stored, `events` is the same for people: `ts` a UTC timestamp, the payload JSON, the
hash in hex. There is no index: rows lie in the order of `seq`, so DuckDB's zone maps find a window as fast as a key
would, in a file a quarter smaller. After every change of schema follows a checkpoint (replaying DDL from the
write-ahead log has open issues in DuckDB).
"""

from __future__ import annotations

DATABASE = "log.duckdb"
WAL = "log.duckdb.wal"
FORMAT = 1

CREATE = (
    """CREATE TABLE event_log (
        seq BIGINT NOT NULL, ts BIGINT NOT NULL, id UUID NOT NULL, type VARCHAR NOT NULL, v SMALLINT NOT NULL, actor
        VARCHAR NOT NULL, cause BIGINT, payload VARCHAR USING COMPRESSION zstd NOT NULL, hash UBIGINT NOT NULL)""",
    """CREATE VIEW events AS SELECT seq, make_timestamp(ts) AS ts, id, type, v, actor, cause, payload::JSON AS payload,
        format('{:016x}', hash) AS hash FROM event_log""",
    "CREATE TABLE log_about (format INTEGER NOT NULL, log_id VARCHAR NOT NULL, created BIGINT NOT NULL)",
    "CREATE TABLE log_tables (name VARCHAR NOT NULL, version INTEGER NOT NULL, columns_ddl VARCHAR NOT NULL)",
)

COLUMNS = "seq, id::VARCHAR, ts, type, v, actor, cause, encode(payload), format('{:016x}', hash)"
"""The fields of `store.event.Event`, in its order: DuckDB makes text of ids and hashes faster than Python would."""

INSERT_ORDER = "(seq, ts, id, type, v, actor, cause, payload, hash)"
