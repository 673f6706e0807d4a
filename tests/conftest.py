"""Options of the whole test suite, and the time it may take."""

from __future__ import annotations

import os
import time

import pytest

from tests.speed import MEASURED

BEGAN = float(os.environ.get("INTERN_TESTS_BEGAN") or time.time())
"""When `make test` began (its set-up and static checks included), seconds since 1970."""

UNTIL_S = 50 * 60
"""No test begins later after BEGAN; on a usual machine all of them have ended after less than half of that."""

NOT_RUN = "no time left"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-frames",
        action="store_true",
        help="write what the screens show now into tests/screens/frames, instead of comparing with it",
    )
    parser.addoption(
        "--bounded",
        action="store_true",
        help="begin no test after the time `make test` gives itself; what was left out is said at the end",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.config.getoption("bounded") and time.time() - BEGAN > UNTIL_S:
        pytest.skip(f"{NOT_RUN}: {UNTIL_S // 60} minutes after the start of `make test`")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        said
        for reports in terminalreporter.stats.values()
        for r in reports
        for said in getattr(r, "user_properties", ())
    ]
    for name, what in dict.fromkeys(told):  # a report for each phase of a test says the same
        terminalreporter.write_line(f"{name}: {what}")
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = [report.nodeid for report in skipped if NOT_RUN in str(report.longrepr)]
    if left_out:
        terminalreporter.section("NOT RUN")
        terminalreporter.write_line(
            f"{len(left_out)} tests were left out: {NOT_RUN}. This machine was {MEASURED:.1f} times slower than usual when"
            ' the tests began. `python -m pytest -m "not soak"` runs all of them, without a limit.'
        )
        for nodeid in left_out:
            terminalreporter.write_line(f"  {nodeid}")
