"""A run's host for fault trials, as far as jobs go: submits each job once by its effect id, records what the real watcher
sees in a real log, takes lost jobs up again. It is killed and started again at random; forks are started by one process
that has everything imported.

Reads one JSON object a line ({"folder", "place", "detail", "jobs", "code", "together"}), answers with the host's process id and
then with how it ended.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from core import events as e
from core.compute.hub_jobs import HubCompute, HubEngine
from core.compute.local import LocalCompute
from core.compute.protocol import submit_many
from core.compute.ray_jobs import RayEngine
from core.compute.shared import SharedCompute
from core.compute.slurm import SlurmEngine
from core.compute.spec import JobSpec, JobStatus, element
from core.errors import InternError
from core.fold import fold
from core.home import write_json
from core.ids import stable_id
from core.journal import Journal
from core.redact import Redactor
from core.state import RunState
from core.tables import TABLES
from core.watcher import JobWatcher
from store.errors import StoreError
from store.log import EventLog


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _child(order: dict[str, Any]) -> None:
    os.setsid()
    folder = Path(order["folder"])
    log = os.open(folder / "host.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        host(folder, order)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must never go on with its parent's code
        traceback.print_exc()
        code = 70
    os._exit(code)


def host(folder: Path, order: dict[str, Any]) -> None:
    compute = connect(order["place"], order["detail"], folder / "jobs")
    with _open(folder) as log:
        journal = Journal(log, fold(RunState(), log.events()), Redactor({}))

        def take_up(job: str) -> bool:
            if not hasattr(compute, "resume"):
                return False
            status = compute.resume(job, {})
            journal.emit(e.JobResumed(job=job, checkpoint="", pid=status.pid, reason="lost"))
            return True

        watcher = JobWatcher(journal, compute, folder, take_up)
        specs = [spec_of(folder, number, order) for number in range(order["jobs"])]
        if order["together"] and len(journal.state.jobs) < len(specs):
            for spec, status in zip(specs, submit_many(compute, specs), strict=True):
                record(journal, spec, status)
        for spec in specs:
            if spec.job not in journal.state.jobs:
                record(journal, spec, compute.submit(spec))
            watcher.poll()
        while any(j.status == "running" for j in journal.state.jobs.values()):
            try:
                watcher.poll()
            except InternError as error:
                print(f"{type(error).__name__}: {error}", flush=True)
            time.sleep(0.1)


def spec_of(folder: Path, number: int, order: dict[str, Any]) -> JobSpec:
    """A job as the desk makes it; its effect id is the same for every host."""
    job = f"job-{number}"
    place = folder / "jobs" / job
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "spec.json").exists():
        write_json(place / "spec.json", {"kind": "script"})
    effect = element(f"{folder.name}:sweep", number) if order["together"] else f"{folder.name}:{job}"
    argv = (sys.executable, "-c", order["code"])
    return JobSpec(job=job, kind="script", effect_id=effect, folder=str(place), argv=argv)


def record(journal: Journal, spec: JobSpec, status: JobStatus) -> None:
    """As the desk does, under an id that a second host would use as well."""
    launched = e.JobLaunched(job=spec.job, kind="training", method="sft", title=spec.job, effect_id=spec.effect_id, folder=spec.folder, pid=status.pid)  # fmt: skip
    journal.emit(launched, id=stable_id(1_700_000_000_000_000, spec.effect_id.encode()))


def connect(place: str, detail: Any, jobs: Path) -> Any:
    if place == "slurm":
        return SharedCompute(jobs, SlurmEngine(python=sys.executable, env=detail))
    if place == "ray":
        return SharedCompute(jobs, RayEngine(detail, python=sys.executable))
    if place == "hf-jobs":
        return HubCompute(jobs, HubEngine(token="hf_loopback", endpoint=detail, run="test", poll_s=0.3))
    return LocalCompute(jobs)


def _open(folder: Path) -> EventLog:
    """The log; the lock of a host that was killed this instant may still stand for a moment."""
    until = time.monotonic() + 20
    while True:
        try:
            return EventLog.open(folder, TABLES)
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
