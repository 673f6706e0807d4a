"""The main job, end to end, with real trainings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.core.run.conftest import Lab

pytestmark = pytest.mark.slow


def test_a_run_improves_the_model_on_samples_it_never_chose_by(lab: Lab) -> None:
    final = lab.final
    assert final["status"] == "finished"
    assert final["best"] > final["baseline"]
    low, high = final["interval"]
    assert 0 < low < final["delta"] < high
    held_out = [
        e["payload"]
        for e in lab.intern.events()
        if e["type"] == "evaluation_finished" and e["payload"]["split"] == "heldout"
    ]
    assert len(held_out) == 2, "base and final_model, once each"
    assert all(h["samples"] >= 1000 for h in held_out)


def test_the_held_out_split_is_read_after_the_last_choice(lab: Lab) -> None:
    events = lab.intern.events()
    first_look = next(
        e["seq"] for e in events if e["type"] == "evaluation_started" and e["payload"]["split"] == "heldout"
    )
    choices = {"checkpoint_promoted", "job_launched", "model_requested", "tool_requested", "remedy_chosen"}
    assert not [e for e in events if e["seq"] > first_look and e["type"] in choices]


def test_it_reads_before_it_trains_and_inspects_before_it_prepares(lab: Lab) -> None:
    first: dict[str, int] = {}
    for e in lab.intern.events():
        first.setdefault(e["type"], e["seq"])
    order = [
        "run_created",
        "run_started",
        "paper_found",
        "paper_read",
        "contamination_checked",
        "dataset_inspected",
        "dataset_prepared",
        "checkpoint_promoted",
    ]
    assert [first[name] for name in order] == sorted(first[name] for name in order)
    training = next(
        e for e in lab.intern.events() if e["type"] == "job_launched" and e["payload"]["kind"] == "training"
    )
    assert training["seq"] > first["checkpoint_promoted"], "a valid final_model exists before the first training"


def test_planted_flaws_of_the_data_were_found_and_dropped(lab: Lab) -> None:
    prepared = next(e["payload"] for e in lab.intern.events() if e["type"] == "dataset_prepared")
    assert {"conflicting_labels", "contaminated", "repeated_row"} <= prepared["dropped"].keys()
    assert prepared["rows"] + prepared.get("dev_rows", 0) > 1000


def test_the_final_model_is_real_files_with_greedy_decoding(lab: Lab) -> None:
    model = Path(lab.final["checkpoint"])
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= {
        p.name for p in model.iterdir()
    }
    assert not [p for p in model.rglob("*") if p.is_symlink()]
    assert json.loads((model / "generation_config.json").read_text())["do_sample"] is False


def test_the_report_names_an_event_for_every_score(lab: Lab) -> None:
    report = Path(lab.final["report"]).read_text()
    events = {e["seq"]: e for e in lab.intern.events()}
    assert f"[{next(s for s, e in events.items() if e['type'] == 'run_finished')}]" in report
    for heading in ("Result", "What was read", "Data", "Development scores", "Experiments", "Failures", "Reproduce"):
        assert f"## {heading}" in report


def test_state_at_the_end_equals_the_state_the_events_fold_to(lab: Lab) -> None:
    last = lab.intern.events()[-1]["seq"]
    whole, at_end = (
        lab.intern.json("state", "last", "--json"),
        lab.intern.json("state", "last", "--to", str(last), "--json"),
    )
    assert whole == at_end
    assert whole["status"] == "finished"
    assert whole["scores"]["heldout_best"] == lab.final["best"]
    middle = lab.intern.json("state", "last", "--to", "50", "--json")
    assert middle["seq"] == 50


def test_the_events_are_dense_typed_and_chained(lab: Lab) -> None:
    events = lab.intern.events()
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert all({"id", "ts", "type", "v", "actor", "payload", "hash"} <= e.keys() for e in events)
    assert lab.intern("verify", "last").returncode == 0


def test_every_tool_call_is_requested_before_it_has_a_result(lab: Lab) -> None:
    opened: set[str] = set()
    for e in lab.intern.events():
        call = e["payload"].get("call")
        if e["type"] == "tool_requested":
            opened.add(call)
        elif e["type"] in ("tool_completed", "tool_failed"):
            assert call in opened
            opened.remove(call)
    assert not opened


def test_no_effect_was_launched_twice(lab: Lab) -> None:
    effects = [e["payload"]["effect_id"] for e in lab.intern.events() if e["type"] == "job_launched"]
    assert len(set(effects)) == len(effects)


def test_replay_prints_what_the_run_printed(lab: Lab) -> None:
    replay = lab.intern("replay", "last", "--plain")
    assert replay.returncode == 0
    assert "run finished" in replay.stdout
    short = lab.intern("replay", "last", "--plain", "--to", "20")
    assert replay.stdout.startswith(short.stdout[: len(short.stdout) - 1])


def test_the_run_can_be_queried_and_exported(lab: Lab, tmp_path: Path) -> None:
    rows = lab.intern.json(
        "sql", "last", "select job, max(step) as steps from metrics group by job order by job", "--json"
    )
    assert rows
    done = lab.intern("export", "last", "--to", "parquet", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*.parquet"))


def test_a_moved_run_folder_opens_elsewhere(lab: Lab, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(lab.folder, tmp_path / "elsewhere" / lab.run)
    done = lab.intern("state", str(tmp_path / "elsewhere" / lab.run), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == lab.run
