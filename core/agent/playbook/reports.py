"""What a job's report teaches: the time of a step, the overhead of a job, what is done about a failure."""

from __future__ import annotations

from typing import Any

from core.agent.playbook.bench import Bench
from core.agent.playbook.model import Act
from core.agent.playbook.remedies import first_remedy
from core.agent.playbook.search import best_score


def note_speed(bench: Bench, method: str, settings: dict[str, Any], report: dict[str, Any]) -> None:
    if report.get("seconds_per_step"):
        seen = bench.step_times.setdefault((method, int(settings["batch_size"])), [])
        seen.append(float(report["seconds_per_step"]))


def learn_from(bench: Bench, report: dict[str, Any], method: str, experiment: str) -> Act:
    """Measure the overhead of a job; for a failure record what is done about it."""
    step_s = report.get("seconds_per_step")
    if step_s and report.get("step"):
        seen = max(0.5, min(60.0, report["seconds"] - step_s * report["step"]))
        bench.overhead_s = min(bench.overhead_s or seen, seen)
    settings = report.get("settings") or {"lr": report["last"].get("learning_rate")}
    for finding in report["diagnosis"]:
        if finding["severity"] != "failing":
            continue
        remedy = first_remedy(finding, settings, bench.used_remedies)
        ladder_words = (
            "give this rung up; the ladder goes on below it" if not report.get("settings") else "give this setting up"
        )
        arguments = {
            "failure": finding["failure"],
            "remedy": remedy.words if remedy and report.get("settings") else ladder_words,
            "experiment": experiment,
        }
        if remedy and report.get("settings"):
            arguments |= {"change": remedy.change, "source": remedy.source}
        yield from bench.call(
            "choose_remedy", arguments, f"{report['job']} failed: {finding['kind'].replace('_', ' ')}."
        )


def out_of_memory(report: dict[str, Any]) -> bool:
    return any(f["kind"] == "out_of_memory" and f["severity"] == "failing" for f in report["diagnosis"])


def is_usable(report: dict[str, Any]) -> bool:
    return bool(report["checkpoint"]) and (best_score(report) or 0.0) > 0


def error_counts(result: dict[str, Any]) -> dict[str, int]:
    """Wrong answers by kind, of one evaluation as `evaluate` tells it."""
    groups: list[dict[str, Any]] = result.get("groups") or []
    return {str(g["kind"]): int(g["count"]) for g in groups}
