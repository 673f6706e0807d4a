"""What strangers and language models send: odd addresses, numbers, archives and markup end in an answer or a typed error."""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from core.errors import ToolError
from core.literature import latex_archive
from core.literature.cache import Cache
from core.literature.errors import LiteratureError, RateLimited, SourceBroken, SourceRefused
from core.literature.html_sections import parse_html
from core.literature.latex_archive import LARGEST, read_source
from core.literature.latex_sections import parse_latex
from core.literature.limiter import Limiter
from core.literature.web import Politeness, Web
from core.research.pages import search_web
from core.research.reach import check_address
from tests.servers.clock import FakeClock
from tests.servers.loopback import Answer, Loopback, Request, as_json


class Echo(Loopback):
    """Answers with the path it was asked for."""

    results: object = None

    def respond(self, request: Request) -> Answer:
        if request.path == "/search":
            return as_json(self.results)
        if request.path == "/away":
            return Answer(status=302, headers={"Location": "http://[nowhere"})
        return Answer(request.path.encode(), content_type="text/plain")


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo() as running:
        yield running


@pytest.mark.parametrize("path", ["/wiki/Überblick", "/a b", "/语言", "/x\ud800y", "/a\nb"])
def test_an_address_as_people_write_it_is_encoded(web: Web, server: Echo, path: str) -> None:
    assert web.get(server.url + path).body.startswith(b"/")
    assert server.asked() == 1


@pytest.mark.parametrize(
    "address", ["http://[nowhere", "https://host:99999/", "https://a..b.com/", f"https://{'a' * 70}.com/ü"]
)
def test_what_is_no_address_is_told(web: Web, address: str) -> None:
    with pytest.raises(ToolError):
        web.get(address, check=check_address)
    with pytest.raises(ToolError):
        check_address(address)


def test_a_redirect_to_what_is_no_address_is_told(web: Web, server: Echo) -> None:
    with pytest.raises(LiteratureError):
        web.get(server.url + "/away")


def test_headers_that_drip_end_with_the_deadline(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 100:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return
                time.sleep(0.3)

    threading.Thread(target=drip, daemon=True).start()
    begun = time.monotonic()
    with listener, pytest.raises(LiteratureError):
        Web(Limiter(tmp_path, clock=FakeClock()), Politeness(timeout_s=1, tries=1)).get(
            f"http://127.0.0.1:{listener.getsockname()[1]}/"
        )
    assert time.monotonic() - begun < 15, "each drop started the time-out anew"


def test_a_pause_without_end_neither_blocks_for_ever_nor_spoils_the_file(tmp_path: Path, clock: FakeClock) -> None:
    limiter = Limiter(tmp_path, clock=clock)
    for seconds in (1e300, float("inf")):
        limiter.hold_off("example.org", seconds)
    clock.time += 86_401
    with limiter.turn("example.org"):
        pass
    begun = clock.now()
    with limiter.turn("example.org"):
        assert clock.now() - begun == pytest.approx(1.0)


def test_a_damaged_file_longer_than_ours_does_not_end_the_limit(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "example.org.next").write_bytes(b"9" * 60)
    limiter = Limiter(tmp_path, clock=clock)
    for _ in range(3):
        with limiter.turn("example.org"):
            pass
    assert sum(clock.slept) >= 2.0


@pytest.mark.parametrize("host", ["www.arxiv.org", "export.arxiv.org:443", "arxiv.org.", "browse.arxiv.org"])
def test_every_name_of_arxiv_shares_its_turn(tmp_path: Path, clock: FakeClock, host: str) -> None:
    limiter = Limiter(tmp_path, clock=clock)
    for one in ("export.arxiv.org", host, "arxiv.org"):
        with limiter.turn(one):
            pass
    assert sum(clock.slept) == pytest.approx(6.0)


def test_a_run_that_was_stopped_inside_its_turn_does_not_block_the_others_for_ever(tmp_path: Path) -> None:
    limiter = Limiter(tmp_path, clock=FakeClock(), max_wait_s=0.2)
    handle = os.open(tmp_path / "example.org.next", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RateLimited, match="another run"), limiter.turn("example.org"):
        pytest.fail("the lock was given twice")
    os.close(handle)


def test_a_key_with_half_a_character_is_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("query \ud800", b"found")
    hit = cache.get("query \ud800")
    assert hit is not None
    assert hit.body == b"found"


@pytest.mark.parametrize("results", [[], "x", {"results": "x"}, {"results": [1]}, {"results": None}, None])
def test_a_search_engine_that_answers_oddly(
    web: Web, server: Echo, results: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERN_SEARXNG", server.url)
    server.results = results
    if isinstance(results, dict) and results["results"] is None:
        assert search_web(web, "words")[1] == []
    else:
        with pytest.raises(SourceBroken):
            search_web(web, "words")


@pytest.mark.parametrize("span", ["²", "9" * 5000, "-1", ""])
def test_a_cell_that_spans_nonsense(span: str) -> None:
    table = f'<table><tr><td colspan="{span}">a</td><td>b</td></tr></table>'
    assert parse_html(f"<h2>1 One</h2>{table}")[1][0].tables[0].rows[0][0] == "a"


@pytest.mark.parametrize("opening", ["<!--", "<![CDATA[", "<a b='", "</", "<?"])
def test_markup_that_never_ends_costs_no_square_of_its_size(opening: str) -> None:
    begun = time.process_time()
    title, _ = parse_html("<h1>Title</h1><h2>One</h2><p>Words.</p>" + opening * 30_000)
    assert title == "Title"
    assert time.process_time() - begun < 20


def test_brackets_left_open_cost_no_square_of_their_number() -> None:
    begun = time.process_time()
    with suppress(LiteratureError):  # too deep for the parser is an answer, too
        parse_latex(r"\title[" * 20_000 + r"\begin{document}" + r"\section[" * 20_000, "here")
    assert time.process_time() - begun < 60


def test_one_large_file_input_over_and_over_is_bounded() -> None:
    files = {
        "main.tex": r"\documentclass{article}\begin{document}" + r"\input{big}" * 150 + r"\end{document}",
        "big.tex": "word " * 200_000,
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    text = read_source(gzip.compress(packed.getvalue()), "here")
    assert len(text) < 3 * LARGEST
    assert "word" in text


def test_an_archive_with_an_odd_number_in_its_header_is_a_broken_source(monkeypatch: pytest.MonkeyPatch) -> None:
    member = tarfile.TarInfo("main.tex")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "many"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO())
    with pytest.raises(LiteratureError):
        latex_archive.read_source(packed.getvalue(), "here")


def test_an_address_without_a_scheme_is_refused(web: Web) -> None:
    with pytest.raises((SourceRefused, ToolError)):
        web.get("example.org/page", check=check_address)
