"""Devices and budgets."""

from __future__ import annotations

from core import events as e
from core.fold.registry import on
from core.state import Device, RunState
from store.event import Record

HISTORY_LENGTH, HISTORY_CUT = 120, 40
"""Utilisations a device keeps, and how many are dropped at once when there are more."""
TROUBLES = 8
"""Different troubles a device keeps."""


@on(e.GpuSampled)
def _gpu_sampled(state: RunState, event: Record, p: e.GpuSampled) -> None:
    device = state.devices.get(p.index)
    if device is None or device.name != p.name:
        device = state.devices[p.index] = Device(p.index, p.name, p.source, event.seq)
    show_device(device, event.seq, p)


def show_device(device: Device, seq: int, p: e.GpuSampled) -> None:
    """Take a reading in. Of many at once `core/fold/bulk.py` takes the last one so, and from the others what must not be lost."""
    device.seq, device.source, device.util = seq, p.source, p.util
    device.memory_used, device.memory_total = p.memory_used, p.memory_total
    device.power_w, device.temperature_c = p.power_w, p.temperature_c
    device.own_memory, device.others, device.note = p.own_memory, p.others, p.note
    note_trouble(device, p.source, p.note)
    device.history.append(p.util if p.util is not None else 0.0)
    if len(device.history) > HISTORY_LENGTH:
        del device.history[:HISTORY_CUT]


def note_trouble(device: Device, source: str, note: str) -> None:
    """Keep what was wrong at some time."""
    if note and source != "psutil" and note not in device.troubles and len(device.troubles) < TROUBLES:
        device.troubles.append(note)


@on(e.BudgetCharged)
def _budget_charged(state: RunState, event: Record, p: e.BudgetCharged) -> None:
    if p.kind == "usd":
        state.budget.usd_used += p.amount
        if p.job in state.jobs:
            state.jobs[p.job].usd += p.amount
    elif p.kind == "tokens":
        state.budget.tokens_used += int(p.amount)
    elif p.kind == "disk":
        state.budget.disk_used = int(p.amount)


@on(e.BudgetWarned)
def _budget_warned(state: RunState, event: Record, p: e.BudgetWarned) -> None:
    state.budget.warned.append(f"{p.kind} {p.fraction:g}")
