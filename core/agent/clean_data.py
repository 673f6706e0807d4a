"""Before a training starts: is its data free of the evaluation's samples?

A verdict is bound to the SHA-256 of the rows trained on. Data whose bytes were judged before (by a preparation that takes
leaked rows out, or by an earlier look) is not read again; anything else, whoever wrote it, is compared here. Where
samples are in it the job is refused unless a person says so, for these very bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core import events as e
from core.agent.patience import Deferred
from core.data.reading import file_format
from core.errors import InternError, ToolError
from store.sealer import digest_file

if TYPE_CHECKING:
    from core.agent.desk import Desk
    from core.state import ContaminationVerdict

CLEAN = "prepare_data takes leaked rows out (drop_contaminated, the default): prepare this data again and train on the result (a file of the workspace: delete it)"


class Contaminated(ToolError):
    """The data holds evaluation samples, and no person allowed a training on it."""

    kind = "refused"


def evaluation_texts(desk: Desk) -> list[str]:
    """The strings of the evaluation's samples; only the contamination check may see them."""
    from core.data.contamination import evaluation_strings

    files = [*desk.task.eval_text_files, desk.task.evaluate_path, *([desk.task.dev_file] if desk.task.dev_file else [])]
    return evaluation_strings(dict.fromkeys(files))


def train_digest(folder: Path) -> str:
    """SHA-256 of the rows a training reads."""
    try:
        return digest_file(folder / "train.jsonl")
    except OSError as error:
        raise ToolError(
            f"The training rows cannot be read: {error.strerror}",
            where=str(error.filename),
            next="Use prepare_data first",
        ) from error


def vouch(desk: Desk, name: str, folder: Path, rows: int, against: int, uncompared: int) -> None:
    """Record that leaked rows were taken out of this data as it was made; `uncompared` pairs were not looked at."""
    desk.emit(
        e.ContaminationChecked(
            dataset=name, against=against, rows=rows, overlapping=0, digest=train_digest(folder), uncompared=uncompared
        )
    )


def admit_data(desk: Desk, folder: Path) -> None:
    """Return if a training on `folder` may start. Raises Contaminated where a person, or nobody, says so."""
    digest = train_digest(folder)
    try:
        _admit(desk, folder / "train.jsonl", folder.name, digest)
    except InternError as error:
        if isinstance(error, Contaminated):
            raise
        raise ToolError(f"The data cannot be compared with the evaluation: {error}", next=CLEAN) from error


def admit_workspace(desk: Desk) -> None:
    """Return if a script may start that can read all of the workspace: every file of rows in it is judged as training data is.

    What cannot be opened as rows (settings, results in a form of their own) is no training data. Raises Contaminated.
    """
    workspace = desk.folder / "workspace"
    for path in sorted(p for p in workspace.rglob("*") if p.is_file() and not p.is_symlink() and file_format(p)):
        with contextlib.suppress(_NoRows):
            _admit(desk, path, str(path.relative_to(workspace)), digest_file(path))


class _NoRows(InternError):
    """The file holds no rows that can be read."""


def _admit(desk: Desk, path: Path, name: str, digest: str) -> None:
    verdict = desk.state.contamination.get(digest) or _look(desk, path, name, digest)
    if verdict is not None and verdict.overlapping:
        _ask(desk, name, digest, verdict)


def _look(desk: Desk, path: Path, name: str, digest: str) -> ContaminationVerdict | None:
    """Compare and record; None where the evaluation's samples are not known (then nothing can be said)."""
    from core.data.contamination import check_data
    from core.data.files import open_data

    texts = evaluation_texts(desk)
    if not texts:
        return None
    try:
        with open_data(path) as data:
            found = check_data(data, texts)
    except InternError as error:
        raise _NoRows(str(error), where=str(path)) from error
    desk.emit(
        e.ContaminationChecked(
            dataset=name, against=found.samples, rows=found.checked, overlapping=found.contaminated,
            kinds=found.kinds, examples=[f.span for f in found.findings[:3]] if found.contaminated else [], digest=digest,
            uncompared=found.uncompared,
        )
    )  # fmt: skip
    return desk.state.contamination[digest]


def _ask(desk: Desk, name: str, digest: str, verdict: ContaminationVerdict) -> None:
    leaked = f"{verdict.overlapping} of {verdict.rows} rows of {name} hold samples of the evaluation"
    if desk.settings.unattended:
        raise Contaminated(f"{leaked}, and nobody is here to allow a training on them", next=CLEAN)
    approval = approval_of(digest)
    arguments: dict[str, Any] = {
        "data": name, "digest": digest, "rows": verdict.rows, "contaminated": verdict.overlapping,
    }  # fmt: skip
    if not desk.asked(approval):
        bound = hashlib.sha256(msgspec.json.encode(arguments, order="sorted")).hexdigest()
        desk.emit(
            e.ApprovalRequested(
                approval=approval, call=desk.call, tool="train_on_contaminated", arguments=arguments,
                arguments_hash=bound, tier="workspace",
                reason=f"{leaked}: a score of what is trained on them says little about new samples",
            )
        )  # fmt: skip
    if not desk.decided(approval, desk.call):
        raise Deferred(approval)
    decided = desk.state.approvals[approval]
    if decided.decision != "approved":
        why = decided.why or (
            "edited: only a plain yes lets it through" if decided.decision == "edited" else "no reason given"
        )
        raise Contaminated(f"{leaked}, and a person said no ({why})", next=CLEAN)


def approval_of(digest: str) -> str:
    """The approval that lets a training on the data with this digest start."""
    return f"approval-data-{digest[:16]}"
