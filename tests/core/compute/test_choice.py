"""`--compute auto`: this machine where it can, a rented one where it cannot, and the reason in words."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from core import events as e
from core.compute.choice import parse_choice, settle
from core.compute.schedule import Capacity, Device
from core.launch import Request, create_run
from core.session import open_source, state_at

GB = 1 << 30
BARE = Capacity(cpus=8)
CARD = Capacity(cpus=8, gpus=(Device(index=0, total_bytes=24 * GB, free_bytes=24 * GB),))


@pytest.fixture(autouse=True)
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))


def test_a_gpu_that_holds_the_base_is_used_and_a_small_base_needs_none() -> None:
    assert settle("auto", 4_000_000_000, CARD)[0] == "local"
    chosen, why = settle("auto", 400_000, BARE)
    assert chosen == "local"
    assert "0.4 million" in why


def test_what_is_too_large_here_is_rented_where_there_is_a_token_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, why = settle("auto", 1_700_000_000, BARE)
    assert chosen == "local"
    assert "without a Hub token" in why
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    chosen, why = settle("auto", 1_700_000_000, BARE)
    assert chosen == "hf-jobs"
    assert "no GPU here" in why
    chosen, why = settle("auto", 30_000_000_000, CARD)
    assert chosen == "hf-jobs"
    assert "the largest here has 24" in why
    assert settle("auto", None, BARE)[0] == "hf-jobs"


def test_a_named_place_stays_what_it_is() -> None:
    assert settle("slurm:gpu", 1, BARE) == ("slurm:gpu", "")
    assert parse_choice("auto").kind == "local"


def test_a_run_says_where_its_jobs_run_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path / "home"))
    run = create_run(Request(task="pocket/addition", compute="auto", hours=0.1))
    assert state_at(run).compute == "local"
    with contextlib.closing(open_source(run)) as source:
        notes = [p for x in source.events(1) if isinstance(p := e.payload_of(x), e.NoteAdded)]
    assert notes[0].text.startswith("Jobs run on local: ")
