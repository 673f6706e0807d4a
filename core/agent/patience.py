"""Waiting for calls that may hang: a model's endpoint, a tool that reads from the network, an MCP server.

The call runs on a thread of its own, so that the agent's thread stays free to notice an interruption, the end of the
run, a time-out, or silence, which it records while the call goes on. A call that is given up is *abandoned*: its thread
may finish, but nothing it says is recorded any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from core import events as e
from core.errors import InternError

if TYPE_CHECKING:
    from core.agent.desk import Desk

T = TypeVar("T")

STALLED_S = 8.0
"""Silence after which a call is shown as stalled; 10 s are promised."""

LOOK_S = 0.05
GRACE_S = 0.3
"""An interrupted call has this long to end by itself and say how far it came."""


class RunOver(BaseException):
    """Leaves the loop: the time is up or a person stopped the run. No `except Exception` may catch it."""


class Interruption(InternError):
    """A person interrupted the call, or the run ends."""


class TooSlow(InternError, TimeoutError):
    """The call did not end within its time."""


WAITING = "[waiting] "
"""How the answer to a call begins that waits for a person."""


UNREACHED = "cannot be reached now"
"""Stands in the answer to a call that needs a cluster or a service that does not answer: nothing was begun, try again later."""


class Deferred(Exception):
    """The call waits for a person who does not answer now: the brain goes on, the call is carried out once decided."""

    def __init__(self, approval: str, told: str = "") -> None:
        super().__init__(approval)
        self.approval = approval
        self.told = told or (
            f"{WAITING}This call waits for a person ({approval}); nothing of it was done yet. Go on with work that does not "
            "need it. Its result comes as a message once they have decided; do not send the call again"
        )


class Beat:
    """When a call last gave a sign of life."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def __call__(self) -> None:
        self.at = time.monotonic()


class _Worker(threading.Thread):
    def __init__(self, ask: Callable[[], object], name: str) -> None:
        super().__init__(daemon=True, name=name)
        self.ask = ask
        self.value: object = None
        self.error: BaseException | None = None
        self.abandoned = False

    def run(self) -> None:
        try:
            self.value = self.ask()
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            self.error = error


def abandoned() -> bool:
    """Whether the present thread works on a call nobody waits for any more."""
    return bool(getattr(threading.current_thread(), "abandoned", False))


def patiently(
    ask: Callable[[], T],
    desk: Desk,
    what: str,
    *,
    beat: Beat | None = None,
    timeout_s: float | None = None,
    waits: bool = False,
) -> T:
    """The answer of `ask`. Raises what it raised, Interruption, or TooSlow.

    `beat` is called by `ask` whenever something arrives. `timeout_s` is the longest silence. `waits`: the call is
    meant to be long (waiting for a job), so its silence is no stall.
    """
    alive = beat or Beat()
    worker = _Worker(ask, what)
    worker.start()
    told = 0.0
    while worker.is_alive():
        worker.join(LOOK_S)
        silent = time.monotonic() - alive.at
        if not worker.is_alive():
            break
        if desk.interrupt.is_set() or desk.stopping.is_set():
            worker.join(GRACE_S)
            if not worker.is_alive():
                break
            worker.abandoned = True
            raise Interruption(f"{what} was interrupted" + ("" if desk.stopping.is_set() else " by a person"))
        if timeout_s is not None and silent > timeout_s:
            worker.abandoned = True
            raise TooSlow(f"{what} was silent for {silent:.0f} s")
        if not waits and silent >= max(STALLED_S, 2 * told):
            told = silent
            desk.emit(e.CallStalled(what=what, seconds=silent, call=desk.call))
    if worker.error is not None:
        raise worker.error
    return worker.value  # type: ignore[return-value]
