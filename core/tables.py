"""The typed rows that stand beside the events: heavy series are read from these, not from JSON."""

from __future__ import annotations

from collections.abc import Iterator

from core import events as e
from store.event import Event
from store.tables import TypedTable


def _metric_rows(event: Event) -> Iterator[tuple[object, ...]]:
    payload = e.payload_of(event)
    if isinstance(payload, e.MetricLogged):
        for name, value in payload.values.items():
            yield (event.seq, event.ts, payload.job, payload.step, name, value)


def _gpu_rows(event: Event) -> Iterator[tuple[object, ...]]:
    p = e.payload_of(event)
    if isinstance(p, e.GpuSampled):
        yield (event.seq, event.ts, p.index, p.name, p.source, p.util, p.memory_used, p.memory_total, p.power_w, p.temperature_c)  # fmt: skip


METRICS = TypedTable(
    name="metrics",
    columns_ddl="seq UBIGINT, ts BIGINT, job VARCHAR, step BIGINT, name VARCHAR, value DOUBLE",
    types=frozenset({"metric_logged"}),
    rows=_metric_rows,
    version=1,
)
GPU = TypedTable(
    name="gpu",
    columns_ddl="seq UBIGINT, ts BIGINT, device INTEGER, name VARCHAR, source VARCHAR, util DOUBLE, "
    "memory_used BIGINT, memory_total BIGINT, power_w DOUBLE, temperature_c DOUBLE",
    types=frozenset({"gpu_sampled"}),
    rows=_gpu_rows,
    version=1,
)
TABLES = (METRICS, GPU)
