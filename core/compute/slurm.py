"""Slurm by its commands, from the log-in node or from inside an allocation; the shared file system is the channel.

No wrapper library: sbatch, squeue, scontrol and scancel are the interface that every site has. A job is our supervisor
under sbatch: `--signal` before the time limit makes it save and stop, `--requeue` starts it again after a preemption or a
dead node and it goes on from its last checkpoint. The effect id is the job's comment.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from core.compute.clustered import Word
from core.compute.launcher import SUPERVISOR
from core.compute.local import Launch
from core.compute.spec import JobExit, JobSpec, array_of, element
from core.errors import JobError, NotFound, Unreachable, UsageError
from core.home import home

WARN_S = 120
"""Seconds before the time limit at which the job is told to save and stop."""

MOST_GPUS = 4
"""GPUs a run takes of a cluster on which others wait too, where its profile does not say."""

COMMAND_S = 20.0
"""A controller that answers no command in this time is not reachable."""

_RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}
_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESIZING"}
_NO_ANSWER = (
    "Unable to contact slurm controller", "Socket timed out", "Connection refused", "slurm_load_jobs error: Unexpected message",
    "Zero Bytes were transmitted", "Munge", "Protocol authentication error", "Slurm backup controller", "temporarily unable",
    "Transport endpoint", "slurm_msg_sendto", "missing socket error", "slurm_receive_msg", "Connection timed out", "Communication connection failure",
)  # fmt: skip


class SlurmProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this site wants its jobs: `[slurm]` of task.toml or of INTERN_HOME/slurm.toml."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time_limit_s: float = 4 * 3600.0
    """Where a job brings no limit of its own."""
    gpus: int | None = None
    """GPUs that jobs of one run may have side by side; None: those of one node, by sinfo, at most `MOST_GPUS`; 0: CPUs only."""
    gres: str = "gpu"
    """Name of the generic resource of a GPU; `gpu:a100` asks for a kind."""
    side_by_side: int | None = None
    """Jobs of one array (a sweep) that run at once; None: as many as `gpus` has room for, on CPUs as Slurm sees fit."""
    memory_mb: int | None = None
    requeue: bool = True
    setup: str = ""
    """Shell lines before the job: module load, source .../activate."""
    extra: tuple[str, ...] = ()
    """Further options of sbatch."""


def read_profile(task: Path | None = None, partition: str = "") -> SlurmProfile:
    """INTERN_HOME/slurm.toml, overlaid by the table [slurm] of the task's task.toml. Raises UsageError where one is wrong."""
    fields: dict[str, Any] = {"partition": partition} if partition else {}
    for path, table in ((home() / "slurm.toml", ""), (task / "task.toml" if task else None, "slurm")):
        if path is None or not path.is_file():
            continue
        try:
            read = tomllib.loads(path.read_text(encoding="utf-8"))
            found = read.get(table, {}) if table else read
            msgspec.convert(found, SlurmProfile, strict=True)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise UsageError(
                f"a Slurm profile that cannot be used: {error}", where=str(path), next="See docs/deployment.md"
            ) from error
        fields = found | fields
    return msgspec.convert(fields, SlurmProfile)


class SlurmEngine:
    """One Slurm cluster. `env` is added to that of the commands (SLURM_CONF in tests)."""

    name = "slurm"

    def __init__(self, profile: SlurmProfile | None = None, *, python: str, env: dict[str, str] | None = None) -> None:
        self.profile = profile or SlurmProfile()
        self.python = python
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("SBATCH_")} | (env or {})

    def machines(self) -> tuple[int, int]:
        """(GPUs, cores) by the profile and by what sinfo says of the partition's nodes."""
        only = [f"--partition={self.profile.partition}"] if self.profile.partition else []
        said = self._run("sinfo", "--noheader", "--format=%c %G", *only)
        nodes = [line.split(None, 1) for line in said.splitlines() if line.strip()]
        cores = [int(count) for node in nodes if (count := node[0].rstrip("+")).isdigit()]
        kind = re.escape(self.profile.gres)
        found = [int(n) for node in nodes for n in re.findall(rf"(?:^|,){kind}(?::[\w.-]+)*?:(\d+)", node[-1])]
        gpus = min(max(found, default=0), MOST_GPUS) if self.profile.gpus is None else self.profile.gpus
        return gpus, min(cores, default=0)

    def start(self, spec: JobSpec, launch: Launch) -> str:
        """sbatch; returns the job's id."""
        script = Path(spec.folder) / "slurm.sh"
        script.write_text(self._script(shlex.quote(spec.folder), '"$SLURM_JOB_ID"'), encoding="utf-8")
        return self._sbatch([*self.options(spec), str(script)], spec)

    def start_array(self, specs: Sequence[JobSpec], effect_id: str) -> list[str]:
        """One job array for a sweep: the task of a spec has the number that its effect id has. Returns the tasks' ids.

        The array's comment is the effect id of the whole, so that each task is found by its own (`find`).
        """
        first = specs[0]
        numbers = [of[1] if (of := array_of(s.effect_id)) else i for i, s in enumerate(specs)]
        folders = Path(first.folder).parent / f"array-{first.job}.txt"
        folders.write_text("".join(f"{n} {s.folder}\n" for n, s in zip(numbers, specs, strict=True)), encoding="utf-8")
        pick = f'"$(sed -n "s/^$SLURM_ARRAY_TASK_ID //p" {shlex.quote(str(folders))})"'
        script = folders.with_suffix(".sh")
        script.write_text(self._script(pick, '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"'), encoding="utf-8")
        longest = max(s.time_limit_s or self.profile.time_limit_s for s in specs)  # each ends by its own limit before
        whole = msgspec.structs.replace(first, effect_id=effect_id, folder=str(folders.parent), time_limit_s=longest)
        wanted = f"--array={','.join(map(str, numbers))}{self._at_once(first)}"
        array = self._sbatch([*self.options(whole), wanted, str(script)], first)
        return [f"{array}_{n}" for n in numbers]

    def _at_once(self, spec: JobSpec) -> str:
        most = self.profile.side_by_side
        if most is None and spec.gpus:
            most = max(1, self.machines()[0] // spec.gpus)
        return f"%{most}" if most else ""

    def options(self, spec: JobSpec) -> list[str]:
        """What sbatch is told of a job."""
        p = self.profile
        limit_s = spec.time_limit_s or p.time_limit_s
        # Slurm counts whole minutes; our own limit ends the job first, Slurm's is the net below it.
        minutes = max(1, -(-int(limit_s + WARN_S + 60) // 60))
        options = [
            f"--job-name=intern-{spec.job}", f"--comment={spec.effect_id}", f"--chdir={spec.folder}", f"--time={minutes}",
            "--output=/dev/null", "--error=/dev/null", "--open-mode=append", "--ntasks=1",
            f"--cpus-per-task={max(spec.slots, 1)}", f"--signal=B:USR1@{WARN_S}", "--requeue" if p.requeue else "--no-requeue",
        ]  # fmt: skip
        if spec.gpus:
            options.append(f"--gres={p.gres}:{spec.gpus}")
        for name in ("partition", "account", "qos", "constraint"):
            if value := getattr(p, name):
                options.append(f"--{name}={value}")
        if p.memory_mb:
            options.append(f"--mem={p.memory_mb}")
        if spec.urgent:
            options.append("--nice=0")
        return [*options, *p.extra]

    def wait_for(self, spec: JobSpec) -> str:
        """Never: Slurm's queue is made for waiting."""
        return ""

    def find(self, effect_id: str) -> str | None:
        """The job with this comment, or the task of an array whose comment and number make this effect id."""
        for line in self._run("squeue", "--array", "--noheader", "--format=%i|%k", "--states=all").splitlines():
            handle, _, comment = line.strip().partition("|")
            if _effect_of(handle, comment) == effect_id:
                return handle
        return None

    def word(self, handle: str, launch: Launch) -> Word:
        """squeue while it lives, scontrol for some minutes after; then Slurm has forgotten it."""
        try:
            shown = self._run("scontrol", "--oneliner", "show", "job", handle)
        except JobError as error:
            if "Invalid job id" in error.what:
                return Word(state="gone")
            raise Unreachable(
                error.what, where="scontrol", next="Ask again: sinfo"
            ) from error  # it says nothing of the job
        fields = {name: value for name, _, value in (part.partition("=") for part in shown.split())}
        if _effect_of(handle, fields.get("Comment", "")) != launch.effect_id:
            return Word(state="gone", says=f"job {handle} is another one now")
        state, reason = fields.get("JobState", ""), fields.get("Reason", "None")
        says = state if reason in ("None", "") else f"{state} ({reason})"
        if state in _WAITING:
            if reason == "launch_failed_requeued_held":  # a node refused it once; Slurm then holds it for ever
                self._run("scontrol", "release", handle, allow=("Job is pending", "already"))
            return Word(state="queued", says=says)
        if state == "RUNNING":
            start = f"{handle}:{fields.get('Restarts', '0')}"
            ran_s, node = _seconds(fields.get("RunTime", "")), fields.get("NodeList", "")
            return Word(state="running", says=says, start=start, seconds=ran_s, where=node)
        if state in _RUNNING:  # rightly silent: suspended, or its node is being made ready
            return Word(state="running", says=says)
        ends = {"OUT_OF_MEMORY": "out_of_memory", "TIMEOUT": "time_limit", "DEADLINE": "time_limit"}
        end = JobExit(reason=ends[state]) if state in ends else None
        if state == "CANCELLED":  # by a person with scancel: ours are marked in the folder
            end = JobExit(reason="cancelled")
        return Word(state="over", says=says, exit=end)

    def stop(self, handle: str, folder: Path) -> None:
        """scancel; the supervisor saves on SIGTERM within Slurm's KillWait."""
        self._run("scancel", handle, allow=("Invalid job id", "already completing"))

    def requeue(self, handle: str) -> None:
        """Back into the queue under the same id, as after a preemption."""
        self._run("scontrol", "requeue", handle)

    def ask(self, handle: str, folder: Path, wish: str) -> None:
        """The control file on the shared file system is enough."""

    def pull(self, handle: str, folder: Path) -> None:
        """The folder is shared. A listing makes NFS look again at what it has cached."""
        os.listdir(folder)

    def _script(self, folder: str, claim: str) -> str:
        requeue = "export INTERN_REQUEUE=1\n" if self.profile.requeue else ""
        setup = f"{self.profile.setup.strip()}\n" if self.profile.setup.strip() else ""
        # Before anything that may take long or fail: who waits for a sign of this start sees it (begun.py).
        reached = f"echo {claim}:${{SLURM_RESTART_COUNT:-0}} >{folder}/reached\n"
        command = f"exec {shlex.quote(self.python)} -P {shlex.quote(str(SUPERVISOR))} {folder} {claim}"
        return f"#!/bin/bash\n{reached}{setup}{requeue}unset PYTHONPATH\n{command}\n"

    def _sbatch(self, arguments: list[str], spec: JobSpec) -> str:
        return self._run("sbatch", "--parsable", *arguments, env=spec.secrets).strip().partition(";")[0]

    def _run(self, *command: str, allow: tuple[str, ...] = (), env: dict[str, str] | None = None) -> str:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=COMMAND_S, env=self._env | (env or {}), check=False
            )
        except FileNotFoundError as error:
            raise NotFound(
                f"{command[0]} is not here", where="PATH", next="Run on the log-in node of the cluster"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise Unreachable(
                f"Slurm did not answer {command[0]} in {COMMAND_S:.0f} s", next="Ask again: sinfo"
            ) from error
        if done.returncode == 0 or any(a in done.stderr for a in allow):
            return done.stdout
        text = done.stderr.strip() or done.stdout.strip()
        if any(sign in text for sign in _NO_ANSWER):
            raise Unreachable(f"Slurm does not answer: {text[:300]}", where=command[0], next="Ask again: sinfo")
        raise JobError(
            f"Slurm refused: {text[:500]}", where=shlex.join(command)[:200], next="See sinfo and the profile"
        )


def _effect_of(handle: str, comment: str) -> str:
    """The effect id of a job, or of the task of an array (HANDLE_NUMBER)."""
    task = handle.partition("_")[2]
    return element(comment, int(task)) if task.isdigit() else comment


def _seconds(text: str) -> float:
    """Of Slurm's [DAYS-]HH:MM:SS; 0 where it is none of that (UNKNOWN, INVALID)."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) != 3 or not all(p.isdigit() for p in [*parts, days or "0"]):
        return 0.0
    hours, minutes, seconds = map(int, parts)
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)
