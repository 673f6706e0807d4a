"""The card of a published model names the licence of its base and of all data behind it, as the log knows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from core import events as e
from core.agent.desk import Desk, Settings
from core.clock import Clock
from core.compute.local import LocalCompute
from core.errors import ToolError
from core.evaluation.prompting import Prompting
from core.hub.provenance import Provenance, provenance
from core.journal import Journal
from core.literature.limiter import Limiter
from core.literature.web import Politeness, Web
from core.redact import Redactor
from core.report import render_report
from core.state import RunState
from core.tables import TABLES
from core.tasks import load_task
from core.tools.data import inspect_data, prepare_data, sample_and_verify
from core.tools.hub import fetch_dataset, search_datasets
from core.tools.publish import publish
from store.log import EventLog
from tests.servers.clock import FakeClock
from tests.servers.hub import HubDataset, HubServer

BASE = "ana/base-1.7B"
ROWS = [{"question": f"What is {i} and one?", "answer": str(i + 1)} for i in range(30)]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    sets = {
        "ana/free": HubDataset(ROWS, ["license:mit"]),
        "ben/nc": HubDataset(ROWS, ["license:cc-by-nc-4.0"]),
        "cy/silent": HubDataset(ROWS, []),
        "dee/own": HubDataset(ROWS, ["license:other"], card={"license_name": "dee-terms"}),
    }
    with HubServer(sets) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("INTERN_VIEWER", server.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        server.models[BASE] = ["license:apache-2.0", "text-generation"]
        yield server


@pytest.fixture
def desk(tmp_path: Path, hub: HubServer) -> Iterator[Desk]:
    folder = tmp_path / "run"
    (folder / "final_model").mkdir(parents=True)
    (folder / "final_model" / "config.json").write_text("{}")
    task = SimpleNamespace(verifier=None, max_new_tokens=8, path=str(tmp_path / "task"), dev_file=None, data_files=[], eval_text_files=(), evaluate_path=str(tmp_path / "evaluate.py"))  # fmt: skip
    (tmp_path / "task").mkdir()
    (tmp_path / "evaluate.py").write_text("")
    web = Web(Limiter(tmp_path / "limits", clock=FakeClock()), Politeness(timeout_s=5))
    with EventLog.create(folder, TABLES) as log:
        made = Desk(
            folder=folder, settings=Settings(run="r", goal="g", model=BASE, autonomy="publish"), task=cast(Any, task),
            card=cast(Any, SimpleNamespace(path=BASE)), journal=Journal(log, RunState(), Redactor({})),
            compute=LocalCompute(folder / "jobs"), literature=cast(Any, SimpleNamespace(web=web)), clock=Clock(600.0),
            prompting=Prompting(),
        )  # fmt: skip
        made.emit(e.RunCreated(run="r", goal="g", task="sums", task_path=str(tmp_path / "task"), model=BASE))
        yield made


def prepare(desk: Desk, name: str, *sources: str) -> None:
    desk.emit(e.DatasetPrepared(name=name, sources=list(sources), path=str(desk.folder / "data" / name), rows=9, dev_rows=1, read=10))  # fmt: skip


def fetch(desk: Desk, dataset: str) -> str:
    return str(cast(dict[str, Any], fetch_dataset.run(desk, dataset=dataset))["path"])


def job(desk: Desk, name: str, data: str | None, model: str | None, kind: str = "training") -> None:
    config = {k: v for k, v in (("data", data), ("model", model)) if v}
    desk.emit(e.JobLaunched(job=name, kind=kind, method="sft", title=name, effect_id=name, folder=str(desk.folder / "jobs" / name), config=config))  # fmt: skip


def promote(desk: Desk, source: str) -> None:
    desk.emit(e.CheckpointPromoted(source=source, path=str(desk.folder / "final_model"), evaluation="j/x", score=0.5, digest="d"))  # fmt: skip


def of(desk: Desk, model: str = "final") -> Provenance:
    return provenance(desk.journal.events(), model)


def card(desk: Desk, hub: HubServer, model: str = "final") -> str:
    publish.run(desk, repo="me/out", model=model, collection="none")
    return hub.repos["me/out"]["README.md"].decode()


def head(text: str) -> list[str]:
    return text.split("---")[1].splitlines()


def test_open_sources_leave_the_licence_of_the_base(desk: Desk, hub: HubServer) -> None:
    prepare(desk, "clean", fetch(desk, "ana/free"))
    job(desk, "job-1", "clean", "base")
    promote(desk, "job-1")
    text = card(desk, hub)
    assert "license: apache-2.0" in head(text)
    assert f"base_model: {BASE}" in head(text)
    assert "- ana/free" in head(text)
    found = of(desk)
    assert f"- Base model `{BASE}`: apache-2.0 [{found.base.seq}]." in text
    assert f"- Data `ana/free`: mit [{found.data[0].seq}]." in text
    assert str(desk.folder) not in text


def test_what_restricts_is_pointed_out_and_no_licence_is_set(desk: Desk, hub: HubServer) -> None:
    prepare(desk, "mixed", *(fetch(desk, name) for name in ("ana/free", "ben/nc", "cy/silent", "dee/own")))
    job(desk, "job-1", "mixed", "base")
    promote(desk, "job-1")
    text = card(desk, hub)
    assert not any(line.startswith("license") for line in head(text))
    lines = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("- Data `")}
    assert lines["ben/nc"].endswith("**non-commercial use only**.")
    assert lines["cy/silent"] == "- Data `cy/silent`: **unknown: ask its authors before use**."
    assert "other (dee-terms)" in lines["dee/own"]
    assert "own" in lines["dee/own"].split("]")[1]
    assert "**No licence is set for this model**" in text


def test_only_what_the_published_model_stands_on_counts(desk: Desk, hub: HubServer) -> None:
    search_datasets.run(desk, query="")
    prepare(desk, "good", fetch(desk, "ana/free"))
    prepare(desk, "bad", fetch(desk, "ben/nc"))
    job(desk, "job-1", "good", "base")
    promote(desk, "job-1")
    job(desk, "job-2", "bad", "base")  # a dead end
    prepare(desk, "own", "good")  # answers the model gave to the same prompts
    job(desk, "job-3", "own", "final")
    assert [o.name for o in of(desk).data] == ["ana/free"]
    promote(desk, "job-3")
    job(desk, "job-4", "bad", "final")
    assert [o.name for o in of(desk).data] == ["ana/free"]
    assert [o.name for o in of(desk, "job-4").data] == ["ana/free", "ben/nc"]
    assert [o.name for o in of(desk, "job-2").data] == ["ben/nc"]
    assert of(desk, "base").data == ()


def test_a_name_prepared_anew_means_what_it_meant_when_it_was_used(desk: Desk, hub: HubServer) -> None:
    prepare(desk, "clean", fetch(desk, "ana/free"))
    job(desk, "job-1", "clean", "base")
    prepare(desk, "clean", fetch(desk, "ben/nc"))
    job(desk, "job-2", "clean", "base")
    assert [o.name for o in of(desk, "job-1").data] == ["ana/free"]
    assert [o.name for o in of(desk, "job-2").data] == ["ben/nc"]
    prepare(desk, "clean", "clean")  # of itself
    job(desk, "job-3", "clean", "base")
    assert [o.name for o in of(desk, "job-3").data] == ["ben/nc"]


def test_local_data_is_known_by_what_its_folder_says(desk: Desk, hub: HubServer, tmp_path: Path) -> None:
    path = tmp_path / "task" / "rows.jsonl"
    path.write_text("".join(f'{{"prompt": "What is {i} and one?", "answer": "{i + 1}"}}\n' for i in range(30)))
    (tmp_path / "task" / "README.md").write_text("---\nlicense: cc-by-sa-4.0\n---\n")
    seen = cast(dict[str, Any], inspect_data.run(desk, path=str(path)))
    assert seen["licence"] == "cc-by-sa-4.0"
    prepare(desk, "clean", "rows.jsonl")
    job(desk, "job-1", "clean", "base")
    promote(desk, "job-1")
    text = card(desk, hub)
    assert "same licence**" in next(line for line in text.splitlines() if "`rows.jsonl`" in line)
    assert not any(line.startswith("license") for line in head(text))
    assert "datasets:" not in head(text)


def test_what_the_log_does_not_say_is_not_passed_over(desk: Desk, hub: HubServer) -> None:
    job(desk, "job-1", None, "base", kind="script")
    job(desk, "job-2", None, "/elsewhere/secret-model", kind="script")
    assert of(desk, "job-1").unclear == ("job-1",)
    assert of(desk, "job-2").unclear == ("job-2", "secret-model")
    promote(desk, "job-1")
    text = card(desk, hub)
    assert "`job-1`: the log does not say" in text
    assert "**No licence is set for this model**" in text


def test_rows_of_a_teacher_carry_its_terms_and_those_of_a_program_none(desk: Desk, hub: HubServer) -> None:
    for name, writer, made in (("taught", "big-model", "teacher"), ("made", "gym:chain_sum", "program")):
        desk.emit(e.DatasetFound(dataset=name, source=writer, rows=9, why="synthesized", made=made))
        prepare(desk, name, writer)
    job(desk, "job-1", "made", "base")
    promote(desk, "job-1")
    text = card(desk, hub)
    assert "license: apache-2.0" in head(text)
    assert "`gym:chain_sum`: written by a generator program" in text
    job(desk, "job-2", "taught", "final")
    promote(desk, "job-2")
    text = card(desk, hub)
    assert not any(line.startswith("license") for line in head(text))
    assert "`big-model`: **written by that model in this run: its terms of use apply**." in text


def test_a_base_that_states_nothing_or_cannot_be_asked_is_unknown(desk: Desk, hub: HubServer) -> None:
    del hub.models[BASE]
    promote(desk, "base")
    text = card(desk, hub)
    assert f"- Base model `{BASE}`: **unknown: ask its authors before use**." in text
    assert "- No training data went into this model." in text
    assert not any(line.startswith("license") for line in head(text))


def test_the_licence_of_the_base_is_looked_up_once_and_then_in_the_log(desk: Desk, hub: HubServer) -> None:
    promote(desk, "base")
    card(desk, hub)
    card(desk, hub)
    said = [e.payload_of(x) for x in desk.journal.events() if x.type == "licence_found"]
    assert said == [e.LicenceFound(model=BASE, licence="apache-2.0", source=f"{hub.url}/{BASE}")]


def test_a_configuration_named_like_a_path_stays_in_the_folder(desk: Desk, hub: HubServer) -> None:
    hub.datasets["ana/free"].splits = [("../../../x", "train")]
    made = cast(dict[str, Any], fetch_dataset.run(desk, dataset="ana/free", config="../../../x"))
    path = Path(made["path"])
    assert path.parent == desk.folder / "data" / "fetched"
    assert path.is_file()


def prepared(desk: Desk, path: Path, **more: Any) -> object:
    desk.emit(e.DatasetInspected(dataset=path.name, rows=30, columns=["prompt", "answer"]))
    return prepare_data.run(desk, **{"name": "clean", "sources": [str(path)], **more})


def test_options_that_do_not_exist_and_lists_that_cannot_be_read_are_said(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "task" / "rows.jsonl"
    path.write_text("".join(f'{{"prompt": "What is {i} and one?", "answer": "{i + 1}"}}\n' for i in range(60)))
    with pytest.raises(ToolError, match="max_token"):
        prepared(desk, path, options={"max_token": 9})
    with pytest.raises(ToolError, match="ids to exclude"):
        prepared(desk, path, options={"exclude": str(tmp_path / "task" / "nowhere.txt")})
    prepared(desk, path, options={"dev_rows": 20})
    rows = (desk.folder / "data" / "clean" / "train.jsonl").read_bytes()
    with pytest.raises(ToolError, match="made of itself"):
        prepare_data.run(desk, name="clean", sources=["clean"])
    for name, why in (("../away", "no name"), ("clean", "made of itself")):
        with pytest.raises(ToolError, match=why):
            sample_and_verify.run(desk, model="base", data="clean", name=name)
    with pytest.raises(ToolError, match="development split"):
        prepared(desk, path, options={"dev_rows": 59})
    assert (desk.folder / "data" / "clean" / "train.jsonl").read_bytes() == rows, "what failed destroys nothing"


def test_a_limit_in_tokens_takes_the_tokenizer_of_the_base(desk: Desk, tmp_path: Path) -> None:
    desk.card = cast(Any, SimpleNamespace(path=load_task("pocket/addition").base_model))
    path = tmp_path / "task" / "rows.jsonl"
    rows = [(f"{i}+1=", str(i + 1)) for i in range(60)] + [("1+" * 300 + "1=", "301")]
    path.write_text("".join(f'{{"prompt": "{p}", "answer": "{a}"}}\n' for p, a in rows))
    made = cast(dict[str, Any], prepared(desk, path, options={"max_tokens": 40, "dev_rows": 0}))
    assert made["dropped"] == {"too_long": 1}


def test_events_of_an_older_program_have_no_licence_and_are_unknown() -> None:
    old = e.DatasetFound(dataset="a/b", source="hub")
    assert (old.licence, old.made) == ("", "")
    assert e.DatasetInspected(dataset="a", rows=1).licence == ""


def test_published_rows_and_the_report_name_the_licence_of_every_source(desk: Desk, hub: HubServer) -> None:
    for name, sources in (("clean", ["ana/free"]), ("mixed", ["ana/free", "ben/nc", "cy/silent"])):
        prepare(desk, name, *(fetch(desk, source) for source in sources))
        folder = desk.folder / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    publish.run(desk, repo="me/rows", data="clean", collection="none")
    assert "license: mit" in head(hub.repos["me/rows"]["README.md"].decode())
    publish.run(desk, repo="me/mixed", data="mixed", collection="none")
    text = hub.repos["me/mixed"]["README.md"].decode()
    report = render_report(desk.state)
    assert not any(line.startswith("license") for line in head(text))
    assert "**No licence is set for these rows**" in text
    for found in (text, report):
        lines = {line.split("`")[1]: line for line in found.splitlines() if line.startswith("- `")}
        assert lines["ben/nc"].endswith("non-commercial use only")
        assert lines["cy/silent"] == "- `cy/silent`: unknown: ask its authors before use"
        assert str(desk.folder) not in found.split("Licences")[1].split("##")[0]
    assert f"- base `{BASE}`: unknown: ask its authors before use" in report
    desk.emit(e.LicenceFound(model=BASE, licence="apache-2.0", source="here"))
    assert f"- base `{BASE}`: apache-2.0 [{desk.state.licence_seq}]" in render_report(desk.state)


def test_an_adapter_is_published_by_its_job_and_names_the_base_as_others_know_it(desk: Desk, hub: HubServer) -> None:
    prepare(desk, "clean", fetch(desk, "ana/free"))
    job(desk, "job-1", "clean", "base")
    job(desk, "job-2", "clean", "job-1")
    with pytest.raises(ToolError, match="no adapter"):
        publish.run(desk, repo="me/lora", model="job-1", form="adapter")
    folder = desk.folder / "jobs" / "job-1" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"r": 8, "base_model_name_or_path": "/home/ana/models/base"}')
    (folder / "adapter_model.safetensors").write_bytes(b"low rank")
    publish.run(desk, repo="me/lora", model="job-1", form="adapter", collection="none")
    sent = hub.repos["me/lora"]
    assert msgspec.json.decode(sent["adapter_config.json"]) == {"r": 8, "base_model_name_or_path": BASE}
    assert sent["adapter_model.safetensors"] == b"low rank"
    assert "library_name: peft" in head(sent["README.md"].decode())
    with pytest.raises(ToolError, match="fits no model"):
        publish.run(desk, repo="me/lora", model="job-2", form="adapter")
    with pytest.raises(ToolError, match="id of its job"):
        publish.run(desk, repo="me/lora", form="adapter")


def test_nothing_is_published_that_holds_a_secret(desk: Desk, hub: HubServer) -> None:
    prepare(desk, "clean", fetch(desk, "ana/free"))
    folder = desk.folder / "data" / "clean"
    folder.mkdir(parents=True, exist_ok=True)
    token = "hf_" + "a1B2" * 9
    (folder / "train.jsonl").write_text('{"prompt": "a", "answer": "b"}\n' * 40_000 + f'{{"prompt": "{token}"}}\n')
    with pytest.raises(ToolError, match=r"train\.jsonl would publish a secret"):
        publish.run(desk, repo="me/rows", data="clean", collection="none")
    assert "me/rows" not in hub.repos
    (folder / "train.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    publish.run(desk, repo="me/rows", data="clean", collection="none")
    assert "me/rows" in hub.repos
