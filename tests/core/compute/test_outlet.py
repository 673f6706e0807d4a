"""The proxy of a sandbox, spoken to directly: what it opens, how it passes things on, what it makes of bad requests."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.compute.doors import (
    HUB_CONTENT,
    HUB_SIDE,
    Door,
    added,
    configured,
    door_for,
    environment_inside,
    is_name,
    open_doors,
    pip_indexes,
)  # fmt: skip
from core.compute.held import Held, in_words, network_at, way_out
from core.compute.outlet import CONNECTIONS, MOST_LINES, WAITING, Outlet
from core.errors import UsageError
from core.research.reach import is_public
from tests.servers.loopback import Answer, Loopback, Request


class Echo(Loopback):
    """Says back what it was sent."""

    def respond(self, request: Request) -> Answer:
        return Answer(request.body or request.path.encode(), headers={"X-Seen": request.headers["host"]})


class Upper:
    """A service that is not HTTP, behind a tunnel: it answers in capitals and closes when the client is done."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one = self.listener.accept()[0]
            except OSError:
                return
            with one:
                while data := one.recv(1 << 16):
                    one.sendall(data.upper())


class Client:
    def __init__(self, outlet: Outlet) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(outlet.path))

    def ask(self, *raw: bytes) -> bytes:
        """All that comes until the proxy closes."""
        for one in raw:
            self.socket.sendall(one)
        self.socket.shutdown(socket.SHUT_WR)
        out = b""
        while data := self.socket.recv(1 << 16):
            out += data
        self.socket.close()
        return out


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture
def upper() -> Iterator[Upper]:
    server = Upper()
    yield server
    server.listener.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def outlet(tmp_path: Path, echo: Echo, upper: Upper, said: list[str]) -> Iterator[Outlet]:
    doors = (configured(echo.url), Door(host="127.0.0.1", port=upper.port, private=True), Door(host="*.hub.test"))
    deep = tmp_path / ("a folder of a long name " * 4) / ("below it " * 8)
    deep.mkdir(parents=True)
    with Outlet(deep, doors, said.append) as made:
        assert len(str(made.path)) > 108, "longer than a socket's name may be"
        link = tmp_path / "o"
        link.symlink_to(made.path)
        made.path = link
        yield made


def test_a_tunnel_carries_bytes_both_ways_until_both_ends_are_done(outlet: Outlet, upper: Upper) -> None:
    head = f"CONNECT 127.0.0.1:{upper.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = Client(outlet).ask(head + b"early, ", b"late, " * 100_000)
    assert answer.partition(b"\r\n\r\n")[2] == b"EARLY, " + b"LATE, " * 100_000


def test_requests_are_written_anew_one_after_the_other(outlet: Outlet, echo: Echo) -> None:
    one = f"GET {echo.url}/one HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: x\r\nConnection: x-mine\r\nX-Mine: 1\r\n\r\n"
    two = f"POST {echo.url}?q=two HTTP/1.1\r\nHost: {echo.host}\r\nContent-Length: 3\r\n\r\nabc"
    answer = Client(outlet).ask(one.encode(), two.encode())
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.endswith(b"\r\n\r\nabc")
    first = echo.requests[0]
    assert (first.path, first.headers["host"]) == ("/one", echo.host)
    assert not {"proxy-authorization", "x-mine"} & set(first.headers)


def test_a_body_in_chunks_is_passed_on_in_chunks_under_one_length(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host:
        address = f"http://127.0.0.1:{host.getsockname()[1]}"
        with Outlet(tmp_path, (configured(address),), print) as made, ThreadPoolExecutor(1) as pool:
            head = f"POST {address}/up HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            asked = pool.submit(Client(made).ask, head.encode(), b"3\r\nabc\r\n0\r\n\r\n")
            one = host.accept()[0]
            seen = b""
            while not seen.endswith(b"0\r\n\r\n"):
                seen += one.recv(4096)
            one.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            one.close()
            assert asked.result().endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert seen.startswith(b"POST /up HTTP/1.1\r\n")
    assert b"content-length" not in seen.lower()
    assert seen.endswith(b"3\r\nabc\r\n0\r\n\r\n")


def test_a_large_body_goes_up_and_comes_down_whole(outlet: Outlet, echo: Echo) -> None:
    body = bytes(range(256)) * 20_000
    head = f"POST {echo.url}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = Client(outlet).ask(head.encode(), body)
    assert answer.endswith(body)


def test_many_at_once(outlet: Outlet, echo: Echo) -> None:
    raw = f"GET {echo.url}/page HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: Client(outlet).ask(raw), range(300)))
    assert all(a.endswith(b"/page") for a in answers)


def test_more_connections_than_it_has_room_for_are_closed_and_the_others_served(outlet: Outlet, echo: Echo) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # both ends of each are in this process
    try:
        idle = [Client(outlet) for _ in range(CONNECTIONS + WAITING)]
        assert Client(outlet).ask() == b""
        for one in idle:
            one.socket.close()
        raw = f"GET {echo.url}/page HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        until = time.monotonic() + 20
        while not Client(outlet).ask(raw).endswith(b"/page"):
            assert time.monotonic() < until, "it has no room again"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_folder_that_can_have_no_socket_is_no_end_of_the_job() -> None:
    with way_out(Path("/proc"), Held(argv=(), wish="limited", doors=(Door(host="nothing.hub.test"),)), "hosts") as way:
        assert Path(way.outlet).is_socket()
        assert way.offline
    assert not Path(way.outlet).parent.exists()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT 127.0.0.1:443@x.hub.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x.hub.test@127.0.0.1:{echo}/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET https://x.hub.test/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://127.0.0.1:{echo}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"CONNECT 127.0.0.1:{echo} HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"GET http://127.0.0.1:{upper}/ HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:{echo}\r\n\r\n", 403),
        (b"HEAD http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"CONNECT hub.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"CONNECT x.hub.test.evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"CONNECT evilhub.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", 403),
        (b"CONNECT nothing.hub.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", 502),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP at all\r\n\r\n", 400),
        (b"GET http://" + b"a" * 70_000 + b"/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_bad_and_closed_requests_get_an_answer_that_says_why(
    outlet: Outlet, echo: Echo, upper: Upper, raw: bytes, status: int
) -> None:
    raw = raw.replace(b"{echo}", echo.host.partition(":")[2].encode()).replace(b"{upper}", str(upper.port).encode())
    try:
        answer = Client(outlet).ask(raw)
    except (ConnectionResetError, BrokenPipeError):  # it closed on a head without end before that was sent
        assert len(raw) > 65_536
        return
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert not echo.requests


def test_a_host_that_speaks_no_http_is_a_bad_gateway(tmp_path: Path, upper: Upper, said: list[str]) -> None:
    with Outlet(tmp_path, (configured(f"http://127.0.0.1:{upper.port}"),), said.append) as outlet:
        answer = Client(outlet).ask(f"GET http://127.0.0.1:{upper.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 502 the host's answer is not HTTP")


def test_a_scan_of_ports_does_not_fill_the_log(outlet: Outlet, said: list[str]) -> None:
    for port in range(1, 2 * MOST_LINES):
        Client(outlet).ask(f"CONNECT 10.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        Client(outlet).ask(f"CONNECT 10.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert len(said) == len(set(said)) == MOST_LINES + 1
    assert "not listed" in said[-1]


def test_a_host_that_is_not_there_is_no_refusal(outlet: Outlet, said: list[str]) -> None:
    assert "cannot be found" in outlet.answers(Door(host="nothing.hub.test"))
    assert not said


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "::", "fe80::1%eth0", "fd00::1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_addresses_outside_the_internet(address: str) -> None:
    assert not is_public(address)


def test_addresses_in_the_internet() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700::1111")
    assert is_public("64:ff9b::808:808")


def test_an_address_in_no_spelling_is_a_name() -> None:
    for text in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "::1", "a b", "", "-a.org", "a..b", "x" * 300):
        assert not is_name(text), text
    for text in ("huggingface.co", "localhost", "1and1.org", "a_b.example"):
        assert is_name(text), text


def doors(monkeypatch: pytest.MonkeyPatch, home: Path, **environment: str) -> tuple[Door, ...]:
    home.mkdir(exist_ok=True)
    for name in ("HF_ENDPOINT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"INTERN_HOME": str(home), "PIP_CONFIG_FILE": "/dev/null"} | environment).items():
        monkeypatch.setenv(name, value)
    return open_doors()


def test_the_doors_of_a_machine_that_nobody_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = doors(monkeypatch, tmp_path / "home")
    assert {d.port for d in found} == {443}
    assert not any(d.private for d in found)
    for host in ("huggingface.co", "us.aws.cdn.hf.co", "transfer.xethub.hf.co", "pypi.org", "files.pythonhosted.org"):
        assert door_for(found, "https", host, 443), host
    for host in ("hf.co.example.org", "evilhf.co", "huggingface.co.", "github.com", "api.huggingface.co"):
        assert not door_for(found, "https", host, 443), host


def test_what_a_person_configured_is_open_and_may_be_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = doors(
        monkeypatch, home, HF_ENDPOINT="http://hub.lab:8080", PIP_INDEX_URL="https://u:p@pip.lab/simple",
        PIP_EXTRA_INDEX_URL="https://a.example/s http://b.example/s file:///wheels",
    )  # fmt: skip
    assert found[0] == Door(host="hub.lab", port=8080, scheme="http", private=True)
    assert door_for(found, "https", "pip.lab", 443) == Door(host="pip.lab", private=True)
    assert door_for(found, "http", "b.example", 80)
    assert {d.host for d in found}.isdisjoint(HUB_SIDE)
    assert {d.host for d in found} >= set(HUB_CONTENT)
    assert environment_inside()["PIP_INDEX_URL"] == "https://pip.lab/simple"
    assert environment_inside()["HF_ENDPOINT"] == "http://hub.lab:8080"


def test_pips_own_files_are_read_as_pip_does(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://one/s\nextra-index-url =\n    https://two/s\n    https://three/s\n")  # fmt: skip
    told = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    assert pip_indexes(told) == ["https://one/s", "https://two/s", "https://three/s"]
    assert pip_indexes(told | {"PIP_INDEX_URL": "https://four/s"})[0] == "https://four/s"
    assert pip_indexes({"PIP_CONFIG_FILE": "/dev/null"}) == []


@pytest.mark.parametrize("line", ["10.0.0.1", "*.com", "*", "https://a.org", "a.org:0", "a.org:x", "[::1]", "a b"])
def test_a_line_of_hosts_that_names_no_host_is_said_with_its_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    (tmp_path / "hosts.txt").write_text(f"# mine\nWeights.example.org\n{line}\n")
    with pytest.raises(UsageError, match="line 3"):
        added()
    (tmp_path / "hosts.txt").write_text("# mine\nWeights.example.org.\n*.data.example.org:8443\n\n")
    assert [(d.host, d.port, d.private) for d in added()] == [("weights.example.org", 443, False), ("*.data.example.org", 8443, False)]  # fmt: skip


def test_what_a_level_makes_of_a_wish_and_says_of_it() -> None:
    open_ = (Door(host="hub.test"), Door(host="h.test", port=8080, scheme="http"))
    made = {(level, wish): network_at(level, Held(argv=(), wish=wish)) for level in ("bubblewrap", "landlock", "limits") for wish in ("off", "limited", "asked")}  # fmt: skip
    assert made == {
        ("bubblewrap", "off"): "off", ("bubblewrap", "limited"): "hosts", ("bubblewrap", "asked"): "hosts",
        ("landlock", "off"): "off", ("landlock", "limited"): "off", ("landlock", "asked"): "ports",
        ("limits", "off"): "off", ("limits", "limited"): "off", ("limits", "asked"): "open",
    }  # fmt: skip
    assert network_at("bubblewrap", Held(argv=(), several=True)) == "off"
    assert network_at("landlock", Held(argv=(), several=True)) == "open"
    assert (
        in_words("bubblewrap", "hosts", open_)
        == "limited to hub.test, its content hosts, the package index, h.test:8080"
    )
    assert "cannot limit it to hosts" in in_words("landlock", "ports", open_)
    assert "UDP is not held" in in_words("landlock", "off", ())
    assert "not held" in in_words("limits", "off", ())
