"""What this machine has and lacks, each with its fix."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from core import install
from core.compute.check import Check, check_compute, check_machine
from core.compute.choice import parse_choice
from core.errors import InternError
from core.home import cache_dir, home, socket_path
from core.launch import MIN_FREE_BYTES, versions

if TYPE_CHECKING:
    from core.literature.limiter import Limiter

HUB = "https://huggingface.co"
ANSWER_S = 4.0
CLOCK_S = 30.0
"""A clock that is further off makes tokens and certificates fail."""


def examine(compute: str | None = None) -> list[Check]:
    """All checks, the needed ones first; with `compute` those of that place of execution instead."""
    if compute:
        return check_compute(parse_choice(compute))
    return [_python(), _training(), _disk(), _sockets(), *check_machine(), *_hub(), _papers(), _lingering()]


def examine_brain(name: str) -> Check:
    """Ask a brain for one tool call, once, with what a run would send; says what came back and how long it took.

    Raises UsageError for a name that is no brain or lacks its key.
    """
    from core.agent.brain import POLICIES, check_brain, make_model, parse_brain
    from core.agent.probe import one_call

    spec = parse_brain(name)
    check_brain(spec)
    if spec.kind in POLICIES:
        return Check(name="brain", ok=True, found=f"{name}: a fixed policy, always there")
    began = time.monotonic()
    try:
        answer = one_call(make_model(spec, 0))
    except Exception as error:  # noqa: BLE001 - the boundary to a provider: what it says is the finding
        return Check(
            name="brain", ok=False, found=f"{name}: {type(error).__name__}: {error}"[:600], fix=_brain_fix(error)
        )
    seconds = time.monotonic() - began
    usage = f"{answer.input_tokens} tokens in, {answer.output_tokens} out, {seconds:.1f} s"
    usage += f", ${answer.cost_usd:.6f}" if answer.cost_usd else ", price unknown (name it in prices.toml)"
    if answer.tool != "read_task":
        said = f"answered without the tool call it was asked for ({answer.tool or 'text'})"
        return Check(name="brain", ok=False, found=f"{name}: {said}; {usage}", fix="use a model and a server with tool calling (vLLM: --enable-auto-tool-choice --tool-call-parser ...)")  # fmt: skip
    return Check(name="brain", ok=True, found=f"{name}: calls tools; {usage}")


def _brain_fix(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    if status in (401, 403):
        return "the key is not accepted: check OPENAI_API_KEY (openai:) or HF_TOKEN (hf:)"
    if status == 404:
        return "the server does not know this model or path: check the name, and that the url ends where its API begins (often /v1)"
    if status == 429:
        return "rate limited: wait, or use another provider"
    return "check that the server runs and the url is right"


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(name="python", ok=sys.version_info >= (3, 11), found=version, fix="install Python 3.11 or newer")


def _training() -> Check:
    have = versions()
    missing = [n for n in ("torch", "transformers", "trl", "peft", "datasets") if n not in have]
    found = ", ".join(f"{n} {v}" for n, v in have.items())
    return Check(
        name="training",
        ok=not missing,
        found=found,
        fix=f"missing {', '.join(missing)}: {install.command('train')}",
    )


def _disk() -> Check:
    place = home()
    existing = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    writable = os.access(existing, os.W_OK)
    found = f"{free >> 30} GB free at {place}" + ("" if writable else ", not writable")
    return Check(
        name="disk", ok=free > MIN_FREE_BYTES and writable, found=found, fix="set INTERN_HOME to a disk with room"
    )


def _sockets() -> Check:
    """A Unix socket where a run's host would listen: network file systems and long paths often cannot."""
    try:
        with tempfile.TemporaryDirectory(dir=next(p for p in (home(), *home().parents) if p.exists())) as folder:
            path = socket_path(Path(folder))
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(str(path))
            path.unlink()
    except (OSError, InternError) as error:
        return Check(name="sockets", ok=False, found=str(error), fix="set XDG_RUNTIME_DIR to a local folder of yours")
    return Check(
        name="sockets", ok=True, found=f"a host can listen in {path.parent if path.parent != Path(folder) else home()}"
    )


def _hub() -> list[Check]:
    """The Hub, what the token may do, and the clock against the Hub's."""
    endpoint = os.environ.get("HF_ENDPOINT", HUB)
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return [
            _token(None),
            Check(name="hub", ok=False, found="HF_HUB_OFFLINE is set", fix="unset it to use the Hub", needed=False),
            _clock(None),
        ]
    import httpx2

    token = _token_here()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx2.get(f"{endpoint}/api/whoami-v2", headers=headers, timeout=ANSWER_S)
    except httpx2.HTTPError as error:
        why = f"{endpoint} does not answer: {error}"
        return [_token(None), Check(name="hub", ok=False, found=why, fix="check network and proxy; runs on local data need no Hub", needed=False), _clock(None)]  # fmt: skip
    return [_token(answer.json() if token and answer.status_code == 200 else {} if token else None), Check(name="hub", ok=True, found=endpoint), _clock(answer.headers.get("date"))]  # fmt: skip


def _token_here() -> str | None:
    from huggingface_hub import get_token

    return os.environ.get("HF_TOKEN") or get_token()


def _token(who: dict[str, object] | None) -> Check:
    """`who`: what the Hub says of it; {} where it refused, None where it could not be asked or there is none."""
    fix = "set HF_TOKEN, or hf auth login: for hf: brains, gated data and hf-jobs"
    if _token_here() is None:
        return Check(name="hub token", ok=False, found="none", fix=fix, needed=False)
    if who is None:
        return Check(name="hub token", ok=True, found="set, not checked", needed=False)
    if not who:
        return Check(name="hub token", ok=False, found="the Hub does not accept it", fix="make a new one: https://huggingface.co/settings/tokens", needed=False)  # fmt: skip
    scope = _scope(who)
    return Check(name="hub token", ok=True, found=f"of {who.get('name')}, {scope}", needed=False)


def _scope(who: dict[str, object]) -> str:
    try:
        role = msgspec.convert(who, _Who, strict=False).auth.accessToken.role
    except msgspec.ValidationError:
        role = ""
    known = {"read": "may read", "write": "may read and write", "fineGrained": "with chosen scopes"}
    return known.get(role, "scopes not told")


class _AccessToken(msgspec.Struct):
    role: str = ""


class _Auth(msgspec.Struct):
    accessToken: _AccessToken


class _Who(msgspec.Struct):
    auth: _Auth


def _clock(date: str | None) -> Check:
    """Against the Hub's (`date`: of its answer), else by what the system says of its own."""
    fix = "timedatectl set-ntp true"
    if date:
        off = time.time() - parsedate_to_datetime(date).timestamp()
        return Check(name="clock", ok=abs(off) < CLOCK_S, found=f"{off:+.0f} s against the Hub", fix=fix, needed=False)
    try:
        said = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"], capture_output=True, text=True, timeout=ANSWER_S,
            check=False,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = {"yes": "synchronised, by this system's word", "no": "not synchronised, by this system's word"}.get(said)
    return Check(name="clock", ok=said != "no", found=found or "not compared: no Hub to ask", fix=fix, needed=False)


def _papers() -> Check:
    """Whether the sources of papers answer, each in its turn with the runs of this machine."""
    from core.literature.library import Endpoints, asked_offline
    from core.literature.limiter import Limiter

    rest = "offline the cache and the recipe library answer"
    if asked_offline():
        return Check(name="papers", ok=False, found="INTERN_OFFLINE or HF_HUB_OFFLINE is set", fix=f"unset it to search; {rest}", needed=False)  # fmt: skip
    at = Endpoints.from_environment()
    sources = {"arXiv": at.arxiv_api, "Semantic Scholar": at.semantic_scholar, "OpenAlex": at.openalex}
    limiter = Limiter(cache_dir() / "limits", max_wait_s=ANSWER_S)
    with ThreadPoolExecutor(len(sources)) as pool:
        asked = {name: pool.submit(_silent, limiter, address) for name, address in sources.items()}
    silent = {name: answer.result() for name, answer in asked.items()}
    answering = [name for name, why in silent.items() if not why]
    reasons = {why: [n for n, w in silent.items() if w == why] for why in silent.values() if why}
    said = [f"{', '.join(answering)} answered"] if answering else []
    trouble = [f"no answer from {', '.join(names)}: {why}" for why, names in reasons.items()]
    found = "; ".join([*said, *trouble])
    return Check(name="papers", ok=not trouble, found=found, fix=f"check network and proxy; {rest}", needed=False)


def _silent(limiter: Limiter, address: str) -> str:
    """Why the host does not answer; empty where it does, whatever it says: a refusal is an answer."""
    import httpx2

    try:
        with limiter.turn(urlsplit(address).netloc):
            httpx2.head(address, timeout=ANSWER_S)
    except InternError as error:
        return error.what
    except httpx2.HTTPError as error:
        return str(error) or type(error).__name__
    return ""


def _lingering() -> Check:
    """Whether systemd leaves a person's processes alone after logout."""
    if not Path("/run/systemd/system").exists():
        return Check(name="lingering", ok=True, found="no systemd: hosts outlive the log-in", needed=False)
    if os.geteuid() == 0:
        return Check(name="lingering", ok=True, found="root's processes are not ended at logout", needed=False)
    user = os.environ.get("USER") or str(os.getuid())
    shown = subprocess.run(
        ["loginctl", "show-user", user, "--property=Linger"], capture_output=True, text=True, check=False
    ).stdout
    kills = "KillUserProcesses=yes" in _read("/etc/systemd/logind.conf").replace(" ", "")
    lingers = "Linger=yes" in shown
    found = (
        "on"
        if lingers
        else "off, and this machine ends your processes at logout"
        if kills
        else "off; hosts outlive the log-in"
    )
    return Check(
        name="lingering", ok=lingers or not kills, found=found, fix=f"loginctl enable-linger {user}", needed=False
    )


def _read(path: str) -> str:
    try:
        return "\n".join(line for line in Path(path).read_text().splitlines() if not line.lstrip().startswith("#"))
    except OSError:
        return ""
