"""A real browser without a window, spoken to by its debugging protocol: just enough to open a page and press keys."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


class Browser:
    """One page. `async with Browser() as page: await page.open(url)`."""

    async def __aenter__(self) -> Browser:
        assert PROGRAM is not None
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1200,800",
             f"--user-data-dir={self._folder.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port = await self._port()
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [p for p in await answer.json() if p["type"] == "page"]
        self._socket = await self._session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        self._ids = itertools.count(1)
        return self

    async def _port(self) -> str:
        written = Path(self._folder.name) / "DevToolsActivePort"
        for _ in range(600):
            if written.exists() and (lines := written.read_text().split()):
                return lines[0]
            await asyncio.sleep(0.1)
        raise TimeoutError("the browser did not start")

    async def __aexit__(self, *exc: object) -> None:
        await self._socket.close()
        await self._session.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        id = next(self._ids)
        await self._socket.send_json({"id": id, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == id:
                return message["result"]

    async def open(self, url: str) -> None:
        await self.call("Page.enable")
        await self.call("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        return (await self.call("Runtime.evaluate", expression=expression, returnByValue=True))["result"].get("value")

    async def until(self, expression: str, timeout: float = 60.0) -> Any:
        for _ in range(int(timeout / 0.2)):
            found = await self.value(expression)
            if found:
                return found
            await asyncio.sleep(0.2)
        raise TimeoutError(f"{expression} did not come true")

    async def click(self, x: int, y: int) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def press_enter(self) -> None:
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    async def press(self, character: str) -> None:
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=character, key=character)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=character)

    async def picture(self) -> bytes:
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])
