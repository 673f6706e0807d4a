"""`intern diagnose FILE`: the detectors over any training log, offline.

What can be read stands in `log_files`. A run of ours has several trainings: each is diagnosed, its findings name the job,
and the run is called failing if one of them is.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from core.errors import NotFound, UsageError
from core.home import find_run
from core.training.detectors import Watch
from core.training.diagnosis import Diagnosis, Finding, diagnosis
from core.training.log_files import READABLE, Log, crashed, read_logs, trackio_store
from core.training.log_rows import guess_trainer

_KNOWN = ("loss", "train_loss", "eval_loss", "reward", "rewards/", "dev_score", "grad_norm", "objective/")

ENOUGH_ROWS = 8
"""Below them most detectors cannot say anything, and "healthy" means little."""


def diagnose_file(path: str | Path, trainer: str | None = None) -> Diagnosis:
    """The verdict on the training at `path` (a file, a folder, a Trackio project or a run). `trainer`: grpo, sft, dpo, ...;
    guessed from the metrics by default.

    Raises NotFound (no such file) and UsageError (nothing to diagnose in it).
    """
    source = locate(str(path))
    try:
        logs = read_logs(source)
    except OSError as error:
        raise NotFound(
            f"it cannot be read: {error.strerror or error}", where=str(source), next="Check its rights."
        ) from error
    verdicts = [_diagnose(log, source, trainer) for log in logs]
    if len(verdicts) == 1:
        return verdicts[0]
    found = tuple(f for verdict in verdicts for f in verdict.findings)
    return Diagnosis(
        verdict="failing" if any(v.verdict == "failing" for v in verdicts) else "healthy",
        findings=tuple(sorted(found, key=lambda f: f.severity != "failing")),
        trainer=", ".join(dict.fromkeys(v.trainer for v in verdicts)),
        steps=sum(v.steps for v in verdicts),
        source=str(source),
        notes=tuple(note for v in verdicts for note in v.notes),
    )


def locate(named: str) -> Path:
    """Where the log is: a path, a Trackio project of this machine, or a run (id, prefix, `last`)."""
    source = Path(named).expanduser()
    if source.exists() or os.sep in named or source.suffix:
        return source
    store = trackio_store(named)
    try:
        run = find_run(named)
    except (NotFound, UsageError) as error:
        if store is not None:
            return store
        raise NotFound("no such file, Trackio project or run", where=named, next=READABLE) from error
    # a run's id is nobody's project, also where a project is called like that; a part of an id may be
    return store if store is not None and run.name != named else run


def _diagnose(log: Log, source: Path, trainer: str | None) -> Diagnosis:
    finished = any("train_runtime" in values for _, values in log.rows)
    ended = log.ended or (crashed(log.tail) and not finished)
    if not log.rows and not ended and not log.name:
        raise UsageError("no train step in it", where=str(source), next="Give a log with `step` and metrics.")
    if log.rows and not ended and not any(name.startswith(_KNOWN) for _, values in log.rows for name in values):
        seen = ", ".join(sorted({name for _, values in log.rows for name in values})[:5])
        raise UsageError(f"no loss and no reward among its metrics ({seen})", where=str(source), next=READABLE)
    method = (trainer or log.trainer or guess_trainer(log.rows)).lower()
    watch = Watch(method, log.planned, time_limit_s=log.time_limit_s)
    for step, values in log.rows:
        watch.feed(step, values)
    if log.planned is None and (log.complete or not log.name):
        watch.take_as_complete()
    watch.settle()
    if ended:
        watch.finish(log.exit_code, log.tail)
    elif log.quiet_s is not None:
        watch.quiet(log.quiet_s)
    found = [_of(log, finding) for finding in watch.findings]
    few = watch.history.rows < ENOUGH_ROWS and not any(f.severity == "failing" for f in found)
    notes = (*log.notes, *([f"{watch.history.rows} rows are too few to tell more than a crash"] if few else []))
    if not few and not any(f.severity == "failing" for f in found) and _base_is_hidden(watch):
        notes = (*notes, HIDDEN)
    return diagnosis(found, trainer=method, steps=watch.history.last_step, source=str(source), notes=notes)


HIDDEN = (
    "the first train step is not in the log: whether the first updates broke the model can be seen only where they broke most "
    "of it. Log it (logging_first_step=True), or a score of the base"
)


def _base_is_hidden(watch: Watch) -> bool:
    """A training on a loss of which nothing shows how good the model was before."""
    loss, held = watch.history.get("loss"), watch.history.get("eval_loss")
    scored = watch.history.get("dev_score")
    early = any(len(series) and series.steps[0] == 0 for series in (held, scored))
    return watch.method in ("sft", "dpo") and len(loss) > 0 and loss.steps[0] > 1 and not early


def _of(log: Log, finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, job=log.name) if log.name else finding
