"""`intern doctor` as a newcomer reads it: nothing is called missing without the step that mends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.compute.check import check_compute
from core.compute.choice import parse_choice
from core.doctor import examine
from tests.servers.arxiv_api import ArxivApi
from tests.servers.semantic_scholar import SemanticScholarServer

ASKED = {"python", "training", "disk", "sockets", "gpu", "cuda", "memory", "sandbox", "reach", "hub token", "hub", "clock", "papers", "lingering"}  # fmt: skip


@pytest.fixture(autouse=True)
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without anything, no network, no token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("INTERN_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_every_line_that_is_not_well_names_its_fix() -> None:
    checks = examine()
    assert {c.name for c in checks} >= ASKED
    for check in checks:
        assert check.found, check.name
        assert check.ok or check.fix, check.name


def test_what_a_run_cannot_do_without_is_told_from_what_it_can() -> None:
    needed = {c.name for c in examine() if c.needed}
    assert needed == {"python", "training", "disk", "sockets"}


def test_a_line_of_hosts_that_names_no_host_is_found_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "hosts.txt").write_text("weights.example.org\n10.0.0.1\n")
    check = next(c for c in examine() if c.name == "reach")
    assert not check.ok
    assert "10.0.0.1" in check.found
    assert "hosts.txt, line 2" in check.fix


def test_a_ray_that_does_not_answer_leads_somewhere_else_than_back_to_the_doctor() -> None:
    (check,) = check_compute(parse_choice("ray://127.0.0.1:1"))
    assert not check.ok
    assert "(http://127.0.0.1:1)" in check.found
    assert "ray status" in check.fix
    assert "doctor" not in check.fix


def test_a_machine_without_slurm_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = check_compute(parse_choice("slurm"))
    assert (check.ok, check.found, check.fix) == (False, "sbatch is not here", "run on the cluster's log-in node")


def test_the_sources_of_papers_are_asked_in_their_turn_and_the_silent_ones_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ArxivApi() as arxiv, SemanticScholarServer() as scholar:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv("INTERN_ARXIV_API", f"{arxiv.url}/api/query")
        monkeypatch.setenv("INTERN_SEMANTIC_SCHOLAR", scholar.url)
        monkeypatch.setenv("INTERN_OPENALEX", "http://127.0.0.1:1")
        found = {c.name: c for c in examine()}
    assert not found["papers"].ok
    assert found["papers"].found.startswith("arXiv, Semantic Scholar answered; no answer from OpenAlex: ")
    assert "recipe library" in found["papers"].fix
    assert (arxiv.asked(), scholar.asked()) == (1, 1)
    assert list((Path(os.environ["INTERN_HOME"]) / "cache" / "limits").glob("*.next")), (
        "in turn with this machine's runs"
    )
