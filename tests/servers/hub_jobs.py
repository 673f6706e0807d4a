"""The Hub's jobs and one private repository on loopback: jobs are real processes of this machine, logs are real event
streams that can be cut, the whole server can be away for a while. Speaks what huggingface_hub's own client asks.

`beside` is the rest of the Hub (data sets, viewer, uploads, papers): what is no job's is answered by it at this address.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.loopback import Loopback, Request

COMMIT = "0" * 40
REPO = "intern-jobs"
OWN = ("/api/whoami-v2", "/api/jobs/", "/api/scheduled-jobs/", "/objects/")

HARDWARE = [
    ("cpu-basic", "2 vCPU", "16 GB", None, 0.000167), ("t4-small", "4 vCPU", "15 GB", ("T4", 1, "16 GB"), 0.0066667),
    ("a10g-small", "4 vCPU", "15 GB", ("A10G", 1, "24 GB"), 0.016667), ("a10g-largex2", "24 vCPU", "92 GB", ("A10G", 2, "48 GB"), 0.05),
    ("a100-large", "12 vCPU", "142 GB", ("A100", 1, "80 GB"), 0.041667), ("h200x8", "184 vCPU", "2048 GB", ("H200", 8, "1128 GB"), 0.666667),
]  # fmt: skip


@dataclass
class Job:
    """One job as the service has it."""

    id: str
    body: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    stage: str = "SCHEDULING"
    message: str | None = None
    lines: list[str] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id, "createdAt": self.created.isoformat().replace("+00:00", "Z"), "command": self.body["command"],
            "arguments": self.body["arguments"], "environment": self.body["environment"], "flavor": self.body["flavor"],
            "dockerImage": self.body.get("dockerImage"), "labels": self.body.get("labels", {}),
            "secrets": list(self.body.get("secrets", {})), "owner": {"id": "1", "name": "me", "type": "user"},
            "status": {"stage": self.stage, "message": self.message},
        }  # fmt: skip


class HubJobs:
    """Runs while the `with` block does. `gone` takes it off; `cut_after` cuts every log stream after so many lines;
    `large_files` takes archives by Git LFS, as the Hub does where a client speaks no Xet; `xet` lets the clients of the jobs
    try Xet first, which this server does not have."""

    def __init__(self, beside: Loopback | None = None, *, large_files: bool = False, xet: bool = False) -> None:
        self.beside = beside
        self.large_files = large_files
        self.xet = xet
        self.asked_for_xet = 0
        self.private: dict[str, bool] = {}
        self.pushed: list[str] = []
        """Files of the private repository in the order in which they were committed."""
        self.fetched: list[str] = []
        """Files of it that were downloaded."""
        self._objects: dict[str, bytes] = {}
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.cut_after: int | None = None
        self.lose_next_answer = False
        """The next job is started and the answer is lost."""
        self.gone = False
        self._folder = tempfile.TemporaryDirectory(prefix="hub-jobs")
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._serve(self)

            do_POST = do_HEAD = do_PUT = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for job in self.jobs.values():
            self._kill(job)
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    # ------------------------------------------------------------------------------------------------------- requests

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        if not length and "chunked" in handler.headers.get("Transfer-Encoding", ""):
            body = _chunks(handler)
        parts = urlsplit(handler.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        try:
            if self.gone:
                return self._answer(handler, {"error": "away"}, 503)
            if self.beside is not None and not self._own(path, body):
                return self._beside(self.beside, handler, parts.path, query, body)
            if path.startswith("/objects/"):  # a signed address: no token goes there
                self._objects[path.removeprefix("/objects/")] = body
                return self._answer(handler, {})
            if handler.headers.get("Authorization") != "Bearer hf_loopback":
                return self._answer(handler, {"error": "Invalid token"}, 401)
            self._route(handler, path, query, body)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True

    def _own(self, path: str, body: bytes) -> bool:
        """Whether it is about jobs, who asks, or the repository of the jobs."""
        if path == "/api/repos/create":
            return json.loads(body)["name"] == REPO
        return path.startswith(OWN) or f"me/{REPO}" in path

    def _beside(
        self, beside: Loopback, h: BaseHTTPRequestHandler, path: str, query: dict[str, list[str]], body: bytes
    ) -> None:
        headers = {name.lower(): value for name, value in h.headers.items()}
        request = Request(path, {k: v[-1] for k, v in query.items()}, headers, h.command, body)
        beside.requests.append(request)
        answer = beside.respond(request)
        h.send_response(answer.status)
        for name, value in ({"Content-Type": answer.content_type, "Content-Length": str(len(answer.body))} | answer.headers).items():  # fmt: skip
            h.send_header(name, value)
        h.end_headers()
        if h.command != "HEAD":
            h.wfile.write(answer.body)

    def _route(self, h: BaseHTTPRequestHandler, path: str, query: dict[str, list[str]], body: bytes) -> None:
        if path == "/api/whoami-v2":
            return self._answer(h, {"type": "user", "name": "me", "auth": {"accessToken": {"role": "write"}}})
        if path == "/api/jobs/hardware":
            return self._answer(h, [_hardware(*row) for row in HARDWARE])
        if path.startswith("/api/jobs/me"):
            return self._jobs(h, path.removeprefix("/api/jobs/me").strip("/"), query, body)
        if path.startswith("/api/scheduled-jobs/me"):
            return self._schedules(h, path.removeprefix("/api/scheduled-jobs/me").strip("/"), query, body)
        if path == "/api/repos/create":
            asked = json.loads(body)
            if asked.get("private") is not True and asked.get("visibility") != "private":
                return self._answer(h, {"error": f"a repository that is not private: {asked}"}, 400)
            self.private[asked["name"]] = True
            return self._answer(h, {"url": f"{self.url}/datasets/me/{asked['name']}", "name": asked["name"], "id": "me/" + asked["name"]})  # fmt: skip
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            return self._answer(h, {"files": [{"path": f["path"], "uploadMode": self._mode(f["path"]), "shouldIgnore": False} for f in files]})  # fmt: skip
        if path.endswith("/info/lfs/objects/batch"):
            return self._answer(h, {"transfer": "basic", "objects": [self._object(o) for o in json.loads(body)["objects"]]})  # fmt: skip
        if "/commit/" in path:
            return self._commit(h, body)
        if "/xet-" in path:
            self.asked_for_xet += 1
            return self._answer(h, {"error": "no Xet here"}, 404)
        if "/resolve/" in path:
            return self._file(h, path.split("/resolve/", 1)[1].partition("/")[2])
        if path.startswith("/api/datasets/"):
            return self._answer(h, {"id": "me/intern-jobs", "sha": COMMIT, "private": True})
        return self._answer(h, {"error": f"no {path}"}, 404)

    def _jobs(self, h: BaseHTTPRequestHandler, rest: str, query: dict[str, list[str]], body: bytes) -> None:
        if not rest and h.command == "POST":
            job = self._start(json.loads(body))
            if self.lose_next_answer:
                self.lose_next_answer = False
                h.close_connection = True
                h.connection.close()
                return None
            return self._answer(h, job.shown())
        if not rest:
            labels = dict(label.split("=", 1) for label in query.get("label", []))
            stages = query.get("stage", [])
            found = [j.shown() for j in self.jobs.values() if not stages or j.stage in stages]
            return self._answer(h, [j for j in found if labels.items() <= j["labels"].items()])
        name, _, verb = rest.partition("/")
        job = self.jobs.get(name)
        if job is None:
            return self._answer(h, {"error": "Job not found"}, 404)
        if verb == "logs":
            return self._logs(h, job)
        if verb == "cancel":
            self._kill(job, "CANCELED")
        return self._answer(h, job.shown())

    def _schedules(self, h: BaseHTTPRequestHandler, rest: str, query: dict[str, list[str]], body: bytes) -> None:
        if not rest and h.command == "POST":
            asked = json.loads(body)
            name = f"{len(self.schedules) + 1:024x}"
            self.schedules[name] = {
                **asked, "id": name, "createdAt": "2026-01-01T00:00:00Z", "suspend": asked.get("suspend", False),
                "owner": {"id": "1", "name": "me", "type": "user"}, "status": {"nextJobRunAt": "2026-01-02T00:00:00Z"},
            }  # fmt: skip
            return self._answer(h, self.schedules[name])
        if not rest:
            labels = dict(label.split("=", 1) for label in query.get("label", []))
            found = [s for s in self.schedules.values() if labels.items() <= s["jobSpec"].get("labels", {}).items()]
            return self._answer(h, found)
        name, _, verb = rest.partition("/")
        if name not in self.schedules:
            return self._answer(h, {"error": "Scheduled job not found"}, 404)
        if verb in ("suspend", "resume"):
            self.schedules[name]["suspend"] = verb == "suspend"
        known = self.schedules.pop(name) if h.command == "DELETE" else self.schedules[name]
        return self._answer(h, known)

    def _mode(self, path: str) -> str:
        return "lfs" if self.large_files and path.endswith(".gz") else "regular"

    def _object(self, asked: dict[str, Any]) -> dict[str, Any]:
        known = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self._objects:
            return known
        return {**known, "actions": {"upload": {"href": f"{self.url}/objects/{asked['oid']}"}}}

    def _commit(self, h: BaseHTTPRequestHandler, body: bytes) -> None:
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "header":
                continue
            value = item["value"]
            large = item["key"] == "lfsFile"
            self.files[value["path"]] = self._objects[value["oid"]] if large else base64.b64decode(value["content"])
            self.pushed.append(value["path"])
        self._answer(h, {"success": True, "commitOid": COMMIT, "commitUrl": f"{self.url}/datasets/me/intern-jobs/commit/{COMMIT}"})  # fmt: skip

    def _file(self, h: BaseHTTPRequestHandler, path: str) -> None:
        data = self.files.get(path)
        if data is None:
            return self._answer(h, {"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha1(data).hexdigest()
        h.send_response(200)
        for name, value in (("ETag", f'"{etag}"'), ("X-Repo-Commit", COMMIT), ("Content-Length", str(len(data)))):
            h.send_header(name, value)
        h.end_headers()
        if h.command != "HEAD":
            self.fetched.append(path)
            h.wfile.write(data)

    def _logs(self, h: BaseHTTPRequestHandler, job: Job) -> None:
        """The whole log from its start, then what comes; cut after `cut_after` lines as if the line broke."""
        h.send_response(200)
        h.send_header("Content-Type", "text/event-stream")
        h.send_header("Connection", "close")
        h.end_headers()
        h.close_connection = True
        h.wfile.write(b'data: {"data":"===== Job started =====","timestamp":"2026-01-01T00:00:00Z"}\n\n')
        sent = 0
        while True:
            with job.changed:
                if len(job.lines) == sent and job.stage in ("RUNNING", "SCHEDULING"):
                    job.changed.wait(1.0)
                fresh = job.lines[sent:]
            if self.gone:
                return
            for line in fresh:
                sent += 1
                event = json.dumps({"data": line, "timestamp": "2026-01-01T00:00:00Z"})
                h.wfile.write(f"data: {event}\n\n".encode())
                if self.cut_after is not None and sent >= self.cut_after:
                    self.cut_after += 7  # the next connection comes a little further
                    return
            h.wfile.flush()
            if not fresh and job.stage not in ("RUNNING", "SCHEDULING"):
                return

    def _answer(self, h: BaseHTTPRequestHandler, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:  # fmt: skip
        data = json.dumps(value).encode()
        h.send_response(status)
        h.send_header("Content-Type", "application/json")
        h.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            h.send_header(name, text)
        h.end_headers()
        if h.command != "HEAD":
            h.wfile.write(data)

    # ----------------------------------------------------------------------------------------------------------- jobs

    def _start(self, body: dict[str, Any]) -> Job:
        job = Job(f"{len(self.jobs) + 1:024x}", body)
        self.jobs[job.id] = job
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def _run(self, job: Job) -> None:
        """The job's container: its own folder, the environment and secrets of the request, nothing of this process's."""
        work = Path(self._folder.name) / job.id
        work.mkdir()
        env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(work), "HF_ENDPOINT": self.url, "LANG": "C.UTF-8",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "0" if self.xet else "1", "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1",
        }  # fmt: skip
        job.process = subprocess.Popen(
            [*job.body["command"], *job.body["arguments"]], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=env | job.body["environment"] | job.body.get("secrets", {}), start_new_session=True,
        )  # fmt: skip
        job.stage = "RUNNING"
        timer = threading.Timer(job.body.get("timeoutSeconds", 1800), self._kill, (job, "ERROR", "Job timeout"))
        timer.daemon = True
        timer.start()
        assert job.process.stdout is not None
        for line in job.process.stdout:
            with job.changed:
                job.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                job.changed.notify_all()
        code = job.process.wait()
        timer.cancel()
        with job.changed:
            job.ended = datetime.now(UTC)
            if job.stage == "RUNNING":
                job.stage, job.message = ("COMPLETED", None) if code == 0 else ("ERROR", f"exit code {code}")
            job.changed.notify_all()

    def _kill(self, job: Job, stage: str = "CANCELED", message: str | None = None) -> None:
        """Take the whole container down: the job runs in a session or a group of its own."""
        if job.stage not in ("RUNNING", "SCHEDULING") or job.process is None:
            return
        job.stage, job.message = stage, message
        import psutil

        try:
            tree = psutil.Process(job.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            tree = []
        for pid in [p.pid for p in tree] + [job.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _hardware(name: str, cpu: str, ram: str, gpu: tuple[str, int, str] | None, minute: float) -> dict[str, Any]:
    accelerator = gpu and {
        "type": "gpu",
        "model": gpu[0],
        "quantity": str(gpu[1]),
        "vram": gpu[2],
        "manufacturer": "Nvidia",
    }
    return {
        "name": name, "prettyName": name, "cpu": cpu, "ram": ram, "ephemeralStorage": "20 GB", "accelerator": accelerator,
        "unitCostMicroUSD": int(minute * 1e6), "unitCostUSD": minute, "unitLabel": "minute",
    }  # fmt: skip


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    data = b""
    while size := int(handler.rfile.readline().strip() or b"0", 16):
        data += handler.rfile.read(size)
        handler.rfile.readline()
    return data


def wait_for(true: Any, seconds: float = 20.0) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
