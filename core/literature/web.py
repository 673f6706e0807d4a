"""The one way in which this package asks a host over HTTP: politely, in turn, bounded in time and size.

Every request waits for its host's turn (`limiter.py`), says who asks, and ends after a deadline even when the server
drips. 429 and 503 obey Retry-After for all runs of the machine; 5xx, time-outs and bodies cut off are tried again
with growing pauses as long as that is not tiresome (`patience_s`), and a host that was silent is left alone for a
while, so that a reader with six sources does not wait for each in full; redirects are followed hop by hop so that each host's limit holds, and no key travels to another
host. Only GET: reading papers changes nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO, NoReturn
from urllib.parse import quote, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from core.literature.errors import OfflineMiss, PaperMissing, RateLimited, SourceBroken, SourceRefused, Unreachable
from core.literature.limiter import Limiter

USER_AGENT = "ml-intern-tui/0.1 (post-training research agent; respects rate limits)"
_REDIRECTS = {301, 302, 303, 307, 308}
_KEPT = "%/:@!$&'()*+,;=~-._?[]|"
_AGAIN = {429, 500, 502, 503, 504}
_REST_S = 60.0
"""How long a host that was silent to the end is left alone by this process."""
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_TEXT = re.compile(
    r"(iso-?8859-?\d+|latin-?1|us-ascii|(windows-|cp)\d{3,4}|koi8-[ru]|gbk|gb2312|gb18030|big5|shift_jis|euc-(jp|kr))",
    re.IGNORECASE,
)
"""Encodings of pages besides UTF-8. Python knows others by which a page could make us work for nothing."""


class Reply(msgspec.Struct, frozen=True):
    """A complete answer with status 200. `url` is where it came from after redirects."""

    url: str
    body: bytes
    content_type: str

    def text(self) -> str:
        """The body as text, in the encoding the server or the page names, else UTF-8; what does not fit becomes U+FFFD."""
        named = _CHARSET.search(self.content_type)
        if named is None and "html" in self.content_type:
            named = _CHARSET.search(self.body[:1024].decode("ascii", "replace"))
        encoding = named.group(1) if named and _TEXT.fullmatch(named.group(1)) else "utf-8"
        try:
            return self.body.decode(encoding, errors="replace")
        except LookupError:  # a number no such encoding has
            return self.body.decode("utf-8", errors="replace")


class Politeness(msgspec.Struct, frozen=True, kw_only=True):
    """How patient and how large. `backoff_s` doubles with every try."""

    timeout_s: float = 30.0
    """For the whole of one try."""
    tries: int = 4
    patience_s: float = 30.0
    """Of tries that fail, in all: after it none begins. A slow silence is met once, a quick failure `tries` times."""
    backoff_s: float = 1.0
    max_retry_after_s: float = 60.0
    """A longer Retry-After ends the request as RateLimited; the pause is kept for all processes."""
    max_bytes: int = 20_000_000
    user_agent: str = USER_AGENT


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message) -> None:
        """The library would read the Location itself, and fail on what is no address."""
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Impatient(http.client.HTTPConnection):
    """Hangs up on a server that sends its headers drop by drop: each drop would start the socket's own time-out anew."""

    def getresponse(self) -> http.client.HTTPResponse:
        """As the library's. Raises TimeoutError where it was hung up on, whatever that looked like from here."""
        late = threading.Event()
        watch = threading.Timer(self.timeout or 0.0, self._hang_up, (late,))
        watch.daemon = True
        watch.start()
        try:
            answer = super().getresponse()
        except (http.client.HTTPException, OSError) as error:
            if late.is_set():
                raise TimeoutError("the headers took too long") from error
            raise
        finally:
            watch.cancel()
        if late.is_set():  # what came may be half of them
            raise TimeoutError("the headers took too long")
        return answer

    def _hang_up(self, late: threading.Event) -> None:
        late.set()
        with contextlib.suppress(OSError, AttributeError):  # it may be closed by now
            self.sock.shutdown(socket.SHUT_RDWR)


class _ImpatientTls(_Impatient, http.client.HTTPSConnection):
    """The same over TLS."""


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Impatient, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_ImpatientTls, req, context=ssl.create_default_context())


class Web:
    """Fetches addresses for the literature clients."""

    def __init__(
        self, limiter: Limiter, politeness: Politeness | None = None, *, offline: Callable[[], bool] = lambda: False
    ) -> None:
        """`offline`: while it says so, no host is asked, whoever calls."""
        self.limiter = limiter
        self._offline = offline
        self.politeness = politeness or Politeness()
        self._silent: dict[str, float] = {}
        self._opener = urllib.request.build_opener(_NoRedirect, _Http, _Https)

    def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        check: Callable[[str], None] | None = None,
    ) -> Reply:
        """The answer to a GET. `check` is asked about every address, those of redirects too, and may raise.

        Raises:
            OfflineMiss: offline. PaperMissing: 404 or 410. SourceRefused: any other 4xx. RateLimited: told to wait too long.
            SourceBroken: still 5xx or cut off after all tries. Unreachable: still no answer after all tries.
        """
        address = f"{url}{'&' if '?' in url else '?'}{urlencode(params, errors='replace')}" if params else url
        if self._offline():
            raise OfflineMiss(
                f"offline: {_host(address)} is not asked",
                where=address,
                next="Use what is on this machine: the recipe library, papers read before, local data, read_api.",
            )
        for hop in range(6):
            address = _sendable(address)
            if check is not None:
                check(address)
            status, reply, location = self._patiently(address, headers or {}, first=hop == 0, origin=url)
            if status not in _REDIRECTS:
                return reply
            address = _next_hop(address, location)
        raise SourceBroken("more than five redirects", where=url, next="Use another source.")

    def _patiently(
        self, address: str, headers: Mapping[str, str], *, first: bool, origin: str
    ) -> tuple[int, Reply, str]:
        """One hop, tried again while that may help."""
        same_host = first or _host(address) == _host(origin)
        sent = {
            "User-Agent": self.politeness.user_agent,
            "Accept-Encoding": "identity",
            **(headers if same_host else {}),
        }
        host = _host(address)
        if self.limiter.clock.now() < self._silent.get(host, 0.0):
            raise Unreachable(f"{host} did not answer a moment ago", where=address, next="Try again in a minute.")
        spent = 0.0
        for attempt in range(self.politeness.tries):
            last = attempt == self.politeness.tries - 1
            try:
                with self.limiter.turn(host) as hold_off:
                    began = self.limiter.clock.now()
                    try:
                        status, reply, fields = self._once(address, sent)
                    finally:
                        spent += self.limiter.clock.now() - began
                    pause = self._pause_s(status, fields.get("Retry-After"), attempt)
                    hold_off(pause)  # while the turn is ours: the next run may be waiting for it
            except (Unreachable, SourceBroken) as error:
                tired = last or spent >= self.politeness.patience_s
                if tired and isinstance(error.__cause__, TimeoutError):
                    self._silent[host] = self.limiter.clock.now() + _REST_S
                if tired or isinstance(error.__cause__, socket.gaierror):  # a name that does not resolve stays so
                    raise
                self.limiter.clock.sleep(self.politeness.backoff_s * 2**attempt)
                continue
            if status == 200 or status in _REDIRECTS:
                return status, reply, fields.get("Location", "")
            if status not in _AGAIN or (last and status != 429):
                self._refuse(status, address, _word(fields.get("X-Error-Code", "")))
            if last or pause > self.politeness.max_retry_after_s:
                raise RateLimited(
                    f"HTTP {status}: asked to wait {pause:.0f} s",
                    where=address,
                    next="Use another source or come back later.",
                    wait_s=pause,
                )
        raise AssertionError("unreachable: the last try returns or raises")

    def _pause_s(self, status: int, told: str | None, attempt: int) -> float:
        """Seconds to leave the host alone after such an answer: its Retry-After, or else a growing pause."""
        if status not in _AGAIN:
            return 0.0
        pause = retry_after_s(told, self.limiter.clock.now())
        return self.politeness.backoff_s * 2**attempt if pause is None else pause

    def _once(self, address: str, headers: Mapping[str, str]) -> tuple[int, Reply, Message]:
        """One exchange. Raises Unreachable or SourceBroken with the cause chained."""
        if urlsplit(address).scheme not in ("http", "https"):
            raise SourceRefused("not an http address", where=address, next="Only http and https are read.")
        request = urllib.request.Request(address, headers=dict(headers))
        try:
            with self._opener.open(request, timeout=self.politeness.timeout_s) as answer:
                body = self._unpacked(self._read(answer, address), answer.headers, address)
                return int(answer.status), Reply(address, body, answer.headers.get("Content-Type", "")), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, Reply(address, b"", ""), error.headers
        except urllib.error.URLError as error:
            cause = error.reason if isinstance(error.reason, Exception) else error
            raise Unreachable(f"no connection: {error.reason}", where=address, next="Check the network.") from cause
        except http.client.HTTPException as error:  # IncompleteRead, BadStatusLine, ...
            raise SourceBroken(
                f"the answer broke off ({type(error).__name__})", where=address, next="Try again."
            ) from error
        except (TimeoutError, ConnectionError, ssl.SSLError) as error:
            raise Unreachable(
                f"no answer: {error or type(error).__name__}", where=address, next="Try again later."
            ) from error

    def _read(self, answer: http.client.HTTPResponse, address: str) -> bytes:
        """The body, within size and deadline. `read` alone would let a server drip a byte a second for ever."""
        deadline = self.limiter.clock.now() + self.politeness.timeout_s
        parts: list[bytes] = []
        size = 0
        while chunk := answer.read1(65_536):
            parts.append(chunk)
            size += len(chunk)
            if size > self.politeness.max_bytes:
                raise SourceRefused(
                    f"larger than {self.politeness.max_bytes:,} bytes", where=address, next="Use another source."
                )
            if self.limiter.clock.now() > deadline:
                raise TimeoutError("the body took too long")
        missing = answer.length  # what Content-Length promised and did not come: read1 does not raise for it
        if missing:
            raise http.client.IncompleteRead(b"", missing)
        return b"".join(parts)

    def _unpacked(self, body: bytes, fields: Message, address: str) -> bytes:
        """The body without the packing that some hosts send unasked; archives stay as they are."""
        packed = fields.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate")
        if not packed or re.search(r"eprint|gzip|tar", fields.get("Content-Type", ""), re.IGNORECASE):
            return body
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, by its first bytes
        try:
            plain = inflate.decompress(body, self.politeness.max_bytes + 1)
        except zlib.error as error:
            raise SourceBroken("a body that cannot be unpacked", where=address, next="Use another source.") from error
        if len(plain) > self.politeness.max_bytes:
            raise SourceRefused(
                f"larger than {self.politeness.max_bytes:,} bytes unpacked", where=address, next="Use another source."
            )
        if not inflate.eof:
            raise SourceBroken("a packed body that broke off", where=address, next="Try again.")
        return plain

    def _refuse(self, status: int, address: str, code: str) -> NoReturn:
        if status in (404, 410):
            missing = PaperMissing("not there (HTTP 404)", where=address, next="Check the id or use another source.")
            missing.code = code
            raise missing
        if status >= 500:
            raise SourceBroken(
                f"HTTP {status} after {self.politeness.tries} tries", where=address, next="Use another source."
            )
        refused = SourceRefused(f"HTTP {status}", where=address, next="Check the request or use another source.")
        refused.code = code
        raise refused


def _word(code: str) -> str:
    """A code is a word of the Hub's; whatever else a server writes there is not passed on."""
    return code if code.isascii() and code.isalnum() and len(code) <= 40 else ""


def retry_after_s(told: str | None, now: float) -> float | None:
    """Seconds to wait from a Retry-After header (a number or an HTTP date); None if it is absent or nonsense."""
    if told is None:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(told)
        # A date without a zone means GMT here, not the zone of this machine.
        return max(0.0, (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None


def _sendable(address: str) -> str:
    """The address as HTTP carries it: a host's name in its ASCII form, what is not ASCII percent-encoded.

    Raises SourceRefused for what is no address: models and pages write odd ones.
    """
    try:
        parts = urlsplit(address.strip())
        _ = parts.port  # raises for one that is no port
        netloc = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    except ValueError as error:  # UnicodeError is one
        raise SourceRefused(f"no web address: {error}", where=address[:200], next="Check the address.") from error
    path, query = (quote(part, safe=_KEPT, errors="replace") for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def _next_hop(address: str, location: str) -> str:
    """Where a redirect leads. Raises SourceBroken when it leads nowhere or from https down to http."""
    try:
        target = urljoin(address, location)
    except ValueError:
        target = ""
    if not location or (urlsplit(address).scheme == "https" and urlsplit(target).scheme != "https"):
        raise SourceBroken("a redirect that cannot be followed", where=address, next="Use another source.")
    return target


def _host(address: str) -> str:
    """Host with port: loopback servers of tests differ only by port."""
    return urlsplit(address).netloc.rpartition("@")[2].lower()
