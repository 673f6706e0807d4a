"""The contract of PostTrainBench (2603.08640): what `intern solve` is told, read out of the environment and the folder.

No variable names the base model, the benchmark or the hours: they stand in the text of PROMPT only. What cannot be read
there is said, never guessed silently.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from core.errors import NotFound, UsageError

DEFAULT_HOURS = 10.0
"""The benchmark's own limit; used, and said, where neither PROMPT nor timer.sh tells one."""

_ID = re.compile(r"(?<![\w./~-])([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?![\w/-])")
"""A Hub id, `owner/name`."""
_PATH = re.compile(r"(?<![\w.~-])(~?/[\w./-]*[\w-])")
_HOURS = re.compile(r"(?<![\w.])(\d+(?:[.,]\d+)?)\s*-?\s*(hours?|hrs?|h|minutes?|mins?)\b", re.IGNORECASE)
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10, "twelve": 12}
_SPELLED = re.compile(rf"\b({'|'.join(_NUMBERS)})\s+hours?\b", re.IGNORECASE)
_BENCHMARK = (
    r"excels?\s+(?:at|on|in)\s+(?:the\s+)?[`*\"']*([A-Z][\w .+-]{1,40}?)[`*\"']*(?:\s+benchmark)?(?=[.,;:!\n]|$)",
    r"\bbenchmark\s*(?:is|:)\s*[`*\"']*([\w][\w .+-]{1,40}?)[`*\"']*(?=[.,;:!\n]|$)",
    r"(?:on|at|for)\s+the\s+[`*\"']*([A-Za-z][\w .+-]{1,40}?)[`*\"']*\s+(?:benchmark|evaluation|task)\b",
    r"\b(AIME(?: ?20\d\d)?|GPQA(?: ?(?:main|diamond))?|GSM8K|HumanEval|HealthBench|Arena-?Hard|BFCL|MMLU|MATH)\b",
)
_ABOUT_MODEL = re.compile(r"\b(train|base|model|llm|fine-?tun|improv|post-?train)", re.IGNORECASE)
_ABOUT_OTHER = re.compile(
    r"\b(dataset|data set|do not|don't|must not|never|e\.g\.|for example|such as|instruct version)", re.IGNORECASE
)
_TIMER = re.compile(r"^\s*(\d+):(\d\d)(?::(\d\d))?\s*$", re.MULTILINE)


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
    model = read_model(prompt, folder)
    if model is None:
        raise UsageError("PROMPT names no base model", where="PROMPT", next="Name it as owner/name or as a path.")
    notes: list[str] = []
    benchmark = read_benchmark(prompt)
    if not benchmark:
        notes.append("PROMPT names no benchmark that could be read; evaluate.py says what is measured")
    told, timed = read_hours(prompt), remaining_hours(folder)
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


def read_model(prompt: str, folder: Path) -> str | None:
    """The base model: the path or Hub id that the text is about; a path has to hold a config.json."""
    scores: dict[str, float] = {}
    for line in prompt.splitlines():
        weight = 1.0 + 2.0 * bool(_ABOUT_MODEL.search(line)) - 2.5 * bool(_ABOUT_OTHER.search(line))
        without_addresses = re.sub(r"https?://\S+", " ", line)
        for found in _PATH.findall(without_addresses):
            if (Path(found).expanduser() / "config.json").is_file():
                scores[found] = scores.get(found, 0.0) + weight + 3.0
        for found in _ID.findall(without_addresses):
            name = found.rstrip(".")
            local = folder / name
            if (local / "config.json").is_file():
                scores[str(local)] = scores.get(str(local), 0.0) + weight + 3.0
            elif not (local.exists() or (folder / name.split("/")[0]).exists()) and not _is_no_model(name):
                scores[name] = scores.get(name, 0.0) + weight
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] > 0 else None


def _is_no_model(name: str) -> bool:
    """`and/or`, `1/2`, `templates/x.jinja`, `evaluate.py`: what looks like an id and is none."""
    owner, model = name.split("/")
    file = re.search(r"\.(py|sh|json|jsonl|jinja|md|txt|csv|parquet|toml|yaml)$", model)
    return bool(file) or owner.isdigit() or (len(owner) + len(model) < 8 and not re.search(r"\d", model))


def read_benchmark(prompt: str) -> str | None:
    """The benchmark's name, as the text gives it."""
    for pattern in _BENCHMARK:
        found = re.search(pattern, prompt)
        if found:
            return found.group(1).strip()
    return None


def read_hours(prompt: str) -> float | None:
    """The time limit: the longest time the text names with words of a limit beside it, else the longest at all."""
    found: list[tuple[bool, float]] = []
    for line in re.split(r"[\n.;](?!\d)", prompt):
        limit = re.search(r"\b(you have|within|limit|budget|maximum|at most|time|deadline)\b", line, re.IGNORECASE)
        for amount, unit in _HOURS.findall(line):
            value = float(amount.replace(",", "."))
            found.append((limit is not None, value / 60 if unit.lower().startswith("m") else value))
        found += [(limit is not None, float(_NUMBERS[word.lower()])) for word in _SPELLED.findall(line)]
    return max(found)[1] if found else None


def remaining_hours(folder: Path) -> float | None:
    """What timer.sh says is left; 0 when it says that the time is over, None where there is no working one."""
    timer = folder / "timer.sh"
    if not timer.is_file():
        return None
    try:
        said = subprocess.run(
            ["bash", str(timer)], cwd=folder, capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    if "expired" in said.lower():
        return 0.0
    found = _TIMER.search(said)
    if not found:
        return None
    hours, minutes, seconds = int(found[1]), int(found[2]), int(found[3] or 0)
    return hours + minutes / 60 + seconds / 3600


def brain_for(agent: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """(brain, note) for AGENT_CONFIG: a brain of ours, a model behind OPENAI_BASE_URL, else the playbook."""
    name = agent.strip()
    if not name or name == "playbook":
        return "playbook", ""
    if name.startswith(("hf:", "openai:")):
        return name, ""
    address = environment.get("OPENAI_BASE_URL") or environment.get("OPENAI_API_BASE")
    if address:
        return f"openai:{name}@{address}", ""
    return "playbook", f"AGENT_CONFIG {name!r} is no brain that can be reached (no OPENAI_BASE_URL): the playbook works"
