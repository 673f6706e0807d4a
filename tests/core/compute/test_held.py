"""A job with code of a brain: held where it runs, seen from outside as any other job."""

from __future__ import annotations

import json
import os
import socket
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from core.agent.foreign import held_job, is_foreign
from core.compute.confinement import probe
from core.compute.held import InForce
from core.compute.local import LocalCompute
from core.compute.spec import JobSpec, JobStatus

PRELUDE = "import json, os, pathlib, socket, sys, time\nsys.path.insert(0, {root!r})\nfrom core.training.stream import Stream\nspec = json.load(open(sys.argv[1]))\nstream = Stream(os.path.dirname(sys.argv[1]))\ntry:\n{code}\nexcept OSError as error: print('stopped:', error)\n"  # fmt: skip
ROOT = str(Path(__file__).resolve().parents[3])

pytestmark = pytest.mark.skipif(probe().level == "limits", reason=f"only limits hold here: {probe().reason}")


class Bench:
    def __init__(self, root: Path) -> None:
        self.compute = LocalCompute(root / "jobs")
        self.workspace = root / "workspace"
        self.workspace.mkdir()
        self.folder = root / "jobs" / "j"
        self.secret = root / "secret"
        self.secret.write_text("a token of somebody")

    def run(self, code: str, *, wait: bool = True, **spec: object) -> JobStatus:
        self.folder.mkdir(parents=True)
        script = self.folder / "script.py"
        script.write_text(PRELUDE.format(root=ROOT, code=textwrap.indent(textwrap.dedent(code), "  ")))
        told = {"kind": "script", "script": str(script), "secret": str(self.secret), "job": str(self.folder), **spec}
        (self.folder / "spec.json").write_text(json.dumps(told))
        job = JobSpec(job="j", kind="script", effect_id="e", folder=str(self.folder), time_limit_s=60)
        self.compute.submit(held_job(job, told, self.workspace))
        return self.compute.wait("j", 90) if wait else self.compute.inspect("j")

    def log(self) -> str:
        return self.compute.logs("j").text


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_streams_saves_and_ends_as_any_job_and_says_how_it_is_held(bench: Bench) -> None:
    status = bench.run(
        "for n in range(1, 6): stream.metric(n, {'loss': 1 / n})\nos.mkdir('model')\nstream.result(model=os.path.abspath('model'))"
    )
    assert status.state == "done", bench.log()
    rows = [json.loads(line) for line in (bench.folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if r["kind"] == "metric"] == [1, 2, 3, 4, 5]
    assert Path(rows[-1]["model"]).is_dir()
    found = msgspec.json.decode((bench.folder / "sandbox.json").read_bytes(), type=InForce)
    assert found.level == probe().level
    assert found.level in bench.log()


def test_it_reaches_neither_secrets_nor_what_steers_it_nor_the_network(bench: Bench) -> None:
    code = """
    def attempt(reach):
        try: print(reach())
        except OSError as error: print('stopped:', error)
    for name in ('launch.json', 'held.json', 'script.py', 'exit.json', 'spec.json', 'job.json'):
        attempt(lambda: open(spec['job'] + '/' + name, 'w').write('{}'))
        attempt(lambda: os.unlink(spec['job'] + '/' + name))
    attempt(lambda: open(spec['secret']).read())
    attempt(lambda: socket.create_connection(('127.0.0.1', spec['port']), 2))
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        status = bench.run(code, port=listener.getsockname()[1])
        with pytest.raises(TimeoutError):
            listener.accept()
    assert (status.state, status.exit.reason if status.exit else "") == ("done", "finished"), bench.log()
    assert "token of somebody" not in bench.log()
    assert bench.log().count("stopped:") >= 2
    sizes = {p.name: p.stat().st_size for p in bench.folder.glob("*.*")}
    assert min(sizes[n] for n in ("launch.json", "held.json", "script.py", "exit.json", "spec.json", "job.json")) > 2, (
        sizes
    )


def test_a_wish_to_stop_reaches_it_and_never_follows_a_link_it_laid(bench: Bench) -> None:
    code = """
    os.symlink(spec['secret'], 'control')
    n = 0
    while not (os.path.exists('control') and not os.path.islink('control')):
        n += 1; stream.metric(n, {'loss': 1.0}); time.sleep(.05)
        if os.environ.get('INTERN_SMOKE_TEST'): sys.exit()
    print('asked to', open('control').read())
    """
    bench.run(code, wait=False)
    wait(lambda: (bench.folder / "metrics.jsonl").exists() and (bench.folder / "metrics.jsonl").stat().st_size > 0)
    assert bench.compute.cancel("j", grace_s=30).state == "cancelled"
    assert "asked to stop" in bench.log()
    assert bench.secret.read_text() == "a token of somebody"


def test_metrics_that_are_a_link_or_a_pipe_are_not_read(bench: Bench) -> None:
    bench.secret.write_text('{"kind": "note", "text": "a token of somebody"}\n')
    code = "os.unlink('metrics.jsonl')\nos.symlink(spec['secret'], 'metrics.jsonl'); time.sleep(.5)\nos.unlink('metrics.jsonl')\nos.mkfifo('metrics.jsonl'); time.sleep(.5)"
    assert bench.run(code).state == "done", bench.log()
    assert (bench.folder / "metrics.jsonl").read_text() == ""


def test_a_script_that_breaks_is_found_by_its_smoke_test_before_the_job(bench: Bench) -> None:
    status = bench.run("raise ValueError('a slip')")
    assert status.state == "failed"
    assert "the smoke test failed" in bench.log()
    assert "a slip" in bench.log()
    assert not (bench.folder / "held").exists()


def test_which_jobs_run_foreign_code() -> None:
    assert is_foreign({"kind": "script"})
    assert is_foreign({"kind": "grpo", "rewards": [{"kind": "verifier"}, {"kind": "python", "function": "r.py:f"}]})
    assert not is_foreign({"kind": "grpo", "rewards": [{"kind": "format", "pattern": "x"}]})
    assert not is_foreign({"kind": "sft"})


def test_nothing_of_a_killed_job_lives_on(bench: Bench) -> None:
    code = "if os.environ.get('INTERN_SMOKE_TEST'): sys.exit()\nif os.fork() == 0:\n  os.setsid()\nopen('up', 'w').close()\nwhile True: time.sleep(.05); os.utime('up')"
    bench.run(code, wait=False)
    up = bench.folder / "held" / "up"
    wait(up.exists)
    bench.compute.pause("j")
    wait(lambda: bench.compute.inspect("j").state not in ("queued", "running"))
    time.sleep(0.3)
    last = os.stat(up).st_mtime_ns
    time.sleep(0.5)
    assert os.stat(up).st_mtime_ns == last


def wait(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
