"""What this machine has and lacks, each with its fix."""

from __future__ import annotations

import os
import shutil
import sys
import time

import msgspec

from core.compute.telemetry import Telemetry
from core.home import home
from core.launch import MIN_FREE_BYTES, versions


class Check(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True
    """Whether a local run is impossible without it."""


def examine() -> list[Check]:
    """All checks, the needed ones first."""
    return [_python(), _training(), _disk(), _device(), _sandbox(), _token()]


def examine_brain(name: str) -> Check:
    """Ask a brain for one tool call, once, with what a run would send; says what came back and how long it took.

    Raises UsageError for a name that is no brain or lacks its key.
    """
    from core.agent.brain import check_brain, make_model, parse_brain
    from core.agent.probe import one_call

    spec = parse_brain(name)
    check_brain(spec)
    if spec.kind in ("playbook", "random"):
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
        fix=f"missing {', '.join(missing)}: pip install 'ml-intern-tui[train]'",
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


def _device() -> Check:
    telemetry = Telemetry()
    samples = telemetry.sample()
    gpus = [s for s in samples if s.source != "psutil"]
    telemetry.close()
    if gpus:
        return Check(name="gpu", ok=True, found=", ".join(s.name for s in gpus), needed=False)
    return Check(name="gpu", ok=False, found=telemetry.reason or "none", fix="jobs run on the CPU", needed=False)


def _sandbox() -> Check:
    bwrap = shutil.which("bwrap")
    return Check(
        name="sandbox", ok=bool(bwrap), found=bwrap or "none", fix="commands of an LLM brain run as you", needed=False
    )


def _token() -> Check:
    has = bool(os.environ.get("HF_TOKEN"))
    return Check(
        name="hub token",
        ok=has,
        found="HF_TOKEN is set" if has else "none",
        fix="set HF_TOKEN for hf: brains and gated data",
        needed=False,
    )
