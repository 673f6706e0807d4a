# pyright: basic
"""A process that has torch and TRL imported and forks a supervised job whenever it is asked.

    python -P forkserver.py <fd>

Importing TRL takes 5 to 10 s of a core, which is most of a short trial; a fork takes milliseconds. The host starts one
fork server a run (`core.compute.local.LocalCompute.warm_up`) and talks to it through the socket `fd`: "ready" comes once
all is imported, then each line sent is a job's folder, answered by "started". Every job gets a supervisor in a session
of its own, as a cold start gives it, so jobs outlive this process and the host. It ends when the host closes the socket.

Forking is safe only where no other thread holds a lock and no GPU context exists, so nothing here may start threads or
touch CUDA: if a library does at import, `unfit` says so and jobs start cold, as they do on systems without fork.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run by path, where the package need not be installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from intern_tui import job, supervisor

MODULES = (
    "core.training.sft",
    "core.training.grpo",
    "core.evaluation.sampler",
    "core.training.export",
    "core.data.job",
)


def main(argv: list[str]) -> int:
    """Import, say so, fork for every line until the socket closes."""
    for name, value in job.QUIET.items():
        os.environ.setdefault(name, value)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's copy starts its threads at import
    supervisor.step_back()  # its imports take seconds of a core while the host has just begun to answer
    line = socket.socket(fileno=int(argv[1]))
    for module in MODULES:
        importlib.import_module(module)
    why_not = unfit()
    if why_not:
        line.sendall(f"unfit: {why_not}\n".encode())
        return 0
    gc.collect()
    gc.freeze()  # the collector must not write to pages that all jobs share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are nobody's to wait for
    line.sendall(b"ready\n")
    with line.makefile("rb") as requests:
        for request in requests:
            folder = Path(os.fsdecode(request.rstrip(b"\n")))
            if os.fork() == 0:
                os._exit(_supervise(folder, line))
            line.sendall(b"started\n")
    return 0


def unfit() -> str:
    """Why this process must not fork; "" if it may. jemalloc's thread (pyarrow) handles forks itself."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    others = [name for name in names[1:] if not name.startswith("jemalloc")]
    if others:
        return f"a library started threads: {', '.join(others)}"
    import torch

    return "CUDA is initialised" if torch.cuda.is_initialized() else ""


def _supervise(folder: Path, line: socket.socket) -> int:
    """The supervisor of one job, forked instead of started. Never returns to the loop."""
    os.close(line.fileno())  # line.close() would wait for the open reader
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    try:
        return supervisor.supervise(folder, _start)
    except BaseException:  # noqa: BLE001 - a forked process has no caller: the log is the only place to say it
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
        return 1


def _start(folder: Path, launch: dict[str, Any]) -> Forked:
    """The job's process, forked: its own group, its own log, its own environment, threads and random numbers."""
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    pid = os.fork()
    if pid:
        os.close(log)
        os.close(nothing)
        return Forked(pid)
    code = 1
    try:
        os.setpgid(0, 0)
        supervisor.lock.close()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)  # the supervisor's handlers are not the job's
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.chdir(folder)
        os.environ.update(launch["env"])
        supervisor.confine(launch.get("memory_limit_bytes"))
        _fresh(launch["env"])
        code = job.main(list(launch["argv"][-1:]))
    except BaseException:  # noqa: BLE001 - as Python itself at the top of a process: traceback, exit code 1
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # a model's teardown takes a second and says nothing


def _fresh(env: dict[str, str]) -> None:
    """What a new process would have: threads as its environment says, random numbers of its own."""
    import numpy
    import torch

    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", "1")))
    random.seed()
    numpy.random.seed(random.getrandbits(32))


class Forked:
    """A forked child with what `supervisor.wait` uses of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise supervisor.StillRunning(["forked job"], timeout)
            else:
                time.sleep(0.01)
        return self.returncode


if __name__ == "__main__":
    ended = main(sys.argv)
    sys.stdout.flush()
    os._exit(ended)  # libraries report leaks at a regular exit
