"""`intern bench --traps`: who ended with a worse model, or with none, has not survived."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from core.tasks import load_task
from intern_tui.commands import bench_traps as command


def test_a_run_that_ends_worse_or_without_a_model_has_not_survived(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TRAPS", ("leaky", "stop", "reward"))
    ends = {"leaky": (0.2, (0.1, 0.3)), "stop": (-0.1, (-0.15, -0.05)), "reward": (None, None)}

    def one(task: str, policy: str, seed: int, hours: float | None) -> dict[str, Any]:
        delta, interval = ends[load_task(task).name.removeprefix("trap/")]
        return {
            "run": "r",
            "policy": policy,
            "baseline": 0.3,
            "best": 0.3,
            "delta": delta,
            "interval": interval,
            "failures": [],
        }

    given = argparse.Namespace(
        seeds=1, first_seed=0, policies=["playbook"], hours=None, json=str(tmp_path / "out.json")
    )
    assert command.bench_traps(given, one) == 1
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()[1:4]]
    assert [(r[0], r[3]) for r in rows] == [("leaky", "1"), ("stop", "0"), ("reward", "0")]
    assert [r["claim"] for r in json.loads((tmp_path / "out.json").read_text())][:2] == ["better", "worse"]
    ends |= {"stop": (0.01, (-0.02, 0.04)), "reward": (0.0, (0.0, 0.0))}
    assert command.bench_traps(given, one) == 0
