"""The limit of a host holds for all processes of the machine."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.literature.errors import RateLimited, SourceBroken
from core.literature.limiter import INTERVALS_S, Limiter
from core.literature.web import Politeness, Web
from tests.servers.clock import FakeClock
from tests.servers.loopback import Answer, Loopback, Request

RACER = '''
import fcntl, os, sys
from pathlib import Path
from core.literature.limiter import Limiter

folder, turns, host = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

class SharedClock:
    """One time for both processes, kept in a file, that passes only by sleeping."""
    def _change(self, seconds):
        handle = os.open(folder / "clock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(handle, fcntl.LOCK_EX)
        time = float(os.pread(handle, 64, 0) or 1e9) + seconds
        os.pwrite(handle, f"{time:<30.6f}".encode(), 0)
        os.close(handle)
        return time
    def now(self): return self._change(0.001)
    def sleep(self, seconds): self._change(seconds)

clock = SharedClock()
limiter = Limiter(folder / "limits", clock=clock)
inside = folder / "inside"
for _ in range(turns):
    with limiter.turn(host):
        with open(inside, "x"):  # fails if the other process is inside too
            pass
        with open(folder / "log", "a") as log:
            log.write(f"{clock.now():.6f} {os.getpid()}\\n")
        inside.unlink()
'''


@pytest.mark.parametrize(("host", "seconds"), [("export.arxiv.org", 3.0), ("api.semanticscholar.org", 1.0)])
def test_two_processes_never_exceed_the_limit_of_a_host(tmp_path: Path, host: str, seconds: float) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path), "40", host]
    runs = [subprocess.Popen(command, cwd=Path.cwd()) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    times = sorted(float(time) for time, _ in lines)
    assert len(times) == 80
    assert len({pid for _, pid in lines}) == 2
    # The clock's own tick (1 ms a look) may fall between the grant and the log line, so gaps are the limit less a few ticks.
    assert min(after - before for before, after in itertools.pairwise(times)) > seconds - 0.1


def test_the_first_request_does_not_wait_and_the_next_does(tmp_path: Path, clock: FakeClock) -> None:
    limiter = Limiter(tmp_path, clock=clock)
    with limiter.turn("api.semanticscholar.org"):
        pass
    assert clock.slept == []
    with limiter.turn("api.semanticscholar.org"):
        pass
    assert sum(clock.slept) == pytest.approx(1.0)


def test_all_of_arxiv_shares_one_turn(tmp_path: Path, clock: FakeClock) -> None:
    limiter = Limiter(tmp_path, clock=clock)
    for host in ("export.arxiv.org", "arxiv.org", "ar5iv.labs.arxiv.org"):
        with limiter.turn(host):
            pass
    assert sum(clock.slept) == pytest.approx(6.0)
    assert INTERVALS_S["export.arxiv.org"] == 3.0


def test_a_pause_asked_for_holds_for_a_run_that_starts_later(tmp_path: Path, clock: FakeClock) -> None:
    Limiter(tmp_path, clock=clock).hold_off("example.org", 500)
    with pytest.raises(RateLimited) as caught, Limiter(tmp_path, clock=clock).turn("example.org"):
        pytest.fail("the turn was given in spite of the pause")
    assert caught.value.wait_s == pytest.approx(500)
    clock.time += 450
    with Limiter(tmp_path, clock=clock).turn("example.org"):
        assert sum(clock.slept) == pytest.approx(50)


def test_a_clock_set_back_does_not_block_for_days(tmp_path: Path, clock: FakeClock) -> None:
    limiter = Limiter(tmp_path, clock=clock)
    with limiter.turn("export.arxiv.org"):
        pass
    clock.time -= 30 * 86_400
    with limiter.turn("export.arxiv.org"):
        assert sum(clock.slept) == pytest.approx(3.0)


def test_a_damaged_lock_file_is_repaired(tmp_path: Path, clock: FakeClock) -> None:
    limiter = Limiter(tmp_path, clock=clock)
    (tmp_path / "example.org.next").write_bytes(b"\xff garbage")
    with limiter.turn("example.org"):
        assert clock.slept == []
    with limiter.turn("example.org"):
        assert sum(clock.slept) == pytest.approx(1.0)


def test_a_host_name_cannot_leave_the_folder(tmp_path: Path, clock: FakeClock) -> None:
    limiter = Limiter(tmp_path / "limits", clock=clock)
    with limiter.turn("../../evil/host:80"):
        pass
    assert [path.parent for path in tmp_path.rglob("*.next")] == [tmp_path / "limits"]


def test_a_pause_that_a_host_asks_for_is_written_before_the_next_run_gets_the_turn(tmp_path: Path) -> None:
    """The other run waits at the door with its interval over: a pause written after the turn would come too late."""
    clock = FakeClock()

    class Watched(Limiter):
        left: float = 0.0

        @contextmanager
        def _locked(self, host: str) -> Generator[int, None, None]:
            with super()._locked(host) as handle:
                yield handle
                if not self.left:
                    self.left = float(os.pread(handle, 64, 0)) - clock.now()

    class Busy(Loopback):
        def respond(self, request: Request) -> Answer:
            return Answer(b"", 429, headers={"Retry-After": "500"})

    watched = Watched(tmp_path, clock=clock)
    with Busy() as server, pytest.raises(RateLimited):
        Web(watched, Politeness(timeout_s=2)).get(server.url)
    assert watched.left == pytest.approx(500)


@pytest.mark.parametrize("error", [None, SourceBroken("cut off", where="", next=""), KeyboardInterrupt()])
def test_the_interval_is_counted_from_the_end_of_a_request(
    tmp_path: Path, clock: FakeClock, error: BaseException | None
) -> None:
    """A request may reach its host at its very end: counted from the beginning, the next would come too close behind it."""
    limiter = Limiter(tmp_path, clock=clock)
    with contextlib.suppress(SourceBroken, KeyboardInterrupt), limiter.turn("export.arxiv.org"):
        clock.time += 10
        if error is not None:
            raise error
    with limiter.turn("export.arxiv.org"):
        assert sum(clock.slept) == pytest.approx(3.0)
