"""Folding columns: what the handlers of this package do for one metric or one device reading, for thousands of them.

Both leave the same state to the last bit; `tests/core/test_bulk.py` compares them on whatever hypothesis thinks of. So
a screen that opens a run of a million events need not turn each number into an object first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.events import GpuSampled
from core.fold.jobs import HEADLINE
from core.fold.resources import HISTORY_CUT, HISTORY_LENGTH, note_trouble, show_device
from core.series import BINS, Series
from core.state import Device, Job, RunState, kept_of
from core.tables import GPU, METRICS
from store.columns import Columns

Positions = NDArray[np.intp]
_WORTH_ARRAYS = 256
"""Points of a series from which on arrays are quicker than a loop."""


@dataclass(frozen=True)
class _Logged:
    """What one job logged, by position in the columns."""

    job: Job
    at: Positions
    kinds: dict[int, Positions]
    """By shape: where in `at` it is, in the order in which the shapes came last."""

    @property
    def latest(self) -> list[int]:
        """The last position of each shape."""
        return [int(self.at[where[-1]]) for where in self.kinds.values()]


class _Numbers:
    """The numbers a fold looks at: curves whole, of all else what came last."""

    def __init__(self, rows: Columns, logged: list[_Logged]) -> None:
        names = {name for part in logged for kind in part.kinds for name in rows.names[kind]}
        self._first = min(int(part.at[0]) for part in logged)
        self._latest = min(min(part.latest) for part in logged)
        self._curves = rows.numbers(sorted(names & HEADLINE), self._first, len(rows))
        self._others = rows.numbers(sorted(names - HEADLINE), self._latest, len(rows))

    def curve(self, name: str, at: Positions) -> NDArray[np.float64]:
        """A headline metric at some positions."""
        return self._curves[name][at - self._first]

    def latest(self, name: str, at: int) -> float:
        """Any metric at a position that is the last of its shape."""
        found = self._curves[name][at - self._first] if name in HEADLINE else self._others[name][at - self._latest]
        return float(found)


def metrics(state: RunState, rows: Columns) -> None:
    """Metrics of any number of jobs."""
    logged: list[_Logged] = []
    for name, at in _groups(rows.keys["job"]).items():
        job = state.jobs.get(name)
        if job is not None:
            at = at[rows.seq[at] > job.seq]  # a job of this name that was there before has its own history no more
            if len(at):
                logged.append(_Logged(job, at, _kinds(rows, at)))
    if logged:
        numbers = _Numbers(rows, logged)
        for part in logged:
            _metrics_of(part, rows, numbers)


def _kinds(rows: Columns, at: Positions) -> dict[int, Positions]:
    assert rows.shape is not None
    shape = rows.shape[at]
    having = {kind: np.flatnonzero(shape == kind) for kind in np.unique(shape).tolist()}
    return dict(sorted(having.items(), key=lambda kind: kind[1][-1]))


def _metrics_of(logged: _Logged, rows: Columns, numbers: _Numbers) -> None:
    job, at, kinds = logged.job, logged.at, logged.kinds
    job.step, job.last_seq = int(rows.keys["step"][at[-1]]), int(rows.seq[at[-1]])
    job.metric_rows += len(at)
    for kind in sorted(kinds, key=lambda kind: kinds[kind][0]):  # names stand in the order in which they came
        for name in rows.names[kind]:
            job.last.setdefault(name, 0.0)
            if name in HEADLINE and name not in job.series:
                job.series[name] = Series()
    for kind, row in zip(kinds, logged.latest, strict=True):
        job.last.update((name, numbers.latest(name, row)) for name in rows.names[kind])
    for name in sorted({name for kind in kinds for name in rows.names[kind]} & HEADLINE):
        having = [where for kind, where in kinds.items() if name in rows.names[kind]]
        where = at[np.sort(np.concatenate(having))] if len(having) > 1 else at[having[0]]
        extend(job.series[name], rows.keys["step"][where], numbers.curve(name, where))


def extend(series: Series, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """As `series.add` for each point, in order."""
    if len(steps) < _WORTH_ARRAYS:
        series.extend(steps.tolist(), values.tolist())
        return
    steps, values = np.maximum(steps, 0), values + 0.0
    reached = np.maximum.accumulate(steps)
    start = 0
    while start < len(steps):
        if reached[start] // series.width >= BINS or not series.count:
            series.add(int(steps[start]), float(values[start]))  # doubles the width as often as it has to
            start += 1
            continue
        end = int(np.searchsorted(reached, BINS * series.width))
        _fill(series, steps[start:end] // series.width, values[start:end])
        start = end
    series.last, series.last_step = float(values[-1]), int(steps[-1])


def _fill(series: Series, bins: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Put points into bins of the present width."""
    size = max(len(series.count), int(bins.max()) + 1)
    low = _array([np.inf if x is None else x for x in series.low], size, np.inf)
    high = _array([-np.inf if x is None else x for x in series.high], size, -np.inf)
    total, count = _array(series.total, size, 0.0), _array(series.count, size, 0).astype(np.int64)
    np.minimum.at(low, bins, values)
    np.maximum.at(high, bins, values)
    np.add.at(total, bins, values)  # in order, one by one: sums of floats depend on it
    np.add.at(count, bins, 1)
    series.total, series.count = total.tolist(), count.tolist()
    series.low = [x if n else None for x, n in zip(low.tolist(), series.count, strict=True)]
    series.high = [x if n else None for x, n in zip(high.tolist(), series.count, strict=True)]


def _array(values: list[Any], size: int, rest: float) -> NDArray[np.float64]:
    array = np.full(size, rest, np.float64)
    array[: len(values)] = values
    return array


def devices(state: RunState, rows: Columns) -> None:
    """Readings of any number of devices."""
    for index, at in _groups(rows.keys["index"]).items():
        names = rows.keys["name"][at]
        renamed = np.flatnonzero(names != names[-1])
        if len(renamed):
            at = at[renamed[-1] + 1 :]
        known = state.devices.get(index)
        payload = GpuSampled(**rows.fields(int(at[-1])))
        if known is None or len(renamed) or known.name != payload.name:
            known = state.devices[index] = Device(index, payload.name, payload.source, int(rows.seq[at[0]]))
        utils = np.ma.filled(rows.keys["util"][at[:-1]], 0.0).tolist()
        history = known.history + utils
        known.history = (
            history[-kept_of(len(known.history), len(utils), HISTORY_LENGTH, HISTORY_CUT) :] if utils else history
        )
        said = zip(rows.keys["source"][at].tolist(), rows.keys["note"][at].tolist(), strict=True)
        for source, note in dict.fromkeys(said):
            note_trouble(known, source, note or "")
        show_device(known, int(rows.seq[at[-1]]), payload)


def _groups(keys: NDArray[Any]) -> Mapping[Any, Positions]:
    """Where each value stands, in the order in which they first came."""
    listed = keys.tolist()
    codes = {key: code for code, key in enumerate(dict.fromkeys(listed))}
    coded = np.array(list(map(codes.__getitem__, listed)), np.intp)
    order = np.argsort(coded, kind="stable")
    ends = np.cumsum(np.bincount(coded, minlength=len(codes)))
    return dict(zip(codes, np.split(order, ends[:-1]), strict=True))


BULK: dict[str, Callable[[RunState, Columns], None]] = {METRICS.type: metrics, GPU.type: devices}
