"""Code of a brain does not get out: every attempt at every level, judged from outside, against what the level promises."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from core.compute.attempts import ATTEMPTS
from core.compute.confinement import LEVELS, ROOT, Confinement, Level, Limits, command, environment, landlock_abi, probe
from core.compute.escapes import attempt_all, not_stopped


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_what_a_level_stops_and_does_not_stop_is_what_it_says(level: Level) -> None:
    if level == "bubblewrap" and probe().level != "bubblewrap":
        pytest.skip(probe().reason)
    if level == "landlock" and landlock_abi() < 6:
        pytest.skip(f"Landlock {landlock_abi()} here; 6 is needed")
    results = attempt_all(level)
    assert len(results) == len(ATTEMPTS) >= 40
    out = {r.attempt for r in results if not r.stopped}
    assert out == not_stopped(level), [r for r in results if r.stopped == (r.attempt in not_stopped(level))]


AS_NOBODY = "import json, sys\nfrom core.compute.escapes import attempt_all, not_stopped\nfound = {r.attempt for r in attempt_all(sys.argv[1]) if not r.stopped}\nprint(json.dumps([sorted(found), sorted(not_stopped(sys.argv[1]))]))"  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("level", LEVELS)
def test_the_lists_are_true_for_an_ordinary_user_too(level: Level, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the test above has run as an ordinary user")
    if LEVELS.index(level) < LEVELS.index(probe().level) or (level == "landlock" and landlock_abi() < 6):
        pytest.skip(f"this machine does not hold {level}")
    home = Path(tempfile.mkdtemp(prefix="nobody-", dir="/var/tmp"))
    shutil.chown(home, "nobody")
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    python = next((p for p in (sys.executable, "/usr/bin/python3") if _runs(user, p, home)), None)
    if python is None:
        pytest.skip("an ordinary user can reach no Python here that has this program's packages")
    try:
        done = subprocess.run(
            [*user, python, "-B", "-c", AS_NOBODY, level], capture_output=True, text=True, check=True, **_as(home)
        )
    finally:
        shutil.rmtree(home)
    found, said = json.loads(done.stdout.splitlines()[-1])
    assert found == said


def _as(home: Path) -> dict[str, Any]:
    packages = [p for p in sys.path if p.endswith("-packages")]
    return {"cwd": home, "env": os.environ | {"HOME": str(home), "PYTHONPATH": os.pathsep.join([str(ROOT), *packages])}}


def _runs(user: list[str], python: str, home: Path) -> bool:
    """Whether an ordinary user can run that Python, found by its name alone, with this program's packages."""
    code = "import subprocess, sys, msgspec, psutil, core; subprocess.run([sys.executable, '-c', ''], check=True)"
    return (
        subprocess.run([*user, python, "-B", "-c", code], capture_output=True, check=False, **_as(home)).returncode == 0
    )


def test_bubblewrap_stops_everything_it_is_tried_with() -> None:
    assert not_stopped("bubblewrap") == frozenset()


@pytest.mark.parametrize("level", LEVELS)
def test_honest_work_goes_on_in_the_sandbox(level: Level, tmp_path: Path) -> None:
    if level == "bubblewrap" and probe().level != "bubblewrap":
        pytest.skip(probe().reason)
    if level == "landlock" and landlock_abi() < 4:
        pytest.skip("no Landlock with network rules")
    (tmp_path / "ws").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("a row")
    code = (
        "import json, tempfile, subprocess, multiprocessing as mp, numpy\n"
        f"rows = open({str(tmp_path / 'data' / 'rows.jsonl')!r}).read()\n"
        "tempfile.NamedTemporaryFile().write(b'x')\n"
        "out = subprocess.run(['sh', '-c', 'echo from a shell'], capture_output=True, text=True).stdout\n"
        "open('result.json', 'w').write(json.dumps([rows, out, float(numpy.ones(3).sum())]))\n"
        "raise SystemExit(7)"
    )
    c = Confinement(workspace=str(tmp_path / "ws"), readable=(str(tmp_path / "data"),), limits=Limits(seconds=30))
    done = subprocess.run(
        command([sys.executable, "-c", code], c, level), env=environment(c), cwd=tmp_path / "ws", capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert (tmp_path / "ws" / "result.json").read_text() == '["a row", "from a shell\\n", 3.0]'


def test_an_environment_behind_a_link_is_readable_also_where_its_folder_is(tmp_path: Path) -> None:
    if probe().level != "bubblewrap":
        pytest.skip(probe().reason)
    project, disk = tmp_path / "a-project", tmp_path / "z-disk"  # the link sorts before what it leads to
    (disk / "lib").mkdir(parents=True)
    (disk / "lib" / "module.py").write_text("found")
    project.mkdir()
    (project / "env").symlink_to(disk)
    (tmp_path / "ws").mkdir()
    inside = str(project / "env" / "lib")
    for readable in ((str(project), str(project / "env"), inside), (inside,), (str(project / "env"),)):
        c = Confinement(workspace=str(tmp_path / "ws"), readable=readable, limits=Limits(seconds=30))
        done = subprocess.run(
            command(["cat", f"{inside}/module.py"], c, "bubblewrap"), capture_output=True, text=True, check=False
        )
        assert done.stdout == "found", done.stderr


def test_a_bubblewrap_that_is_installed_but_refused_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(shutil.which('sh') or '/bin/sh').parent}")
    probe.cache_clear()
    try:
        found = probe()
    finally:
        probe.cache_clear()
    assert found.level != "bubblewrap"
    assert "Permission denied" in found.reason
