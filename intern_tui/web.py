"""The terminal UI in a browser: textual-serve on this machine only, behind a token.

Whoever can open the page can steer runs and start programs. So it listens on the loopback address, wants a token that is
made anew at every start (given once in the address, kept in a cookie), answers no other host name (DNS rebinding) and
no page of another origin (a web socket knows no same-origin policy), and its pages load nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import shlex
import signal
import sys
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from textual_serve.server import Server

HOST = "127.0.0.1"
COOKIE = "intern_token"
PAGE = Path(__file__).with_name("page")
"""The page around the screens: textual-serve's own says "Session ended. Restart", which is not what became of the run."""
REFUSED = """\
This page wants the token that intern web printed when it started, a new one at every start.
Open the whole address that it prints.
"""


class GuardedServer(Server):
    """textual-serve's server with a door."""

    def __init__(self, arguments: list[str], port: int, token: str = "") -> None:
        """Serve `intern ARGUMENTS`, a process of its own for every page."""
        command = shlex.join([sys.executable, "-P", "-m", "intern_tui", *arguments])
        super().__init__(
            command, host=HOST, port=port, title="ML Intern", public_url=f"http://{HOST}:{port}", templates_path=PAGE
        )
        self.token = token or secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """What to open."""
        return f"{self.public_url}/?token={self.token}"

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._door)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Nothing is said before the port is open."""

    def serve(self, debug: bool = False) -> None:
        """Until Ctrl+C or SIGTERM. Raises OSError where the port cannot be opened."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        runner = web.AppRunner(await self._make_app())
        await runner.setup()
        over = asyncio.Event()
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, over.set)
        try:
            await web.TCPSite(runner, HOST, self.port).start()
            print(f"Open {self.address}")
            print(f"Only this machine can. From elsewhere: ssh -L {self.port}:{HOST}:{self.port} THIS-HOST")
            print("Ctrl+C ends it; runs go on.", flush=True)
            await over.wait()
        finally:
            await runner.cleanup()

    @property
    def _door(self) -> Middleware:
        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._check_origin(request)
            if request.path == "/" and self._fits(request.query.get("token", "")):
                # The token leaves the address at once: addresses are kept in histories and shown on screens.
                response: web.StreamResponse = web.HTTPSeeOther("/")
                response.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict", path="/")
                raise response  # type: ignore[misc]
            if not self._fits(request.cookies.get(COOKIE, "")):
                raise web.HTTPForbidden(text=REFUSED)
            response = await handler(request)
            if not response.prepared:
                response.headers.update(self._headers())
            return response

        return door

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def _check_origin(self, request: web.Request) -> None:
        here = f"{HOST}:{self.port}"
        origin = request.headers.get("Origin")
        if request.host not in (here, f"localhost:{self.port}") or (
            origin and origin not in (f"http://{here}", f"http://localhost:{self.port}")
        ):
            raise web.HTTPForbidden(text=f"Only http://{here} is served here.\n")

    def _headers(self) -> dict[str, str]:
        sockets = f"ws://{HOST}:{self.port} ws://localhost:{self.port}"
        policy = (
            f"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' {sockets}; frame-ancestors 'none'"
        )
        return {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
