"""The contract of PostTrainBench (2603.08640): what `intern solve` is told, read out of the environment and the folder.

No variable names the base model, the benchmark or the hours: they stand in the text of PROMPT only. What cannot be read
there is said, never guessed silently.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from core.agent.brain import check_brain, parse_brain
from core.base_model import named_path, read_model
from core.durations import spans, time_left
from core.errors import InternError, NotFound, UsageError
from core.tasks import load_task

__all__ = [
    "Contract",
    "benchmark_of_folder",
    "brain_for",
    "read_benchmark",
    "read_contract",
    "read_hours",
    "read_model",
]

DEFAULT_HOURS = 10.0
"""The benchmark's own limit; used, and said, where neither PROMPT nor timer.sh tells one."""

_KNOWN = (
    r"AIME(?:[ _-]?20\d\d)?|GPQA(?:[ _-]?(?:main|diamond))?|GSM[ _-]?8K|HumanEval\+?|HealthBench(?:[ _-]?(?:easy|hard))?"
    r"|Arena[ _-]?Hard(?:[ _-]?Writing)?|BFCL|MMLU(?:[ _-]?Pro)?|MBPP\+?|IFEval|DROP|ARC[ _-]?Challenge|HellaSwag|TruthfulQA"
)
_BENCHMARK = (
    r"excels?\s+(?:at|on|in)\s+(?:the\s+)?[`*\"']*([A-Z][\w .+-]{1,40}?)[`*\"']*(?:\s+benchmark)?(?=[.,;:!\n]|$)",
    r"\bbenchmark\s*(?:is|:)\s*[`*\"']*([\w][\w .+-]{1,40}?)[`*\"']*(?=[.,;:!\n]|$)",
    r"(?:on|at|for)\s+the\s+[`*\"']*([A-Za-z][\w .+-]{1,40}?)[`*\"']*\s+(?:benchmark|evaluation|task)\b",
    rf"(?i:(?<![a-z0-9])({_KNOWN})(?![a-z0-9]))",
    r"\b(MATH(?:-?500)?)\b",
)
_LIMIT = re.compile(
    r"\b(you have|given|within|limit|budget|maximum|at most|time|deadline|in total|run for|available|up to)\b",
    re.IGNORECASE,
)
_LOOKED_AT = 200_000
"""Characters of evaluate.py in which a benchmark's name is looked for."""


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, by when."""

    folder: str
    model: str
    """Hub id or folder of the only model that may be trained."""
    benchmark: str
    hours: float
    """Until the end, by timer.sh where it works, else by PROMPT."""
    agent: str
    """AGENT_CONFIG."""
    gpus: int | None
    prompt: str
    notes: tuple[str, ...] = ()
    """What could not be read, and what was taken instead."""


def read_contract(environment: Mapping[str, str], folder: Path) -> Contract:
    """Raises UsageError where PROMPT names no base model, NotFound without an evaluate.py."""
    prompt = environment.get("PROMPT", "")
    if not prompt.strip():
        raise UsageError(
            "PROMPT is empty", where="environment", next="Start it as the benchmark does: PROMPT='...' intern solve"
        )
    if not (folder / "evaluate.py").is_file():
        raise NotFound("no evaluate.py", where=str(folder), next="Start it in the task's folder.")
    notes: list[str] = []
    model = read_model(prompt, folder)
    if model is None:
        model = _model_of_task(folder)
        notes += ["PROMPT names no base model; the task folder's own is taken"] if model else []
    if model is None:
        path = named_path(prompt)
        what = f"PROMPT names {path}, where no model is (no config.json)" if path else "PROMPT names no base model"
        raise UsageError(what, where="PROMPT", next="Name it as owner/name or as a path to a folder with config.json.")
    if model not in prompt and Path(model).name in prompt and not Path(model).exists():
        notes.append(f"PROMPT names {Path(model).name} without its owner; {model} is taken")
    benchmark = read_benchmark(prompt)
    if not benchmark:
        benchmark = benchmark_of_folder(folder)
        what = f"the task folder speaks of {benchmark}" if benchmark else "evaluate.py says what is measured"
        notes.append(f"PROMPT names no benchmark that could be read; {what}")
    told = read_hours(prompt)
    timed = remaining_hours(folder, told)
    if timed is None and told is not None and (folder / "timer.sh").is_file():
        notes.append(f"timer.sh tells no time that could be read; PROMPT's {told:g} h count")
    hours = timed if timed is not None else told
    if hours is None:
        hours = DEFAULT_HOURS
        notes.append(f"neither PROMPT nor timer.sh says how long; {DEFAULT_HOURS:g} hours are assumed")
    elif timed is not None and told is not None and abs(timed - told) > 0.1 * told + 1 / 60:
        notes.append(f"PROMPT says {told:g} h, timer.sh {timed:.2f} h are left: timer.sh counts")
    gpus = environment.get("NUM_GPUS", "")
    return Contract(
        folder=str(folder.absolute()), model=model, benchmark=benchmark or "", hours=hours,
        agent=environment.get("AGENT_CONFIG", ""), gpus=int(gpus) if gpus.strip().isdigit() else None, prompt=prompt,
        notes=tuple(notes),
    )  # fmt: skip


def _model_of_task(folder: Path) -> str | None:
    """What task.toml or the folder `base/` says, where the text says nothing."""
    try:
        return load_task(str(folder)).base_model
    except InternError:
        return None


def read_benchmark(prompt: str) -> str | None:
    """The benchmark's name, as the text gives it."""
    for pattern in _BENCHMARK:
        found = re.search(pattern, prompt)
        if found:
            return found.group(1).strip()
    return None


def benchmark_of_folder(folder: Path) -> str:
    """The known benchmark that the folder's name, or else evaluate.py most often, names; "" where there is none."""
    known = re.compile(rf"(?<![a-z0-9])({_KNOWN})(?![a-z0-9])", re.IGNORECASE)
    named = known.search(folder.absolute().name)
    if named:
        return named[1]
    with (folder / "evaluate.py").open(encoding="utf-8", errors="replace") as file:
        found = [name.lower() for name in known.findall(file.read(_LOOKED_AT))]
    return Counter(found).most_common(1)[0][0] if found else ""


def read_hours(prompt: str) -> float | None:
    """The time limit: the longest time the text names with words of a limit beside it, else the longest at all."""
    found: list[tuple[bool, float]] = []
    for line in re.split(r"[\n.;](?!\d)", prompt):
        limit = _LIMIT.search(line) is not None
        found += [(limit, hours) for _, hours in spans(line)]
    return max(found)[1] if found else None


def remaining_hours(folder: Path, told: float | None = None) -> float | None:
    """What timer.sh says is left; 0 when it says that the time is over, None where there is no working one.

    `told`: the limit by PROMPT, which tells the unit of a bare number.
    """
    timer = folder.absolute() / "timer.sh"
    if not timer.is_file():
        return None
    try:
        said = subprocess.run(
            [*_interpreter(timer), str(timer)], cwd=folder, capture_output=True, timeout=20, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = said.stdout.decode("utf-8", "replace")
    return time_left(text if text.strip() else said.stderr.decode("utf-8", "replace"), told)


def _interpreter(script: Path) -> list[str]:
    """By its first line; bash where that names none, because not every timer.sh may be executed."""
    with script.open("rb") as file:
        first = file.readline(200).decode("utf-8", "replace").strip()
    words = first[2:].split() if first.startswith("#!") else []
    return words if words and Path(words[0]).is_file() else ["bash"]


def brain_for(agent: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """(brain, note) for AGENT_CONFIG: a brain of ours, a model behind OPENAI_BASE_URL, else the playbook."""
    name = agent.strip()
    if not name or name == "playbook":
        return "playbook", ""
    try:
        check_brain(parse_brain(name))
        return name, ""
    except UsageError as error:
        if name.startswith(("hf:", "openai:")):
            return "playbook", f"AGENT_CONFIG {name!r} cannot be used ({error}): the playbook works"
    address = environment.get("OPENAI_BASE_URL") or environment.get("OPENAI_API_BASE")
    if address:
        return f"openai:{name}@{address}", ""
    return (
        "playbook",
        f"AGENT_CONFIG {name[:80]!r} is no brain that can be reached (no OPENAI_BASE_URL): the playbook works",
    )
