"""A training of a brain's script reaches the Hub and the package index, and nothing else: real bwrap, real clients."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import msgspec
import psutil
import pytest

from core.agent.foreign import held_job
from core.compute.confinement import Limits, Sandbox, landlock_abi, probe
from core.compute.doors import environment_inside, open_doors
from core.compute.held import Held, InForce, Way, Wish, network_at, start
from core.compute.spec import JobSpec, JobStatus
from tests.core.compute import test_held as held_bench
from tests.servers.loopback import Answer, Loopback, Request, as_json

pytestmark = pytest.mark.skipif(probe().level != "bubblewrap", reason=f"no bubblewrap: {probe().reason}")

COMMIT = "c0ffee" + "0" * 34
WEIGHTS = os.urandom(3 << 20)


class Hub(Loopback):
    """One model, by the headers that the Hub's client asks for."""

    def respond(self, request: Request) -> Answer:
        if request.path == "/hop":
            return Answer(b"", 302, headers={"Location": self.elsewhere})
        if request.path.startswith("/api/models/org/m"):
            return as_json({"id": "org/m", "sha": COMMIT, "siblings": [], "tags": []})
        if "/resolve/" in request.path:
            tag = hashlib.sha256(WEIGHTS).hexdigest()
            return Answer(WEIGHTS, headers={"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
        return Answer(b"no such page", 404)

    elsewhere = ""


class Index(Loopback):
    """A package index with one wheel."""

    def respond(self, request: Request) -> Answer:
        name = "tiny_pack-1.0-py3-none-any.whl"
        if request.path == "/simple/tiny-pack/":
            return Answer(f'<a href="/files/{name}">{name}</a>'.encode(), content_type="text/html")
        return Answer(wheel(), content_type="application/zip") if request.path.endswith(name) else Answer(b"", 404)


def wheel() -> bytes:
    files = {
        "tiny_pack.py": b"WORDS = 'from the index'\n",
        "tiny_pack-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-pack\nVersion: 1.0\n",
        "tiny_pack-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digest = {n: base64.urlsafe_b64encode(hashlib.sha256(d).digest()).rstrip(b"=").decode() for n, d in files.items()}
    rows = "".join(f"{n},sha256={digest[n]},{len(d)}\n" for n, d in files.items())
    files["tiny_pack-1.0.dist-info/RECORD"] = (rows + "tiny_pack-1.0.dist-info/RECORD,,\n").encode()
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


class Bench(held_bench.Bench):
    def run(
        self, code: str, *, network: Wish = "limited", wait: bool = True, gpus: int = 0, **spec: object
    ) -> JobStatus:
        self.folder.mkdir(parents=True)
        script = self.folder / "script.py"
        prelude = "import json, os, subprocess, socket, sys, time\nspec = json.load(open(sys.argv[1]))\n"
        smoke = "if os.environ.get('INTERN_SMOKE_TEST'): sys.exit()\n"
        script.write_text(prelude + smoke + textwrap.dedent(code))
        told = {"kind": "script", "script": str(script), **spec}
        (self.folder / "spec.json").write_text(json.dumps(told))
        job = JobSpec(job="j", kind="script", effect_id="e", folder=str(self.folder), time_limit_s=90)
        held = held_job(msgspec.structs.replace(job, gpus=gpus), told, self.workspace, network=network)
        self.compute.submit(held)
        return self.compute.wait("j", 120) if wait else self.compute.inspect("j")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
        yield server


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "cache").mkdir()
    return Bench(tmp_path)


FETCH = """
from huggingface_hub import HfApi, hf_hub_download
print('sha', HfApi().model_info('org/m').sha)
print('bytes', os.path.getsize(hf_hub_download('org/m', 'weights.bin')))
"""


def test_the_hubs_own_client_fetches_into_a_cache_of_the_jobs_own(bench: Bench, hub: Hub, tmp_path: Path) -> None:
    assert bench.run(FETCH).state == "done", bench.log()
    assert f"sha {COMMIT}" in bench.log()
    assert f"bytes {len(WEIGHTS)}" in bench.log()
    assert not list((tmp_path / "cache").iterdir()), "the shared cache is only read"
    assert (bench.folder / "hub" / "models--org--m" / "refs" / "main").read_text() == COMMIT
    assert all("authorization" not in r.headers for r in hub.requests), "no token is added"
    found = msgspec.json.decode((bench.folder / "sandbox.json").read_bytes(), type=InForce)
    assert found.reach.startswith(f"limited to {hub.host}, ")
    assert not (bench.folder / "outlet.sock").exists()


def test_what_the_shared_cache_holds_is_seen_and_not_fetched_again(bench: Bench, hub: Hub, tmp_path: Path) -> None:
    repo = tmp_path / "cache" / "models--org--m"
    tag = hashlib.sha256(WEIGHTS).hexdigest()
    for folder in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (repo / folder).mkdir(parents=True)
    (repo / "blobs" / tag).write_bytes(WEIGHTS)
    (repo / "refs" / "main").write_text("an older revision")
    (repo / "snapshots" / COMMIT / "weights.bin").symlink_to(f"../../blobs/{tag}")
    assert bench.run(FETCH + "hf_hub_download('org/m', 'another.bin')").state == "done", bench.log()
    assert [r.method for r in hub.requests if "weights.bin" in r.path] == ["HEAD"]
    assert (repo / "refs" / "main").read_text() == "an older revision"
    assert not [p for p in (bench.folder / "held").rglob("*") if p.is_symlink()], "a model saved there has no links"


def test_pip_downloads_from_the_index_that_this_machine_is_set_to(
    bench: Bench, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Index() as index:
        (tmp_path / "pip.conf").write_text(
            f"[global]\nindex-url = {index.url.replace('://', '://me:secret@')}/simple\n"
        )
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        code = """
        pip = [sys.executable, '-m', 'pip']
        print(subprocess.run([*pip, 'download', '--no-deps', '-d', 'got', 'tiny-pack'], capture_output=True, text=True))
        subprocess.run([*pip, 'install', '-q', '--target', 'here', '--no-index', 'got/tiny_pack-1.0-py3-none-any.whl'], check=True)
        sys.path.insert(0, 'here')
        import tiny_pack; print(tiny_pack.WORDS, os.environ['PIP_INDEX_URL'])
        """
        assert bench.run(code).state == "done", bench.log()
    assert f"from the index {index.url}/simple" in bench.log()
    assert "secret" not in bench.log()
    assert "secret" not in (bench.folder / "held.json").read_text()


def test_what_is_refused_is_said_to_the_client_and_once_in_the_log(bench: Bench, hub: Hub) -> None:
    code = """
    import httpx, urllib.request
    def attempt(address):
        for _ in range(2):
            try: print('answer', httpx.get(address, timeout=5).text)
            except httpx.HTTPError as error: print('error', error)
    for address in spec['addresses']: attempt(address)
    try: print(urllib.request.urlopen('https://example.com'))
    except OSError as error: print('urllib', error)
    try: print('followed', httpx.get(spec['hop'], follow_redirects=True).text)
    except httpx.HTTPError as error: print('error', error)
    """
    with Loopback() as other:
        hub.elsewhere = f"{other.url}/secret"
        port = other.host.partition(":")[2]
        bench.run(code, addresses=["https://example.com/x", "https://93.184.215.14/", f"http://127.0.0.1:{port}/"], hop=f"{hub.url}/hop")  # fmt: skip
        assert not other.requests
    log = bench.log()
    assert "error 403 example.com:443 is none of this job's hosts" in log
    assert "error 403 93.184.215.14:443 is an address; a job reaches hosts by their names alone" in log
    assert "urllib <urlopen error Tunnel connection failed: 403 example.com:443 is none of this job's hosts>" in log
    assert f"followed 127.0.0.1:{port} by http is closed; open there: http port" in log
    assert log.count("network refused: example.com:443") == 1
    assert "hosts.txt" in log


def test_nothing_leaves_but_by_the_proxy(bench: Bench, hub: Hub) -> None:
    code = """
    print('interfaces', [n for _, n in socket.if_nameindex() if open(f'/sys/class/net/{n}/operstate').read() != 'down\\n']
          if os.path.exists('/sys/class/net') else [n for _, n in socket.if_nameindex()])
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(socket.AF_INET, kind); s.settimeout(2)
        for to in (('127.0.0.1', spec['port']), ('192.0.2.1', 53)):
            try: s.connect(to); s.send(b'out'); print('sent', to, s.recv(9))
            except OSError as error: print('stopped', error)
    try: print('found', socket.getaddrinfo('huggingface.co', 443))
    except OSError as error: print('stopped', error)
    """
    bench.run(code, port=int(hub.host.partition(":")[2]))
    assert "interfaces ['lo']" in bench.log()
    assert bench.log().count("stopped") == 5, bench.log()
    assert "sent" not in bench.log()
    assert not hub.requests


def test_a_server_of_the_jobs_own_is_reached_straight_on(bench: Bench, hub: Hub) -> None:
    code = """
    import httpx, threading
    from http.server import HTTPServer, SimpleHTTPRequestHandler
    server = HTTPServer(('127.0.0.1', 0), SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print('own', httpx.get(f'http://localhost:{server.server_address[1]}/spec.json').status_code)
    """
    assert bench.run(code).state == "done", bench.log()
    assert "own 200" in bench.log()


def test_many_clients_at_once_that_close_their_half_get_their_answers(bench: Bench, hub: Hub) -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor
    def ask(_):
        c = socket.create_connection(('127.0.0.1', 3128), 20)
        c.sendall(f"GET {spec['page']} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode()); c.shutdown(socket.SHUT_WR)
        return b''.join(iter(lambda: c.recv(65536), b''))
    print('answered', sum(a.endswith(b'no such page') for a in ThreadPoolExecutor(32).map(ask, range(300))))
    """
    assert bench.run(code, page=f"{hub.url}/page").state == "done", bench.log()
    assert "answered 300" in bench.log()


@pytest.mark.parametrize("network", ["limited", "asked"])
def test_a_name_that_a_person_added_must_still_lead_into_the_internet(
    bench: Bench, hub: Hub, tmp_path: Path, network: Wish
) -> None:
    code = """
    import httpx
    try: httpx.get(f"https://localhost:{spec['port']}/")
    except httpx.HTTPError as error: print('error', error)
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        port = listener.getsockname()[1]
        (tmp_path / "home" / "hosts.txt").write_text(f"localhost:{port}  # mine\n")
        bench.run(code, network=network, port=port)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert "which is not in the internet" in bench.log()


def test_without_the_hub_a_job_is_told_to_use_the_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert bench.run("print('offline', os.environ['HF_HUB_OFFLINE'])").state == "done"
    assert "offline 1" in bench.log()
    assert "the Hub cannot be reached" in bench.log()


def test_the_smoke_test_and_a_job_without_a_wish_have_no_way_out(bench: Bench, hub: Hub) -> None:
    bench.folder.mkdir(parents=True)
    script = bench.folder / "script.py"
    script.write_text("import os\nprint('proxy', os.environ.get('HTTPS_PROXY'), os.path.exists('/run/intern'), 'INTERN_SMOKE_TEST' in os.environ)")  # fmt: skip
    told = {"kind": "script", "script": str(script)}
    (bench.folder / "spec.json").write_text(json.dumps(told))
    job = JobSpec(job="j", kind="script", effect_id="e", folder=str(bench.folder), time_limit_s=60)
    bench.compute.submit(held_job(job, told, bench.workspace, network="limited"))
    bench.compute.wait("j", 90)
    assert "proxy None False True" in bench.log()
    assert "proxy http://127.0.0.1:3128 True False" in bench.log()


@pytest.mark.slow
def test_processes_of_one_job_find_each_other_without_a_network(bench: Bench, hub: Hub) -> None:
    pytest.importorskip("torch")
    code = """
    import torch, torch.distributed as d
    d.init_process_group('gloo')
    t = torch.ones(3); d.all_reduce(t); print('sum', t.tolist(), flush=True); d.destroy_process_group()
    """
    assert bench.run(code, network="off", gpus=2).state == "done", bench.log()
    assert bench.log().count("[2.0, 2.0, 2.0]") == 2, "each of the two"
    assert "network off" in bench.log()


@pytest.mark.skipif(landlock_abi() < 4, reason="no Landlock with network rules")
def test_at_landlock_a_script_that_asked_reaches_the_hubs_port_and_no_other(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    inside, cache = tmp_path / "held", tmp_path / "cache"
    inside.mkdir()
    (cache / "models--org--seen" / "refs").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        code = "import os, socket" + FETCH + (
            "print(os.listdir(os.environ['HF_HUB_CACHE']))\n"
            f"try: socket.create_connection(('127.0.0.1', {other.getsockname()[1]}), 2); print('reached')\n"
            "except OSError as error: print('stopped', error)"
        )  # fmt: skip
        held = Held(
            argv=(sys.executable, "-c", f"import sys; sys.stdout = open('out', 'w')\n{code}"), readable=(str(cache),),
            doors=open_doors(), wish="asked", hub_cache=str(cache), limits=Limits(seconds=60),
            environment=environment_inside() | {"HF_HOME": str(inside / ".cache")},
        )  # fmt: skip
        network = network_at("landlock", held)
        assert start(held, Sandbox(level="landlock"), inside, Way(network=network)).wait(90) == 0
    said = (inside / "out").read_text()
    assert f"bytes {len(WEIGHTS)}" in said
    assert "models--org--seen" in said
    assert "stopped" in said


LIVES = """
import httpx
n = 0
while True:
    n += 1
    try: print(httpx.get(spec['page']).status_code, flush=True); open('beats', 'w').write(str(n))
    except httpx.HTTPError as error: print('lost', error, flush=True); open('lost', 'w').close()
    time.sleep(.1)
"""


@pytest.mark.parametrize("who", ["supervisor", "keeper", "guard", "way in"])
def test_whoever_is_killed_nothing_is_left_and_a_job_that_goes_on_keeps_its_network(
    bench: Bench, hub: Hub, who: str
) -> None:
    bench.run(LIVES, wait=False, page=f"{hub.url}/page")
    inside = bench.folder / "held"
    wait((inside / "beats").exists)
    running = json.loads((bench.folder / "job.json").read_text())
    keeper = psutil.Process(running["pid"])
    tree = keeper.children(recursive=True)
    ways = [p for p in tree if is_way_in(p)]
    assert len(ways) == 1
    guard = next(p for p in tree if any("guard.py" in part for part in p.cmdline()))
    victim = {
        "supervisor": psutil.Process(running["supervisor_pid"]),
        "keeper": keeper,
        "guard": guard,
        "way in": ways[0],
    }
    victim[who].send_signal(signal.SIGKILL)
    if who == "supervisor":
        before = int((inside / "beats").read_text())
        wait(lambda: int((inside / "beats").read_text() or 0) > before + 5)
        assert not (inside / "lost").exists()
        keeper.terminate()
    if who == "way in":
        wait((inside / "lost").exists)
        bench.compute.cancel("j", grace_s=0.1)
    wait(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in [*tree, keeper]))


def is_way_in(process: psutil.Process) -> bool:
    """The doorway's own process: guard and bwrap name it in their last words, the command's own words are others."""
    return any("doorway.py" in word for word in process.cmdline()[:4])


def wait(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
