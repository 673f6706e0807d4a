"""What this machine has to give: cores this process may use, GPUs with their free memory."""

from __future__ import annotations

import os
import threading
import time

import psutil

from core.compute.schedule import Capacity, Device
from core.compute.telemetry import Telemetry

FRESH_S = 2.0
"""A reading of free memory is used that long."""


class Machine:
    """Asks NVML at most every FRESH_S seconds. Safe to use from several threads."""

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._read = -FRESH_S
        self._capacity = Capacity(cpus=cores())

    def capacity(self) -> Capacity:
        """Cores and GPUs now."""
        with self._lock:
            if time.monotonic() - self._read >= FRESH_S:
                self._telemetry = self._telemetry or Telemetry()
                self._capacity = Capacity(cpus=cores(), gpus=tuple(_devices(self._telemetry)))
                self._read = time.monotonic()
            return self._capacity


def cores() -> int:
    """Cores this process may use (its affinity), at least 1."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1))


def busy_cores(window_s: float = 0.1) -> float:
    """Cores kept busy now by all but this process, measured for `window_s` seconds."""
    machine, own = psutil.cpu_times(), time.process_time()
    time.sleep(window_s)
    now = psutil.cpu_times()
    resting = sum(getattr(now, name, 0.0) - getattr(machine, name, 0.0) for name in ("idle", "iowait"))
    spent = sum(now) - sum(machine) - (getattr(now, "guest", 0.0) - getattr(machine, "guest", 0.0))
    return max(0.0, (spent - resting - (time.process_time() - own)) / window_s)


def _devices(telemetry: Telemetry) -> list[Device]:
    if telemetry.source == "psutil":
        return []
    return [
        Device(
            index=s.index,
            total_bytes=s.memory_total_bytes,
            free_bytes=s.memory_total_bytes - (s.memory_used_bytes or 0),
        )
        for s in telemetry.sample()
        if s.memory_total_bytes
    ]
