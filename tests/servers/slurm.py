"""A real Slurm of one node on this machine: munged, slurmctld and slurmd from Debian's packages, own ports and folders."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
START_S = 30.0


def why_not() -> str:
    """Why no Slurm can be started here, or an empty string."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root here"
    missing = [c for c in COMMANDS if _which(c) is None]
    return (
        f"not installed: {', '.join(missing)} (apt-get install munge slurmctld slurmd slurm-client)" if missing else ""
    )


class Slurm:
    """Started by `with`. `env` is what its commands need; daemons can be killed and started again."""

    def __init__(self, folder: Path, cpus: int = 4, prolog: str = "") -> None:
        """`prolog`: a script that slurmd runs before each job, as many sites have one."""
        self.folder = folder
        self.prolog = prolog
        self.cpus = cpus
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = [_free_port(), _free_port()]
        self._first_id = 1

    def __enter__(self) -> Slurm:
        self._make_folders()
        for name in ("munged", "slurmctld", "slurmd"):
            self.start(name)
        self._wait_until_idle()
        return self

    def __exit__(self, *_: object) -> None:
        self.run("scancel", "--user=root")
        for name in ("slurmd", "slurmctld", "munged"):
            self.kill(name)

    def start(self, name: str, *, same_ids: bool = False) -> None:
        """Start one of the daemons.

        slurmctld saves its jobs every few seconds. One that was killed between two of these has lost the youngest, counts on
        from the last id it had saved, and a job that gets the id of one that still is on the node makes Slurm drain the node
        ("Duplicate jobid on nodes"). As an administrator would, it is told to begin at ids that nobody had, unless
        `same_ids`.
        """
        if name == "slurmctld" and not same_ids:
            self._write_config()
            self._first_id += 1000
        log = (self.folder / f"{name}.out").open("ab")
        munge = [
            "--foreground", f"--key-file={self.folder}/munge/key", f"--socket={self.folder}/munge/socket",
            f"--pid-file={self.folder}/munge/pid", f"--log-file={self.folder}/munge/log",
            f"--seed-file={self.folder}/munge/seed", "--force", "--num-threads=2",
        ]  # fmt: skip
        arguments = {"munged": munge, "slurmctld": ["-D"], "slurmd": ["-D", "-N", "localhost"]}[name]
        user = "munge" if name == "munged" else None
        self._daemons[name] = subprocess.Popen(
            [_which(name) or name, *arguments], env=os.environ | self.env, stdout=log, stderr=log,
            start_new_session=True, user=user, group=user,
        )  # fmt: skip
        log.close()
        if name == "munged":
            _until(lambda: (self.folder / "munge" / "socket").exists(), "munged did not come up")

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill one of the daemons."""
        daemon = self._daemons.pop(name, None)
        if daemon is not None:
            daemon.send_signal(number)
            daemon.wait(20)

    def run(self, *command: str) -> str:
        """The output of one of Slurm's commands."""
        return subprocess.run(command, env=os.environ | self.env, capture_output=True, text=True, timeout=30).stdout

    def _prolog(self) -> str:
        if not self.prolog:
            return ""
        path = self.folder / "prolog"
        path.write_text(f"#!/bin/bash\n{self.prolog}\n", encoding="utf-8")
        path.chmod(0o755)
        return f"Prolog={path}"

    def _wait_until_idle(self) -> None:
        _until(
            lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T"), f"Slurm did not come up: {self.folder}"
        )

    def _make_folders(self) -> None:
        munge = pwd.getpwnam("munge")
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for parent in (self.folder, *self.folder.parents):  # munged runs as its own user and must reach its folder
            if not parent.stat().st_mode & 0o001 and parent.stat().st_uid == os.geteuid():
                parent.chmod(parent.stat().st_mode | 0o011)
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        for path in (self.folder / "munge", key):
            os.chown(path, munge.pw_uid, munge.pw_gid)
        (self.folder / "munge").chmod(0o755)

    def _write_config(self) -> None:
        (self.folder / "slurm.conf").write_text(
            f"""ClusterName=intern
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={self._ports[0]}
SlurmdPort={self._ports[1]}
StateSaveLocation={self.folder}/state
FirstJobId={self._first_id}
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/slurmctld.log
SlurmdLogFile={self.folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
KillWait=30
MessageTimeout=5
MpiDefault=none
{self._prolog()}
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs={self.cpus} Sockets={self.cpus} CoresPerSocket=1 ThreadsPerCore=1 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""
        )


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until(true, message: str) -> None:
    end = time.monotonic() + START_S
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(message)
        time.sleep(0.1)
