"""The cache: answers survive, damage counts as absence, processes do not disturb each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.literature.cache import Cache
from core.literature.papers import Paper
from tests.servers.clock import FakeClock


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_answer_is_kept_for_later_runs(tmp_path: Path, clock: FakeClock) -> None:
    Cache(tmp_path, now=clock.now).put("key", b"body")
    clock.time += 100
    hit = Cache(tmp_path, now=clock.now).get("key")
    assert hit is not None
    assert (hit.body, hit.age_s) == (b"body", 100)
    assert Cache(tmp_path, now=clock.now).get("other") is None
    assert Cache(tmp_path, now=clock.now).get("key", max_age_s=99) is None


def test_a_damaged_or_foreign_entry_is_absent(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put_json("key", Paper(id="1", title="t"))
    assert cache.get_as("key", Paper) is not None
    assert cache.get_as("key", list[int]) is None
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    assert cache.get("key") is None


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for first in range(256):
        (tmp_path / f"{first:02x}").write_bytes(b"in the way of the folder")
    cache.put("key", b"body")
    assert cache.get("key") is None


def test_the_oldest_answers_go_first_when_it_is_full(tmp_path: Path) -> None:
    import os

    cache = Cache(tmp_path, max_bytes=5_000)
    for number in range(10):
        cache.put(f"key {number}", bytes(1_000))
        newest = max(files(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    cache.prune()
    assert [number for number in range(10) if cache.get(f"key {number}")] == [6, 7, 8, 9]


def test_two_processes_writing_one_key_leave_a_whole_answer(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from core.literature.cache import Cache\nc = Cache(Path(sys.argv[1]))\n"
    )
    script += "for _ in range(200): c.put('key', sys.argv[2].encode() * 5000)"
    runs = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), mark], cwd=Path.cwd()) for mark in "ab"]
    cache = Cache(tmp_path)
    while any(run.poll() is None for run in runs):
        hit = cache.get("key")
        assert hit is None or hit.body in (b"a" * 5000, b"b" * 5000)
    assert [run.returncode for run in runs] == [0, 0]
    assert not [path for path in files(tmp_path) if path.suffix == ".tmp"]
