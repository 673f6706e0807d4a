"""A real Ray head on this machine, on ports of its own; ended by its own processes' ids, never by `ray stop`."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import psutil

START_S = 300.0
"""13 s on an idle machine; one that many share was seen to take longer than 90 s."""


def why_not() -> str:
    """Why no Ray can be started here, or an empty string."""
    return "" if importlib.util.find_spec("ray") else "not installed: pip install 'ml-intern-tui[ray]'"


class RayCluster:
    """Started by `with`. `address` is what --compute takes."""

    def __init__(self, cpus: int = 4) -> None:
        self.cpus = cpus
        self.port = _free_port()
        self.address = f"ray://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp")  # its sockets' paths must be short
        self._head: subprocess.Popen[bytes] | None = None
        self._tree: list[psutil.Process] = []

    def __enter__(self) -> RayCluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start the head and wait for its dashboard."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        self._head = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--num-cpus={self.cpus}",
                "--num-gpus=0", f"--port={_free_port()}", f"--dashboard-port={self.port}",
                "--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", f"--temp-dir={self._folder.name}",
                "--disable-usage-stats", "--object-store-memory=100000000", "--include-dashboard=true",
                f"--dashboard-agent-listen-port={_free_port()}", f"--dashboard-agent-grpc-port={_free_port()}",
                f"--runtime-env-agent-port={_free_port()}", f"--metrics-export-port={_free_port()}",
                f"--ray-client-server-port={_free_port()}",
            ],
            env=environment | {"RAY_JOB_ALLOW_DRIVER_ON_WORKER_NODES": "1"}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                if httpx2.get(f"http://127.0.0.1:{self.port}/api/jobs/", timeout=2).status_code == 200:
                    break
            except httpx2.HTTPError:
                time.sleep(0.2)
        else:
            self.kill()
            raise RuntimeError("Ray did not come up")
        self._tree = psutil.Process(self._head.pid).children(recursive=True)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Take down the head with all it started."""
        if self._head is None:
            return
        try:
            tree = psutil.Process(self._head.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            tree = []
        for process in {*self._tree, *tree}:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        self._head.send_signal(number)
        self._head.wait(20)
        self._head = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
