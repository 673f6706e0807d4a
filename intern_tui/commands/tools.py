"""Commands that need no run: diagnose a log, search recipes, list tasks, look at the machine."""

from __future__ import annotations

import argparse

import msgspec


def diagnose(a: argparse.Namespace) -> int:
    """Say what is wrong with any TRL log."""
    from core.training.diagnose_file import diagnose_file

    found = diagnose_file(a.file, trainer=a.trainer)
    if a.json:
        print(msgspec.json.encode(msgspec.to_builtins(found)).decode())
        return 0
    print(f"{found.verdict}: {found.trainer or 'unknown trainer'}, {found.steps} train steps")
    for note in found.notes:
        print(f"  note      {note}")
    for f in found.findings:
        job = f"{f.job}: " if f.job else ""
        print(
            f"\n{job}{f.severity}: {f.kind.replace('_', ' ')} from step {f.first_step} (confidence {f.confidence:.2f})"
        )
        for line in f.evidence:
            print(f"  evidence  {line}")
        for line in f.causes[:3]:
            print(f"  cause     {line}")
        for remedy in f.remedies[:4]:
            print(f"  remedy    {remedy.text}" + (f" ({remedy.source})" if remedy.source else ""))
    return 0


def recipes(a: argparse.Namespace) -> int:
    """Search the recipe library; a card's id shows the card."""
    from core.errors import NotFound
    from core.literature import recipes as library
    from core.literature.card import load_cards
    from core.literature.card_text import card_lines

    query = " ".join(a.query)
    named = [card for card in load_cards() if card.id == query]
    if query:
        cards = named or [m.card for m in library.search(query, limit=20)]
    else:
        cards = sorted(load_cards(), key=lambda c: c.id)
    if a.json:
        print(msgspec.json.encode([msgspec.to_builtins(c) for c in cards]).decode())
        return 0
    if named:
        print("\n".join(card_lines(named[0])))
        return 0
    if not cards:
        raise NotFound(
            f"no recipe card on {query!r}", where="recipe library", next="`intern recipes` lists all of them."
        )
    for card in cards:
        print(f"{card.id:<26} {card.year}  {card.method:<8} {card.title}")
        if query:
            print(f"{'':<26} {card.when}")
    if query:
        print(f"\nA whole card: intern recipes {cards[0].id}")
    return 0


def tasks(a: argparse.Namespace) -> int:
    """The tasks that come along."""
    from core.tasks import list_tasks

    found = list_tasks()
    if a.json:
        print(
            msgspec.json.encode(
                [{"task": f"pocket/{t.path.rsplit('/', 1)[-1]}", "description": t.description} for t in found]
            ).decode()
        )
        return 0
    for t in found:
        print(f"pocket/{t.path.rsplit('/', 1)[-1]:<12} {t.description}")
    return 0


def doctor(a: argparse.Namespace) -> int:
    """What is missing on this machine."""
    from core.doctor import examine, examine_brain

    if a.escape:
        return _escape(a.json)
    checks = [examine_brain(a.brain)] if a.brain else examine(a.compute)
    if a.json:
        print(msgspec.json.encode([msgspec.to_builtins(c) for c in checks]).decode())
    else:
        for c in checks:
            print(
                f"{'ok  ' if c.ok else 'MISS' if c.needed else 'note'}  {c.name:<12} {c.found}"
                + ("" if c.ok else f"; {c.fix}")
            )
    return 0 if all(c.ok or not c.needed for c in checks) else 1


def _escape(as_json: bool) -> int:
    """What each level of the sandbox stops here and what not, by trying. Exit 1 where the level in use keeps less than it says."""
    from core.compute.confinement import LEVELS, probe
    from core.compute.escapes import attempt_all, not_stopped

    used = probe().level
    levels = LEVELS[LEVELS.index(used) :]
    results = {level: {r.attempt: r.stopped for r in attempt_all(level)} for level in levels}
    if as_json:
        print(msgspec.json.encode({"level": used, "stopped": results}).decode())
    else:
        print(f"{'':<44}" + "  ".join(f"{level:<10}" for level in levels))
        for name in results[used]:
            cells = ("stopped" if results[level][name] else "GETS OUT" for level in levels)
            print(f"{name:<44}" + "  ".join(f"{cell:<10}" for cell in cells))
        print(f"in use here: {used}. " + (probe().reason or "Nothing of this gets out."))
    surprises = {n for n, stopped in results[used].items() if not stopped} - not_stopped(used)
    return 1 if surprises else 0
