"""`intern bench --traps`: runs on tasks with something planted in them that ruins whoever does not look."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from core.describe import percent, points
from core.evaluation.stats import verdict
from core.traps.make import TRAPS, make_trap
from intern_tui.commands.bench_aa import ONE


def bench_traps(a: argparse.Namespace, one: ONE) -> int:
    """Every policy on every trap with each seed. Exit code 1 where a run ended with a worse model, or with none."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="intern-traps-") as folder:
        for kind in TRAPS:
            for seed in range(a.first_seed, a.first_seed + a.seeds):
                task = make_trap(kind, Path(folder) / f"{kind}-{seed}", seed)
                for policy in a.policies:
                    r = one(str(task), policy, seed, a.hours)
                    results.append(r | {"trap": kind, "claim": verdict(r["interval"])})
                    gain = points(r["delta"]) if r["delta"] is not None else "no held-out score"
                    seen = ", ".join(dict.fromkeys(r["failures"])) or "nothing"
                    print(
                        f"{kind}-{seed} {policy}: {percent(r['baseline'])} -> {percent(r['best'])}, {gain}; diagnosed: "
                        f"{seen} ({r['run']})",
                        file=sys.stderr,
                        flush=True,
                    )
                    if a.json:
                        Path(a.json).write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    print(table_traps(results))
    return int(not all(_survived(r) for r in results))


def _survived(r: dict[str, Any]) -> bool:
    return r["delta"] is not None and r["claim"] != "worse"


def table_traps(results: list[dict[str, Any]]) -> str:
    """By trap and policy: how many runs ended with a model that is not worse than the base, and the mean gain."""
    lines = [f"{'trap':<10} {'policy':<12} {'runs':>5} {'survived':>9} {'mean gain':>10}"]
    for trap, policy in dict.fromkeys((r["trap"], r["policy"]) for r in results):
        rows = [r for r in results if (r["trap"], r["policy"]) == (trap, policy)]
        gains = [r["delta"] for r in rows if r["delta"] is not None]
        mean = points(sum(gains) / len(gains)) if gains else "none"
        lines.append(f"{trap:<10} {policy:<12} {len(rows):>5} {sum(map(_survived, rows)):>9} {mean:>10}")
    return "\n".join([*lines, "Survived: the held-out score of final_model is not certainly below the base's."])
