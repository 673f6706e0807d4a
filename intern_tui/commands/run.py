"""`intern run` and `intern resume`: start a host, then follow it in the way that was asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from core.agent.brain import HOW_TO_USE_AN_LLM
from core.agent.scope import parse
from core.errors import Refused
from core.home import find_run, living_host, run_info, socket_path
from core.launch import Request, create_run, start_host


def run(a: argparse.Namespace) -> int:
    """Create a run, start its host, follow it."""
    folder = create_run(
        Request(
            goal=a.goal, task=a.task, model=a.model, brain=a.brain, hours=a.hours, usd=a.usd, autonomy=a.autonomy,
            compute=a.compute, seed=a.seed, unattended=a.unattended, tokens=a.tokens,
            disk_gb=a.disk, effort=a.effort, fixed=parse(a.fix), trackio=a.trackio,
        )
    )  # fmt: skip
    if a.brain == "playbook":
        print(f"brain: playbook (no LLM); {HOW_TO_USE_AN_LLM}", file=sys.stderr)
    start_host(folder)
    return _follow(folder, a)


def resume(a: argparse.Namespace) -> int:
    """Start a new host for a run whose host is gone."""
    folder = find_run(a.run)
    status = run_info(folder).status
    if status in ("finished", "failed", "stopped") and living_host(folder) is None:
        raise Refused(f"Run {folder.name} has {status}", where=str(folder), next=f"intern replay {folder.name}")
    start_host(folder)
    return _follow(folder, a)


def fork(a: argparse.Namespace) -> int:
    """Begin a new run at an event of another one."""
    from core.fork import ForkRequest
    from core.fork import fork as make

    request = ForkRequest(
        at=a.at,
        steering=a.steer,
        brain=a.brain,
        hours=a.hours,
        usd=a.usd,
        tokens=a.tokens,
        autonomy=a.autonomy,
        effort=a.effort,
    )
    folder = make(find_run(a.run), request)
    start_host(folder)
    return _follow(folder, a)


def _follow(folder: Path, a: argparse.Namespace) -> int:
    if a.detach:
        print(f"started {folder.name}")
        return 0
    if a.plain or a.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        from intern_tui.plain import follow_plain

        code = follow_plain(folder, socket_path(folder), out=sys.stderr if a.json else sys.stdout)
        return 130 if code == 130 else conclude(folder, a.json)
    from intern_tui.opening import run_live

    return run_live(folder)


def conclude(folder: Path, as_json: bool) -> int:
    """What came of a run that ended; 0 if it finished."""
    from core.session import last_state

    state = last_state(folder)
    if run_info(folder).status == "interrupted":
        lines = (folder / "host.log").read_text(errors="replace").strip().splitlines()
        print(f"intern: the host ended: {lines[-1] if lines else 'without a word (killed?)'}", file=sys.stderr)
    if as_json:
        scores = state.scores
        final = {
            "run": state.run, "status": run_info(folder).status, "task": state.task, "model": state.model,
            "baseline": scores.heldout_baseline, "best": scores.heldout_best, "delta": scores.heldout_delta,
            "interval": scores.heldout_interval, "checkpoint": _absolute(state.checkpoint), "report": _absolute(state.report),
            "seconds": round(state.elapsed_s(), 1),
        }  # fmt: skip
        print(msgspec.json.encode(final).decode())
    return 0 if state.status == "finished" else 1


def _absolute(path: str) -> str | None:
    return str(Path(path).absolute()) if path else None
