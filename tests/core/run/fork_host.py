"""Starts run hosts by forking a process that has everything imported already: a host is up in milliseconds, not seconds.

Reads one JSON object a line: {"folder", "python", "fault": "after job_launched", "count": 1, "env": {}} and answers with
the process id, then with how it ended. The child is the real `core.host.host` on the real log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import core.agent.loop  # imported before any fork
import core.agent.playbook
import core.host
import core.tools
from core.agent.endpoint import Endpoint
from core.session import open_source
from store import faults


def main() -> None:
    core.tools.all_tools()
    _ = Endpoint("t", "http://127.0.0.1:9/v1", "none").client.chat.completions  # imports the client, a second of work
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _host(order)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


class Deaths:
    """Dies at every point of a list in turn, one a host: what it has died at is taken from the list before it dies.

    A point is `after job_launched:3`: the third event of that type the log has, or is about to have.
    """

    def __init__(self, run: Path, list_: Path) -> None:
        self.list = list_
        self.left = set(list_.read_text().splitlines())
        source = open_source(run)
        logged = Counter(event.type for event in source.events(1))
        source.close()
        # What is logged and still to come here was committed while another thread died: that host died after it as well.
        self.left -= {f"after {kind}:{k}" for kind, count in logged.items() for k in range(1, count + 1)}
        self._write()
        self.commit: list[str] = []
        """Points after the events of the present commit."""
        self.committed = False
        self.seen = {when: Counter(logged) for when in ("before", "after")}

    def __call__(self, name: str) -> bool:
        when, _, type_ = name.partition(" ")
        if when not in self.seen:
            return False  # a point of the log's own write path
        self.seen[when][type_] += 1
        point = f"{name}:{self.seen[when][type_]}"
        if when == "before":
            self.commit = [] if self.committed else self.commit
            self.commit.append(point.replace("before", "after", 1))
        self.committed = when == "after"
        if point not in self.left:
            return False
        # After a commit all its events are safe at once: death after one of them is death after each of them.
        self.left -= {point, *(self.commit if self.committed else ())}
        self._write()
        return True

    def _write(self) -> None:
        self.list.write_text("".join(f"{p}\n" for p in sorted(self.left)))


def _host(order: dict[str, object]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(str(order["folder"]))
    log = os.open(folder / "host.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order.get("env") or {})  # type: ignore[call-overload]
    faults._name = str(order.get("fault") or "")
    faults._left = int(order.get("count") or 1)  # type: ignore[call-overload]
    if order.get("deaths"):
        faults.plan = Deaths(folder, Path(str(order["deaths"])))
    try:
        code = core.host.host(folder, str(order["python"]))
    except BaseException:  # noqa: BLE001 - a forked child must never go on with its parent's code
        traceback.print_exc()
        code = 70
    os._exit(code)


if __name__ == "__main__":
    main()
