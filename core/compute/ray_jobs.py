"""Jobs on a Ray cluster that exists, through its REST interface; the cluster's shared file system is the channel.

The interface needs no installed `ray` (240 MB) and no matching version. The submission id is made of the effect id, and
Ray refuses one that it knows: a real idempotency key. Ray fails what waits longer than 15 minutes for its resources, so
jobs wait here until the cluster has room. A cluster is never started or stopped by us.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from core.compute.clustered import Word
from core.compute.launcher import SUPERVISOR
from core.compute.local import Launch
from core.compute.spec import JobExit, JobSpec
from core.errors import JobError, Unreachable, UsageError

ANSWER_S = 10.0

START_S = 10.0
"""A head that answers does not say for some seconds what it has (seen: four)."""


class RayEngine:
    """One cluster, named by its dashboard: `ray://HOST:8265` or `http(s)://HOST:8265`."""

    name = "ray"

    def __init__(self, address: str, *, python: str) -> None:
        self.url = dashboard_url(address)
        self.python = python
        self._client = httpx2.Client(base_url=self.url, timeout=ANSWER_S)

    def start(self, spec: JobSpec, launch: Launch) -> str:
        """Submit; a submission id that Ray knows already is the same job."""
        name = submission_id(spec.effect_id)
        # The claim names this execution, not the submission: after a lost head the same id may be submitted anew.
        command = shlex.join([self.python, "-P", str(SUPERVISOR), spec.folder]) + " ray-$$-$(date +%s%N)"
        body: dict[str, Any] = {
            "entrypoint": f"exec {command}",
            "submission_id": name,
            "metadata": {"effect_id": spec.effect_id, "job": spec.job},
            "runtime_env": {"env_vars": {"INTERN_DIES_WITH_SUPERVISOR": "1", "PYTHONPATH": "", **spec.secrets}},
            "entrypoint_num_cpus": max(spec.slots, 1),
        }
        if spec.gpus:
            body["entrypoint_num_gpus"] = spec.gpus
        answer = self._ask("POST", "/api/jobs/", json=body)
        if answer.status_code >= 400 and self._info(name) is None:
            raise JobError(f"Ray refused: {_last_line(answer.text)}", where=self.url, next="See the dashboard")
        return name

    def machines(self) -> tuple[int, int]:
        """(GPUs of the cluster, 0): Ray tells its sums, not its machines."""
        return int(self.resources().get("GPU", (0.0, 0.0))[1]), 0

    def resources(self) -> dict[str, tuple[float, float]]:
        """As `usage`; waits for a head that has just started and does not know what it has."""
        until = time.monotonic() + START_S
        while not (usage := self.usage()) and time.monotonic() < until:
            time.sleep(0.5)
        return usage

    def wait_for(self, spec: JobSpec) -> str:
        """Until the cluster has the CPUs and GPUs free: Ray fails what waits for 15 minutes."""
        usage = self.usage()
        need = {"CPU": max(spec.slots, 1), "GPU": spec.gpus}
        for name, amount in need.items():
            used, total = usage.get(name, (0.0, 0.0))
            if usage and amount > total:
                raise JobError(
                    f"{spec.job} needs {amount} {name}, the Ray cluster has {total:g}",
                    where=self.url,
                    next="Ask for less",
                )
            if usage and used + amount > total:
                return f"waits for {amount} {name}: {used:g} of {total:g} in use on the Ray cluster"
        return ""

    def usage(self) -> dict[str, tuple[float, float]]:
        """Used and total of every resource; empty where this Ray does not say."""
        answer = self._ask("GET", "/api/cluster_status")
        try:
            status = msgspec.json.decode(answer.content, type=_ClusterStatus)
        except msgspec.MsgspecError:
            return {}
        return status.data.clusterStatus.loadMetricsReport.usage

    def find(self, effect_id: str) -> str | None:
        """The submission of this effect id, if Ray knows it."""
        name = submission_id(effect_id)
        return name if self._info(name) is not None else None

    def word(self, handle: str, launch: Launch) -> Word:
        """What Ray says. FAILED without an exit file of ours is no end that is known: its word can be wrong."""
        info = self._info(handle)
        if info is None:
            return Word(state="gone")
        says = info.status + (f": {_last_line(info.message)}" if info.message else "")
        if info.status == "PENDING":
            return Word(state="queued", says=says)
        if info.status == "RUNNING":
            return Word(state="running", says=says)
        stopped = JobExit(reason="cancelled") if info.status == "STOPPED" else None
        return Word(state="over", says=says, exit=stopped)

    def stop(self, handle: str, folder: Path) -> None:
        """SIGTERM, then SIGKILL by Ray."""
        self._ask("POST", f"/api/jobs/{handle}/stop")

    def ask(self, handle: str, folder: Path, wish: str) -> None:
        """The control file on the shared file system is enough."""

    def pull(self, handle: str, folder: Path) -> None:
        """The folder is shared."""

    def jobs(self) -> list[str]:
        """Submission ids of ours that Ray knows."""
        answer = self._ask("GET", "/api/jobs/")
        jobs = msgspec.json.decode(answer.content, type=list[_Info])
        return [j.submission_id for j in jobs if j.submission_id and j.submission_id.startswith("intern-")]

    def _info(self, name: str) -> _Info | None:
        answer = self._ask("GET", f"/api/jobs/{name}")
        if answer.status_code == 404:
            return None
        if answer.status_code >= 400:
            raise Unreachable(f"Ray answers {answer.status_code}: {_last_line(answer.text)}", where=self.url)
        return msgspec.json.decode(answer.content, type=_Info)

    def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        try:
            answer = self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise Unreachable(f"Ray does not answer: {error}", where=self.url, next="intern doctor --compute ray://HOST:8265") from error  # fmt: skip
        if answer.status_code in (502, 503, 504):
            raise Unreachable(f"Ray answers {answer.status_code}", where=self.url, next="Ask again")
        return answer


class _Info(msgspec.Struct):
    status: str = ""
    message: str | None = None
    submission_id: str | None = None


class _Report(msgspec.Struct):
    usage: dict[str, tuple[float, float]]


class _Cluster(msgspec.Struct):
    loadMetricsReport: _Report


class _Data(msgspec.Struct):
    clusterStatus: _Cluster


class _ClusterStatus(msgspec.Struct):
    data: _Data


def submission_id(effect_id: str) -> str:
    """The same for the same effect; characters that Ray takes."""
    return "intern-" + hashlib.sha256(effect_id.encode()).hexdigest()[:24]


def dashboard_url(address: str) -> str:
    """http(s)://HOST:PORT of `ray://HOST[:PORT]`. Raises UsageError where it is none."""
    scheme, _, rest = address.partition("://")
    if scheme not in ("ray", "http", "https") or not rest:
        raise UsageError(f"{address!r} names no Ray cluster", where="--compute", next="Use ray://HOST:8265, the port of its dashboard")  # fmt: skip
    host = rest.rstrip("/")
    if ":" not in host:
        host += ":8265"
    return f"{'http' if scheme == 'ray' else scheme}://{host}"


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
