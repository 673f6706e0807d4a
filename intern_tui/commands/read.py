"""Reading what a run left: events, state, report, checks, queries, exports."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import msgspec

from core import events as e
from core.describe import describe, percent
from core.errors import DamagedLog, Diverged, NotFound, UsageError
from core.home import find_run, run_info
from core.sanitize import one_line as sanitize
from core.session import follow_events, open_source, state_at
from store.event import Event, envelope


def events(a: argparse.Namespace) -> int:
    """The events of a run, one a line."""
    folder = find_run(a.run)
    types = frozenset(a.type) if a.type else None
    if types and (unknown := types - e.EVENTS.keys()):
        raise UsageError(
            f"No event type is called {', '.join(sorted(unknown))}", next="Types: " + ", ".join(sorted(e.EVENTS))
        )
    if a.follow:
        for event in follow_events(folder, a.from_seq):
            if types is None or event.type in types:
                _print_event(event, a.json)
        return 0
    source = open_source(folder, a.salvage)
    try:
        for event in source.events(a.from_seq, None, types):
            _print_event(event, a.json)
    finally:
        source.close()
    return 0


def _print_event(event: Event, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(envelope(event)).decode(), flush=True)
        return
    text, _ = describe(event, e.payload_of(event))
    stamp = envelope(event)["ts"]
    print(f"{event.seq:>6}  {stamp}  {event.type:<22} {sanitize(text)}", flush=True)


def state(a: argparse.Namespace) -> int:
    """The state of a run."""
    folder = find_run(a.run)
    now = state_at(folder, a.to, a.salvage)
    if a.json:
        told = msgspec.to_builtins(now, str_keys=True)
        # A run without a host is interrupted, whatever its log says: the log cannot know.
        told["status"] = run_info(folder).status if a.to is None else now.status
        print(msgspec.json.encode(told, order="sorted").decode())
        return 0
    print(f"{now.run}: {run_info(folder).status if a.to is None else now.status}, event {now.seq}")
    for step in now.plan:
        print(f"  {step.status:<8} {step.title}" + (f"  {step.note}" if step.note else ""))
    print(
        f"  baseline {percent(now.scores.baseline)} [{now.scores.baseline_seq}], best {percent(now.scores.best)} [{now.scores.best_seq}]"
    )
    return 0


def report(a: argparse.Namespace) -> int:
    """Print the report; for a run that has none yet, the report as it stands."""
    folder = find_run(a.run)
    written = folder / "report.md"
    if written.exists():
        print(written.read_text(), end="")
        return 0
    from core.report import render_report

    print(render_report(state_at(folder)), end="")
    return 0


def verify(a: argparse.Namespace) -> int:
    """Check chain, mark, blobs, density, typed rows and projections of a run that no host holds; then run its loop again."""
    from core.projections import check_projections
    from store.verify import verify as check

    folder = find_run(a.run)
    found = check(folder)
    if found.sound:
        found = msgspec.structs.replace(found, findings=check_projections(folder))
    loop = None
    if found.sound and not a.log_only:
        from core.agent.verify import verify_loop

        loop = verify_loop(folder)
    if a.json:
        told = msgspec.to_builtins(found)
        told["loop"] = None if loop is None else {
            "compared": loop.compared, "hosts": loop.hosts, "skipped": loop.skipped,
            "divergence": loop.divergence._asdict() if loop.divergence else None,
        }  # fmt: skip
        print(msgspec.json.encode(told).decode())
    elif found.sound:
        print(f"{folder.name}: sound, {found.events} events, last hash {found.hash[:16]}…")
    for finding in found.findings:
        print(f"{finding.check}: {finding.what}" + (f" (event {finding.seq})" if finding.seq else ""), file=sys.stderr)
    if not found.sound:
        bad = f", the first bad event is {found.first_bad}" if found.first_bad else ""
        raise DamagedLog(
            f"The log of {folder.name} is damaged{bad}",
            where=str(folder),
            next=f"{found.events} events are good: intern events {folder.name} --salvage",
        )
    if loop is not None and loop.divergence:
        at = loop.divergence.seq
        raise Diverged(
            f"The log of {folder.name} is sound, but its loop, run again on what was recorded, goes another way from event {at} on: "
            f"{sanitize(str(loop.divergence))}",
            next=f"Another version of this program may have recorded it, or this is a bug. Look: intern replay {folder.name} "
            f"--to {at}. The log alone: intern verify {folder.name} --log-only",
        )
    if loop is not None and not a.json:
        what = f"not run again: {loop.skipped}" if loop.skipped else f"{loop.compared} events made again, all the same"
        print(f"{folder.name}: the loop: {what}")
    return 0


def sql(a: argparse.Namespace) -> int:
    """Query one or many runs."""
    from core.analysis import query

    *names, text = a.words
    folders = [find_run(name) for name in names] if names else _all_folders()
    if not folders:
        raise NotFound("There are no runs to query", next="Start one: intern run --task pocket/addition")
    rows = query(folders, text)
    if a.json:
        print(msgspec.json.encode([dict(zip(rows.columns, row, strict=True)) for row in rows.rows]).decode())
    elif a.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(rows.columns)
        writer.writerows(rows.rows)
    else:
        _table(list(rows.columns), [[("" if v is None else sanitize(str(v))) for v in row] for row in rows.rows])
    return 0


def _all_folders() -> list[Path]:
    from core.home import run_folders

    return list(run_folders())


def _table(columns: list[str], rows: list[list[str]]) -> None:
    widths = [min(60, max(len(c), *(len(r[i]) for r in rows)) if rows else len(c)) for i, c in enumerate(columns)]
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)))
    for row in rows:
        print("  ".join(v[:w].ljust(w) for v, w in zip(row, widths, strict=True)))


def export(a: argparse.Namespace) -> int:
    """Export a run's tables."""
    from core.analysis import export_parquet

    folder = find_run(a.run)
    out = Path(a.out or f"{folder.name}-parquet").absolute()
    for path in export_parquet(folder, out):
        print(path)
    return 0
