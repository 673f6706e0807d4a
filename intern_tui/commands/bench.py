"""`intern bench`: policies against each other on tasks, same budget, several seeds; one table with intervals.

Every run is a real run with its own log (policy = brain). Runs go one after another, so that each has the machine to
itself and equal budgets are equal. What is compared at the end is the held-out gain; how fast a policy came to a score is
read from its development evaluations, because a held-out set is read once.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from core.agent.playbook.hand import HAND
from core.describe import percent, points
from core.errors import UsageError
from core.home import living_host
from core.launch import DEFAULT_HOURS, Request, create_run, start_host
from core.session import last_state
from core.state import RunState
from core.tasks import list_tasks, load_task

COMPARED: tuple[str, ...] = ("playbook", "random@2", "sft", "hill", "greedy", "hand")
"""Random search has twice the time: what it then reaches, another policy has to reach in half of it."""


def bench(a: argparse.Namespace) -> int:
    """Run everything, print the table."""
    a.policies = a.policies or (["playbook"] if a.aa or a.traps else list(COMPARED))
    if a.aa:
        from intern_tui.commands.bench_aa import bench_aa

        return bench_aa(a, _one)
    if a.traps:
        from intern_tui.commands.bench_traps import bench_traps

        return bench_traps(a, _one)
    tasks = a.tasks or [f"pocket/{Path(t.path).name}" for t in list_tasks()]
    results: list[dict[str, Any]] = []
    for task in tasks:
        for seed in range(a.first_seed, a.first_seed + a.seeds):
            for policy in a.policies:
                if policy == "hand" and not _hand_recipe(task).is_file():
                    print(f"{task} hand: nobody has written a recipe for it ({_hand_recipe(task)})", file=sys.stderr)
                    continue
                results.append(_one(task, policy, seed, a.hours))
                r = results[-1]
                print(
                    f"{task} {policy} seed {seed}: {percent(r['baseline'])} -> {percent(r['best'])} in {r['seconds']:.0f} s ({r['run']})",
                    file=sys.stderr,
                    flush=True,
                )
                if a.json:
                    Path(a.json).write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    print(table(results, a.policies))
    return 0


def _named(policy: str) -> tuple[str, float]:
    """`random@2`: the policy with twice the time. UsageError for a factor that is no positive number."""
    name, at, factor = policy.rpartition("@")
    if not at or "/" in factor:  # the url of an LLM
        return policy, 1.0
    try:
        times = float(factor)
    except ValueError:
        times = 0.0
    if not 0 < times < math.inf:
        raise UsageError(f"{factor!r} is no factor of time", where=f"--policies {policy}", next="Write random@2")
    return name, times


def _hand_recipe(task: str) -> Path:
    """The recipe that ships with a pocket task: beside the task folders, not in one, so that no brain is shown it."""
    return HAND / f"{Path(task).name}.toml"


def _one(task: str, policy: str, seed: int, hours: float | None) -> dict[str, Any]:
    name, times = _named(policy)
    if times != 1.0:
        hours = times * (hours if hours is not None else load_task(task).hours or DEFAULT_HOURS)
    brain = f"hand:{_hand_recipe(task)}" if name == "hand" else name
    folder = create_run(Request(task=task, brain=brain, seed=seed, hours=hours, unattended=True))
    start_host(folder)
    while living_host(folder) is not None:
        time.sleep(0.5)
    s = last_state(folder)
    scores = s.scores
    return {
        "task": task, "policy": policy, "seed": seed, "run": s.run, "status": s.status, "reason": s.reason,
        "baseline": scores.heldout_baseline, "best": scores.heldout_best, "delta": scores.heldout_delta,
        "interval": scores.heldout_interval, "seconds": s.elapsed_s(),
        "failures": [f.kind for f in s.failures if f.severity == "failing"], "reached": climbed(s),
    }  # fmt: skip


def climbed(s: RunState) -> list[tuple[float, float]]:
    """(seconds since the start, development score) each time a run measured a model better than all before it. Whole development
    set only: the look at few samples at the start decides nothing."""
    done = sorted(
        (e for e in s.evaluations.values() if e.done and e.split == "dev" and not e.shots), key=lambda e: e.ts
    )
    whole = max((e.samples for e in done), default=0)
    reached: list[tuple[float, float]] = []
    for e in done:
        if e.samples == whole and (not reached or e.score > reached[-1][1]):
            reached.append(((e.ts - s.started_ts) / 1e6, e.score))
    return reached


def seconds_to(reached: list[tuple[float, float]], score: float) -> float | None:
    """When a run first had a development score of at least this; None: never."""
    return next((seconds for seconds, got in reached if got >= score), None)


def table(results: list[dict[str, Any]], policies: list[str]) -> str:
    """Mean held-out gain by task and policy with a 95 % interval over seeds (t); then each policy against the first."""
    lines = [
        f"{'task':<18} {'policy':<10} {'seeds':>5} {'base':>8} {'best':>8} {'gain':>7} {'95 % over seeds':>18} {'>= 30 points':>13} {'seconds':>8}"
    ]
    for task in dict.fromkeys(r["task"] for r in results):
        for policy in policies:
            rows = [r for r in results if r["task"] == task and r["policy"] == policy]
            good = [r for r in rows if r["delta"] is not None]
            gains = [r["delta"] for r in good]
            if not gains:
                lines.append(f"{task:<18} {policy:<10} {len(rows):>5} no run finished")
                continue
            enough = sum(g >= 0.30 and r["interval"][0] > 0 for g, r in zip(gains, good, strict=True))
            base, best = statistics.mean(r["baseline"] for r in good), statistics.mean(r["best"] for r in good)
            seconds = statistics.mean(r["seconds"] for r in rows)
            lines.append(
                f"{task:<18} {policy:<10} {len(rows):>5} {percent(base):>8} {percent(best):>8} {points(statistics.mean(gains)):>7} "
                f"{_over_seeds(gains):>18} {f'{enough} of {len(rows)}':>13} {seconds:>8.0f}"
            )
        lines += _against(task, results, policies) + against_hand(task, results, policies)
    return "\n".join(lines)


def _against(task: str, results: list[dict[str, Any]], policies: list[str]) -> list[str]:
    """The first policy minus each other one, paired by seed."""
    gains = {(r["policy"], r["seed"]): r["delta"] for r in results if r["task"] == task and r["delta"] is not None}
    lines: list[str] = []
    for other in policies[1:]:
        pairs = [gains[(policies[0], s)] - d for (p, s), d in gains.items() if p == other and (policies[0], s) in gains]
        if pairs:
            mean = points(statistics.mean(pairs))
            lines.append(f"{task:<18} {policies[0]} - {other}: {mean} {_over_seeds(pairs)} over {len(pairs)} seeds")
    return lines


PART = 0.9
"""Of the gain of the hand-made recipe: what a policy that finds its way by itself is asked to reach."""


def against_hand(task: str, results: list[dict[str, Any]], policies: list[str]) -> list[str]:
    """What part of the hand-made recipe's held-out gain each policy has, and when it came to the development score at which it
    had nine tenths of the gain; medians over seeds. A policy that never came there in the median has no time."""
    rows = [r for r in results if r["task"] == task and r["delta"] is not None]
    by_hand = {r["seed"]: r for r in rows if r["policy"] == "hand" and r["delta"] > 0}
    lines: list[str] = []
    for policy in policies if by_hand else []:
        pairs = [(r, by_hand[r["seed"]]) for r in rows if r["policy"] == policy and r["seed"] in by_hand]
        if not pairs:
            continue
        part = statistics.mean(r["delta"] for r, _ in pairs) / statistics.mean(h["delta"] for _, h in pairs)
        times = [seconds_to(r["reached"], _target(h["reached"])) for r, h in pairs]
        at = statistics.median(math.inf if t is None else t for t in times)
        when = "not in its time" if math.isinf(at) else f"after {at:.0f} s"
        lines.append(
            f"{task:<18} {policy:<10} has {part:.0%} of hand's gain; {PART:.0%} of it on development samples {when}"
        )
    return lines


def _target(reached: list[tuple[float, float]]) -> float:
    base, best = reached[0][1], reached[-1][1]
    return base + PART * (best - base)


_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""Two-sided 95 % quantiles of Student's t by degrees of freedom."""


def _over_seeds(values: list[float]) -> str:
    """The 95 % interval of the mean; one value has none."""
    if len(values) < 2:
        return "one seed"
    mean = statistics.mean(values)
    half = _T.get(len(values) - 1, 1.96) * statistics.stdev(values) / math.sqrt(len(values))
    return f"[{points(mean - half)}, {points(mean + half)}]"
