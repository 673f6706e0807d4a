"""The tables of a log file.

`event_log` holds the events as stored, `events` is the same for people: `ts` a UTC timestamp, the payload JSON, the
hash in hex. A payload that is NULL lies as a row in a typed table (`store.tables`). There is no index: rows lie in the
order of `seq`, so DuckDB's zone maps find a window as fast as a key would, in a file a quarter smaller. After every
change of schema follows a checkpoint (replaying DDL from the write-ahead log has open issues in DuckDB).

An id is two numbers, `hi` and `lo`. For a UUIDv7 the first is the time it was made, the second the process that made
it, so the one rises in small steps and the other hardly changes, and both compress to little. The event's own time is
kept as what it differs from the id's: nothing, unless a clock was set back or the event came with an id of its own.
"""

from __future__ import annotations

DATABASE = "log.duckdb"
WAL = "log.duckdb.wal"
FORMAT = 2
"""Of the layout below. Format 1 kept an event's id and time as they are; its last logs already had this layout."""

ID_TIME_US = "((hi >> 16)::BIGINT * 1000 + (((hi & 4095)::BIGINT * 1000) >> 12))"
"""The time in an event's id, microseconds since 1970 UTC: `store.event.time_in`."""
TS_US = f"({ID_TIME_US} + late)"
"""An event's time, microseconds since 1970 UTC."""
ID = "((hi::UHUGEINT << 64) | lo)::UUID"

CREATE = (
    """CREATE TABLE event_log (
        seq BIGINT NOT NULL, hi UBIGINT NOT NULL, lo UBIGINT NOT NULL, late BIGINT NOT NULL, type VARCHAR NOT NULL, v
        SMALLINT NOT NULL, actor VARCHAR NOT NULL, cause BIGINT, payload VARCHAR USING COMPRESSION zstd, hash UBIGINT NOT
        NULL)""",
    "CREATE TABLE log_about (format INTEGER NOT NULL, log_id VARCHAR NOT NULL, created BIGINT NOT NULL)",
    "CREATE TABLE log_tables (name VARCHAR NOT NULL, declaration VARCHAR NOT NULL)",
    """CREATE TABLE log_shapes (
        table_name VARCHAR NOT NULL, shape INTEGER NOT NULL, names VARCHAR[] NOT NULL, slots INTEGER[] NOT NULL)""",
)

EVENTS_TEXT = f"""SELECT seq, make_timestamp({TS_US}) AS ts, {ID} AS id, type, v, actor, cause, payload::JSON AS payload,
    format('{{:016x}}', hash) AS hash FROM event_log WHERE payload IS NOT NULL"""


def events_view(parts: list[str]) -> str:
    """CREATE VIEW `events`, from the SELECTs of packed events."""
    return "CREATE OR REPLACE VIEW events AS " + " UNION ALL ".join([EVENTS_TEXT, *parts])


RECORD_COLUMNS = f"seq, {TS_US} AS ts, type, v, actor, cause, encode(payload) AS payload"
"""The fields of `store.event.Record`, in its order."""
COLUMNS = f"{RECORD_COLUMNS}, {ID}::VARCHAR AS id, format('{{:016x}}', hash) AS hash"
"""The fields of `store.event.Event`, in its order: DuckDB makes text of ids and hashes faster than Python would."""
