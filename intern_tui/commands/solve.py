"""`intern solve`: a PostTrainBench task from PROMPT and the current folder alone."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import msgspec


def solve(a: argparse.Namespace) -> int:
    """Read the contract, work until the time is over, leave final_model/ in the current folder."""
    from core.contract import read_contract
    from core.solve import Solver

    contract = read_contract(os.environ, Path.cwd())
    say(f"base {contract.model}, benchmark {contract.benchmark or '(not named)'}, {contract.hours:.2f} h")
    outcome = Solver(contract, dict(os.environ), say).solve()
    for problem in outcome.problems:
        say(f"note: {problem}")
    if a.json:
        print(msgspec.json.encode(outcome).decode(), flush=True)
    else:
        say(f"{outcome.reason}; final_model: {outcome.final_model}")
    return 0


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
