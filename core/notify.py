# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportMissingImports=false
"""Telling a person who is not looking: an approval waits, a job failed, the run ended.

Where to is one line a target in `notify.txt` under INTERN_HOME, as Apprise writes them (desktop, Slack, e-mail, webhook
and a hundred more: dbus://, slack://..., mailto://..., json://host/path); `$NAME` is read from the environment, so no key
has to stand in the file. A target that fails is noted once and the run goes on.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from collections.abc import Callable

from core import events as e
from core import install
from core.describe import describe
from core.home import home
from core.journal import Journal
from core.sanitize import one_line
from store.event import Event

TELLING = frozenset(
    {
        "approval_requested",
        "question_asked",
        "job_failed",
        "failure_diagnosed",
        "budget_warned",
        "run_finished",
        "host_recovered",
    }
)
"""Types worth a notification; a diagnosis only where it fails the job, a budget only at 95 %."""

Send = Callable[[str, str], bool]
"""(title, text) -> whether all targets took it."""


def targets() -> list[str]:
    """The lines of the file, comments and empty ones left out."""
    try:
        lines = (home() / "notify.txt").read_text("utf-8").splitlines()
    except OSError:
        return []
    known = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return [re.sub(r"\$([A-Z][A-Z0-9_]*)", lambda m: os.environ.get(m.group(1), ""), line) for line in known]


def sender(urls: list[str]) -> Send:
    """Through Apprise. Raises ImportError where that is not installed."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines would name the targets, keys included
    hub = apprise.Apprise()
    for url in urls:
        hub.add(url)
    return lambda title, text: bool(hub.notify(body=text, title=title))


class Notifier:
    """Listens to the journal; sends on a thread of its own, so a slow target holds nobody up."""

    def __init__(self, journal: Journal, run: str, send: Send | None = None) -> None:
        self.journal = journal
        self.run = run
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue(maxsize=100)
        self._failed = False
        urls = [] if send else targets()
        if send is None and urls:
            try:
                send = sender(urls)
            except ImportError:
                journal.emit(
                    e.NoteAdded(
                        text=f"notify.txt names targets, but Apprise is not installed: {install.command('notify')}"
                    )
                )
        self._send = send
        self._thread = threading.Thread(target=self._work, daemon=True, name="notify")
        if send is not None:
            journal.listen(self._on_event)
            self._thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Send what waits."""
        if self._send is not None:
            self._queue.put(None)
            self._thread.join(seconds)

    def _on_event(self, event: Event) -> None:
        if event.type not in TELLING:
            return
        payload = e.payload_of(event)
        if isinstance(payload, e.FailureDiagnosed) and payload.severity != "failing":
            return
        if isinstance(payload, e.BudgetWarned) and payload.fraction < 0.95:
            return
        text, _ = describe(event, payload)
        try:
            self._queue.put_nowait((f"intern {self.run}", self.journal.clean_text(one_line(text))))
        except queue.Full:
            return  # a hundred unsent ones say enough

    def _work(self) -> None:
        assert self._send is not None
        while (item := self._queue.get()) is not None:
            try:
                sent = self._send(*item)
            except Exception:  # noqa: BLE001 - the boundary to a foreign service: noted once, never the run's problem
                sent = False
            if not sent and not self._failed:
                self._failed = True
                self.journal.emit(e.NoteAdded(text="a notification could not be sent; check notify.txt"))
