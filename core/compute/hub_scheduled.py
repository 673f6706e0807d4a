"""Scheduled jobs of Hugging Face: the Hub starts one again and again, whether or not a run or this machine is there, until it
is deleted. So each has a price for a month, and nothing here makes one that a person has not said yes to (core/tools/schedule.py).

They carry our labels: what they start is listed like any other job that no run here knows (`HubEngine.orphans`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.compute.cron import most_starts
from core.compute.flavors import choose
from core.compute.hub_jobs import IMAGE, HubEngine, label, tag_of
from core.compute.protocol import Quote
from core.compute.spec import JobSpec
from core.errors import UsageError

DAYS = 30

TIMEOUT = "intern-timeout-s"
"""Label with the time-out: what the Hub says of a schedule does not name it."""


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of ours as the Hub has it."""

    id: str
    name: str
    schedule: str
    flavor: str
    suspended: bool
    next_start: str
    """ISO 8601; empty where none is planned."""
    usd_a_start: float
    """At most: rate x time-out; it is tried once."""
    usd_a_month: float | None
    """At most, in 30 days; None for a schedule that is not understood here."""


class HubSchedules:
    """The schedules of one account that are labelled as ours. Errors as of HubEngine."""

    def __init__(self, engine: HubEngine) -> None:
        self.engine = engine

    def quote(self, job: JobSpec) -> Quote:
        """The most that one start can cost. Raises Refused."""
        return choose(self.engine.flavors(), job, wanted=self.engine.flavor)

    def find(self, effect_id: str) -> Scheduled | None:
        """The schedule that was made under an effect id."""
        return next(iter(self._listed({"intern-effect": tag_of(effect_id)})), None)

    def create(self, job: JobSpec, code: str, schedule: str, quote: Quote) -> Scheduled:
        """Have `code` started as a Python program by `schedule`, without any token or secret; once an effect id."""
        known = self.find(job.effect_id)
        if known is not None:
            return known
        most_starts(schedule)
        api: Any = self.engine.api
        made = self.engine.call(
            lambda: api.create_scheduled_job(
                image=IMAGE, command=["python", "-c", code], schedule=schedule, concurrency=False, flavor=quote.flavor,
                timeout=int(quote.timeout_s), attempts=1, name=f"intern-{label(job.job)}",
                labels={
                    "intern": "1", "intern-effect": tag_of(job.effect_id), "intern-run": label(self.engine.run),
                    TIMEOUT: str(int(quote.timeout_s)),
                },
                namespace=self.engine.namespace,
            )
        )  # fmt: skip
        return self._shown(made)

    def list(self) -> list[Scheduled]:
        """All of ours in this account, of whatever run."""
        return self._listed({"intern": "1"})

    def suspend(self, schedule: str) -> None:
        """It starts nothing any more until somebody resumes it on the Hub. Raises NotFound."""
        api: Any = self.engine.api
        self.engine.call(lambda: api.suspend_scheduled_job(scheduled_job_id=schedule, namespace=self.engine.namespace))

    def delete(self, schedule: str) -> None:
        """For good; what it has started goes on to its end. Raises NotFound."""
        api: Any = self.engine.api
        self.engine.call(lambda: api.delete_scheduled_job(scheduled_job_id=schedule, namespace=self.engine.namespace))

    def _listed(self, labels: dict[str, str]) -> list[Scheduled]:
        api: Any = self.engine.api
        found = self.engine.call(lambda: api.list_scheduled_jobs(labels=labels, namespace=self.engine.namespace))
        return [self._shown(one) for one in found]

    def _shown(self, found: Any) -> Scheduled:
        spec, labels = found.job_spec, dict(found.job_spec.labels or {})
        rates = {f.name: f.usd_per_hour for f in self.engine.flavors()}
        each = rates.get(str(spec.flavor), 0.0) * float(labels.get(TIMEOUT, 0.0)) / 3600
        soon = found.status.next_job_run_at if found.status else None
        return Scheduled(
            id=str(found.id), name=str(labels.get("name", "")),
            schedule=str(found.schedule), flavor=str(spec.flavor), suspended=bool(found.suspend),
            next_start=soon if isinstance(soon, str) else soon.isoformat() if soon else "", usd_a_start=each,
            usd_a_month=_a_month(str(found.schedule), each),
        )  # fmt: skip


def _a_month(schedule: str, usd: float) -> float | None:
    try:
        return usd * most_starts(schedule, DAYS)
    except UsageError:
        return None
