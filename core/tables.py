"""The events that are stored as columns: heavy series are charted from these, not from JSON."""

from __future__ import annotations

from store.tables import Field, TypedTable

METRICS = TypedTable("metrics", "metric_logged", (Field("job", "VARCHAR"), Field("step", "BIGINT")), values="values")
GPU = TypedTable(
    "gpu",
    "gpu_sampled",
    (
        Field("index", "BIGINT", "device"),
        Field("name", "VARCHAR"),
        Field("source", "VARCHAR"),
        Field("util", "DOUBLE"),
        Field("memory_used", "BIGINT"),
        Field("memory_total", "BIGINT"),
        Field("power_w", "DOUBLE"),
        Field("temperature_c", "DOUBLE"),
        Field("own_memory", "BIGINT"),
        Field("others", "BIGINT"),
        Field("note", "VARCHAR"),
    ),
)
TABLES = (METRICS, GPU)
