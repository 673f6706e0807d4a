"""How idle threads of a job wait: spinning is for those that have their cores to themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.compute.launcher import SPIN_ENV, waiting
from core.compute.machine import busy_cores


@pytest.mark.parametrize(
    ("threads", "busy", "cores", "spin"),
    [
        (2, 0.0, 2, True),
        (2, 0.4, 2, True),
        (2, 1.0, 2, False),
        (1, 0.0, 2, False),
        (4, 4.0, 8, True),
        (4, 5.0, 8, False),
    ],
)
def test_threads_spin_only_where_the_cores_are_free(threads: int, busy: float, cores: int, spin: bool) -> None:
    assert waiting(threads, busy, cores) == (SPIN_ENV if spin else {})


def test_another_process_is_seen_at_work_and_this_one_is_not_counted() -> None:
    before = busy_cores(0.5)
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        beside = busy_cores(0.5)
        other.kill()
    assert beside > 0.5 or before > 1.0  # a machine that is full already tells nothing
