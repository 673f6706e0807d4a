"""Hugging Face Jobs: rented machines, by the minute. Inputs and results travel through a private data set of one's own.

What costs money is priced before it starts (`quote`), carries the effect id as a label, and is found again by it: run_job has
no idempotency key. Leaving the program never cancels a job; `orphans` lists those that no run here knows.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

from core.compute import hub_bootstrap
from core.compute.clustered import ClusterCompute, Word
from core.compute.flavors import Flavor, choose, estimate_bytes, memory, per_hour
from core.compute.hub_mirror import Mirror, writing
from core.compute.hub_pack import pack, remote_root, unpack
from core.compute.local import Launch
from core.compute.protocol import Quote
from core.compute.spec import JobExit, JobSpec
from core.errors import JobError, NotFound, Unreachable
from core.home import write_json
from core.hub.transfer import or_without_xet

IMAGE = "huggingface/trl"
REPO = "intern-jobs"
PACKAGES = ("msgspec", "psutil", "trl", "peft", "transformers", "datasets", "accelerate")
"""Installed there as they are here where the image lacks them; torch is the image's."""

T = TypeVar("T")


class HubEngine:
    """The jobs of one account. `poll_s`: how often a job looks whether it should stop."""

    name = "hf-jobs"

    def __init__(
        self, *, token: str, flavor: str = "", run: str = "", endpoint: str | None = None, poll_s: float = 15.0
    ) -> None:
        self.api: Any = HfApi(endpoint=endpoint, token=token)  # its stubs are partly unknown
        self._token = token
        self.flavor = flavor
        self.run = run
        self.poll_s = poll_s
        self._namespace = ""
        self._flavors: list[Flavor] = []
        self._mirrors: dict[str, Mirror] = {}

    @property
    def namespace(self) -> str:
        self._namespace = self._namespace or str(self.call(self.api.whoami)["name"])
        return self._namespace

    @property
    def repo(self) -> str:
        return f"{self.namespace}/{REPO}"

    def flavors(self) -> list[Flavor]:
        """The live price list."""
        if not self._flavors:
            self._flavors = [
                Flavor(
                    name=h.name, usd_per_hour=per_hour(h.unit_cost_usd, h.unit_label),
                    gpus=int(h.accelerator.quantity) if h.accelerator else 0,
                    gpu_bytes=memory(str(h.accelerator.vram)) // max(1, int(h.accelerator.quantity)) if h.accelerator else 0,
                )
                for h in self.call(self.api.list_jobs_hardware)
            ]  # fmt: skip
        return self._flavors

    def machines(self) -> tuple[int, int]:
        """(GPUs of the flavour asked for, else one: the cheapest that is large enough is chosen job by job; 0)."""
        if not self.flavor:
            return 1, 0
        return next((f.gpus for f in self.flavors() if f.name == self.flavor), 0), 0

    def quote(self, spec: JobSpec) -> Quote:
        """The most the job can cost."""
        if spec.gpus and spec.gpu_memory_bytes is None:
            spec = msgspec.structs.replace(spec, gpu_memory_bytes=estimate_bytes(Path(spec.folder) / "spec.json"))
        return choose(self.flavors(), spec, wanted=self.flavor)

    def start(self, spec: JobSpec, launch: Launch) -> str:
        """Push the inputs, then run; returns the job's id."""
        quote = self.quote(spec)
        folder, tag = Path(spec.folder), tag_of(spec.effect_id)
        own = spec.argv is None
        argv = (
            ["{python}", "-P", "{root}/code/intern_tui/job.py", "{root}/job/spec.json"] if own else _remote_argv(spec)
        )
        told = {
            "argv": argv, "env": launch.env, "gpus": spec.gpus, "time_limit_s": spec.time_limit_s, "poll_s": self.poll_s,
            "requirements": [f"{n}=={metadata.version(n)}" for n in PACKAGES] if own else [],
        }  # fmt: skip
        data = pack(folder, tag, told, code=own)
        write_json(folder / "quote.json", quote)
        self.call(lambda: self.api.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True))
        self.call(
            lambda: self.api.upload_file(
                path_or_fileobj=data, path_in_repo=f"{tag}/in.tar.gz", repo_id=self.repo, repo_type="dataset",
                commit_message=f"inputs of {spec.job}",
            )
        )  # fmt: skip
        job = self.call(
            lambda: self.api.run_job(
                image=IMAGE, command=["python", "-c", Path(hub_bootstrap.__file__).read_text(encoding="utf-8")],
                env={"INTERN_TAG": tag, "INTERN_REPO": self.repo}, secrets={"HF_TOKEN": self._token, **spec.secrets},
                flavor=quote.flavor, timeout=int(quote.timeout_s), attempts=quote.attempts, name=f"intern-{spec.job}",
                labels={"intern": "1", "intern-effect": tag, "intern-run": label(self.run)}, namespace=self.namespace,
            )
        )  # fmt: skip
        return str(job.id)

    def wait_for(self, spec: JobSpec) -> str:
        """Never: the service has a queue of its own."""
        return ""

    def find(self, effect_id: str) -> str | None:
        """The job with this effect id's label."""
        labels = {"intern-effect": tag_of(effect_id)}
        jobs = self.call(lambda: list(self.api.list_jobs(labels=labels, namespace=self.namespace)))
        return str(jobs[0].id) if jobs else None

    def word(self, handle: str, launch: Launch) -> Word:
        """The stage."""
        try:
            job = self.call(lambda: self.api.inspect_job(job_id=handle, namespace=self.namespace))
        except NotFound:
            return Word(state="gone")
        stage, message = (
            str(job.status.stage.value if hasattr(job.status.stage, "value") else job.status.stage),
            job.status.message or "",
        )
        says = f"{stage}: {message}" if message else stage
        if stage == "SCHEDULING":
            return Word(state="queued", says=says)
        if stage == "RUNNING":
            return Word(state="running", says=says)
        if stage in ("CANCELED", "DELETED"):
            return Word(state="over", says=says, exit=JobExit(reason="cancelled"))
        late = "timeout" in message.lower() or "timed out" in message.lower()
        return Word(state="over", says=says, exit=JobExit(reason="time_limit") if late else None)

    def ask(self, handle: str, folder: Path, wish: str) -> None:
        """Carry the wish to the job through the repository, and leave it time to look."""
        launch = msgspec.json.decode((folder / "launch.json").read_bytes(), type=Launch)
        path = f"{tag_of(launch.effect_id)}/control"
        self.call(
            lambda: self.api.upload_file(
                path_or_fileobj=wish.encode(), path_in_repo=path, repo_id=self.repo, repo_type="dataset",
                commit_message=f"ask {launch.job} to {wish}",
            )
        )  # fmt: skip
        until = time.monotonic() + 2 * self.poll_s + 5
        while time.monotonic() < until and not (folder / "exit.json").exists():
            self.pull(handle, folder)
            time.sleep(0.2)

    def stop(self, handle: str, folder: Path) -> None:
        """Cancel it."""
        self.call(lambda: self.api.cancel_job(job_id=handle, namespace=self.namespace))

    def pull(self, handle: str, folder: Path) -> None:
        """Follow its log; once it has pushed what it made, fetch that."""
        launch = msgspec.json.decode((folder / "launch.json").read_bytes(), type=Launch)
        mirror = self._mirrors.get(handle)
        if mirror is None:
            follow = self._follower(handle)
            mirror = self._mirrors[handle] = Mirror(folder, remote_root(tag_of(launch.effect_id)), follow)
        if mirror.ended.is_set() or (folder / "over").exists():
            self._fetch(launch, folder)

    def orphans(self, known: Iterable[str]) -> list[tuple[str, str, float]]:
        """Running jobs of ours that none of the `known` ids names: (id, flavour, dollars so far)."""
        mine = self.call(lambda: list(self.api.list_jobs(labels={"intern": "1"}, status=["RUNNING", "SCHEDULING"], namespace=self.namespace)))  # fmt: skip
        rates = {f.name: f.usd_per_hour for f in self.flavors()}
        known = set(known)
        now = datetime.now(UTC)
        lost = [j for j in mine if str(j.id) not in known]
        return [(str(j.id), str(j.flavor), rates.get(str(j.flavor), 0.0) * _hours(j, now)) for j in lost]

    def _follower(self, handle: str) -> Callable[[], Iterable[str]]:
        return lambda: self.api.fetch_job_logs(job_id=handle, namespace=self.namespace, follow=True)

    def _fetch(self, launch: Launch, folder: Path) -> None:
        if (folder / "exit.json").exists():
            return
        tag = tag_of(launch.effect_id)
        try:
            path = self.call(
                lambda: self.api.hf_hub_download(
                    self.repo, f"{tag}/out.tar.gz", repo_type="dataset", local_dir=folder / ".hub"
                )
            )
        except NotFound:
            return
        for mirror in [m for m in self._mirrors.values() if m.folder == folder]:
            mirror.close()
            mirror.join()
        with writing(folder) as mine:
            if mine and not (folder / "exit.json").exists():
                unpack(Path(path).read_bytes(), folder, remote_root(tag))

    def call(self, ask: Callable[[], T]) -> T:
        """One conversation with the Hub; its errors as ours."""
        try:
            return or_without_xet(ask)
        except EntryNotFoundError as error:
            raise NotFound(str(error).splitlines()[0], where="the Hub") from error
        except HfHubHTTPError as error:
            status = error.response.status_code
            text = str(error).strip().splitlines()[0][:300]
            if status == 404:
                raise NotFound(text, where="the Hub") from error
            if status == 429 or status >= 500:
                raise Unreachable(f"the Hub answers {status}", next="Asked again by itself") from error
            fix = "Use a token with the scopes job.write and repo.write" if status in (401, 403) else "See the message"
            fix = "Jobs need a paid plan or credits: https://huggingface.co/settings/billing" if status == 402 else fix
            raise JobError(f"the Hub refused ({status}): {text}", where="Hugging Face Jobs", next=fix) from error
        except (httpx2.HTTPError, ConnectionError, TimeoutError) as error:
            raise Unreachable(f"the Hub does not answer: {error}", next="Asked again by itself") from error


class HubCompute(ClusterCompute):
    """The protocol with a price."""

    def __init__(self, jobs_folder: str | Path, engine: HubEngine) -> None:
        super().__init__(jobs_folder, engine, sys.executable)
        self.hub = engine

    def quote(self, spec: JobSpec) -> Quote:
        """The most `spec` can cost."""
        return self.hub.quote(spec)


def tag_of(effect_id: str) -> str:
    """Fits a label, a folder and a file name."""
    return hashlib.sha256(effect_id.encode()).hexdigest()[:32]


def token_of() -> str:
    """HF_TOKEN or the one `hf auth login` keeps. Raises NotFound."""
    token = os.environ.get("HF_TOKEN") or get_token()
    if not token:
        raise NotFound("There is no Hub token", where="--compute hf-jobs", next="Set HF_TOKEN, or hf auth login")
    return token


def _remote_argv(spec: JobSpec) -> list[str]:
    argv = list(spec.argv or ())
    return ["{python}" if a == sys.executable else a.replace(spec.folder, "{root}/job") for a in argv]


def label(text: str) -> str:
    """`text` as the value of a label."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:60] or "none"


def _hours(job: Any, now: datetime) -> float:
    began = job.started_at or job.created_at
    return max(0.0, (now - began).total_seconds() / 3600) if began else 0.0
