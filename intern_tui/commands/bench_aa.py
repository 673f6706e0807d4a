"""`intern bench --aa`: runs on tasks on which nothing can be gained, and how many of them claim an improvement."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from core.describe import percent, points
from core.evaluation.stats import verdict, wilson
from core.traps.make import make_trap

ONE = Callable[[str, str, int, float | None], dict[str, Any]]
"""Runs (task, policy, seed, hours) to its end and tells what came of it."""


def bench_aa(a: argparse.Namespace, one: ONE) -> int:
    """A task of its own for each seed; every policy on it. Exit code 1 where more than 5 % certainly claim a gain."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="intern-aa-") as folder:
        for seed in range(a.first_seed, a.first_seed + a.seeds):
            task = make_trap("nothing", Path(folder) / f"nothing-{seed}", seed)
            for policy in a.policies:
                r = one(str(task), policy, seed, a.hours)
                r["claim"] = verdict(r["interval"])
                results.append(r)
                gain = points(r["delta"]) if r["delta"] is not None else "no held-out score"
                print(
                    f"nothing-{seed} {policy}: {percent(r['baseline'])} -> {percent(r['best'])}, {gain}: "
                    f"{r['claim'].replace('_', ' ')} ({r['run']})",
                    file=sys.stderr,
                    flush=True,
                )
                if a.json:
                    Path(a.json).write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    print(table_aa(results))
    claims = sum(r["claim"] == "better" for r in results)
    return int(bool(results) and wilson(claims, len(results))[0] > 0.05)


def table_aa(results: list[dict[str, Any]]) -> str:
    """By policy: how many runs claimed an improvement although there was none."""
    lines = [f"{'policy':<12} {'runs':>5} {'claimed':>8} {'share':>7} {'95 %':>16} {'finished':>9}"]
    for policy in dict.fromkeys(r["policy"] for r in results):
        rows = [r for r in results if r["policy"] == policy]
        claims, n = sum(r["claim"] == "better" for r in rows), len(rows)
        low, high = wilson(claims, n)
        finished = sum(r["delta"] is not None for r in rows)
        lines.append(
            f"{policy:<12} {n:>5} {claims:>8} {claims / n:>7.1%} {f'[{low:.1%}, {high:.1%}]':>16} {finished:>9}"
        )
    return "\n".join([*lines, "An honest policy claims at most one in twenty. Nothing can be gained on these tasks."])
