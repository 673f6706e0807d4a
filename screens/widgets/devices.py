"""What the work runs on: GPUs (or honestly the CPU), and the jobs that run there."""

from __future__ import annotations

from core.compute.usage import in_words
from core.state import Device, Job
from screens.pane import Pane
from screens.text import Part, Row, bar, cut, fit, gigabytes, number, row, span_of, wrap
from screens.view import View
from screens.widgets.plan import empty

_SPARKS = "▁▂▃▄▅▆▇█"


class Devices(Pane):
    """A block a device, then a line or two a job."""

    NAME = "Devices"
    LETTER = "d"
    REST_S = 0.9

    def title(self, view: View) -> str:
        devices = view.state.devices.values()
        if not devices:
            return "Devices"
        return "CPU" if all(d.source == "psutil" for d in devices) else "GPU"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        state = view.state
        rows: list[Row] = []
        for device in sorted(state.devices.values(), key=lambda d: d.index):
            rows.extend(self._device(device, width))
        if not rows:
            rows = empty(width, "No reading yet.", "The host measures once a second from its start.")
        rows += [row(), row(("Jobs", "title"))]
        running = state.running_jobs()
        for job in running:
            rows.extend(self._at_work(job, view, width))
        if not running:
            rows.append(row(("none is running", "dim")))
        ended = [job for job in state.jobs.values() if job.status != "running"]
        rows += [self._ended(job, width) for job in reversed(ended)]
        return rows

    def _device(self, d: Device, width: int) -> list[Row]:
        rows = [row((cut(self._called(d), width), "waiting strong" if d.source == "fake" else "strong"), seq=d.seq)]
        use = "n/a" if d.util is None else f"{100 * d.util:.0f} %"
        meter = max(8, width - 7)
        rows.append(row((bar(d.util, meter), "line"), use.rjust(7), seq=d.seq))
        own = f" ({gigabytes(d.own_memory)} ours)" if d.own_memory is not None else ""
        figures = [f"{gigabytes(d.memory_used)} of {gigabytes(d.memory_total)} GB{own}"]
        figures += [f"{d.power_w:.0f} W"] if d.power_w is not None else []
        figures += [f"{d.temperature_c:.0f} °C"] if d.temperature_c is not None else []
        figures += [f"{d.others} other process{'es' * (d.others != 1)}"] if d.others else []
        rows += packed(figures, width, d.seq)
        if len(d.history) > 4:
            rows.append(row((spark(d.history, width), "band"), seq=d.seq))
        note = d.note or ("no GPU: measured by psutil" if d.source == "psutil" else "")
        role = "dim" if d.source == "psutil" else "waiting"  # throttled, memory errors: what a measurement suffers from
        rows += [row((line, role), seq=d.seq) for line in wrap(note, width, 2)]
        return rows

    def _called(self, d: Device) -> str:
        if d.source == "psutil":
            return d.name
        fake = "FAKE " if d.source == "fake" else ""
        return f"{fake}GPU {d.index}  {d.name}"

    def _at_work(self, job: Job, view: View, width: int) -> list[Row]:
        elapsed = max(0.0, (view.now_us - job.started_ts) / 1e6)
        of = f"/{job.planned_steps}" if job.planned_steps else ""
        first: list[Part] = [
            ("● ", "accent"),
            (fit(f"{job.id} {job.method or job.kind}", min(18, width - 14)), "strong"),
        ]
        if job.step or job.planned_steps:
            first.append(f" step {job.step}{of}")
        if job.step > 0 and job.planned_steps:
            pace = elapsed / job.step
            left = span_of(max(job.planned_steps - job.step, 0) * pace)
            second = f"{number(pace)} s/step  {left} left"
        else:
            second = f"{span_of(elapsed)} so far"
        used = in_words(job.gpus, elapsed, job.usd)
        second += f"  {used}" if used else ""
        return [
            row(*first, seq=job.last_seq or job.seq),
            row((cut(f"  {second}  {job.title.removeprefix(f'{job.method}, ')}", width), "dim"), seq=job.seq),
        ]

    def _ended(self, job: Job, width: int) -> Row:
        sign, role = {"finished": ("✓", "good"), "failed": ("✗", "bad"), "lost": ("?", "bad")}.get(
            job.status, ("–", "waiting")
        )
        text = f"{job.id} {job.method or job.kind} {job.status}, {span_of(job.seconds)}"
        used = in_words(job.gpus, job.seconds, job.usd)
        text += f", {used}" if used else ""
        return row((sign + " ", role), (cut(text, width - 2), "dim"), seq=job.seq)


def spark(values: list[float], width: int) -> str:
    """The last values as blocks, in [0, 1]."""
    shown = values[-width:]
    return "".join(_SPARKS[min(7, int(min(max(v, 0.0), 1.0) * 7.999))] for v in shown).rjust(width)


def packed(figures: list[str], width: int, seq: int) -> list[Row]:
    """Figures side by side, on as many lines as they need, none torn apart."""
    lines: list[str] = []
    for figure in figures:
        if lines and len(lines[-1]) + 2 + len(figure) <= width:
            lines[-1] += "  " + figure
        else:
            lines.append(figure)
    return [row((cut(line, width), "dim"), seq=seq) for line in lines]
