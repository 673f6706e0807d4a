"""Reading a training log of whatever origin: files of TRL and transformers, Trackio stores, jobs and runs of ours.

Files come from strangers: what cannot be read is an error that says which line and why, never a guess of "healthy".
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from core.errors import NotFound, UsageError
from core.hub.cache import hub_home
from core.python_source import literal
from core.training.log_rows import (
    LEARNS,
    Entry,
    Row,
    entry,
    in_order,
    last_training,
    number,
    with_step_times,
    with_steps,
)
from core.training.log_shapes import rows_in
from core.training.log_text import READABLE, loaded, object_in, text_of
from core.training.signs_speed import DIED, KILLED, MEMORY_SIGNS

TAIL = 20_000
_ENDED_BY_WILL = ("cancelled", "time_limit")


class Log(NamedTuple):
    """A training as read."""

    rows: list[Row]
    planned: int | None = None
    """Train steps of the plan, where the log says or implies them."""
    exit_code: int | None = None
    tail: str = ""
    ended: bool = False
    """The process is known to be over."""
    trainer: str | None = None
    time_limit_s: float | None = None
    quiet_s: float | None = None
    """Seconds since the job last gave a sign of life, where it should still be running."""
    name: str = ""
    """Which job of a run, or run of a project or of a file."""
    complete: bool = False
    """The file is all there will be of it, though it has a name."""
    notes: tuple[str, ...] = ()
    """What of the file was left out."""


def read_logs(source: Path) -> list[Log]:
    """The trainings at a path; one, except for a run of ours and a file that names several runs. Raises NotFound and UsageError."""
    if source.is_dir():
        return _read_folder(source)
    if not source.is_file():
        raise NotFound("no such file", where=str(source), next="Check the path.")
    if source.name == "log.duckdb":
        return read_run(source.parent)
    with source.open("rb") as file:
        head = file.read(16)
    if not head:
        raise UsageError("the file is empty", where=str(source), next="Was the training started?")
    if head.startswith(b"SQLite format 3"):
        return [_read_trackio(source)]
    text = text_of(source)
    if text.lstrip().startswith("{") and '"log_history"' in text:
        return [_read_state(text, source)]
    return _read_lines(text, source)


# ------------------------------------------------------------------------------------------------------------- folders


def _read_folder(folder: Path) -> list[Log]:
    """A run or a job folder of ours, an output folder of transformers, or a folder of Trackio."""
    if (folder / "log.duckdb").is_file():
        return read_run(folder)
    if (folder / "metrics.jsonl").is_file() or (folder / "exit.json").is_file():
        return [_read_job(folder)]
    states = sorted(folder.rglob("trainer_state.json"))
    if states:
        return _read_states(states, folder)
    stores = sorted(folder.glob("*.db"), key=lambda p: p.stat().st_mtime)
    if stores:
        return [_read_trackio(stores[-1])]
    return _read_files(folder)


def _read_states(states: list[Path], folder: Path) -> list[Log]:
    """Of every training below a folder its last state: a checkpoint's tells the log so far, so the longest tells most."""
    trainings: dict[Path, list[Path]] = {}
    for state in states:
        checkpoint = _CHECKPOINT.fullmatch(state.parent.name)
        trainings.setdefault(state.parent.parent if checkpoint else state.parent, []).append(state)
    logs: list[Log] = []
    for place, found in trainings.items():
        newest = sorted(found, key=_steps_of)[-2:]  # the last checkpoint's, and what was saved beside the checkpoints
        log = max(
            (_read_state(text_of(one), one) for one in newest), key=lambda log: log.rows[-1][0] if log.rows else 0
        )
        name = str(place.relative_to(folder)) if len(trainings) > 1 else ""
        logs.append(log._replace(name="(this folder)" if name == "." else name, complete=True))
    told = [log for log in logs if log.rows]
    return told or logs[:1]


_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def _steps_of(state: Path) -> float:
    numbered = _CHECKPOINT.fullmatch(state.parent.name)
    return int(numbered[1]) if numbered else math.inf


def _read_files(folder: Path) -> list[Log]:
    """The logs that lie in a folder, whatever else is there."""
    endings = (".jsonl", ".log", ".json", ".csv", ".txt", ".out", ".gz")
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in endings)
    if len(files) == 1:
        return read_logs(files[0])
    logs: list[Log] = []
    for file in files[:MOST_FILES]:
        try:
            found = read_logs(file)
        except UsageError:
            continue  # a configuration, a list of samples: not every file of a folder is a log
        logs += [log._replace(name=log.name or file.name, complete=True) for log in found if _is_log(log)]
    if not logs:
        seen = f" (it holds {', '.join(p.name for p in files[:5])})" if files else ""
        raise NotFound(
            f"no training log, no metrics.jsonl and no trainer_state.json{seen}", where=str(folder),
            next="Give the log file itself.",
        )  # fmt: skip
    return logs if len(logs) > 1 else [logs[0]._replace(name="")]


MOST_FILES = 50
"""Files of a folder that are tried as logs."""


def _is_log(log: Log) -> bool:
    return any(name in values for _, values in log.rows for name in LEARNS) or crashed(log.tail)


def _read_job(folder: Path) -> Log:
    code, ended = _exit(folder)
    spec = _spec(folder)
    kind, limit = spec.get("kind"), spec.get("time_limit_s")
    log = Log([])
    if (folder / "metrics.jsonl").is_file() and (folder / "metrics.jsonl").stat().st_size:
        log = _read_lines(text_of(folder / "metrics.jsonl"), folder / "metrics.jsonl", strict=not ended)[0]
    tail = folder / "log.txt"
    said = tail.read_bytes()[-TAIL:].decode("utf-8", "replace") if tail.is_file() else ""
    planned = spec.get("max_steps")
    return log._replace(
        exit_code=code,
        ended=ended,
        tail=said,
        trainer=kind if isinstance(kind, str) else None,
        planned=log.planned or (planned if isinstance(planned, int) and planned > 0 else None),
        time_limit_s=float(limit) if isinstance(limit, int | float) else None,
        quiet_s=None if ended else _silence(folder),
    )


def _silence(folder: Path) -> float | None:
    beat = folder / "heartbeat"
    return max(time.time() - beat.stat().st_mtime, 0.0) if beat.is_file() else None


def _exit(folder: Path) -> tuple[int | None, bool]:
    path = folder / "exit.json"
    if not path.is_file():
        return (0, True) if _has_result(folder / "metrics.jsonl") else (None, False)
    end = object_in(text_of(path), path)
    code, signal = end.get("exit_code"), end.get("signal")
    if end.get("reason") in _ENDED_BY_WILL:
        return 0, True  # ended by someone's will: that is no failure of the training
    return (code if isinstance(code, int) else -signal if isinstance(signal, int) else None), True


def _has_result(stream: Path) -> bool:
    """Whether the training wrote its last line: it ended by itself, though no supervisor says so."""
    if not stream.is_file():
        return False
    with stream.open("rb") as file:
        file.seek(max(stream.stat().st_size - 4096, 0))
        return b'"kind": "result"' in file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]


def _spec(folder: Path) -> dict[str, Any]:
    path = folder / "spec.json"
    return object_in(text_of(path), path) if path.is_file() else {}


def read_run(folder: Path) -> list[Log]:
    """The trainings of a run of ours, from its event log."""
    from core.session import open_source  # the store is heavy, and a plain log file needs none of it

    source = open_source(folder)
    try:
        logs: dict[str, Log] = {}
        kept: dict[str, list[Entry]] = {}
        wanted = ("job_launched", "metric_logged", "job_finished", "job_failed", "job_cancelled")
        for event in source.events(1, None):
            if event.type not in wanted:
                continue
            payload = msgspec.json.decode(event.payload, type=dict[str, Any])
            job = str(payload.get("job"))
            if event.type == "job_launched" and payload.get("kind") in ("training", "script"):
                config = cast(dict[str, Any], payload.get("config") or {})
                limit, method = config.get("time_limit_s"), payload.get("method")
                trainer = None if method == "script" else method  # a script's is seen by what it logs
                logs[job] = Log([], payload.get("planned_steps"), trainer=trainer, name=job,
                                time_limit_s=limit if isinstance(limit, int | float) else None)  # fmt: skip
            elif job in logs:
                if event.type == "metric_logged":
                    if (row := entry({k: v for k, v in payload.items() if k != "job"})) is not None:
                        kept.setdefault(job, []).append(row)
                elif event.type == "job_failed":
                    code = payload.get("exit_code")
                    logs[job] = logs[job]._replace(ended=True, exit_code=code, tail=str(payload.get("log_tail") or ""))
                else:
                    logs[job] = logs[job]._replace(ended=True, exit_code=0)
    finally:
        source.close()
    told = {
        job: log
        for job, log in logs.items()
        if any(row.of_training for row in kept.get(job, []))
        or (log.trainer and (kept.get(job) or (log.ended and log.exit_code != 0)))
    }
    if not told:
        raise UsageError("no train step in this run yet", where=str(folder), next="See intern state.")
    return [_finished(log, kept.get(job, [])) for job, log in told.items()]


# --------------------------------------------------------------------------------------------------------------- files


def _read_state(text: str, source: Path) -> Log:
    try:
        state = object_in(text, source)
    except UsageError:
        whole = rows_in("[" + text.partition('"log_history"')[2].partition("[")[2])
        if not whole:
            raise
        state = {"log_history": whole}
    history = state.get("log_history")
    if not isinstance(history, list):
        raise UsageError("log_history is no list", where=str(source), next="Give a trainer_state.json of transformers.")
    entries = [row for raw in cast(list[Any], history) if (row := entry(raw)) is not None]
    planned = state.get("max_steps")
    return _finished(Log([], planned if isinstance(planned, int) and planned > 0 else None), entries)


_PLAN = ("max_steps", "total_steps", "num_training_steps", "planned_steps")
_BAR = re.compile(r"(:\s*)?(?:\d+%\|[^|]*\|\s*)?(\d+)/(\d+) \[\d+:\d+")
"""A progress bar of tqdm: ` 30%|###   | 30/100 [00:12<00:28, ...`, with what a name before it leaves: `Loading weights: `."""


def _bars(line: str) -> list[tuple[int, int]]:
    """(done, total) of each bar in a line that can be the training's: transformers' Trainer gives its own no name, as the
    loading of weights and the mapping of data have."""
    return [(int(done), int(total)) for named, done, total in _BAR.findall(line) if not named]


def _read_lines(text: str, source: Path, strict: bool = True) -> list[Log]:
    """JSON lines, or a console log in which the trainer printed its rows as Python dicts; else any other shape of rows."""
    entries: list[Entry] = []
    runs: list[str] = []  # of which run each entry is, where the file says it
    planned: int | None = None
    bar = 0  # train steps by the progress bar before the row
    said: list[tuple[int, str]] = []  # other lines since the last row, with their numbers
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    for at, line in enumerate(lines, 1):
        if not line:
            continue
        raw = _parse(line)
        if raw is None:
            said.append((at, line))
            bars = _bars(line)
            totals = [total for _, total in bars if total > 1]
            planned = planned or (totals[-1] if totals and not entries else None)
            bar = next((done for done, total in reversed(bars) if total == planned), bar)
            continue
        steps = next((raw[n] for n in _PLAN if isinstance(raw.get(n), int) and raw[n] > 0), None)
        planned = steps or planned
        row = entry(raw)
        if row is not None:
            beside = _bars(line)  # a bar often ends where the row begins, in one line
            bar = next((done for done, total in reversed(beside) if total == planned), bar)
            entries.append(row._replace(step=bar) if row.step is None and bar and row.of_training else row)
            runs.append(next((str(raw[n]) for n in _RUNS if isinstance(raw.get(n), str | int)), ""))
            said.clear()  # what was survived is no end
        elif any(isinstance(raw.get(n), str) for n in ("error", "exception", "traceback")):
            said.append((at, next(str(raw[n]) for n in ("traceback", "error", "exception") if raw.get(n))))
    tail = "\n".join(line for _, line in said)[-TAIL:]
    if len(entries) < 2:  # a document in one line parses as a row too
        other = [row for raw in rows_in(text) if (row := entry(raw)) is not None]
        entries = other if len(other) > len(entries) else entries
        runs = runs if entries is not other else [""] * len(other)
    if strict and not entries and said and not crashed(tail):
        _complain(*said[0], text, source)
    if planned and entries and not bar and all(row.step is None for row in entries) and not _has_end(entries):
        planned = None  # rows that are merely counted cannot be held against a plan in train steps
    names = list(dict.fromkeys(runs))
    if len(names) < 2:
        return [_finished(Log([], planned, tail=tail), entries)]
    return [
        _finished(
            Log([], planned, name=name, complete=True), [e for e, of in zip(entries, runs, strict=True) if of == name]
        )
        for name in names
    ]


_RUNS = ("run", "run_id", "run_name")


def _has_end(entries: list[Entry]) -> bool:
    return any("train_runtime" in row.values for row in entries)


def crashed(tail: str) -> bool:
    """The text says by itself that the process died."""
    return any(sign.search(tail) for sign in (DIED, KILLED, MEMORY_SIGNS))


def _complain(at: int, line: str, text: str, source: Path) -> None:
    if re.match(r"\s*\[\s*[\[{\d\"\]]", text):
        loaded(text, source)
        return  # a list, and nothing in it is a row
    what = f"line {at} is no JSON object: {line[:60]!r}"
    if line.startswith(("{", "[")):
        what = f"line {at} is cut off or no valid JSON: {line[:60]!r}"
    raise UsageError(what, where=str(source), next=READABLE)


_BARE = re.compile(r"(?<=[\s:,\[({])(-?)(nan|inf|NaN|Infinity)(?=[\s,})\]])")
_TENSOR = re.compile(r"(?:tensor|np\.float\d+|array)\((-?[\w.+-]+)[^)]*\)")


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
            value = literal(_BARE.sub(r"'\1\2'", _TENSOR.sub(r"\1", body)))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def _read_trackio(source: Path) -> Log:
    """The newest run in Trackio's SQLite store. TRL's own step is in the metrics; Trackio's counts log calls."""
    try:
        with sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True) as database:
            runs = database.execute("select run_name, max(timestamp) from metrics group by run_name").fetchall()
            if not runs:
                raise UsageError("no run in it", where=str(source), next="Was anything logged?")
            newest = max(runs, key=lambda r: str(r[1]))[0]
            query = "select step, timestamp, metrics from metrics where run_name = ? order by step, timestamp"
            stored = database.execute(query, (newest,)).fetchall()
    except sqlite3.Error as error:
        raise UsageError(
            f"no Trackio store: {error}", where=str(source), next="Give <TRACKIO_DIR>/<project>.db."
        ) from error
    entries: list[Entry] = []
    for step, at, blob in stored:
        metrics = _parse(blob.decode("utf-8", "replace") if isinstance(blob, bytes) else str(blob)) or {}
        own = number(metrics.get("train/global_step"))
        row = entry({"step": step if own is None else own, "timestamp": at, "values": metrics})
        if row is not None:
            entries.append(row)
    others = (f"the newest of {len(runs)} runs, {newest}; the others are left out",) if len(runs) > 1 else ()
    return _finished(Log([], name=str(newest), notes=others), entries)


def trackio_store(project: str) -> Path | None:
    """The local store of a Trackio project named by a bare word."""
    if not re.fullmatch(r"[\w.-]+", project):
        return None
    named = os.environ.get("TRACKIO_DIR")
    homes = [Path(named)] if named else []
    return next((p for home in [*homes, hub_home() / "trackio"] if (p := home / f"{project}.db").is_file()), None)


# ---------------------------------------------------------------------------------------------------------------- ends


def _finished(log: Log, entries: list[Entry]) -> Log:
    """The log with rows in order, every row with a step, and the plan as far as it can be known."""
    told = in_order(with_steps(entries, log.planned))
    rows = with_step_times(last_training(told))
    planned = log.planned or _implied_plan(rows)
    left = len(told) - len(rows)
    notes = (
        (f"{left} rows of an earlier training, or of train steps made again after a restart, are left out",)
        if left
        else ()
    )
    return log._replace(rows=[(row.step or 0, row.values) for row in rows], planned=planned, notes=log.notes + notes)


def _implied_plan(rows: list[Entry]) -> int | None:
    """The planned steps from the end row, or from a learning rate on its way down to 0 in a straight line."""
    if not rows:
        return None
    last = max(row.step or 0 for row in rows)
    if any("train_runtime" in row.values for row in rows):
        return last or None
    rates = [(row.step or 0, row.values["learning_rate"]) for row in rows if "learning_rate" in row.values]
    if len(rates) >= 6:
        (a, high), (m, middle), (b, low) = rates[len(rates) // 2], rates[3 * len(rates) // 4], rates[-1]
        if high > middle > low >= 0 and b > m > a:
            first, second = (high - middle) / (m - a), (middle - low) / (b - m)
            if abs(first - second) < 0.02 * first:
                return max(round(b + low / second), last)
    return None
