"""New data from a generator program or a teacher model: verified row by row, deduplicated, decontaminated, accounted for."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from core import events as e
from core.agent.clean_data import evaluation_texts, vouch
from core.agent.desk import Desk, Interrupted
from core.agent.patience import abandoned
from core.agent.spend import Cost, admit_cost
from core.agent.teacher import TeacherModel
from core.compute.confinement import Confinement, Limits, command, probe
from core.data.evaluation_text import evaluation_strings
from core.data.synthesis import teacher as teaching
from core.data.synthesis.ledger import Ledger
from core.data.synthesis.making import synthesize
from core.data.synthesis.plan import ANY, Source, Synthesis, SynthesisSpec, check_spec
from core.data.synthesis.program import GYM, Program
from core.errors import InternError, ToolError
from core.evaluation.verify import check
from core.tools.toolbox import array, integer, mapping, text, tool

CHARGED_EVERY = 25
"""Attempts between two charges to the run's budget."""


@tool(
    {
        "name": text("A name for the result"),
        "rows": integer("Rows wanted, where no scenarios are named"),
        "scenarios": array("Kinds of rows: objects with name, quota, about (in words) and upsample (copies)", optional=True),
        "program": text("A Python file in the workspace with generate(seed, scenario) -> {prompt, answer} and, better, "
                        "verify(prompt, answer); or gym:<name> of reasoning-gym", optional=True),
        "teacher": text("A model that writes the rows: hf:<model> or openai:<model>@<url>", optional=True),
        "verifier": text("With a teacher: a Python file in the workspace with verify(prompt, answer) that its rows must pass", optional=True),
        "options": mapping("For a teacher: instruction, consistency (answers that must agree), judge (true), examples_from "
                           "(prepared data), max_usd. For both: tries, seed, near_duplicates"),
    },
    effect="idempotent",
    tier="workspace",
    waits=True,
    runs=("program", "verifier"),
)  # fmt: skip
def synthesize_data(
    desk: Desk,
    name: str,
    rows: int | None = None,
    scenarios: Sequence[dict[str, Any]] | None = None,
    program: str | None = None,
    teacher: str | None = None,
    verifier: str | None = None,
    options: dict[str, Any] | None = None,
) -> object:
    """Make new training data with a program or a teacher model: each row verified, repeats and leaked rows left out. A teacher's cost is told and approved before it starts; what a killed call made is kept."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ToolError(f"{name!r} is no name for a data set", next="Use letters, digits and dashes")
    if bool(program) == bool(teacher):
        raise ToolError("Name either a program or a teacher", next="A program needs no model and costs nothing")
    if program and verifier:
        raise ToolError("A verifier is for a teacher's rows", next="Give the program a function verify(prompt, answer)")
    try:
        spec = _spec(desk, rows, scenarios or [], options or {})
        if program:
            made = _with_program(desk, name, spec, program)
        else:
            made = _with_teacher(desk, name, spec, teacher or "", verifier)
    except ToolError:
        raise
    except InternError as error:
        raise ToolError(error.what, where=error.where, next=error.next) from error
    return {
        "name": name, "rows": made.rows, "unique_rows": made.kept, "attempts": made.attempts, "dropped": made.dropped,
        "scenarios": msgspec.to_builtins(made.scenarios), "diversity": made.diversity, "usd": made.spent.usd,
        "verified_by": list(made.verified), "notes": list(made.notes), "digest": made.digest, "untrusted_source": made.source,
    }  # fmt: skip


def _spec(desk: Desk, rows: int | None, scenarios: Sequence[dict[str, Any]], options: dict[str, Any]) -> SynthesisSpec:
    known = {"instruction", "consistency", "judge", "tries", "seed", "near_duplicates", "max_usd", "examples_from"}
    if wrong := sorted(set(options) - known):
        raise ToolError(f"Options that are not known: {', '.join(wrong)}", next=f"Known: {', '.join(sorted(known))}")
    given = {k: v for k, v in options.items() if k != "examples_from"}
    wanted = list(scenarios) or [{"name": ANY, "quota": rows or 0}]
    try:
        spec = msgspec.convert(
            {"seed": desk.settings.seed, **given, "scenarios": wanted, "examples": _examples(desk, options)},
            SynthesisSpec,
        )
    except msgspec.ValidationError as error:
        raise ToolError(
            f"The options do not fit: {error}", next='A scenario is {"name": ..., "quota": 20, "about": ...}'
        ) from error
    check_spec(spec)
    return spec


def _examples(desk: Desk, options: dict[str, Any]) -> list[dict[str, str]]:
    source = options.get("examples_from")
    if not source:
        return []
    lines = (desk.data_path(str(source)) / "train.jsonl").read_bytes().splitlines()[:20]
    rows = [msgspec.json.decode(line) for line in lines]
    return [{"prompt": r["prompt"], "answer": r["answer"]} for r in rows]


def _with_program(desk: Desk, name: str, spec: SynthesisSpec, program: str) -> Synthesis:
    source = open_program(desk, program, spec.seed)
    return _make(desk, name, spec, source, ["the program's verify()"] if source.verifies else [], 0.0)


def open_program(desk: Desk, program: str, seed: int = 0, *, only_verify: bool = False) -> Program:
    """A program of the workspace or the task's folder, or gym:<name>, held in the sandbox. Raises ToolError, NotFound, UsageError."""
    if not program.startswith(GYM):
        path = Path(program) if Path(program).is_absolute() else desk.folder / "workspace" / program
        allowed = [desk.folder / "workspace", Path(desk.task.path)]
        if not any(path.resolve().is_relative_to(a.resolve()) for a in allowed):
            raise ToolError(
                "The program must lie in the workspace or the task's folder", where=program, next="write_file it there"
            )
        program = str(path)
    return Program(program, seed, _confined(desk, program), only_verify=only_verify)


def _confined(desk: Desk, program: str) -> Callable[[list[str]], list[str]]:
    """The program is a brain's or a stranger's: no network, no home, bounded time and memory."""
    readable = [str(Path(p)) for p in (sys.prefix, sys.base_prefix, *sys.path) if p and Path(p).exists()]
    if not program.startswith(GYM):
        readable.append(str(Path(program).resolve()))
    workspace = desk.folder / "workspace"
    workspace.mkdir(exist_ok=True)
    held = Confinement(
        workspace=str(workspace),
        readable=tuple(dict.fromkeys(readable)),
        limits=Limits(seconds=max(1.0, desk.clock.work_left_s)),
    )
    return lambda argv: command(argv, held, probe().level)


def _with_teacher(desk: Desk, name: str, spec: SynthesisSpec, teacher: str, verifier: str | None) -> Synthesis:
    checker = open_program(desk, verifier, only_verify=True) if verifier else None
    try:
        return _taught(desk, name, spec, teacher, checker)
    finally:
        if checker is not None:
            checker.close()


def _taught(desk: Desk, name: str, spec: SynthesisSpec, teacher: str, checker: Program | None) -> Synthesis:
    model = TeacherModel(teacher, wait=lambda seconds: _pause(desk, seconds))
    price = model.price()
    quote = teaching.quote(spec, price)
    admit_cost(
        desk,
        Cost(
            f"approval-synthesis-{desk.call}", "synthesize_data", f"The synthesis of {name}", quote.usd,
            {"name": name, "teacher": model.name, "calls": quote.calls, "tokens": quote.tokens_in + quote.tokens_out, "usd_at_most": quote.usd},
            f"asks {model.name} for {sum(s.quota for s in spec.scenarios)} rows: {quote}",
        ),
    )  # fmt: skip
    source = teaching.Teacher(
        model.name, model.ask, spec, checker.check if checker is not None else None,
        agrees=lambda given, answer: check(desk.verifier, given, answer) or teaching.same_text(given, answer),
    )  # fmt: skip
    reserve = teaching.most_of_one(spec, price) if price is not None else 0.0
    return _make(desk, name, spec, source, teaching.verified_by(spec, check=checker is not None), reserve)


def _pause(desk: Desk, seconds: float) -> None:
    if desk.stopping.wait(seconds) or desk.interrupt.is_set():
        raise Interrupted("The synthesis was interrupted", next="The same call goes on from there")


def _make(
    desk: Desk, name: str, spec: SynthesisSpec, source: Source, verified: Sequence[str], reserve_usd: float
) -> Synthesis:
    out = desk.folder / "data" / name
    dev = desk.dev_file()
    texts = evaluation_texts(desk) + (evaluation_strings([dev]) if dev is not None else [])
    charges = _Charges(desk, name)
    try:
        made = synthesize(
            spec, source, out, evaluation_texts=texts or None, verified=verified, reserve_usd=reserve_usd,
            on_attempt=charges.look, by=desk.call,
        )  # fmt: skip
    finally:
        source.close()
        charges.settle()
    dev_rows = 0
    if dev is not None and dev.exists():
        shutil.copyfile(dev, out / "dev.jsonl")
        dev_rows = sum(1 for line in dev.read_bytes().splitlines() if line.strip())
    made_by = "program" if isinstance(source, Program) else "teacher"
    desk.emit(e.DatasetFound(dataset=name, source=source.name, rows=made.kept, why="synthesized", made=made_by))
    desk.emit(
        e.DatasetPrepared(
            name=name, sources=[source.name], path=str(out), rows=made.rows, dev_rows=dev_rows, read=made.attempts,
            dropped=made.dropped, digest=made.digest,
        )
    )  # fmt: skip
    if texts:
        vouch(desk, name, out, made.kept, len(texts), made.uncompared)
    return made


class _Charges:
    """Charges the run for what its synthesis spends, every some attempts.

    The amounts are sums over fixed stretches of the ledger, so a call that is carried out again after a crash says the same
    charges, which the log then has once.
    """

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk = desk
        self.name = name
        self.ledger: Ledger | None = None
        self.charged = 0

    def look(self, ledger: Ledger) -> None:
        self.ledger = ledger
        while len(self._mine()) - self.charged >= CHARGED_EVERY:
            self._charge(CHARGED_EVERY)
        desk = self.desk
        if desk.stopping.is_set() or desk.interrupt.is_set() or abandoned() or desk.clock.work_left_s <= 0:
            raise Interrupted("The synthesis was interrupted", next="The same call goes on from there")

    def settle(self) -> None:
        if self.ledger is not None and not abandoned():
            while left := len(self._mine()) - self.charged:
                self._charge(min(left, CHARGED_EVERY))

    def _mine(self) -> list[Any]:
        return [a for a in self.ledger.attempts if a.by == self.desk.call] if self.ledger is not None else []

    def _charge(self, count: int) -> None:
        part = [a.spent for a in self._mine()[self.charged : self.charged + count]]
        what = f"synthesis of {self.name}, attempts {self.charged + 1} to {self.charged + count}"
        tokens, usd = sum(s.tokens_in + s.tokens_out for s in part), sum(s.usd for s in part)
        self.charged += count
        if tokens:
            self.desk.emit(e.BudgetCharged(kind="tokens", amount=float(tokens), what=what))
        if usd:
            self.desk.emit(e.BudgetCharged(kind="usd", amount=usd, what=what))


TOOLS = [synthesize_data]
