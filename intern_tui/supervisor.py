"""The keeper of one job: starts it, watches its limits, writes down how it ended. Survives the host.

    python -P supervisor.py <job folder> [claim]

reads launch.json (written by `core.compute.local`), runs the command in a process group of its own, writes job.json
when it runs and exit.json when it ended. Standard library only: it starts in well under 0.1 s and costs a few
megabytes. Nothing here knows about training.

On a cluster a scheduler starts it. `claim` is then the scheduler's name of the job: the first name to stand in the folder
owns it, so that a submission that was made twice (its first answer was lost) runs once; the same name may come again
(requeued after a preemption or a dead node) and goes on from the last checkpoint. SIGUSR1 (Slurm's --signal before the
time limit) and SIGTERM (preemption, logout, shutdown) ask the job to save and stop.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

POLL_S = 0.25
"""Between looks at its time limit and at what it was asked; the end of its job it sees at once."""
BEAT_S = 2.0
"""How often the supervisor of a scheduler's job says that it lives: the file is the truth where the scheduler's is not."""
STOP_GRACE_S = 20.0
"""After the time limit: seconds for the job to end by itself (it saves its model) before SIGTERM."""
TERM_GRACE_S = 5.0
NICE = 5
"""Of a job on this machine (`step_back`)."""
REQUEUE_CODE = 75
"""EX_TEMPFAIL: ended for now, to be started again."""
PR_SET_PDEATHSIG = 1
LOG_TAIL_BYTES = 20_000
MEMORY_SIGNS = ("can't allocate memory", "out of memory", "MemoryError", "Cannot allocate memory", "MB of memory")


StillRunning = subprocess.TimeoutExpired


class Child(Protocol):
    """What the supervisor needs of the job's process: subprocess.Popen, or a fork (intern_tui/forkserver.py)."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float) -> int: ...


def main(argv: list[str]) -> int:
    folder = Path(argv[1]).resolve()
    if len(argv) > 2 and not claim(folder, argv[2]):
        return 0
    OWNER.extend(argv[2:3])
    return supervise(folder, start, again=len(argv) > 2)


def supervise(folder: Path, start: Callable[[Path, dict[str, Any]], Child], *, again: bool = False) -> int:
    """Start the job of `folder`, keep it, write down its end. The second supervisor of one folder does nothing.

    `again`: a scheduler may start a job once more that began before (requeued), so job.json is no sign of another supervisor.
    """
    if (folder / "exit.json").exists():  # it had ended just before
        return 0
    listen()
    launch = json.loads((folder / "launch.json").read_text(encoding="utf-8"))
    if not alone(folder) or ((folder / "job.json").exists() and not again):
        return 0  # a host that died and its successor both started this job: only one of us may
    if not again:  # a scheduler has its own word on who gets how much
        step_back()
    began = time.time()
    try:
        child = start(folder, launch)
    except OSError as error:
        note = f"cannot start {launch['argv'][0]}: {error}\n"
        (folder / "log.txt").write_text(note, encoding="utf-8")
        finish(folder, None, time.time() - began, "cannot_start")
        return 0
    write_json(folder / "job.json", describe(child.pid))
    reason = wait(folder, child, launch, began)
    code = child.returncode
    signal_group(child.pid, signal.SIGKILL)  # what the job left behind
    if reason == "superseded":
        return 0  # the folder is another's: not a word of ours into it
    if reason == "preempted":
        for name in ("control", "stopping"):
            (folder / name).unlink(missing_ok=True)
        return REQUEUE_CODE
    finish(folder, code, time.time() - began, reason or ended(folder, code or 0))
    return 0


def claim(folder: Path, name: str) -> bool:
    """Whether the folder belongs to `name`: the first to ask has it for good."""
    try:
        with (folder / "claim").open("x", encoding="utf-8") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    return (folder / "claim").read_text(encoding="utf-8") in (name, "")


OWNER: list[str] = []
"""The name under which this supervisor claimed its folder."""


def taken_over(folder: Path) -> bool:
    """Whether the folder was given to another start of the job, because nothing was heard of this one for long."""
    if not OWNER:
        return False
    try:
        return (folder / "claim").read_text(encoding="utf-8") not in (OWNER[0], "")
    except OSError:
        return False  # a file system that is away takes nothing over


ASKED: list[str] = []
"""Why a signal asked for the end: time_limit or terminated."""


def listen() -> None:
    """Take signals of a scheduler or a shutdown as a wish to stop in order."""
    signal.signal(signal.SIGUSR1, lambda number, frame: ASKED.append("time_limit"))
    signal.signal(signal.SIGTERM, lambda number, frame: ASKED.append("terminated"))


def step_back() -> None:
    """Let the run's host, the UI and a person's other programs go first; alone on a machine a job notices nothing of it.

    Linux weighs sessions against each other before it looks at processes (autogroups), and a supervisor has a session of
    its own: that one has to step back as well.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(f"{NICE}", encoding="utf-8")


lock: Any = None
"""Of the folder; a forked job closes it, or it would hold the folder after its supervisor's death."""


def alone(folder: Path) -> bool:
    """Hold the folder's lock for as long as this process lives; False if another supervisor has it."""
    global lock
    import fcntl

    lock = (folder / "launch.json").open("rb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def start(folder: Path, launch: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The job's process: its own group, its own log, no PYTHONPATH of the user's."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | launch["env"]
    limit = launch.get("memory_limit_bytes")
    if (folder / "job.json").exists():  # it ran before and was interrupted
        env["INTERN_RESTARTED"] = "1"
    dies = os.environ.get("INTERN_DIES_WITH_SUPERVISOR") == "1"
    scheduled = (folder / "claim").exists()

    def prepare() -> None:
        if scheduled:  # Slurm sends SIGTERM to every process of a job: ours alone turns it into a wish to save
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if dies:  # schedulers that kill only what they started (Ray) would leave the job behind
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        confine(limit)

    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            launch["argv"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=prepare if limit or dies or scheduled else None,
        )


def confine(limit_bytes: int | None) -> None:
    """Limit the address space of this process and its children; None: no limit."""
    if limit_bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def wait(folder: Path, child: Child, launch: dict[str, Any], began: float) -> str | None:
    """Wait for the end, ending the job in three steps once its time is over. Returns the reason if it was ours."""
    limit = launch.get("time_limit_s")
    steps = (
        [
            (limit, "stop"),
            (limit and limit + STOP_GRACE_S, signal.SIGTERM),
            (limit and limit + STOP_GRACE_S + TERM_GRACE_S, signal.SIGKILL),
        ]
        if limit
        else []
    )
    ours = None
    beat = 0.0
    while True:
        if (folder / "claim").exists() and time.monotonic() - beat > BEAT_S:
            beat = time.monotonic()
            (folder / "beat").touch()
            if taken_over(folder):
                signal_group(child.pid, signal.SIGKILL)
                child.wait(timeout=TERM_GRACE_S)
                return "superseded"
        if ended_within(child, POLL_S):
            return ours
        if ASKED and ours is None:
            ours = why_asked(folder)
            (folder / "stopping").write_text(f"{ours}\n")  # before the wish itself: who obeys it reads why
            (folder / "control").write_text("stop\n")
            now = time.time() - began
            cancelled = (folder / "cancel").exists()  # then it was asked before
            grace, last = (0.0, 2.0) if cancelled else (STOP_GRACE_S, TERM_GRACE_S)
            steps = [(now + grace, signal.SIGTERM), (now + grace + last, signal.SIGKILL)]
        if steps and time.time() - began > float(steps[0][0] or 0):
            _, action = steps.pop(0)
            ours = ours or "time_limit"
            if action == "stop":
                (folder / "control").write_text("stop\n")
            else:
                signal_group(child.pid, int(action))


def ended_within(child: Child, seconds: float) -> bool:
    """Whether the job has ended, as soon as it has (Popen.wait with a time limit looks every 50 ms)."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only, and not while descriptors are short
        handle = os.pidfd_open(child.pid)
        try:
            if not select.select([handle], [], [], seconds)[0]:
                return False
        finally:
            os.close(handle)
    try:
        child.wait(timeout=seconds)
    except StillRunning:
        return False
    return True


def why_asked(folder: Path) -> str:
    """cancelled if somebody asked for that; preempted where the scheduler will start it again; else what was heard."""
    if (folder / "cancel").exists() or ASKED[0] == "time_limit":
        return "cancelled" if (folder / "cancel").exists() else "time_limit"
    return "preempted" if os.environ.get("INTERN_REQUEUE") == "1" else "cancelled"


def signal_group(pid: int, number: int) -> None:
    """Signal a whole process group; a group that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def ended(folder: Path, code: int) -> str:
    """Why a job ended that was not stopped by its limit: finished, cancelled, out_of_memory, killed or crashed."""
    if (folder / "cancel").exists() and code != 0:
        return "cancelled"
    if code == 0:
        return "cancelled" if (folder / "cancel").exists() else "finished"
    if code == 5 or any(sign in tail(folder / "log.txt") for sign in MEMORY_SIGNS):
        return "out_of_memory"
    if code == -signal.SIGKILL:
        return "out_of_memory" if oom_killed() else "killed"
    return "killed" if code < 0 else "crashed"


def oom_killed() -> bool:
    """Whether the kernel says that it killed a process of this control group for its memory (cgroup v2)."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().rpartition("::")[2]
        events = Path(f"/sys/fs/cgroup{group}/memory.events").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in events.splitlines())


def tail(path: Path) -> str:
    """The end of the log."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - LOG_TAIL_BYTES, 0))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def describe(child: int) -> dict[str, Any]:
    """Who runs: pids with start times, so that a reused pid is not taken for the job, and the boot they belong to."""
    return {
        "supervisor_pid": os.getpid(),
        "supervisor_start": start_time(os.getpid()),
        "pid": child,
        "pid_start": start_time(child),
        "boot_id": boot_id(),
        "started": time.time(),
    }


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which a process started (/proc); None where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def finish(folder: Path, code: int | None, seconds: float, reason: str) -> None:
    signaled = -code if code is not None and code < 0 else None
    exit_code = code if signaled is None else None
    end = {
        "exit_code": exit_code,
        "signal": signaled,
        "seconds": round(seconds, 3),
        "reason": reason,
        "ended": time.time(),
    }
    write_json(folder / "exit.json", end)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Complete or not there: written beside, synced, renamed."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
