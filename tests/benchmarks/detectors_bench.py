"""The detectors against labelled runs: recall a kind, false alarms among healthy runs, and how early a failure is seen.

    python -m tests.benchmarks.detectors_bench [--held-out] [--verbose]

The runs are real trainings by TRL (tests/benchmarks/labelled, recorded with their seeds); each is read as the files a user
may have: JSON lines, trainer_state.json, a console log. Development seeds by default; the held-out seeds confirm and
choose nothing.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from core.evaluation.stats import wilson
from core.training.detectors import Watch
from core.training.diagnose_file import diagnose_file
from core.training.diagnosis import Diagnosis
from tests.benchmarks.labelled.catalogue import HELD_OUT
from tests.benchmarks.labelled.outcome import doubt, labels

LOGS = Path(__file__).parent / "labelled" / "logs"


def records(held_out: bool) -> Iterator[dict[str, Any]]:
    """The recorded runs in which what was planned did happen."""
    for path in sorted(LOGS.glob("*.jsonl.xz"), key=lambda p: int(p.name.split(".")[0])):
        if (int(path.name.split(".")[0]) >= HELD_OUT) == held_out:
            for line in lzma.decompress(path.read_bytes()).decode().splitlines():
                yield json.loads(line)


def read_as(layout: str, record: dict[str, Any], folder: Path) -> Diagnosis:
    """The diagnosis of a run that lies before the reader in some layout."""
    rows = record["log"]
    if "job" in record:
        return diagnose_file(_as_job(record, folder / "job"))
    if layout == "state":
        path = folder / "trainer_state.json"
        path.write_text(
            json.dumps({"max_steps": record["max_steps"], "global_step": record["steps"], "log_history": rows})
        )
    elif layout == "lines":
        path = folder / "log.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows) + record["tail"])
    else:  # as a console shows it: no step, no evaluation rows without their metrics, the traceback at the end
        path = folder / "console.log"
        printed = [{k: v for k, v in r.items() if k not in ("step", "ts")} for r in rows]
        path.write_text("Loading weights: 100%\n" + "".join(f"{r}\n" for r in printed) + record["tail"])
    return diagnose_file(path)


def _as_job(record: dict[str, Any], folder: Path) -> Path:
    """The folder of a job: only there stand its time limit and its last sign of life."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    told = {"kind": record["method"], "max_steps": record["max_steps"], "time_limit_s": record["job"]["time_limit_s"]}
    (folder / "spec.json").write_text(json.dumps(told))
    with (folder / "metrics.jsonl").open("w") as stream:
        for row in record["log"]:
            values = {k: v for k, v in row.items() if k not in ("step", "ts")}
            stream.write(json.dumps({"kind": "metric", "step": row["step"], "ts": row["ts"], "values": values}) + "\n")
    quiet = record["job"]["quiet_s"]
    if quiet is not None:
        beat = folder / "heartbeat"
        beat.write_text("")
        os.utime(beat, (time.time() - quiet, time.time() - quiet))
    else:
        (folder / "exit.json").write_text(json.dumps({"exit_code": record["exit_code"]}))
    return folder


def first_seen(record: dict[str, Any]) -> float | None:
    """The share of the planned steps after which a streaming watch calls the run failing."""
    job = record.get("job") or {}
    watch = Watch(record["method"], record["max_steps"], time_limit_s=job.get("time_limit_s"))
    for row in record["log"]:
        values = {k: v for k, v in row.items() if k not in ("step", "ts") and isinstance(v, int | float)}
        if any(f.severity == "failing" for f in watch.feed(row["step"], values)):
            return row["step"] / record["max_steps"]
    silent = watch.quiet(job["quiet_s"]) if job.get("quiet_s") else []
    return watch.history.last_step / record["max_steps"] if silent else None


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--held-out", action="store_true")
    options.add_argument("--verbose", action="store_true")
    options.add_argument("--layout", choices=["lines", "state", "console"], default="lines")
    chosen = options.parse_args()
    found: dict[str, list[bool]] = defaultdict(list)
    failing: dict[str, list[bool]] = defaultdict(list)
    early: dict[str, list[float]] = defaultdict(list)
    healthy: dict[str, list[bool]] = defaultdict(list)
    dropped = 0
    with tempfile.TemporaryDirectory() as folder:
        for record in records(chosen.held_out):
            name = f"{record['method']}/{record['name']}/{record['size']}/{record['seed']}"
            why = doubt(record)
            if why:
                dropped += 1
                if chosen.verbose:
                    print(f"dropped {name}: {why}")
                continue
            seen = read_as(chosen.layout, record, Path(folder))
            said = "; ".join(f"{f.severity[0]}:{f.kind}@{f.first_step}" for f in seen.findings)
            wanted = labels(record)
            if not wanted:
                healthy[record["method"]].append(seen.verdict == "failing")
                if chosen.verbose and seen.verdict == "failing":
                    print(f"FALSE ALARM {name} {record['accuracy']}: {said}")
                continue
            kind = wanted[0]
            hit = any(f.kind in wanted for f in seen.findings)
            found[kind].append(hit)
            failing[kind].append(seen.verdict == "failing")
            share = first_seen(record)
            if share is not None:
                early[kind].append(share)
            if chosen.verbose and not (hit and seen.verdict == "failing"):
                print(f"MISSED {name} {record['accuracy']} wants {wanted}: {said}")
    _table(found, failing, early, healthy, dropped)


def _table(found: dict, failing: dict, early: dict, healthy: dict, dropped: int) -> None:
    print(f"{'kind':<20}{'runs':>5}{'found':>8}{'failing':>9}{'seen after (median share of the plan)':>40}")
    for kind in sorted(found):
        hits, n = sum(found[kind]), len(found[kind])
        when = f"{median(early[kind]):.0%} ({len(early[kind])} seen while it ran)" if early[kind] else "at the end"
        print(f"{kind:<20}{n:>5}{hits / n:>8.0%}{sum(failing[kind]) / n:>9.0%}{when:>40}")
    every = [share for shares in early.values() for share in shares]
    total = sum(len(v) for v in found.values())
    print(f"seen before a quarter of the plan: {sum(s <= 0.25 for s in every)} of {total} failing runs")
    for method, flags in sorted(healthy.items()):
        low, high = wilson(sum(flags), len(flags))
        print(f"healthy {method}: {sum(flags)} of {len(flags)} called failing [{low:.0%}, {high:.0%}]")
    print(f"dropped, because what was planned did not happen: {dropped}")


if __name__ == "__main__":
    main()
