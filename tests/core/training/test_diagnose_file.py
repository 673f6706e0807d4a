"""`intern diagnose FILE` on files of strangers: every layout is read, rubbish is an error that says why."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from core.errors import NotFound, UsageError
from core.training.diagnose_file import diagnose_file, locate

DEAD = [{"step": i, "reward": 0.0, "frac_reward_zero_std": 1.0, "grad_norm": 0.0, "loss": 0.0} for i in range(1, 13)]
GOOD = [{"step": i, "loss": 2 / i + 0.5, "grad_norm": 1.0, "learning_rate": 1e-4} for i in range(1, 31)]


def lines(rows: list[dict], end: str = "\n") -> str:
    return "".join(json.dumps(r) + end for r in rows)


def write(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def trackio_db(path: Path, rows: list[dict]) -> Path:
    """As TRL's own reporter fills it: a prefix on the keys, profiling rows between, steps that count log calls."""
    stored = []
    for i, row in enumerate(rows):
        metrics = {f"train/{k}": v for k, v in row.items() if k != "step"} | {"train/global_step": row["step"]}
        stored += [(f"2026-01-01T00:00:{i:02}", 7 * i, json.dumps(metrics))]
        stored += [(f"2026-01-01T00:00:{i:02}", 7 * i + 1, json.dumps({"profiling/Time taken: x": 1.0}))]
    with sqlite3.connect(path) as database:
        database.execute("create table metrics (timestamp text, run_name text, step integer, metrics text)")
        database.executemany("insert into metrics values (?, 'r', ?, ?)", stored)
    return path


def test_each_layout_gives_the_same_verdict(tmp_path: Path) -> None:
    state = {"max_steps": 12, "log_history": DEAD, "global_step": 12}
    console = "Some text\n" + "".join(f"{ {k: str(v) if k == 'loss' else v for k, v in r.items()} }\n" for r in DEAD)
    rows = [(r["step"], {k: v for k, v in r.items() if k != "step"}) for r in DEAD]
    ours = lines([{"kind": "plan", "max_steps": 12}])
    ours += lines([{"kind": "metric", "step": step, "ts": 1.0, "values": values} for step, values in rows])
    files = [
        write(tmp_path, "a.jsonl", lines(DEAD)),
        write(tmp_path, "crlf.jsonl", lines(DEAD, "\r\n")),
        write(tmp_path, "bom.jsonl", b"\xef\xbb\xbf" + lines(DEAD).encode()),
        write(tmp_path, "utf16.jsonl", lines(DEAD).encode("utf-16")),
        write(tmp_path, "trainer_state.json", json.dumps(state, indent=2)),
        write(tmp_path, "list.json", json.dumps(DEAD)),
        write(tmp_path, "console.log", console),
        write(tmp_path, "metrics.jsonl", ours),
        write(tmp_path, "half_a_last_line.jsonl", lines(DEAD) + '{"step": 13, "rew'),
        trackio_db(tmp_path / "t.db", DEAD),
        tmp_path,
    ]
    for file in files:
        found = diagnose_file(file)
        assert (found.trainer, found.verdict, found.steps) == ("grpo", "failing", 12), file
        assert [(f.kind, f.first_step) for f in found.findings] == [("no_learning_signal", 1)], file


def test_a_healthy_log_is_healthy_under_any_trainer_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", lines(GOOD))
    assert diagnose_file(path).verdict == "healthy"
    assert (diagnose_file(path, "dpo").trainer, diagnose_file(path).trainer) == ("dpo", "sft")


@pytest.mark.parametrize("word", ["NaN", "nan", '"NaN"', "Infinity", "-inf"])
def test_a_value_that_is_not_finite_is_found_however_it_is_spelled(tmp_path: Path, word: str) -> None:
    text = lines(GOOD[:5]) + f'{{"step": 6, "loss": {word}, "grad_norm": 1.0}}\n'
    (found,) = diagnose_file(write(tmp_path, "a.jsonl", text)).findings
    assert (found.kind, found.first_step) == ("non_finite", 6)


def test_rows_without_a_step_are_counted(tmp_path: Path) -> None:
    text = lines([{k: v for k, v in r.items() if k != "step"} for r in GOOD])
    assert diagnose_file(write(tmp_path, "a.jsonl", text)).steps == 30


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x7fELF\x00\x00\x00\x01", "binary"),
        (b"SQLite format 3\x00 and then rubbish", "no Trackio store"),
        (b'{"step": 1, "loss": 0.', "cut off"),
        (b'{"log_history": [{"step": 1, "loss"', "broken JSON"),
        (b'{"log_history": 3}', "no list"),
        (b"hello\nworld\n", "no JSON object"),
        (b'{"epoch": 1}\n', "no loss and no reward"),
        (b'{"kind": "plan", "max_steps": 3}\n', "no train step"),
        (b"[1, 2", "broken JSON"),
        (b"[1, 2]", "no train step"),
        (b"\n\n  \n", "no train step"),
        (b'{"step": "one", "loss": "high"}\n', "no train step"),
    ],
)
def test_rubbish_is_an_error_that_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        diagnose_file(write(tmp_path, "x", content))


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        diagnose_file(tmp_path / "no.jsonl")
    with pytest.raises(NotFound):
        diagnose_file(tmp_path)


def test_a_cancelled_job_is_not_called_crashed(tmp_path: Path) -> None:
    write(tmp_path, "metrics.jsonl", lines(GOOD))
    write(tmp_path, "exit.json", json.dumps({"exit_code": None, "signal": 15, "seconds": 1, "reason": "cancelled"}))
    assert diagnose_file(tmp_path).verdict == "healthy"


def test_a_job_that_died_before_its_first_step_is_a_crash(tmp_path: Path) -> None:
    write(tmp_path, "exit.json", json.dumps({"exit_code": 1, "signal": None, "seconds": 1, "reason": "crashed"}))
    write(tmp_path, "log.txt", "Traceback (most recent call last):\nKeyError: 'answer'\n")
    (found,) = diagnose_file(tmp_path).findings
    assert (found.kind, found.evidence[-1]) == ("crash", "KeyError: 'answer'")


def test_numbers_printed_as_strings_count(tmp_path: Path) -> None:
    """Newer transformers print their rows so."""
    rows = [{"loss": "2.5e+00", "grad_norm": "1.2", "learning_rate": "1e-04", "epoch": "0.1"}] * 3
    text = "".join(f"{row}\n" for row in [*rows, {"loss": "nan", "grad_norm": "nan", "epoch": "0.2"}])
    (found,) = diagnose_file(write(tmp_path, "console.log", text)).findings
    assert (found.kind, found.first_step) == ("non_finite", 4)


def test_a_traceback_at_the_end_is_a_crash_and_one_that_was_survived_is_not(tmp_path: Path) -> None:
    trace = "Traceback (most recent call last):\n  File \"a.py\", line 3, in run\nKeyError: 'answer'\n"
    (found,) = diagnose_file(write(tmp_path, "dead.log", lines(GOOD) + trace)).findings
    assert (found.kind, found.evidence) == ("crash", ("KeyError: 'answer'",))
    assert diagnose_file(write(tmp_path, "alive.log", lines(GOOD[:9]) + trace + lines(GOOD[9:]))).verdict == "healthy"
    (memory,) = diagnose_file(
        write(tmp_path, "oom.log", lines(GOOD) + trace + "torch.OutOfMemoryError: CUDA out of memory.\n")
    ).findings
    assert memory.kind == "out_of_memory"


def test_of_a_resumed_training_the_later_rows_count(tmp_path: Path) -> None:
    broken = [r | {"loss": 50.0 + r["step"]} for r in GOOD[20:]]
    assert diagnose_file(write(tmp_path, "a.jsonl", lines(GOOD[:20] + broken))).verdict == "failing"
    found = diagnose_file(write(tmp_path, "b.jsonl", lines(GOOD[:20] + broken + GOOD[15:])))
    assert (found.verdict, found.steps) == ("healthy", 30)


def test_of_two_trainings_in_one_file_the_last_is_diagnosed(tmp_path: Path) -> None:
    assert diagnose_file(write(tmp_path, "a.jsonl", lines(DEAD + GOOD))).verdict == "healthy"


def test_the_plan_is_read_off_a_progress_bar_or_a_linear_schedule(tmp_path: Path) -> None:
    from core.training.log_files import read_logs

    falling = [{"step": i, "loss": 1.0, "learning_rate": 1e-4 * (1 - i / 200)} for i in range(1, 60)]
    assert read_logs(write(tmp_path, "a.jsonl", lines(falling)))[0].planned == pytest.approx(200, abs=2)
    start = "  0%|          | 0/120 [00:00<?, ?it/s]\n"
    rows = [f"{ {'loss': 1.0, 'epoch': i / 10} }\n" for i in range(1, 9)]
    bars = [f" 10%|#         | {10 * i}/120 [00:09<01:00,  2.1it/s]\r" for i in range(1, 9)]
    shown = read_logs(write(tmp_path, "b.log", start + "".join(b + r for b, r in zip(bars, rows, strict=True))))[0]
    assert (shown.planned, [step for step, _ in shown.rows]) == (120, [10 * i for i in range(1, 9)])
    # transformers shows its own bar, without a name; others come before it and are no plan
    named = "Loading weights: 100%|####| 35/35 [00:00<00:00, 3.1it/s]\nMap:  40%|##  | 100/250 [00:00<00:00]\n"
    for before in (named, named.replace("\n", "\r")):
        told = read_logs(
            write(tmp_path, "d.log", before + start + "".join(b + r for b, r in zip(bars, rows, strict=True)))
        )
        assert (told[0].planned, told[0].rows[-1][0]) == (120, 80)
        bare = read_logs(write(tmp_path, "e.log", before + "".join(rows)))[0]
        assert (bare.planned, [step for step, _ in bare.rows]) == (None, list(range(1, 9)))
    # rows that are merely counted, one every so many train steps, cannot be held against that plan
    assert read_logs(write(tmp_path, "c.log", start + "".join(rows)))[0].planned is None


def test_a_trackio_project_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio_db(tmp_path / "my-project.db", DEAD)
    assert diagnose_file("my-project").verdict == "failing"
    with pytest.raises(NotFound, match="Trackio project or run"):
        diagnose_file("no-project")


def test_a_run_goes_before_a_trackio_project_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("INTERN_HOME", str(tmp_path / "home"))
    run = tmp_path / "home" / "runs" / "20260101-000000-abcd"
    run.mkdir(parents=True)
    (run / "log.duckdb").write_bytes(b"")
    (tmp_path / "store").mkdir()
    for name in (run.name, "2026"):
        trackio_db(tmp_path / "store" / f"{name}.db", DEAD)
    assert locate(run.name) == run
    assert locate("2026") == tmp_path / "store" / "2026.db"
    assert locate("2026010") == run


def test_a_run_of_ours_is_diagnosed_from_its_events(tmp_path: Path) -> None:
    from core import events as e
    from core.tables import TABLES
    from store.log import EventLog

    def job(name: str, rows: list[dict]) -> list[e.Payload]:
        launched = e.JobLaunched(
            job=name, kind="training", method="grpo", title="", effect_id=name, folder="", planned_steps=12
        )
        told = [
            e.MetricLogged(job=name, step=r["step"], values={k: v for k, v in r.items() if k != "step"}) for r in rows
        ]
        return [launched, *told, e.JobFinished(job=name, seconds=1.0)]

    fine = [{"step": i, "reward": 0.2 + i / 30, "frac_reward_zero_std": 0.1, "grad_norm": 1.0} for i in range(1, 13)]
    with EventLog.create(tmp_path / "run", TABLES) as log:
        log.append([e.new(payload, actor="host") for payload in job("job-1", fine) + job("job-2", DEAD)])
    found = diagnose_file(tmp_path / "run")
    assert found.verdict == "failing"
    assert [(f.kind, f.job) for f in found.findings if f.severity == "failing"] == [("no_learning_signal", "job-2")]


def test_a_job_that_fell_silent_is_stalled(tmp_path: Path) -> None:
    import os
    import time

    write(tmp_path, "metrics.jsonl", lines(GOOD))
    beat = write(tmp_path, "heartbeat", "30 1.0")
    assert diagnose_file(tmp_path).verdict == "healthy"
    os.utime(beat, (time.time() - 4000, time.time() - 4000))
    (found,) = diagnose_file(tmp_path).findings
    assert (found.kind, found.severity) == ("stalled", "failing")


def test_a_long_log_is_read_in_seconds(tmp_path: Path) -> None:
    """Bounded work, not a timing: the series are thinned, so the rules see at most some hundred values."""
    from core.training.detectors import Watch
    from core.training.history import MOST

    watch = Watch("sft", 20_000)
    for step in range(1, 20_001):
        watch.feed(step, {"loss": 1.0 + 1.0 / step, "grad_norm": 1.0})
    assert len(watch.history.get("loss")) < MOST
    assert watch.findings == [] or all(f.severity == "warning" for f in watch.findings)


def test_rows_of_other_writers_are_read_whatever_they_call_themselves(tmp_path: Path) -> None:
    tagged = [
        {"type": "train_step", "logs": {k: v for k, v in r.items() if k != "step"}, "step": r["step"]} for r in DEAD
    ]
    events = [
        {"type": "metric_logged", "seq": i, "payload": {"job": "j", "step": r["step"], "values": r, "nonfinite": []}}
        for i, r in enumerate(DEAD)
    ]
    for name, rows in (("tagged.jsonl", tagged), ("events.jsonl", events)):
        (found,) = diagnose_file(write(tmp_path, name, lines(rows))).findings
        assert (found.kind, found.first_step) == ("no_learning_signal", 1), name


def test_rows_that_lost_their_order_are_put_back(tmp_path: Path) -> None:
    import random

    collapse = [
        {"step": i, "reward": 0.3 + 0.01 * i if i < 25 else 0.02, "reward_std": 0.3, "loss": 0.0, "frac_reward_zero_std": 0.2}
        for i in range(1, 61)
    ]  # fmt: skip
    mixed = random.Random(0).sample(collapse, len(collapse))
    for name, rows in {
        "mixed": mixed,
        "newest first": collapse[::-1],
        "twice": [r for r in collapse for _ in "ab"],
    }.items():
        found = diagnose_file(write(tmp_path, "a.jsonl", lines(rows)))
        assert (found.steps, [f.kind for f in found.findings][:1]) == (60, ["reward_collapse"]), name
    found = diagnose_file(write(tmp_path, "a.jsonl", lines(random.Random(0).sample(GOOD, len(GOOD)))))
    assert (found.verdict, found.steps, found.notes) == ("healthy", 30, ())


def test_what_is_left_out_of_a_file_is_said(tmp_path: Path) -> None:
    found = diagnose_file(write(tmp_path, "a.jsonl", lines(DEAD + GOOD)))
    assert found.notes[0].startswith("12 rows of an earlier training")
    assert "too few" in diagnose_file(write(tmp_path, "a.jsonl", lines(GOOD[:3]))).notes[0]
    store = trackio_db(tmp_path / "t.db", DEAD)
    with sqlite3.connect(store) as database:
        stored = [(f"2026-02-01T00:00:{r['step']:02}", r["step"], json.dumps(r)) for r in GOOD]
        database.executemany("insert into metrics values (?, 'newer', ?, ?)", stored)
    found = diagnose_file(store)
    assert (found.verdict, "newest of 2 runs, newer" in found.notes[0]) == ("healthy", True)


def test_of_several_runs_in_one_file_each_is_diagnosed(tmp_path: Path) -> None:
    """Two processes that append to one file: their rows stand between each other."""
    rows = [r | {"run": name} for pair in zip(DEAD, GOOD, strict=False) for name, r in zip("ab", pair, strict=True)]
    found = diagnose_file(write(tmp_path, "a.jsonl", lines(rows)))
    assert [(f.job, f.kind) for f in found.findings] == [("a", "no_learning_signal")]


def test_a_loss_that_strict_json_made_null_is_not_finite(tmp_path: Path) -> None:
    rows = [r | {"loss": None} if r["step"] == 20 else r for r in GOOD]
    found = diagnose_file(write(tmp_path, "a.jsonl", lines(rows)))
    assert [(f.kind, f.first_step) for f in found.findings] == [("non_finite", 20)]
    # a table in which evaluation rows have no loss is no such thing
    table = [r | {"eval_loss": None} for r in GOOD] + [{"step": 30, "loss": None, "grad_norm": None, "eval_loss": 1.0}]
    assert diagnose_file(write(tmp_path, "a.jsonl", lines(table))).verdict == "healthy"


def test_other_shapes_of_rows_are_read_also_where_their_end_is_missing(tmp_path: Path) -> None:
    names = list(DEAD[0])
    state = json.dumps({"epoch": 1.0, "log_history": DEAD, "max_steps": 12})
    shapes = {
        "printed over several lines": "\n".join(json.dumps(r, indent=2) for r in DEAD),
        "a list in a document": json.dumps({"name": "x", "history": DEAD}),
        "a column a metric": json.dumps({n: [r[n] for r in DEAD] for n in names}),
        "csv": ",".join(names) + "\n" + "".join(",".join(str(r[n]) for n in names) + "\n" for r in DEAD),
        "tabs": "\t".join(names) + "\n" + "".join("\t".join(str(r[n]) for n in names) + "\n" for r in DEAD),
        "a prefix in brackets": "".join(f"[rank0]: {r}\n" for r in DEAD),
        "a list cut off": json.dumps(DEAD, indent=1)[:-20],
        "a state cut off": state[: state.index("max_steps") - 30],
    }
    for name, text in shapes.items():
        found = diagnose_file(write(tmp_path, "x", text))
        assert found.steps >= 11, name
        assert [f.kind for f in found.findings] == ["no_learning_signal"], name


def test_a_packed_log_is_read_and_one_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    import bz2
    import gzip
    import lzma

    for name, packed in {"a.gz": gzip.compress, "a.bz2": bz2.compress, "a.xz": lzma.compress}.items():
        data = packed(lines(DEAD).encode())
        assert diagnose_file(write(tmp_path, name, data)).findings[0].kind == "no_learning_signal", name
        with pytest.raises(UsageError, match="cannot be unpacked"):
            diagnose_file(write(tmp_path, "cut" + name, data[:-20]))


def test_of_several_trainings_below_a_folder_each_is_diagnosed_by_its_longest_state(tmp_path: Path) -> None:
    def state(place: str, rows: list[dict]) -> None:
        (tmp_path / place).mkdir(parents=True)
        write(tmp_path / place, "trainer_state.json", json.dumps({"log_history": rows, "max_steps": 30}))

    state("good/checkpoint-20", GOOD[:20])
    state("good/checkpoint-9", GOOD[:9])  # written last, as a copy may leave it
    assert diagnose_file(tmp_path).steps == 20
    state("dead/checkpoint-12", DEAD)
    found = diagnose_file(tmp_path)
    assert [(f.job, f.kind) for f in found.findings] == [("dead", "no_learning_signal")]
    assert (found.verdict, diagnose_file(tmp_path / "good").verdict) == ("failing", "healthy")
    assert diagnose_file(tmp_path / "dead" / "checkpoint-12").verdict == "failing"


def test_the_logs_of_a_folder_are_found_among_other_files(tmp_path: Path) -> None:
    write(tmp_path, "config.json", '{"hidden_size": 64}')
    write(tmp_path, "train.jsonl", '{"prompt": "1+1", "answer": "2"}\n' * 30)
    write(tmp_path, "log.jsonl", lines(DEAD))
    (found,) = diagnose_file(tmp_path).findings
    assert (found.kind, found.job) == ("no_learning_signal", "")
    write(tmp_path, "second.jsonl", lines(GOOD))
    assert [f.job for f in diagnose_file(tmp_path).findings] == ["log.jsonl"]
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "second.jsonl").unlink()
    with pytest.raises(NotFound, match=r"it holds config\.json, train\.jsonl"):
        diagnose_file(tmp_path)


def test_rubbish_of_other_kinds_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TensorBoard"):
        diagnose_file(write(tmp_path, "events.out.tfevents.1.host.0", b"\x18\x00\x00\x00" * 30))
    with pytest.raises(UsageError):
        diagnose_file(write(tmp_path, "deep.json", "[" * 200_000))
    with pytest.raises(UsageError):
        diagnose_file(write(tmp_path, "deep2.json", '{"log_history":' + "[" * 200_000))


def test_rows_of_a_reward_function_alone_are_a_grpo_training(tmp_path: Path) -> None:
    rows = [
        {"step": i, "rewards/exact/mean": 0.0, "rewards/exact/std": 0.0, "frac_reward_zero_std": 1.0}
        for i in range(1, 13)
    ]
    found = diagnose_file(write(tmp_path, "a.jsonl", lines(rows)))
    assert (found.trainer, [f.kind for f in found.findings]) == ("grpo", ["no_learning_signal"])


def test_preference_losses_with_the_answers_own_loss_are_not_held_against_ln_2(tmp_path: Path) -> None:
    rows = [
        {"step": i, "loss": 1.17 - 0.002 * i, "nll_loss": 1.1, "log_odds_ratio": -0.7, "rewards/margins": 0.001 * i,
         "rewards/accuracies": 0.6, "rewards/chosen": -0.1, "grad_norm": 1.0}
        for i in range(1, 41)
    ]  # fmt: skip
    assert diagnose_file(write(tmp_path, "orpo.jsonl", lines(rows))).verdict == "healthy"


def test_what_the_rest_of_a_log_refutes_is_a_warning(tmp_path: Path) -> None:
    """A reward that fell and came back to more than it ever was: the log shows it, a live watch could not know."""

    def reward(i: int) -> float:
        return 0.5 + 0.003 * i if i < 60 else 0.05 if i < 90 else min(0.05 + 0.01 * (i - 90), 0.95)

    rows = [{"step": i, "reward": reward(i) + 0.01 * (i % 3), "reward_std": 0.3, "frac_reward_zero_std": 0.2, "grad_norm": 1.0}
            for i in range(1, 241)]  # fmt: skip
    fell = diagnose_file(write(tmp_path, "a.jsonl", lines(rows[:100])))
    assert [f.kind for f in fell.findings if f.severity == "failing"][:1] == ["reward_collapse"]
    found = diagnose_file(write(tmp_path, "b.jsonl", lines(rows)))
    assert found.verdict == "healthy"
    (collapse,) = [f for f in found.findings if f.kind == "reward_collapse"]
    assert "at its best" in collapse.evidence[-1]


def test_what_cannot_be_seen_without_the_first_train_step_is_said(tmp_path: Path) -> None:
    late = [row | {"step": 10 * row["step"]} for row in GOOD]
    (note,) = diagnose_file(write(tmp_path, "late.jsonl", lines(late))).notes
    assert "logging_first_step=True" in note
    assert diagnose_file(write(tmp_path, "whole.jsonl", lines(GOOD))).notes == ()
    scored = [{"step": 0, "eval_accuracy": 0.3}, *late]
    assert diagnose_file(write(tmp_path, "scored.jsonl", lines(scored))).notes == ()
