"""SQL over runs: the views a researcher asks, defined once. `docs/sql.md` shows them with examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.home import living_host
from core.tables import TABLES
from store.export import export_parquet as _export
from store.query import query as _query
from store.source import Rows

VIEWS = {
    "metrics": "SELECT * FROM {log}.metrics",
    "gpu": "SELECT * FROM {log}.gpu",
    "evals": """
        SELECT seq, ts, payload->>'$.evaluation' AS evaluation, payload->>'$.label' AS label, payload->>'$.model' AS model,
               payload->>'$.split' AS split, CAST(payload->>'$.samples' AS BIGINT) AS samples,
               CAST(payload->>'$.score' AS DOUBLE) AS score,
               CAST(payload->>'$.interval[0]' AS DOUBLE) AS low, CAST(payload->>'$.interval[1]' AS DOUBLE) AS high,
               CAST(payload->>'$.delta' AS DOUBLE) AS delta, payload->>'$.against' AS against,
               payload->>'$.decoding' AS decoding, CAST(coalesce(payload->>'$.shots', '0') AS INTEGER) AS shots,
               payload->>'$.job' AS job, payload->>'$.experiment' AS experiment
        FROM {log}.events WHERE type = 'evaluation_finished'""",
    "jobs": """
        SELECT l.seq, l.ts, l.payload->>'$.job' AS job, l.payload->>'$.kind' AS kind, l.payload->>'$.method' AS method,
               l.payload->>'$.title' AS title, l.payload->>'$.experiment' AS experiment,
               CAST(l.payload->>'$.config.lr' AS DOUBLE) AS lr,
               CAST(l.payload->>'$.config.max_steps' AS BIGINT) AS max_steps,
               coalesce(e.type, 'job_running') AS ended, CAST(e.payload->>'$.seconds' AS DOUBLE) AS seconds,
               e.payload->>'$.reason' AS reason, l.payload->'$.config' AS config
        FROM {log}.events l LEFT JOIN {log}.events e
          ON e.type IN ('job_finished', 'job_failed', 'job_cancelled') AND e.payload->>'$.job' = l.payload->>'$.job'
        WHERE l.type = 'job_launched'""",
    "papers": """
        SELECT seq, ts, payload->>'$.paper' AS paper, payload->>'$.title' AS title, payload->>'$.source' AS source,
               payload->'$.taken' AS taken
        FROM {log}.events WHERE type = 'paper_read'""",
    "datasets": """
        SELECT seq, ts, type, coalesce(payload->>'$.dataset', payload->>'$.name') AS dataset,
               CAST(payload->>'$.rows' AS BIGINT) AS rows, payload->'$.concerns' AS concerns, payload->'$.dropped' AS dropped
        FROM {log}.events WHERE type IN ('dataset_inspected', 'dataset_prepared')""",
    "failures": """
        SELECT seq, ts, payload->>'$.job' AS job, payload->>'$.kind' AS kind, payload->>'$.severity' AS severity,
               CAST(payload->>'$.first_step' AS BIGINT) AS first_step, payload->'$.evidence' AS evidence,
               payload->'$.causes' AS causes
        FROM {log}.events WHERE type = 'failure_diagnosed'""",
}
"""Beside `events` and the typed tables `metrics` and `gpu`; each has a `run` column when queried."""


def query(folders: Sequence[Path], sql: str) -> Rows:
    """One query over one or many runs, live ones included. Raises store.errors for damage and for SQL that fails."""
    hosts = {f.name: h for f in folders if (h := living_host(f)) is not None}
    return _query(
        {f.name: f for f in folders},
        sql,
        VIEWS,
        sockets={run: Path(h.socket) for run, h in hosts.items()},
        tables=TABLES,
    )


def export_parquet(folder: Path, target: Path) -> list[Path]:
    """events, metrics and gpu of a run as parquet files in `target`."""
    return _export(folder, target)
