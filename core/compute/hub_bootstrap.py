"""Runs on the rented machine: fetches the job's archive, starts the job, streams it as numbered lines, pushes what it made.

Standard library and huggingface_hub only; it is sent as the text of `python -c`. Each line of the job's log and metrics is
printed as `@L n text` or `@M n json`, n counting from 1, so that a reader who was cut off drops what it has already.
The job itself never sees the token.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

STREAMS = {"log.txt": "L", "metrics.jsonl": "M"}
GRACE_S = 20.0


def main() -> int:
    from huggingface_hub import HfApi

    began = time.time()  # the machine is paid for from here on: fetching and installing are part of the job's time
    tag, repo = os.environ["INTERN_TAG"], os.environ["INTERN_REPO"]
    api: Any = HfApi(token=os.environ.pop("HF_TOKEN"), endpoint=os.environ.get("HF_ENDPOINT"))
    root = Path(f"/tmp/intern-{tag}")
    shutil.rmtree(root, ignore_errors=True)  # of an earlier attempt on the same machine
    archive = fetch(api, repo, tag, root)
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    told = json.loads((root / "told.json").read_text())
    job = root / "job"
    job.mkdir(exist_ok=True)
    problem = smoke_test(told)
    ended = {"exit_code": 1, "signal": None, "reason": "crashed"}
    if problem:
        (job / "log.txt").write_text(f"smoke test failed: {problem}\n")
        print(f"@L 1 smoke test failed: {problem}", flush=True)
    else:
        ended = run(api, repo, tag, root, told)
    (job / "exit.json").write_text(json.dumps({**ended, "seconds": round(time.time() - began, 3)}))
    push(api, repo, tag, root)
    print("@E " + json.dumps(ended), flush=True)
    return 0


def fetch(api: Any, repo: str, tag: str, root: Path) -> Any:
    """The job's archive; without Xet where that does not get through (see core/hub/transfer.py)."""
    from huggingface_hub import constants

    told = {"repo_id": repo, "filename": f"{tag}/in.tar.gz", "repo_type": "dataset", "local_dir": root / "download"}
    try:
        return api.hf_hub_download(**told)
    except (ConnectionError, RuntimeError) as error:
        if constants.HF_HUB_DISABLE_XET:
            raise
        print(f"fetching the inputs by Xet failed: {error}", flush=True)
    constants.HF_HUB_DISABLE_XET = True
    return api.hf_hub_download(**told)


def smoke_test(told: dict[str, Any]) -> str:
    """What would make the job fail after minutes of paid time, found in seconds; empty if nothing."""
    missing = [
        r for r in told["requirements"] if importlib.util.find_spec(r.partition("==")[0].replace("-", "_")) is None
    ]
    if missing:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *missing]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"cannot install {', '.join(missing)}: {done.stderr.strip()[-300:]}"
    if told["gpus"]:
        code = f"import torch,sys; sys.exit(0 if torch.cuda.device_count() >= {told['gpus']} else 1)"
        if subprocess.run([sys.executable, "-c", code], check=False).returncode:
            return f"{told['gpus']} GPUs were ordered and torch does not see them"
    return ""


def run(api: Any, repo: str, tag: str, root: Path, told: dict[str, Any]) -> dict[str, Any]:
    """The job, streamed, obeying the control file in the repository and its time limit."""
    job = root / "job"
    env = {k: v for k, v in os.environ.items() if not k.startswith("INTERN_") and k != "PYTHONPATH"} | told["env"]
    argv = [sys.executable if a == "{python}" else a.replace("{root}", str(root)) for a in told["argv"]]
    with (job / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            argv, cwd=job, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
    signal.signal(signal.SIGTERM, lambda number, frame: (job / "control").write_text("stop\n") and None)
    listener = threading.Thread(target=listen, args=(api, repo, tag, job, float(told["poll_s"])), daemon=True)
    listener.start()
    began, limit, asked = time.monotonic(), told["time_limit_s"], 0.0
    tails = {name: [0, 0] for name in STREAMS}
    while child.poll() is None:
        stream(job, tails)
        now = time.monotonic()
        if limit and now - began > limit and not asked:
            asked = now
            (job / "control").write_text("stop\n")
        if asked and now - asked > GRACE_S:
            os.killpg(child.pid, signal.SIGKILL if now - asked > GRACE_S + 5 else signal.SIGTERM)
        time.sleep(0.1)
    stream(job, tails, last=True)
    code = child.returncode
    stopped = (job / "control").exists()
    reason = (
        "time_limit"
        if asked
        else "cancelled"
        if stopped
        else "finished"
        if code == 0
        else "crashed"
        if code > 0
        else "killed"
    )
    return {"exit_code": code if code >= 0 else None, "signal": -code if code < 0 else None, "reason": reason}


def stream(job: Path, tails: dict[str, list[int]], *, last: bool = False) -> None:
    """Print what is new of the log and the metrics, whole lines only (at the end also an open one)."""
    for name, letter in STREAMS.items():
        path, (offset, count) = job / name, tails[name]
        if not path.exists():
            continue
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n") and not last:
                    break
                offset, count = offset + len(line), count + 1
                print(f"@{letter} {count} {line.decode('utf-8', 'replace').rstrip(chr(10))}", flush=True)
        tails[name] = [offset, count]


def listen(api: Any, repo: str, tag: str, job: Path, poll_s: float) -> None:
    """Look in the repository for a wish of the host."""
    while True:
        time.sleep(poll_s)
        try:
            if api.file_exists(repo, f"{tag}/control", repo_type="dataset"):
                (job / "control").write_text("stop\n")
                return
        except OSError:  # the Hub does not answer: ask again
            continue


def push(api: Any, repo: str, tag: str, root: Path) -> None:
    """Everything the job made, as one archive, before the machine is gone."""
    path = root / "out.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for entry in sorted((root / "job").iterdir()):
            tar.add(entry, entry.name)
    from huggingface_hub import constants

    for wait_s in (5, 20, 60, 0):
        try:
            api.upload_file(path_or_fileobj=path, path_in_repo=f"{tag}/out.tar.gz", repo_id=repo, repo_type="dataset")
            return
        except (OSError, RuntimeError) as error:
            print(f"pushing the result failed: {error}", flush=True)
            if isinstance(error, (ConnectionError, RuntimeError)) and not constants.HF_HUB_DISABLE_XET:
                constants.HF_HUB_DISABLE_XET = (
                    True  # Xet does not get through (core/hub/transfer.py): without it, at once
                )
                continue
            time.sleep(wait_s)


if __name__ == "__main__":
    sys.exit(main())
