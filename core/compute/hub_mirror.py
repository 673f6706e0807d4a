"""Keeps a job's folder here up to date with its stream of numbered lines, over any number of cuts."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from core.errors import JobError

FILES = {"@L": "log.txt", "@M": "metrics.jsonl"}
RETRY_S = 1.0


class Mirror:
    """One job's reader: a thread that follows its log and comes back after every cut. `follow()` replays from the start."""

    def __init__(self, folder: Path, root: str, follow: Callable[[], Iterable[str]]) -> None:
        self.folder = folder
        self.root = root
        self._follow = follow
        self._counts: dict[str, int] = {}
        self.ended = threading.Event()
        """The job said that it had pushed its result."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub-mirror", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def join(self) -> None:
        """Wait until it writes no more."""
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self.ended.is_set() and not self._closed.is_set() and not (self.folder / "exit.json").exists():
            with writing(self.folder) as mine:  # of several processes that look at one job, one writes
                if mine:
                    self._counts = {name: _lines(self.folder / name) for name in FILES.values()}
                    self._read()
            self._closed.wait(RETRY_S)

    def _read(self) -> None:
        try:
            for line in self._follow():
                self._take(line)
                if self.ended.is_set() or self._closed.is_set():
                    return
        except (HfHubHTTPError, httpx2.HTTPError, OSError, JobError):
            pass  # nothing is lost: the next look replays, and what is here is dropped by its number

    def _take(self, line: str) -> None:
        mark, _, rest = line.partition(" ")
        if mark == "@E":
            self.ended.set()
            return
        name = FILES.get(mark)
        if name is None:
            return
        number, _, text = rest.partition(" ")
        # A line with a number beyond the next one would leave a hole: it waits for the replay or the pushed archive.
        if not number.isdigit() or int(number) != self._counts[name] + 1:
            return
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text.replace(f"{self.root}/job", str(self.folder)) + "\n")
        self._counts[name] += 1


@contextmanager
def writing(folder: Path) -> Generator[bool]:
    """Whether this is the one that may write the folder's streams; freed when its process dies."""
    with (folder / "mirror.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _lines(path: Path) -> int:
    """Whole lines here; an open last line (we were killed while writing) is cut off."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        path.write_bytes(whole)
    return whole.count(b"\n")
