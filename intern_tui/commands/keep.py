"""Housekeeping: deleting runs, and what runs no longer need."""

from __future__ import annotations

import argparse
import sys

import msgspec

from core.errors import InternError
from core.home import find_run, run_folders
from core.housekeeping import Leftover, discard, leftovers, remove_run, removed_by_half
from store.errors import StoreError


def rm(a: argparse.Namespace) -> int:
    """Delete runs: log, checkpoints, data, final model, report."""
    folders = list(dict.fromkeys(find_run(name) for name in a.runs))  # all names are looked at before anything goes
    if not a.yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("intern: nobody can be asked here whether to delete for good. Add --yes if it is meant", file=sys.stderr)
        return 4
    for folder in folders:
        if not a.yes:
            answer = input(f"Delete {folder.name} with its log, checkpoints and final model? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                print(f"{folder.name}: kept")
                continue
        print(f"{folder.name}: removed, {_size(remove_run(folder))}")
    return 0


def gc(a: argparse.Namespace) -> int:
    """Delete what no event names. A run whose log cannot be read, or whose host lives, is left alone and named."""
    folders = [find_run(name) for name in a.runs] if a.runs else list(run_folders())
    found: list[Leftover] = [] if a.runs else removed_by_half()
    skipped: list[str] = []
    for folder in folders:
        try:
            found += leftovers(folder)
        except (StoreError, InternError) as error:
            skipped.append(f"intern: {folder.name} is left alone: {error}")
    if not a.dry_run:
        for leftover in found:
            discard(leftover)
    if a.json:
        print(msgspec.json.encode([msgspec.to_builtins(leftover) for leftover in found]).decode())
    else:
        for leftover in found:
            print(f"{leftover.run}  {leftover.kind:<12} {_size(leftover.bytes):>9}  {leftover.path}")
        total = _size(sum(leftover.bytes for leftover in found))
        print(f"{len(found)} leftovers, {total} " + ("would be freed" if a.dry_run else "freed"))
    for line in skipped:
        print(line, file=sys.stderr)
    return 3 if skipped else 0


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
