"""`intern diagnose FILE`: the detectors over any training log, offline.

Reads a job folder or metrics.jsonl of ours, trainer_state.json of a checkpoint (or the output folder that holds one),
any TRL log of JSON lines (one dict a line, or the printed Python dicts of a console log), and Trackio's .db. Files come
from strangers: what cannot be read is an error that says which line and why, never a guess of "healthy".
"""

from __future__ import annotations

import ast
import json
import math
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

from core.compute.watch import as_number
from core.errors import NotFound, UsageError
from core.training.detectors import Watch
from core.training.diagnosis import Diagnosis, diagnosis

Row = tuple[int, dict[str, float]]
_LOG_TAIL = 20_000
_READABLE = "Give JSON lines, trainer_state.json, a Trackio .db or a job folder."
_KNOWN = ("loss", "train_loss", "eval_loss", "reward", "rewards/", "dev_score", "grad_norm")
_PREFIXES = ("train/", "eval/")


class Log(NamedTuple):
    """A training as read from a file."""

    rows: list[Row]
    planned: int | None = None
    exit_code: int | None = None
    tail: str = ""
    ended: bool = False
    trainer: str | None = None


def diagnose_file(path: str | Path, trainer: str | None = None) -> Diagnosis:
    """The verdict on the training at `path`. `trainer`: grpo, sft, dpo, ...; guessed from the metrics by default.

    Raises NotFound (no such file) and UsageError (nothing to diagnose in it).
    """
    source = Path(path).expanduser()
    log = _read(source)
    if not log.rows and not log.ended:
        raise UsageError("no train step in it", where=str(source), next="Give a log with `step` and metrics.")
    if not log.ended and not any(name.startswith(_KNOWN) for _, values in log.rows for name in values):
        seen = ", ".join(sorted({name for _, values in log.rows for name in values})[:5])
        raise UsageError(f"no loss and no reward among its metrics ({seen})", where=str(source), next=_READABLE)
    method = (trainer or log.trainer or guess_trainer(log.rows)).lower()
    watch = Watch(method, log.planned)
    for step, values in log.rows:
        watch.feed(step, values)
    if log.ended:
        watch.finish(log.exit_code, log.tail)
    return diagnosis(watch.findings, trainer=method, steps=watch.history.last_step, source=str(source))


def guess_trainer(rows: Iterable[Row]) -> str:
    """The method, from the names of its metrics."""
    names = {name for _, values in rows for name in values}
    if "rewards/chosen" in names or "rewards/accuracies" in names:
        return "dpo"
    if names & {"reward", "frac_reward_zero_std", "completions/mean_length"}:
        return "grpo"
    return "reward" if names & {"min_reward", "max_reward", "margin"} else "sft"


def _read(source: Path) -> Log:
    if source.is_dir():
        return _read_folder(source)
    if not source.is_file():
        raise NotFound("no such file", where=str(source), next="Check the path.")
    head = source.open("rb").read(16)
    if not head:
        raise UsageError("the file is empty", where=str(source), next="Was the training started?")
    if head.startswith(b"SQLite format 3"):
        return _read_trackio(source)
    text = _text(source)
    if text.lstrip().startswith("{") and '"log_history"' in text:
        return _read_state(text, source)
    return _read_lines(text, source)


def _read_folder(folder: Path) -> Log:
    """A job folder of ours, or the newest trainer_state.json below."""
    if (folder / "metrics.jsonl").is_file():
        log = _read_lines(_text(folder / "metrics.jsonl"), folder / "metrics.jsonl")
        code, ended = _exit(folder)
        tail = folder / "log.txt"
        said = tail.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace") if tail.is_file() else ""
        return log._replace(exit_code=code, ended=ended, tail=said, trainer=_kind(folder))
    if (folder / "exit.json").is_file():
        code, ended = _exit(folder)
        said = (folder / "log.txt").read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
        return Log([], exit_code=code, ended=ended, tail=said, trainer=_kind(folder))
    states = sorted(folder.rglob("trainer_state.json"), key=lambda p: p.stat().st_mtime)
    if states:
        return _read_state(_text(states[-1]), states[-1])
    raise NotFound("no metrics.jsonl and no trainer_state.json", where=str(folder), next="Give the log file itself.")


def _exit(folder: Path) -> tuple[int | None, bool]:
    path = folder / "exit.json"
    if not path.is_file():
        return None, False
    end = _object(_text(path), path)
    code, number = end.get("exit_code"), end.get("signal")
    if end.get("reason") in ("cancelled", "time_limit"):
        return 0, True  # ended by someone's will: that is no failure of the training
    return (code if isinstance(code, int) else -number if isinstance(number, int) else None), True


def _kind(folder: Path) -> str | None:
    path = folder / "spec.json"
    kind = _object(_text(path), path).get("kind") if path.is_file() else None
    return kind if kind in ("sft", "grpo", "dpo", "reward") else None


def _read_state(text: str, source: Path) -> Log:
    state = _object(text, source)
    history = state.get("log_history")
    if not isinstance(history, list):
        raise UsageError("log_history is no list", where=str(source), next="Give a trainer_state.json of transformers.")
    rows = [row for entry in cast(list[Any], history) if (row := _row(entry)) is not None]
    planned = state.get("max_steps")
    return Log(rows, planned if isinstance(planned, int) and planned > 0 else None)


def _read_lines(text: str, source: Path) -> Log:
    """JSON lines, or a console log in which TRL printed its rows as Python dicts."""
    if text.lstrip().startswith("["):
        return _read_list(text, source)
    rows: list[Row] = []
    planned: int | None = None
    broken: list[int] = []
    lines = [line.strip() for line in text.splitlines()]
    counter = 0
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        entry = _parse(line)
        if entry is None:
            broken.append(number)
            continue
        if entry.get("kind") == "plan":
            steps = entry.get("max_steps")
            planned = steps if isinstance(steps, int) and steps > 0 else planned
            continue
        counter += 1
        row = _row(entry, counter)
        if row is not None:
            rows.append(row)
    _complain(rows, broken, lines, source)
    return Log(rows, planned)


def _read_list(text: str, source: Path) -> Log:
    """log_history alone, saved as one JSON list."""
    try:
        entries: Any = json.loads(text)
    except json.JSONDecodeError as error:
        what = f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise UsageError(what, where=str(source), next=_READABLE) from error
    return Log([row for entry in cast(list[Any], entries) if (row := _row(entry)) is not None])


def _complain(rows: list[Row], broken: list[int], lines: list[str], source: Path) -> None:
    """A console log has other lines between its rows; a file of JSON with nothing but damage is an error."""
    if rows or not broken:
        return
    last = lines[broken[0] - 1]
    what = f"line {broken[0]} is no JSON object: {last[:60]!r}"
    if last.startswith(("{", "[")):
        what = f"line {broken[0]} is cut off or no valid JSON: {last[:60]!r}"
    raise UsageError(
        what, where=str(source), next="Give JSON lines, trainer_state.json, a Trackio .db or a job folder."
    )


_BARE = re.compile(r"(?<=[\s:,\[])(-?)(nan|inf|NaN|Infinity)(?=[\s,}\]])")


def _parse(line: str) -> dict[str, Any] | None:
    """A JSON object (NaN and Infinity literals allowed), or a printed Python dict; None for any other text."""
    start, end = line.find("{"), line.rfind("}")
    if start < 0 or end < start:
        return None
    body = line[start : end + 1]
    try:
        value: Any = json.loads(body)
    except (json.JSONDecodeError, RecursionError):
        try:
            value = ast.literal_eval(_BARE.sub(r"'\1\2'", body))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-Infinity": -math.inf, "-NaN": math.nan}
_NOT_METRICS = ("step", "global_step", "_step", "ts", "timestamp", "_timestamp", "kind")


def _row(entry: Any, fallback: int | None = None) -> Row | None:
    """(step, values) of one logged dict, whatever its layout; None if it holds no metrics."""
    if not isinstance(entry, dict):
        return None
    fields = cast(dict[str, Any], entry)
    if "kind" in fields and fields["kind"] != "metric":
        return None
    nested = fields.get("values") or fields.get("metrics")
    metrics = cast(dict[str, Any], nested) if isinstance(nested, dict) else fields
    values: dict[str, float] = {}
    for name, raw in metrics.items():
        number = _WORDS[raw] if isinstance(raw, str) and raw in _WORDS else as_number(raw)
        if number is not None and name not in _NOT_METRICS and not name.startswith("profiling/"):
            values[_plain(name)] = number
    step = next((s for n in _NOT_METRICS[:3] if (s := as_number(fields.get(n, metrics.get(n)))) is not None), fallback)
    if step is None or not values or not math.isfinite(step):
        return None
    return int(step), values


def _plain(name: str) -> str:
    """Without the prefix that reporters add: `train/loss` is loss, `eval/loss` is eval_loss."""
    if name.startswith("train/"):
        return name[6:]
    return f"eval_{name[5:]}" if name.startswith("eval/") else name


def _read_trackio(source: Path) -> Log:
    """The newest run in Trackio's SQLite store. TRL's own step is in the metrics; Trackio's counts log calls."""
    try:
        with sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True) as database:
            runs = database.execute("select run_name, max(timestamp) from metrics group by run_name").fetchall()
            if not runs:
                raise UsageError("no run in it", where=str(source), next="Was anything logged?")
            newest = max(runs, key=lambda r: str(r[1]))[0]
            query = "select step, metrics from metrics where run_name = ? order by step, timestamp"
            stored = database.execute(query, (newest,)).fetchall()
    except sqlite3.Error as error:
        raise UsageError(
            f"no Trackio store: {error}", where=str(source), next="Give <TRACKIO_DIR>/<project>.db."
        ) from error
    rows: list[Row] = []
    for step, blob in stored:
        metrics = _parse(blob.decode("utf-8", "replace") if isinstance(blob, bytes) else str(blob)) or {}
        own = as_number(metrics.get("train/global_step"))
        row = _row({"step": step if own is None else own, "values": metrics})
        if row is not None:
            rows.append(row)
    return Log(rows)


def _object(text: str, source: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        what = f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise UsageError(
            what, where=str(source), next="The file may have been cut off while it was written."
        ) from error
    if not isinstance(value, dict):
        raise UsageError("no JSON object", where=str(source), next="Give a trainer_state.json or JSON lines.")
    return cast(dict[str, Any], value)


def _text(source: Path) -> str:
    """UTF-8 (a byte order mark is dropped), UTF-16 with a mark; binary content is an error."""
    data = source.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\x00" in data[:4096]:
        raise UsageError(
            "a binary file", where=str(source), next="Give JSON lines, trainer_state.json or a Trackio .db."
        )
    return data.decode("utf-8-sig", "replace")
