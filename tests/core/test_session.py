"""Looking at a run from outside while its host goes away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core import events as e
from core.errors import Refused
from core.session import command, state_at
from core.tables import TABLES
from store.log import EventLog
from tests.screens import recorded

HOST = """
import os, sys
from pathlib import Path
from core.home import HostInfo, boot_id, process_started, write_json
from core.tables import TABLES
from store.log import EventLog
from store.serve import LogServer
folder = Path(sys.argv[1])
log = EventLog.open(folder, TABLES)
server = LogServer(log, folder / "host.sock", {"state": lambda _: os._exit(0)})
info = HostInfo(pid=os.getpid(), started=process_started(os.getpid()), boot_id=boot_id(), socket=str(folder / "host.sock"))
write_json(folder / "host.json", info)
print("up", flush=True)
sys.stdin.read()
"""


def test_the_state_of_a_run_whose_host_ends_while_it_is_asked_comes_from_the_file(tmp_path: Path) -> None:
    with EventLog.create(tmp_path, TABLES) as log:
        log.append(recorded.appendable(recorded.events()))
        last = log.last[0]
    host = subprocess.Popen([sys.executable, "-c", HOST, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == "up\n"
        assert state_at(tmp_path).seq == last
        assert host.wait(10) == 0, "it was the host that was asked"
    finally:
        host.kill()
        host.communicate()


def test_who_speaks_to_a_run_without_a_host_is_told_what_can_be_done(tmp_path: Path) -> None:
    with EventLog.create(tmp_path, TABLES) as log:
        log.append([e.new(e.RunCreated(run="r", goal="g", model="m", task="t", task_path="t"), actor="user")])
    with pytest.raises(Refused, match=r"no living host.*intern resume"):
        command(tmp_path, "steer", "a word")
    with EventLog.open(tmp_path, TABLES) as log:
        log.append([e.new(e.RunFinished(status="finished", reason="done"), actor="host")])
    with pytest.raises(Refused, match=r"is over.*intern fork"):
        command(tmp_path, "steer", "a word")
