"""Publish on the Hub: a model with its card, prepared data, the run's trace, or its reproducibility pack. Always asked for."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.errors import ToolError
from core.hub.card import model_card, record_card
from core.hub.datasets import model_licence
from core.hub.hosts import endpoint
from core.hub.licences import stated_in
from core.hub.provenance import Provenance, provenance
from core.hub.push import Push, push
from core.hub.stated import data_card
from core.literature.errors import LiteratureError
from core.repro.lineage import lineage
from core.repro.pack import write_pack
from core.tools.toolbox import text, tool
from core.trace import write_trace
from core.training.trust import local_folder
from store.blobs import BlobStore

RECORDS = ("trace", "repro")
WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
"""Numbers, not words: looking for secrets in them would take minutes and find chance."""


@tool(
    {
        "repo": text("owner/name on the Hub"),
        "model": text("final (default), or a job's id", optional=True),
        "form": text("merged (default): whole weights; adapter: of a job that trained one (lora) on the base", optional=True),
        "data": text("Publish this prepared data set instead of a model", optional=True),
        "record": text("Publish instead: trace (the session, for the Hub's trace viewer) or repro (the pack that makes the model again)", optional=True),
        "visibility": text("private (default) or public", optional=True),
        "collection": text("Title of the collection to join (default: one a run); none for none", optional=True),
        "onto": text("main (default), pull-request, or the name of a branch", optional=True),
        "tag": text("Tag the commit", optional=True),
    },
    effect="keyed",
    tier="publish",
)  # fmt: skip
def publish(
    desk: Desk, repo: str, model: str | None = None, form: str | None = None, data: str | None = None, record: str | None = None,
    visibility: str | None = None, collection: str | None = None, onto: str | None = None, tag: str | None = None,
) -> object:  # fmt: skip
    """Publish a model (with a card written from the log), prepared data, the run's trace or its reproducibility pack; private unless told otherwise."""
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ToolError(f"{repo[:80]!r} is no repository", next="Say owner/name")
    if sum(map(bool, (model, data, record))) > 1:
        raise ToolError("One repository holds a model, a data set or a record", next="Publish them one after the other")
    if form not in (None, "merged", "adapter"):
        raise ToolError(f"{form[:40]!r} is no form of a model", next="Say merged or adapter")
    if visibility not in (None, "private", "public"):
        raise ToolError(f"{visibility[:40]!r} is no visibility", next="Say private or public")
    if record == "repro" and visibility == "public":
        raise ToolError(
            "A pack holds the evaluation's samples: public, they would end up in training data",
            next="Publish it private",
        )
    with tempfile.TemporaryDirectory(dir=desk.folder) as scratch:
        folder = Path(scratch) / "upload"
        if record:
            _write_record(desk, record, folder)
        else:
            adapter = form == "adapter" and not data
            source = desk.data_path(data) if data else _adapter(desk, model) if adapter else Path(desk.model_path(model or "final"))  # fmt: skip
            _copy(desk, source, folder, of=None if data else _origin(desk, model or "final"))
            if adapter:
                _name_base(folder / "adapter_config.json", desk.settings.model)
            if data:
                card = data_card(desk.state, desk.state.datasets[data])
                (folder / "README.md").write_text(card, encoding="utf-8")
        _no_secrets(desk, folder)
        made = push(
            Push(
                repo=repo, folder=str(folder), kind="dataset" if data or record else "model",
                private=visibility != "public", message=f"From run {desk.settings.run}",
                collection=_collection(desk, collection), tag=tag or "", pull_request=onto == "pull-request",
                branch="" if onto in (None, "", "main", "pull-request") else onto,
            )
        )  # fmt: skip
    where = made.pull_request or made.url
    desk.emit(e.NoteAdded(text=f"Published {record or data or model or 'final'} at {where}", kind="note"))
    return msgspec.to_builtins(made)


def _adapter(desk: Desk, model: str | None) -> Path:
    """The adapter a job saved beside its merged model. Raises ToolError where it is none that others can use."""
    job = desk.state.jobs.get(model or "")
    if job is None:
        raise ToolError("An adapter is published by the id of its job", next="Name the job that trained it as `model`")
    if str(job.config.get("model") or "base") not in ("base", desk.settings.model):
        raise ToolError(
            f"{job.id} trained on {job.config['model']}, not on the base: its adapter fits no model that others have",
            next="Publish it merged",
        )
    folder = Path(job.folder) / "adapter"
    if not (folder / "adapter_config.json").is_file():
        raise ToolError(f"{job.id} has saved no adapter", next="Publish it merged")
    return folder


def _name_base(config: Path, base: str) -> None:
    """The base by the name others know it by, not by where it lies here."""
    told = msgspec.json.decode(config.read_bytes())
    told["base_model_name_or_path"] = Path(base).name if Path(base).is_absolute() else base
    config.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2))


def _collection(desk: Desk, asked: str | None) -> str:
    if asked is None:
        return f"Run {desk.settings.run}"
    return "" if asked.lower() == "none" else asked


def _origin(desk: Desk, model: str) -> Provenance:
    """What the model was made from. The licence of a base that the log does not know is looked up, and recorded."""
    found = provenance(desk.journal.events(), model)
    base = desk.settings.model
    if found.base.licence:
        return found
    here = local_folder(base)
    licence, source = stated_in(here) if here is not None else "", str(here)
    if not licence and found.base.hub:
        try:
            licence, source = model_licence(desk.literature.web, base), f"{endpoint()}/{base}"
        except LiteratureError:
            return found  # no network: unknown, and the card says so
    if not licence:
        return found
    desk.emit(e.LicenceFound(model=base, licence=licence, source=source))
    return provenance(desk.journal.events(), model)


def _copy(desk: Desk, source: Path, folder: Path, *, of: Provenance | None) -> None:
    """The folder to upload; `of`: what the model was made from, for its card."""
    if not source.is_dir():
        raise ToolError(f"{source} is not here", next="Only a model of this run can be published")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("optimizer.pt", "checkpoint-*", "dropped.jsonl"))
    if of is not None:
        adapter = (folder / "adapter_config.json").exists()
        (folder / "README.md").write_text(model_card(desk.state, of, adapter=adapter), encoding="utf-8")


def _no_secrets(desk: Desk, folder: Path) -> None:
    """Raises ToolError where a file that is about to leave holds a secret: data and scripts were written by anybody."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in WEIGHTS]
    named = [str(p.relative_to(folder)) for p in files if desk.journal.secret_in(p)]
    if named:
        raise ToolError(
            f"{', '.join(named[:5])} would publish a secret (a token, or the value of a secret of this environment)",
            next="Nothing was uploaded. Take it out, or prepare the data without it, then publish again",
        )


def _write_record(desk: Desk, record: str, folder: Path) -> None:
    if record not in RECORDS:
        raise ToolError(f"{record[:40]!r} is no record", next="Say " + " or ".join(RECORDS))
    if record == "trace":
        folder.mkdir()
        write_trace(desk.journal.events(), folder / f"{desk.settings.run}.jsonl", BlobStore(desk.folder))
    else:
        line = lineage(desk.journal.events())
        if line is None:
            raise ToolError("No model was promoted yet: there is nothing to make again", next="Promote one first")
        write_pack(desk.folder, line, folder / "pack")
    (folder / "README.md").write_text(record_card(desk.state, record))


TOOLS = [publish]
