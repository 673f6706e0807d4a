"""The command line: what can be said, parsed. What it does lives in `intern_tui/commands/`, imported only when used.

`intern --help` has to answer at once on a machine with a slow disk, so this module imports nothing but argparse.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

EPILOG = """\
R is a run's id, a unique prefix of it, or `last`. Runs live under INTERN_HOME.
Exit codes: 0 done, 1 the run failed, 2 usage, 3 not found or damaged, 4 refused (a policy or a budget).
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="intern",
        description="An autonomous ML intern for LLM post-training. Without a command: the terminal UI.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _running(commands)
    _forking(commands)
    _watching(commands)
    _steering(commands)
    _reading(commands)
    _tools(commands)
    return top


Subparsers = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add(commands: Subparsers, name: str, handler: str, help: str, run: bool = False) -> argparse.ArgumentParser:  # type: ignore[valid-type]
    made = commands.add_parser(name, help=help, description=help)  # type: ignore[attr-defined]
    made.set_defaults(handler=handler)
    if run:
        made.add_argument("run", metavar="R", nargs="?", default="last", help="run id, unique prefix, or last")
    return made


def _running(commands: Subparsers) -> None:  # type: ignore[valid-type]
    p = _add(commands, "run", "run:run", "start a run and follow it")
    p.add_argument("goal", nargs="?", default="", help="what to improve, in words")
    p.add_argument(
        "--task", default="pocket/addition", help="pocket/<name>, a folder with an evaluate.py, or inspect/FILE.py@TASK"
    )
    p.add_argument("--model", help="base model: a folder or a Hub id (default: the task's)")
    p.add_argument("--brain", default="playbook", help="playbook, hf:<model>, or openai:<model>@<url>")
    p.add_argument("--hours", type=float, help="wall-clock budget (default: the task's, else 10)")
    p.add_argument("--usd", type=float, default=0.0, help="dollars it may spend")
    p.add_argument("--tokens", type=int, default=0, help="tokens the brain may use (0: no limit)")
    p.add_argument(
        "--disk",
        type=float,
        default=0.0,
        metavar="GB",
        help="gigabytes the run's folder may take, jobs and checkpoints included (0: no limit)",
    )
    p.add_argument("--effort", default="", help="reasoning effort of the brain: low, medium, high, ...")
    p.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="what nobody may change without asking: method, data, lora, max_length, ...",
    )
    p.add_argument("--autonomy", default="network", metavar="TIER", help="read, workspace, network, spend or publish")
    p.add_argument(
        "--compute",
        default="local",
        help="where jobs run: local, auto (a rented GPU where none here is large enough), slurm[:PARTITION], ray://HOST:8265, hf-jobs[:FLAVOR]",
    )
    p.add_argument(
        "--trackio", default="", metavar="PLACE",
        help="Trackio logs into the run's folder; also to a Space (USER/SPACE) or a server's address; off: nowhere",
    )  # fmt: skip
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--unattended", action="store_true", help="nobody is there to ask")
    p.add_argument("--detach", action="store_true", help="print the id and return")
    p.add_argument("--plain", action="store_true", help="follow as lines")
    p.add_argument("--json", action="store_true", help="one final JSON object on one line")
    p = _add(commands, "resume", "run:resume", "take up a run whose host is gone", run=True)
    p.add_argument("--detach", action="store_true")
    p.add_argument("--plain", action="store_true")
    p.add_argument("--json", action="store_true")


def _forking(commands: Subparsers) -> None:  # type: ignore[valid-type]
    p = _add(commands, "fork", "run:fork", "a new run that begins where another one was at an event", run=True)
    p.add_argument("--at", type=int, required=True, metavar="SEQ", help="the event after which it goes its own way")
    p.add_argument("--steer", default="", metavar="TEXT", help="what the brain is told first")
    p.add_argument("--brain", help="another brain (default: the parent's)")
    p.add_argument("--hours", type=float, help="its own budget (default: as long as the parent's)")
    p.add_argument("--usd", type=float)
    p.add_argument("--tokens", type=int)
    p.add_argument("--autonomy", metavar="TIER")
    p.add_argument("--effort")
    p.add_argument("--detach", action="store_true")
    p.add_argument("--plain", action="store_true")
    p.add_argument("--json", action="store_true")


def _watching(commands: Subparsers) -> None:  # type: ignore[valid-type]
    p = _add(commands, "runs", "watch:runs", "list runs, newest first")
    p.add_argument("--json", action="store_true")
    p = _add(commands, "attach", "watch:attach", "watch a run", run=True)
    p.add_argument("--plain", action="store_true")
    p = _add(commands, "open", "open:open_run", "open a run: its screens, or its curves in Trackio", run=True)
    p.add_argument("--trackio", action="store_true", help="Trackio's dashboard on this machine, until Ctrl+C")
    p.add_argument("--port", type=int, default=0, help="of the dashboard (default: the first free one from 7860 on)")
    p.add_argument("--no-browser", action="store_true", help="only print the address")
    p = _add(commands, "replay", "watch:replay", "replay a run as it happened", run=True)
    p.add_argument("--to", type=int, metavar="SEQ", help="stop at this event")
    p.add_argument("--speed", type=float, help="1 is real time; plain output is not timed by default")
    p.add_argument("--plain", action="store_true")


def _steering(commands: Subparsers) -> None:  # type: ignore[valid-type]
    for name, help in (
        ("steer", "say something to the brain before its next decision"),
        ("queue", "say something as the next turn"),
    ):
        p = _add(commands, name, "steer:say", help)
        p.add_argument("run", metavar="R")
        p.add_argument("text", nargs="+")
    for name, help in (
        ("pause-job", "save a checkpoint of a training and stop it"),
        ("resume-job", "let a paused training go on from its checkpoint"),
        ("stop-job", "let a job save its model and stop it"),
        ("autonomy", "set up to which tier the run may go alone"),
        ("budget", "set limits: hours=2 usd=5 tokens=1000000 disk=20"),
        ("brain", "let another brain decide from the next step on"),
        ("effort", "set the brain's reasoning effort"),
        ("fix", "fix what nobody may change without asking: method=sft max_length=2048"),
        ("note", "keep a note in the run's log"),
        ("title", "name the run"),
        ("answer", "answer the question the brain has asked"),
    ):
        p = _add(commands, name, "steer:tell", help)
        p.add_argument("run", metavar="R")
        p.add_argument("text", nargs="*" if name in ("pause-job", "resume-job", "stop-job", "fix") else "+")
    for name, help in (
        ("undo", "give the workspace back as it was before the last step that changed it"),
        ("compact", "make room in the brain's context now"),
        ("pause", "stop at the next step; jobs go on"),
        ("unpause", "go on after a pause"),
        ("interrupt", "end the present wait or model call; jobs go on"),
        ("stop", "end the run: last evaluation, report"),
    ):
        _add(commands, name, "steer:act", help, run=True)
    for name, help in (("approve", "let a waiting call go ahead"), ("deny", "refuse a waiting call")):
        p = _add(commands, name, "steer:decide", help)
        p.add_argument("run", metavar="R")
        p.add_argument("approval", metavar="ID", nargs="?", default="")
        p.add_argument("--reason", default="")
        p.add_argument(
            "--hash",
            default="",
            help="refuse unless the waiting arguments have this hash (as intern approvals shows it)",
        )
    p = _add(commands, "edit", "steer:edit", "let a waiting call go ahead with other arguments")
    p.add_argument("run", metavar="R")
    p.add_argument("approval", metavar="ID")
    p.add_argument(
        "arguments",
        metavar="JSON",
        help="the arguments it gets instead, as one JSON object; - reads them from standard input",
    )
    p.add_argument("--reason", default="")
    p.add_argument("--hash", default="")
    p = _add(commands, "approvals", "steer:approvals", "what waits for a person", run=True)
    p.add_argument("--json", action="store_true")


def _reading(commands: Subparsers) -> None:  # type: ignore[valid-type]
    p = _add(commands, "events", "read:events", "print the events of a run", run=True)
    p.add_argument("--json", action="store_true", help="one envelope a line")
    p.add_argument("--follow", action="store_true")
    p.add_argument("--type", action="append", metavar="T")
    p.add_argument("--from", dest="from_seq", type=int, default=1, metavar="SEQ")
    p.add_argument("--salvage", action="store_true", help="read a damaged log up to its last good event")
    p = _add(commands, "state", "read:state", "the state of a run, at its end or at an event", run=True)
    p.add_argument("--to", type=int, metavar="SEQ")
    p.add_argument("--json", action="store_true")
    p.add_argument("--salvage", action="store_true", help="read a damaged log up to its last good event")
    p = _add(commands, "report", "read:report", "print a run's report", run=True)
    p = _add(
        commands, "verify", "read:verify", "check a run's log, then run its loop again on what was recorded", run=True
    )
    p.epilog = "Exit codes: 0 all is well, 3 the log is damaged, 1 the log is sound and the loop goes another way than recorded."
    p.add_argument("--json", action="store_true")
    p.add_argument("--log-only", action="store_true", help="only the log, not the loop")
    p = _add(commands, "sql", "read:sql", "query runs: views events, metrics, evals, jobs, papers, datasets, failures")
    p.add_argument("words", nargs="+", metavar="[R…] QUERY")
    p.add_argument("--json", action="store_true")
    p.add_argument("--csv", action="store_true")
    p = _add(commands, "export", "export:export", "export a run", run=True)
    p.add_argument("--to", choices=["parquet", "sts", "cast", "html", "report", "repro", "otel"], default="parquet")
    p.add_argument("--out", metavar="PATH", help="folder (parquet, repro) or file to write")
    p.add_argument(
        "--send", action="store_true", help="otel: to the collector at OTEL_EXPORTER_OTLP_ENDPOINT instead of a file"
    )
    p = _add(commands, "rm", "keep:rm", "delete runs for good")
    p.add_argument("runs", metavar="R", nargs="+", help="run id, unique prefix, or last")
    p.add_argument("--yes", "-y", action="store_true", help="do not ask")
    p = _add(commands, "gc", "keep:gc", "delete what no event of a run needs: blobs, checkpoints, old snapshots")
    p.add_argument("runs", metavar="R", nargs="*", help="default: all runs")
    p.add_argument("--dry-run", action="store_true", help="only say what would go")
    p.add_argument("--json", action="store_true")


def _tools(commands: Subparsers) -> None:  # type: ignore[valid-type]
    p = _add(commands, "diagnose", "tools:diagnose", "say what is wrong with a training log, of whatever origin")
    p.add_argument("file", metavar="FILE")
    p.add_argument("--trainer", choices=["grpo", "sft", "dpo", "reward"])
    p.add_argument("--json", action="store_true")
    p = _add(commands, "solve", "solve:solve", "a PostTrainBench task, from PROMPT and the current folder alone")
    p.add_argument("--json", action="store_true", help="one final JSON object on one line")
    p = _add(commands, "inspect", "data:inspect_data", "look hard at data before training on it")
    p.add_argument("data", metavar="FILE|FOLDER", help="jsonl, json, csv, tsv or parquet, or a folder of them")
    p.add_argument(
        "--task", metavar="T", help="a task: check for its evaluation samples, count tokens of its base model"
    )
    p.add_argument(
        "--verifier", metavar="FILE", help="the data's own check: a Python file with verify(prompt, answer); it is run"
    )
    p.add_argument("--limit", type=int, metavar="N", help="look at the first N rows only")
    p.add_argument(
        "--json", action="store_true", help="one object: rows, columns, concerns with score and examples, ..."
    )
    p = _add(
        commands, "synthesize", "synthesis:synthesize", "make training data with a generator program or a teacher model"
    )
    p.add_argument(
        "--generator",
        metavar="FILE",
        help="Python file with generate(seed, scenario) and maybe verify(prompt, answer), or gym:<name>",
    )
    p.add_argument("--teacher", metavar="M", help="hf:<model> or openai:<model>@<url>")
    p.add_argument("--out", metavar="FOLDER", required=True, help="where it goes; an unfinished one there goes on")
    p.add_argument("--count", type=int, metavar="N", help="rows wanted, beside those of the scenarios")
    p.add_argument(
        "--scenario",
        action="append",
        default=[],
        metavar="NAME=QUOTA[xCOPIES][:ABOUT]",
        help="a kind of row with its quota; may be repeated",
    )
    p.add_argument("--instruction", default="", help="what the rows are for, told to a teacher")
    p.add_argument("--examples", metavar="FILE", help="rows that show a teacher the form")
    p.add_argument(
        "--verifier", metavar="FILE", help="Python file with verify(prompt, answer) that checks a teacher's rows"
    )
    p.add_argument(
        "--consistency", type=int, default=0, metavar="K", help="answers of the teacher that must agree with the row's"
    )
    p.add_argument("--judge", action="store_true", help="let the teacher judge each row")
    p.add_argument("--task", metavar="T", help="leave out what is like this task's evaluation samples")
    p.add_argument("--usd", type=float, metavar="X", help="stop before more dollars are spent")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--yes", "-y", action="store_true", help="accept the cost without a question")
    p.add_argument(
        "--json", action="store_true", help="one object: rows, dropped by reason, scenarios, diversity, cost, digest"
    )
    p = _add(commands, "recipes", "tools:recipes", "search the recipe library")
    p.add_argument("query", nargs="*")
    p.add_argument("--json", action="store_true")
    p = _add(commands, "tasks", "tools:tasks", "list the tasks that come along")
    p.add_argument("--json", action="store_true")
    p = _add(commands, "bench", "bench:bench", "a miniature benchmark: the playbook against comparators")
    p.add_argument("--tasks", nargs="+", metavar="T")
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--first-seed", type=int, default=0, help="seeds run from here on")
    p.add_argument("--hours", type=float, help="budget of each run (default: the task's)")
    p.add_argument(
        "--policies", nargs="+", metavar="P",
        help="any --brain; P@2 has twice the time (default: playbook random@2 sft hill greedy hand; with --aa or --traps: playbook)",
    )  # fmt: skip
    p.add_argument("--json", metavar="FILE", help="write the results here too")
    p.add_argument(
        "--aa", action="store_true", help="tasks on which nothing can be gained: how many runs claim a gain?"
    )
    p.add_argument(
        "--traps", action="store_true", help="tasks with a leak, a wrong stop token, a bad reward, a job too large"
    )
    p = _add(commands, "web", "web:web", "the terminal UI in a browser on this machine")
    p.add_argument("run", metavar="R", nargs="?", default="", help="a run to open (default: the list)")
    p.add_argument("--port", type=int, default=8377)
    p = _add(commands, "completion", "completion:completion", "print shell completion")
    p.add_argument("shell", choices=["bash", "zsh", "fish"])
    p = _add(commands, "doctor", "tools:doctor", "say what is missing on this machine")
    p.add_argument("--json", action="store_true")
    p.add_argument("--brain", metavar="B", help="ask this brain for one tool call and say how that went")
    p.add_argument("--compute", help="look at a place of execution instead: slurm, ray://HOST:8265, hf-jobs, local")
    p.add_argument(
        "--escape", action="store_true", help="try to get out of the sandbox in every known way, at each level"
    )


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments. `sql` takes options between the runs and the query, which argparse by itself does not."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest and (getattr(arguments, "command", None) != "sql" or any(word.startswith("-") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.words += rest
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Every error a user can meet ends here as one message and an exit code."""
    arguments = parsed(argv)
    if arguments.version:
        from intern_tui import __version__

        print(f"intern {__version__}")
        return 0
    module, _, function = getattr(arguments, "handler", "watch:home").partition(":")
    from core.errors import InternError
    from store.errors import StoreError

    try:
        handler = getattr(importlib.import_module(f"intern_tui.commands.{module}"), function)
        return int(handler(arguments) or 0)
    except (InternError, StoreError) as error:
        print(f"intern: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 3)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nothing more to say
        return 0
    except KeyboardInterrupt:
        print("\nintern: left; a run goes on by itself (intern attach last)", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
