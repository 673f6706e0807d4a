"""`intern synthesize`: training data from a generator program or a teacher model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from core.data.synthesis import teacher as teaching
from core.data.synthesis.ledger import Ledger
from core.data.synthesis.making import synthesize as make
from core.data.synthesis.plan import ANY, Scenario, Synthesis, SynthesisSpec, check_spec, parse_scenario
from core.data.synthesis.program import Program
from core.errors import Refused, UsageError
from core.sanitize import clean


def synthesize(a: argparse.Namespace) -> int:
    """Make the rows; 0 also where some quotas were not met, which the notes say."""
    if bool(a.generator) == bool(a.teacher):
        raise UsageError(
            "Name either a generator or a teacher", where="--generator, --teacher", next="A generator costs nothing"
        )
    spec = _spec(a)
    texts = _evaluation(a.task) if a.task else None
    made = _from_program(a, spec, texts) if a.generator else _from_teacher(a, spec, texts)
    if a.json:
        print(msgspec.json.encode(made).decode())
    else:
        print("\n".join(clean(line) for line in report(made)))
    return 0


def _spec(a: argparse.Namespace) -> SynthesisSpec:
    scenarios = [parse_scenario(text) for text in a.scenario]
    if a.count is not None:
        if a.count < 1:
            raise UsageError("--count must be at least 1", where=str(a.count), next="Say how many rows are wanted.")
        scenarios.insert(0, Scenario(name=ANY, quota=a.count))
    spec = SynthesisSpec(
        scenarios=tuple(scenarios), instruction=a.instruction, examples=_examples(a.examples) if a.examples else (),
        consistency=a.consistency, judge=a.judge, seed=a.seed, max_usd=a.usd,
    )  # fmt: skip
    check_spec(spec)
    return spec


def _examples(path: str) -> tuple[dict[str, str], ...]:
    from core.data.files import open_data

    with open_data(path, limit=20) as data:
        rows = data.all("SELECT prompt, answer FROM rows WHERE prompt IS NOT NULL AND answer IS NOT NULL ORDER BY n")
    return tuple({"prompt": prompt, "answer": answer} for prompt, answer in rows)


def _evaluation(name: str) -> list[str]:
    from core.data.contamination import evaluation_strings
    from core.tasks import load_task

    task = load_task(name)
    files = [*task.eval_text_files, task.evaluate_path, *([task.dev_file] if task.dev_file else [])]
    return evaluation_strings(dict.fromkeys(files))


def _from_program(a: argparse.Namespace, spec: SynthesisSpec, texts: list[str] | None) -> Synthesis:
    source = Program(a.generator, spec.seed)
    try:
        verified = ["the program's verify()"] if source.verifies else []
        return make(spec, source, Path(a.out), evaluation_texts=texts, verified=verified, on_attempt=_progress(spec))
    finally:
        source.close()


def _from_teacher(a: argparse.Namespace, spec: SynthesisSpec, texts: list[str] | None) -> Synthesis:
    from core.agent.teacher import TeacherModel

    model = TeacherModel(a.teacher)
    price = model.price()
    quote = teaching.quote(spec, price)
    print(f"{model.name}: {quote}", file=sys.stderr)
    _agree(a, free=quote.usd == 0.0)
    checker = Program(a.verifier, confine=None, only_verify=True) if a.verifier else None
    try:
        source = teaching.Teacher(model.name, model.ask, spec, checker.check if checker else None)
        return make(
            spec, source, Path(a.out), evaluation_texts=texts, verified=teaching.verified_by(spec, checker is not None),
            reserve_usd=teaching.most_of_one(spec, price) if price is not None else 0.0, on_attempt=_progress(spec),
        )  # fmt: skip
    finally:
        if checker is not None:
            checker.close()


def _agree(a: argparse.Namespace, free: bool) -> None:
    """A person says yes to the cost, with --yes or at the terminal."""
    if a.yes or free:
        return
    if not sys.stdin.isatty():
        raise Refused(
            "The cost was not accepted, and nobody is here to ask",
            where="--teacher",
            next="Add --yes, and --usd X for a limit",
        )
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("The cost was not accepted", where="--teacher", next="Ask for fewer rows, or use --generator")


def _progress(spec: SynthesisSpec) -> Callable[[Ledger], None]:
    wanted = sum(s.quota for s in spec.scenarios)

    def look(ledger: Ledger) -> None:
        if len(ledger.attempts) % 50 == 0:
            print(
                f"{len(ledger.kept)} of {wanted} rows, {len(ledger.attempts)} attempts, ${ledger.spent().usd:.2f}",
                file=sys.stderr,
            )

    return look


def report(made: Synthesis) -> list[str]:
    """The account as lines."""
    dropped = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in made.dropped.items()) or "nothing"
    d = made.diversity
    lines = [
        f"{made.folder}/train.jsonl: {made.rows:,} rows ({made.kept:,} different) from {made.source}",
        f"  attempts  {made.attempts:,}; dropped: {dropped}",
        f"  verified  {', '.join(made.verified) or 'by nothing: no check, no second answer, no judge'}",
        f"  spent     {made.spent.calls:,} calls, {made.spent.tokens_in + made.spent.tokens_out:,} tokens, ${made.spent.usd:.4f}",
        f"  diversity distinct words {d['distinct_1']:.0%}, word pairs {d['distinct_2']:.0%}; likeness {d['likeness']:.2f}; "
        f"commonest opening {d['common_opening']['words']!r} {d['common_opening']['share']:.0%}",
        f"  digest    {made.digest}",
    ]  # fmt: skip
    lines += [
        f"  {s.name:20} {s.kept} of {s.quota} rows in {s.attempts} attempts, {s.rows} with copies"
        for s in made.scenarios
    ]
    return lines + [f"  note: {note}" for note in made.notes]
