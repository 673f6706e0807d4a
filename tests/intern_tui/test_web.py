"""The browser display: who may open it, what it shows, in a real server and (where there is one) a real browser."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")

from store.log import EventLog  # noqa: E402
from tests.intern_tui.browser import PROGRAM, Browser  # noqa: E402
from tests.screens import recorded  # noqa: E402


class Served(NamedTuple):
    address: str
    """With the token."""
    plain: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`intern web` on a free port, over a home with one recorded run."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "runs" / recorded.RUN
    folder.mkdir(parents=True)
    with EventLog.create(folder) as log:
        log.append(recorded.appendable(recorded.events()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "intern_tui", "web", "--port", str(port)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "INTERN_HOME": str(home)},
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{20,}", first)
    assert found, first
    yield Served(found[0], f"http://127.0.0.1:{port}/")
    process.terminate()
    process.wait(30)


async def test_without_the_token_nothing_is_served(served: Served) -> None:
    async with aiohttp.ClientSession() as stranger:
        for path in ("", "?token=guess", "ws", "static/js/textual.js"):
            async with stranger.get(served.plain + path) as answer:
                assert answer.status == 403, path


async def test_the_token_becomes_a_cookie_and_leaves_the_address(served: Served) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as owner:
        async with owner.get(served.address, allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == "/"
            assert "HttpOnly" in answer.headers["Set-Cookie"]
            assert "SameSite=Strict" in answer.headers["Set-Cookie"]
        async with owner.get(served.plain) as answer:
            assert answer.status == 200
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
async def test_other_names_and_other_pages_are_refused_even_with_the_cookie(
    served: Served, headers: dict[str, str]
) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as owner:
        await owner.get(served.address)
        async with owner.get(served.plain + "ws", headers=headers) as answer:
            assert answer.status == 403


async def test_the_same_screens_come_over_the_web_socket(served: Served) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as owner:
        await owner.get(served.address)
        async with owner.ws_connect(served.plain + "ws?width=120&height=40") as page:
            seen = b""
            async with asyncio.timeout(60):
                while recorded.RUN.encode() not in seen:
                    message = await page.receive()
                    seen += message.data if isinstance(message.data, bytes) else b""
                await page.send_json(["stdin", "?"])
                while b"Mission: what it does" not in seen:
                    message = await page.receive()
                    seen += message.data if isinstance(message.data, bytes) else b""


async def test_the_page_never_says_that_a_run_ended_or_restarts_and_loads_nothing_from_elsewhere(
    served: Served,
) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as owner, owner.get(served.address) as answer:
        page = await answer.text()
    assert "The screens are closed. The runs go on." in page
    assert "Restart" not in page
    assert not [
        a for a in re.findall(r"(?:https?|wss?)://[^\"' ]+", page) if not a.split("//")[1].startswith("127.0.0.1:")
    ]


@pytest.mark.soak
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here")
async def test_a_real_browser_draws_the_screens(served: Served) -> None:
    async with Browser() as page:
        await page.open(served.address)
        await page.until("document.body && document.body.classList.contains('-first-byte')")
        assert await page.value("location.href") == served.plain
        await asyncio.sleep(3)
        runs = await page.picture()
        await page.click(600, 300)
        await page.press_enter()
        await asyncio.sleep(4)
        mission = await page.picture()
        if keep := os.environ.get("INTERN_PICTURES"):
            (Path(keep) / "web-runs.png").write_bytes(runs)
            (Path(keep) / "web.png").write_bytes(mission)
        assert runs != mission
        await page.call("Emulation.setDeviceMetricsOverride", width=700, height=500, deviceScaleFactor=1, mobile=False)
        await asyncio.sleep(2)
        assert await page.picture() != mission
        await page.press("q")
        await page.until("document.body.classList.contains('-closed')")
        assert "The runs go on" in await page.value("document.body.innerText")
        await page.value("openAgain()")
        await page.until("document.body && document.body.classList.contains('-first-byte')")


@pytest.mark.soak
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here")
async def test_a_real_browser_without_the_token_sees_why(served: Served) -> None:
    async with Browser() as page:
        for address in (served.plain, served.plain + "?token=wrong"):
            await page.open(address)
            await page.until("document.body && document.body.innerText.includes('Open the whole address')")
