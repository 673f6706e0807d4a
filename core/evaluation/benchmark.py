"""Runs a task's own evaluate.py and turns what it leaves into a score, or into an error that says what to do.

The contract is PostTrainBench's: `--model-path P --limit N --json-output-file F`, F being one flat JSON object such as
`{"accuracy": 0.41, "stderr": 0.04}`; more flags are used if the script has them. The script is foreign code: it may
crash, hang, print nonsense or edit itself. It runs in its own process group with a time limit, and its files are
compared before and after (see `guard`).
"""

from __future__ import annotations

import json
import math
import re
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from core.errors import EvaluationAltered, EvaluationError, EvaluationTimeout
from core.evaluation import guard as guards
from core.evaluation.analysis import Sample
from core.evaluation.holding import held, plain_environment
from core.evaluation.process import Ended, run, tail
from core.evaluation.prompting import FAMILIES
from core.evaluation.scale import SAY_SO, Scale, is_rate, said_by, settle
from core.tasks import Task
from core.training.trust import Risk, unapproved

_NOT_A_SCORE = re.compile(
    r"std|err|^se$|^ci|interval|^n$|^n_|num|count|total|limit|sample|correct$|time|second|token|seed|version", re.I
)
_COUNT_KEYS = ("n", "samples", "num_samples", "n_samples", "total", "count", "limit")


class BenchmarkResult(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation by a task's evaluate.py."""

    score: float
    """In [0, 1]."""
    scale: Scale = ""
    """What the script gives, as far as that is known; percent was divided by 100."""
    metric: str
    """The key it was read from."""
    stderr: float | None
    n: int | None
    """Samples; from the samples file, else the output, else the limit, else worked out from the standard error."""
    samples_path: str | None
    seconds: float
    digest: str
    """Of everything that measured: equal digests make two scores comparable."""
    raw: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    sandbox: str = ""
    """The level at which evaluate.py was held; empty where the task does not ask for that."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to evaluate."""

    model_path: str
    output_folder: str
    limit: int = -1
    """-1: all samples."""
    split: str | None = None
    """`dev` or `heldout`, for scripts that have --split."""
    timeout_s: float = 3600.0
    threads: int | None = None
    """CPU threads; None leaves it to the script."""
    env: dict[str, str] = {}
    """What else it is told: the GPUs that are its own now."""
    extra_flags: tuple[str, ...] = ()
    """For example --max-tokens 4000."""
    python: str = sys.executable
    scale: Scale = ""
    """What earlier scores of this run have shown the script to give."""
    trusted: tuple[Risk, ...] | None = None
    """What a person approved of the model's own code and pickles; evaluate.py may load them as it likes, so without the yes
    it is not started. None: a person runs this evaluation by hand."""


def run_benchmark(
    task: Task, request: Request, *, guard: guards.Guard | None = None, stop: threading.Event | None = None
) -> BenchmarkResult:
    """Blocks until the evaluation ended, at most `timeout_s` and a few seconds.

    `guard`: the record made at the start of the run; without one, the state at the start of this call counts.
    Raises EvaluationError for everything that leaves no usable score, and for a model with code that nobody approved.
    """
    if request.trusted is not None and (what := unapproved(request.model_path, request.trusted)):
        raise EvaluationError(
            f"evaluate.py was not started: {what}, and nobody approved that", where=request.model_path,
            next="Have a person approve it (intern approve R ID), or take a model with safetensors and no code of its own",
        )  # fmt: skip
    folder = Path(request.output_folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    guard = guard or guards.record(task, folder / "guard")
    guards.check(guard, "before it ran")
    output, samples, log = folder / "score.json", folder / "samples.jsonl", folder / "log.txt"
    for stale in (output, samples):
        stale.unlink(missing_ok=True)
    command, level = build_command(task, request, output, samples), ""
    own = _threads(request.threads) | request.env
    env = plain_environment(task) | own
    if task.evaluate_held:
        command, env, level = held(command, task, request.model_path, folder, request.timeout_s, own)
    try:
        ended = run(command, cwd=Path(task.path), log=log, timeout_s=request.timeout_s, env=env, stop=stop)
    except OSError as error:
        raise EvaluationError(
            f"evaluate.py could not be started: {error}", where=task.evaluate_path, next="Check the Python of this run."
        ) from error
    finally:
        guards.check(guard, "while it ran")
    _check_end(ended, request, log, task)
    raw = read_output(output, log)
    known = task.scale or request.scale
    metric, value = pick_score(raw, task.metric, output, known)
    rows = read_samples(samples) if samples.is_file() else []
    mean = sum(r.value for r in rows) / len(rows) if rows else None
    said = task.scale or said_by(value, _last(metric), raw, n=_stated(raw, rows), mean=mean)
    scale = settle(known, said, value, output)
    unit = 100.0 if scale == "percent" else 1.0
    score, stderr = value / unit, _number(raw.get("stderr"))
    stderr = None if stderr is None else stderr / unit
    return BenchmarkResult(
        score=score,
        scale=scale,
        metric=metric,
        stderr=stderr,
        n=_count(raw, rows, request.limit, score, stderr),
        samples_path=str(samples) if rows else None,
        seconds=ended.seconds,
        digest=guard.digest,
        raw=raw,
        notes=_notes(task, request),
        sandbox=level,
    )


def measure_guarded(
    task: Task,
    request: Request,
    guard: guards.Guard,
    tell: Callable[[str], object],
    stop: threading.Event | None = None,
) -> BenchmarkResult:
    """`run_benchmark` where somebody may tamper: an evaluation found altered is put back, told, and measured once more.

    Raises EvaluationError as `run_benchmark` does, also where it is altered again.
    """
    touched = guards.changed_packages(guard)
    if touched:
        tell(f"Packages that the evaluation imports were changed since the run began: {', '.join(touched)}")
    try:
        result = run_benchmark(task, request, guard=guard, stop=stop)
    except EvaluationAltered as error:
        tell(f"{error}. The score is measured again.")
        result = run_benchmark(task, request, guard=guard, stop=stop)
    meanwhile = [name for name in guards.changed_packages(guard) if name not in touched]
    if meanwhile:
        tell(f"Packages that the evaluation imports were changed while it ran: {', '.join(meanwhile)}")
    return result


def build_command(task: Task, request: Request, output: Path, samples: Path) -> list[str]:
    """The command line, with only those optional flags that the script has."""
    has = set(task.evaluate_flags)
    model = Path(request.model_path)
    command = [request.python, task.evaluate_path]
    command += [spelled("--model-path", has), str(model.absolute()) if model.exists() else request.model_path]
    limit = spelled("--limit", has)
    if limit in has or spelled("--model-path", has) not in has:  # else the script is seen to know no such flag
        command += [limit, str(request.limit)]
    command += [spelled("--json-output-file", has), str(output)]
    if "--templates-dir" in has and task.templates:
        command += ["--templates-dir", str(Path(task.path) / "templates")]
    if request.split and "--split" in has:
        command += ["--split", request.split]
    if "--samples-output-file" in has:
        command += ["--samples-output-file", str(samples)]
    return [*command, *request.extra_flags]


_SPELLINGS = {
    "--model-path": ("--model_path", "--model-name-or-path", "--model_name_or_path", "--model"),
    "--limit": ("--num-samples", "--num_samples", "--max-samples", "--max_samples"),
    "--json-output-file": ("--json_output_file", "--output-file", "--output_file", "--json-output", "--output"),
}
"""What other scripts call the flags of the contract."""


def spelled(flag: str, has: Collection[str]) -> str:
    """A flag of the contract as the script spells it; as the contract does where the script's flags are not seen."""
    others = () if flag in has else _SPELLINGS[flag]
    return next((other for other in others if other in has), flag)


def read_output(path: Path, log: Path) -> dict[str, Any]:
    """The object the script wrote. Non-finite numbers are let through here, to be named by `pick_score`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EvaluationError(
            "evaluate.py ended well but wrote no score",
            where=str(path),
            next=f"Does it honour --json-output-file? Its last output was:\n{tail(log)}",
        ) from None
    except UnicodeDecodeError as error:
        raise _malformed(path, str(error)) from error
    try:
        value = json.loads(text)  # the standard library, because it accepts NaN and so lets the error say so
    except (ValueError, RecursionError) as error:
        raise _malformed(path, f"{error}; it begins {text[:80]!r}") from error
    if not isinstance(value, dict):
        raise _malformed(path, f"a {type(value).__name__}, not an object")
    return cast("dict[str, Any]", value)


def in_percent(result: BenchmarkResult) -> BenchmarkResult:
    """A result that was taken for a share, now that the script is known to give percent."""
    if result.scale:
        return result
    stderr = None if result.stderr is None else result.stderr / 100
    return msgspec.structs.replace(result, score=result.score / 100, stderr=stderr, scale="percent")


def pick_score(raw: Mapping[str, Any], metric: str | None, path: Path, scale: Scale = "") -> tuple[str, float]:
    """(key, number as given, from 0 to 1 or in percent): the task's metric, else the first of the usual names, else the only number that is no error, count or
    time. In an output with objects inside, the key is the path with dots."""
    flat = _flat(raw)
    key = metric if metric in flat else "accuracy" if "accuracy" in flat else None
    if key is None:
        candidates = [
            k for k, v in flat.items() if _number(v, finite=False) is not None and not _NOT_A_SCORE.search(_last(k))
        ]
        usual = [k for name in _USUAL for k in candidates if _last(k) == name]
        # of one name in several places nobody knows which is meant
        clear = [k for k in usual if sum(_last(k) == _last(other) for other in usual) == 1]
        candidates = clear[:1] or candidates
        if len(candidates) != 1:
            found = f"several numbers could be it ({', '.join(candidates)})" if candidates else "there is no number"
            raise EvaluationError(
                f"the evaluation's output has no clear score: {found} among the keys {sorted(flat)}",
                where=str(path),
                next='Name the key in task.toml: metric = "...".',
            )
        key = candidates[0]
    value = _number(flat[key], finite=False)
    if value is None:
        raise _unusable(key, f"{flat[key]!r}, which is not a number", path)
    if not math.isfinite(value):
        raise _unusable(key, f"{value}, which is not finite", path)
    if not 0 <= value <= 100 or (scale == "fraction" and value > 1):
        raise _unusable(key, f"{value}, outside [0, 1]", path)
    if value > 1 and not scale and not is_rate(_last(key)):
        raise _unusable(key, f"{value}, outside [0, 1], and its name does not say that it is a rate in percent", path)
    return key, value


_USUAL = ("accuracy", "acc", "exact_match", "pass@1", "pass_at_1", "score", "mean_score", "win_rate")


def _flat(raw: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Objects inside opened, their keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, dict) and depth:
            found |= {f"{key}.{k}": v for k, v in _flat(cast("dict[str, Any]", value), depth - 1).items()}
        else:
            found[key] = value
    return found


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def read_samples(path: Path) -> list[Sample]:
    """Per-sample answers; rows of another shape are left out."""
    rows: list[Sample] = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(msgspec.json.decode(line, type=Sample))
        except msgspec.DecodeError:
            continue
    return rows


def _check_end(ended: Ended, request: Request, log: Path, task: Task) -> None:
    if ended.stopped:
        raise EvaluationError(
            "the evaluation was stopped", where=task.evaluate_path, next="Start it again if it is needed."
        )
    if ended.timed_out:
        raise EvaluationTimeout(
            f"evaluate.py did not end within {request.timeout_s:g} s and was killed with its children",
            where=str(log),
            next=f"Use a smaller --limit or more time. Its last output was:\n{tail(log)}",
        )
    if ended.exit_code:
        how = f"signal {-ended.exit_code}" if ended.exit_code < 0 else f"exit code {ended.exit_code}"
        raise EvaluationError(
            f"evaluate.py crashed ({how})", where=str(log), next=f"Its last output was:\n{tail(log) or '(nothing)'}"
        )


def _notes(task: Task, request: Request) -> tuple[str, ...]:
    """PostTrainBench's scripts pick the template by a family's name anywhere in the path: say if it lies there."""
    text = Path(task.evaluate_path).read_text(encoding="utf-8", errors="replace").lower()
    path = str(Path(request.model_path).absolute()).lower()
    named = [f for f in FAMILIES if f in path and re.search(rf"[\"']{f}[\"'] in", text)]
    return tuple(f"the model's path contains {f!r}: evaluate.py may take that family's template" for f in named)


def _count(raw: Mapping[str, Any], rows: list[Sample], limit: int, score: float, stderr: float | None) -> int | None:
    if rows:
        return len(rows)
    for key in _COUNT_KEYS:
        value = _number(raw.get(key))
        if value is not None and value >= 1 and value == int(value):
            return int(value)
    if limit > 0:
        return limit
    if stderr and 0 < score < 1:
        return max(1, round(score * (1 - score) / stderr**2))
    return None


def _stated(raw: Mapping[str, Any], rows: list[Sample]) -> int | None:
    """Samples, where the script itself says how many; a limit it may have ignored."""
    return _count({k: v for k, v in raw.items() if k != "limit"}, rows, 0, 0.0, None)


def _number(value: object, *, finite: bool = True) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value)
    return number if math.isfinite(number) or not finite else None


def _threads(count: int | None) -> dict[str, str]:
    # PASSIVE: on a machine that others share, threads that spin while they wait cost more than they gain.
    shared = {"OMP_WAIT_POLICY": "PASSIVE"}
    return shared if count is None else shared | {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}


def _malformed(path: Path, why: str) -> EvaluationError:
    return EvaluationError(
        f"the evaluation's output is not one JSON object: {why}",
        where=str(path),
        next='It must be like {"accuracy": 0.41, "stderr": 0.04}; correct evaluate.py.',
    )


def _unusable(key: str, why: str, path: Path) -> EvaluationError:
    return EvaluationError(
        f"the evaluation's {key!r} is {why}",
        where=str(path),
        next=f"No score was kept. Correct evaluate.py, or name another key in task.toml (metric). {SAY_SO}",
    )
