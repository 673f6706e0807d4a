"""What a model was made from, read out of the log: its base, every data set behind its trainings, and the licence of each.

Followed back from the model: a promotion names its source, a job the model it started from and the data it was trained on,
prepared data its sources, down to what came from outside. What the log does not say is said to be unknown, never left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from core import events as e
from store.event import Event


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Something from outside that the model was made from."""

    name: str
    """As it may be shown: a Hub id, a name in the task's folder, the last part of a path."""
    licence: str = ""
    """Empty: the log does not know it."""
    seq: int = 0
    """Event the licence stands in; 0 where it stands in none."""
    hub: bool = False
    """Whether `name` is an id of the Hub."""
    made: Literal["", "teacher", "program"] = ""
    """Rows that nobody licensed: written by another model, whose terms apply, or by a generator program."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Everything from outside that went into one model."""

    base: Origin
    data: tuple[Origin, ...] = ()
    unclear: tuple[str, ...] = ()
    """What the model stands on and the log tells nothing more about: a script's job, a model from elsewhere."""


class _Past:
    """The facts of a log that the search needs, each with its place in time."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.base = ""
        self.root = ""
        self.licences: dict[str, tuple[str, int]] = {}
        self.writers: dict[str, Literal["teacher", "program"]] = {}
        self.known_as: dict[str, str] = {}
        """Path of a file -> the data set that was fetched into it."""
        self.prepared: dict[str, list[tuple[int, e.DatasetPrepared]]] = {}
        self.launched: dict[str, tuple[int, e.JobLaunched]] = {}
        self.promoted: list[tuple[int, e.CheckpointPromoted]] = []
        for event in events:
            self._take(event.seq, e.payload_of(event))

    def _take(self, seq: int, payload: object) -> None:
        match payload:
            case e.RunCreated() as p:
                self.base = p.model
            case e.LicenceFound() as p:
                self.licences[p.model] = (p.licence, seq)
            case e.DatasetFound() as p:
                if p.licence:
                    self.licences[p.dataset] = (p.licence, seq)
                if p.made in ("teacher", "program"):
                    self.writers[p.source] = "program" if p.made == "program" else "teacher"
                elif p.source not in (p.dataset, "hub"):
                    self.known_as.setdefault(p.source, p.dataset)
            case e.DatasetInspected() as p if p.licence:
                # What a repository states stands above what a copy of some of its rows holds.
                self.licences.setdefault(p.dataset, (p.licence, seq))
            case e.DatasetPrepared() as p:
                self.prepared.setdefault(p.name, []).append((seq, p))
            case e.JobLaunched() as p:
                self.launched[p.job] = (seq, p)
                self.root = self.root or str(Path(p.folder).parents[1])
            case e.CheckpointPromoted() as p:
                self.promoted.append((seq, p))
                self.root = self.root or str(Path(p.path).parent)
            case _:
                pass


def provenance(events: Iterable[Event], model: str = "final") -> Provenance:
    """Of `final`, `base` or a job's id, as the log stands now."""
    past = _Past(events)
    data: dict[str, Origin] = {}
    unclear: list[str] = []
    seen: set[tuple[str, int]] = set()
    waiting = [(model, 1 << 62)]
    while waiting:
        name, before = waiting.pop()
        job, step = _resolve(past, name, before)
        if not job and name not in ("", "base", past.base):
            unclear.append(_shown(name))
        if step in seen or not job:
            continue
        seen.add(step)
        if job == "final":
            waiting.append((past.promoted[step[1]][1].source, past.promoted[step[1]][0]))
            continue
        seq, launched = past.launched[job]
        waiting.append((str(launched.config.get("model") or ""), seq))
        used = str(launched.config.get("data") or "")
        if not used:
            unclear.append(job)
        for origin in _sources(past, used, seq) if used else ():
            data.setdefault(origin.name, origin)
    licence, seq = past.licences.get(past.base, ("", 0))
    base = Origin(name=_shown(past.base), licence=licence, seq=seq, hub=not Path(past.base).is_absolute())
    ordered = tuple(sorted(data.values(), key=lambda o: o.name))
    return Provenance(base=base, data=ordered, unclear=tuple(sorted(set(unclear))))


def _resolve(past: _Past, name: str, before: int) -> tuple[str, tuple[str, int]]:
    """(job or "final", its key): what a model's name meant just before an event; empty for the base."""
    if name in ("final", "final_model", f"{past.root}/final_model"):
        earlier = [i for i, (seq, _) in enumerate(past.promoted) if seq < before]
        return ("final", ("final", earlier[-1])) if earlier else ("", ("", 0))
    job = name.removeprefix(f"{past.root}/jobs/").split("/")[0]
    return (job, (job, 0)) if job in past.launched else ("", ("", 0))


def _sources(past: _Past, name: str, before: int) -> list[Origin]:
    """What data of this name came from, as it was when it was used."""
    made = [(seq, p) for seq, p in past.prepared.get(name, ()) if seq < before]
    if made:
        seq, last = made[-1]
        return [origin for source in last.sources for origin in _sources(past, source, seq)]
    if name in past.writers:
        return [Origin(name=name, made=past.writers[name])]
    known = past.known_as.get(name, name)
    licence, seq = past.licences.get(known) or past.licences.get(name) or ("", 0)
    return [Origin(name=_shown(known), licence=licence, seq=seq, hub=known != name)]


def _shown(name: str) -> str:
    """Without the folders of the machine it lies on."""
    return Path(name).name if Path(name).is_absolute() or name.startswith("~") else name
