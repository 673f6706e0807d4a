"""The keeper of one confined command: sets the rules of its level on a child, then watches what rules cannot say.

    python -I -S guard.py '<rules as JSON>' COMMAND...

Standard library only. Exit code: the command's own; 128 + n after signal n; 124 time, 125 memory, 126 disk, 127 processes
over the limit (the reason stands on stderr). The whole tree is killed at the end, also what left its session: the guard
is its subreaper.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

POLL_S = 0.05
DISK_EVERY_S = 0.5
TIME, MEMORY, DISK, PROCESSES = 124, 125, 126, 127

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE = 1, 24, 36, 38, 4
LAST_CAPABILITY = 63
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH, NET_PORT = 1, 2
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1

# Rights of Landlock's file rules, by bit (include/uapi/linux/landlock.h).
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
READ_ONE = READ_FILE | EXECUTE
WRITE_ONE = READ_ONE | WRITE_FILE | TRUNCATE | IOCTL_DEV

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def main(argv: list[str]) -> int:
    rules, command = json.loads(argv[1]), argv[2:]
    os.makedirs(os.path.join(rules["workspace"], ".tmp"), exist_ok=True)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody in the sandbox reads or traces the guard
    before = sum(map(size, rules["writable"]))
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            confine(rules, guard)
            os.chdir(rules["workspace"])
            os.execvp(command[0], command)
        except OSError as error:
            print(f"cannot start {command[0]}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    # One that is ignored already (a scheduler's SIGTERM goes to every process) is the supervisor's to hear.
    for number in (n for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN):
        signal.signal(number, lambda number, frame: kill_tree(guard) or os._exit(128 + number))
    code = watch(child, rules, before)
    kill_tree(guard)
    return code


def confine(rules: dict[str, Any], guard: int) -> None:
    """In the child: a session of its own, limits, no way to more rights, and Landlock where that is the level."""
    os.setsid()
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != guard:
        os._exit(1)
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, rules["disk_bytes"]),
        (resource.RLIMIT_CPU, int(rules["seconds"] * (os.cpu_count() or 1)) + 1),
    ):
        _lower(which, value)
    _limit_processes(rules["processes"])
    if rules["level"] == "bubblewrap":
        return  # bwrap needs its rights to build the namespaces, and drops them itself
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if rules["level"] == "landlock":
        landlock(rules)


def hold_by_landlock(rules: dict[str, Any]) -> None:
    """In a child that has no keeper: no way to more rights, and Landlock."""
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    landlock(rules)


def landlock(rules: dict[str, Any]) -> None:
    """Only the listed paths; no TCP, or TCP to the listed ports, unless all is allowed; no signals to, and no abstract
    sockets of, processes outside."""
    abi = _libc.syscall(CREATE_RULESET, None, 0, 1)
    handled = (1 << 13) - 1  # version 1
    handled |= (1 << 13) if abi >= 2 else 0
    handled |= TRUNCATE if abi >= 3 else 0
    handled |= IOCTL_DEV if abi >= 5 else 0
    net = 0 if rules["network"] == "open" or abi < 4 else BIND_TCP | CONNECT_TCP
    attributes = _Ruleset(handled, net, 0b11 if abi >= 6 else 0)
    length = 24 if abi >= 6 else 16
    ruleset = _check(_libc.syscall(CREATE_RULESET, ctypes.byref(attributes), length, 0))
    for path in rules["readable"]:
        _allow(ruleset, path, READ & handled, handled)
    for path in ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/version", "/proc/filesystems"):
        _allow(ruleset, path, READ_ONE & handled, handled)
    _allow(ruleset, f"/proc/{os.getpid()}", READ & handled, handled)
    _allow(ruleset, "/sys/devices/system/cpu", READ & handled, handled)
    for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", *rules["devices"]):
        _allow(ruleset, path, WRITE_ONE & handled, handled)
    for path in rules["writable"]:
        _allow(ruleset, path, handled, handled)
    for port in rules["ports"] if net and rules["network"] == "ports" else ():
        rule = _NetPort(CONNECT_TCP, port)
        _check(_libc.syscall(ADD_RULE, ruleset, NET_PORT, ctypes.byref(rule), 0))
    _check(_libc.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int, handled: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= WRITE_ONE  # rights of folders are refused on a file
        rule = _PathBeneath(rights & handled, descriptor)
        _check(_libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(descriptor)


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"landlock: {os.strerror(ctypes.get_errno())}")
    return result


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _limit_processes(most: int) -> None:
    """RLIMIT_NPROC counts all threads of the user, so it is set above those there are. Root is exempt: see `watch`."""
    mine = sum(_threads(entry.path) for entry in os.scandir("/proc") if entry.name.isdigit())
    _lower(resource.RLIMIT_NPROC, mine + most + 64)


def _threads(process: str) -> int:
    """Threads of a process of this user, else 0."""
    try:
        return len(os.listdir(f"{process}/task")) if os.stat(process).st_uid == os.getuid() else 0
    except OSError:
        return 0


def watch(child: int, rules: dict[str, Any], before: int) -> int:
    """Until the command ends or a limit is passed: time, resident memory, disk and processes of the whole tree."""
    began = disk_next = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        now = time.monotonic()
        pids = tree(os.getpid())
        over = None
        if now - began > rules["seconds"]:
            over = (TIME, f"longer than {rules['seconds']:g} s")
        elif len(pids) > rules["processes"]:
            over = (PROCESSES, f"more than {rules['processes']} processes")
        elif resident(pids) > rules["memory_bytes"]:
            over = (MEMORY, f"more than {rules['memory_bytes'] >> 20} MB of memory")
        elif now >= disk_next:
            disk_next = now + DISK_EVERY_S
            if sum(map(size, rules["writable"])) - before > rules["disk_bytes"]:
                over = (DISK, f"more than {rules['disk_bytes'] >> 20} MB of disk")
        if over:
            print(f"killed: {over[1]}", file=sys.stderr, flush=True)
            return over[0]
        time.sleep(POLL_S)


def tree(root: int) -> list[int]:
    """All descendants of `root` (not itself)."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                stat = Path(entry.path, "stat").read_bytes()
                parent = int(stat.rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def resident(pids: list[int]) -> int:
    """Resident bytes of processes together (shared pages count for each)."""
    page = resource.getpagesize()
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            statm = Path(f"/proc/{pid}/statm").read_bytes().split()
            total += (int(statm[1]) - int(statm[2])) * page  # private: resident without shared
    return total


def size(folder: str) -> int:
    """Bytes on disk below a folder; what cannot be read counts nothing."""
    total = 0
    todo = [folder]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total


def kill_tree(root: int) -> None:
    """Stop, then kill every descendant, until none is left: a bomb that forks while it is killed is stopped first."""
    for _ in range(200):
        pids = tree(root)
        if not pids:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
