"""What the list of runs shows of one: a projection, kept beside the log so that listing opens none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from core.errors import InternError
from core.home import LOG_NAME, NO_SUMMARY, RunInfo, Summary, list_runs, write_json
from core.replay_index import preview
from core.session import open_source
from core.state import STATE_VERSION, RunState
from store.errors import StoreError


def summarise(s: RunState) -> Summary:
    """What the list of runs shows."""
    questions = sum(not q.answer for q in s.questions.values())
    held_out = s.scores.heldout_best is not None
    return Summary(
        state_version=STATE_VERSION, run=s.run, status=s.status, goal=s.goal, title=s.title, task=s.task, model=s.model, brain=s.brain,
        started=_iso(s.created_ts), updated=_iso(s.ts), seq=s.seq, doing=s.doing,
        baseline=s.scores.heldout_baseline if held_out else s.scores.baseline,
        best=s.scores.heldout_best if held_out else s.scores.best,
        delta=s.scores.heldout_delta, approvals=len(s.waiting_approvals()) + questions,
        spark=[x.score for x in s.evaluations.values() if x.done and x.split == "dev"],
    )  # fmt: skip


def _iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1e6, UTC).isoformat().replace("+00:00", "Z") if ts else ""


def summarised_runs() -> list[RunInfo]:
    """All runs, newest first. One that came without its summary (only the log was copied) is read once, and keeps it."""
    return [with_summary(info) for info in list_runs()]


def lacks_summary(info: RunInfo) -> bool:
    """Its folder came with the log alone, and nobody has looked into that yet."""
    return info.summary.title == NO_SUMMARY and info.host is None


def with_summary(info: RunInfo) -> RunInfo:
    """`info` with the summary that is missing, from the log's rare events; what it has stays."""
    if not lacks_summary(info):
        return info
    folder = Path(info.folder)
    key = (info.folder, _changed(folder / LOG_NAME))
    try:
        if key not in _read:
            _read[key] = _from_log(folder)
            write_json(folder / "summary.json", _read[key])
    except InternError:
        return info  # a host is just starting: it writes the summary itself
    except StoreError as error:
        title = f"(its log cannot be read: {type(error).__name__}; intern verify {info.run})"
        _read[key] = Summary(run=info.run, title=title)
    except OSError:
        pass  # a folder that cannot be written: what was read is kept here
    return RunInfo(run=info.run, folder=info.folder, summary=_read.get(key, info.summary), host=None)


_read: dict[tuple[str, float], Summary] = {}
"""By folder and time of the log: no log is read twice by a list that looks every two seconds."""


def _from_log(folder: Path) -> Summary:
    """Scores, status and approvals are rare events: a log of a million is not folded for its line in a list."""
    source = open_source(folder)
    try:
        return summarise(preview(source))
    finally:
        source.close()


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
