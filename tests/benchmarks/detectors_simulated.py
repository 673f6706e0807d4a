"""The detectors against simulated logs of other people's trainings: recall a kind, false alarms, how early.

    python -m tests.benchmarks.detectors_simulated [--seeds 40] [--first-seed 0] [--verbose] [--sampled]

Seeds below 1000 are for development; from 1000 on they confirm. See labelled/simulated.py for what varies, and
labelled/sampled.py (`--sampled`) for trainings whose rows are drawn from samples.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from core.evaluation.stats import wilson
from core.training.detectors import Watch
from core.training.diagnose_file import diagnose_file
from core.training.diagnosis import Diagnosis
from core.training.log_files import read_logs
from tests.benchmarks.labelled import sampled, simulated
from tests.benchmarks.labelled.simulated import Case


def write(case: Case, folder: Path, rng: random.Random) -> Path:
    """The log as some reporter leaves it."""
    told_by_times = "drop" in case.name or case.tail  # a console log has no times
    layout = "lines" if told_by_times else rng.choice(("lines", "lines", "state", "console"))
    rows = case.rows
    if layout == "state":
        state = {"log_history": rows, "global_step": rows[-1]["step"]} | (
            {"max_steps": case.steps} if case.says_plan else {}
        )
        path = folder / "trainer_state.json"
        path.write_text(json.dumps(state))
        return path
    path = folder / f"{layout}.log"
    if layout == "console":
        text = f"  0%|          | 0/{case.steps} [00:00<?, ?it/s]\n" if case.says_plan else ""
        for row in rows:
            if case.says_plan:
                text += f" 10%|#         | {row['step']}/{case.steps} [00:09<01:00,  2.1it/s]\r"
            text += f"{ {k: v for k, v in row.items() if k not in ('step', 'ts')} }\n"
        path.write_text(text)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows) + case.tail)
    return path


def first_seen(path: Path, case: Case) -> float | None:
    """The share of the plan at which a watch that is told the plan calls the training failing."""
    log = read_logs(path)[0]
    watch = Watch(case.method, case.steps)
    last = max(log.rows[-1][0], 1) if log.rows else 1
    for step, values in log.rows:
        if any(f.severity == "failing" for f in watch.feed(step, values)):
            return step / last
    return None


def hit(case: Case, seen: Diagnosis) -> bool:
    return seen.verdict == "failing" and any(f.kind in case.labels for f in seen.findings)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", type=int, default=40)
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--verbose", action="store_true")
    options.add_argument("--sampled", action="store_true")
    chosen = options.parse_args()
    cases = sampled.cases if chosen.sampled else simulated.cases
    found: dict[str, list[bool]] = defaultdict(list)
    early: dict[str, list[bool]] = defaultdict(list)
    alarms: dict[str, list[bool]] = defaultdict(list)
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
            rng = random.Random(seed)
            for case in cases(seed):
                path = write(case, Path(folder), rng)
                seen = diagnose_file(path, case.method if rng.random() < 0.5 else None)
                said = "; ".join(f"{f.severity[0]}:{f.kind}@{f.first_step}" for f in seen.findings)
                about = f"{case.name} seed {seed} rows {len(case.rows)} every {case.every} plan {case.says_plan} {path.name}"
                if not case.labels:
                    alarms[case.name].append(seen.verdict == "failing")
                    if seen.verdict == "failing":
                        wrong[f"{case.name} false: {[f.kind for f in seen.findings if f.severity == 'failing']}"] += 1
                        if chosen.verbose:
                            print(f"FALSE ALARM {about}: {said}")
                    continue
                found[case.name].append(hit(case, seen))
                when = first_seen(path, case)
                early[case.name].append(when is not None and when <= 0.25)
                if not hit(case, seen):
                    wrong[f"{case.name} missed: {[f'{f.severity[0]}:{f.kind}' for f in seen.findings]}"] += 1
                    if chosen.verbose:
                        print(f"MISSED {about}: {said}")
    for name, flags in found.items():
        print(
            f"{name:<28}{len(flags):>5}{sum(flags) / len(flags):>8.0%} found{sum(early[name]) / len(flags):>8.0%} in the first quarter"
        )
    total, late = sum(len(v) for v in found.values()), sum(sum(v) for v in early.values())
    print(f"failing: {sum(sum(v) for v in found.values())} of {total} recognised; {late} seen in the first quarter")
    n, flagged = sum(len(v) for v in alarms.values()), sum(sum(v) for v in alarms.values())
    low, high = wilson(flagged, n)
    print(f"healthy: {flagged} of {n} called failing [{low:.1%}, {high:.1%}]")
    for name, flags in alarms.items():
        if sum(flags):
            print(f"  {name}: {sum(flags)} of {len(flags)}")
    for what, count in wrong.most_common(60):
        print(f"{count:>5} {what}")


if __name__ == "__main__":
    main()
