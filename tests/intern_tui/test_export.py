"""Exports: a recording that plays on any terminal, a page that needs nothing else; both safe whatever the run holds."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core import events as e
from intern_tui.cli import main
from intern_tui.export.cast import LONGEST_S, speed_for
from store.log import EventLog
from tests.screens import recorded

HOSTILE = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\x9b31m\u202egnp\x1bP1$r \x00\x85 & \"quoted\" 'x' \x1b]8;;http://evil"
SEEN = re.compile(r"\x1b\[[0-9;]*[mHJ]|\x1b\[\?25[hl]")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recorded run as a real log, with hostile text in everything that comes from outside."""
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    folder = tmp_path / "runs" / recorded.RUN
    folder.mkdir(parents=True)
    hostile = [
        e.NoteAdded(text=HOSTILE, kind="title"),
        e.PaperRead(paper="p\x1b[1m", title=HOSTILE, source=HOSTILE, taken=[HOSTILE]),
        e.NoteAdded(text=HOSTILE, kind="lesson"),
        e.DatasetInspected(dataset=HOSTILE, rows=1, samples=[HOSTILE]),
    ]
    with EventLog.create(folder) as log:
        stored = recorded.appendable(recorded.events())
        log.append([*stored[:-1], *(e.new(p, actor="agent") for p in hostile), stored[-1]])
    return folder


def play(cast: Path) -> list[str]:
    """The last picture of a recording, by a terminal that knows only what a recording may use."""
    header, *frames = [json.loads(line) for line in cast.read_text().splitlines()]
    rows = [""] * header["height"]
    for _, kind, output in frames:
        assert kind == "o"
        for at, line in re.findall(r"\x1b\[(\d+);1H([^\x00]*?)(?=\x1b\[\d+;1H|\Z)", output, re.S):
            rows[int(at) - 1] = SEEN.sub("", line).rstrip("\r\n")
    return rows


def test_a_recording_is_valid_asciicast_and_ends_in_the_last_picture(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run.cast"
    assert main(["export", "last", "--to", "cast", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    header, *frames = [json.loads(line) for line in out.read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 120, 40)
    times = [frame[0] for frame in frames]
    assert times == sorted(times)
    assert times[-1] <= LONGEST_S + 5
    assert len(frames) > 20
    for _, _, output in frames:
        assert not re.search(r"[\x00-\x08\x0b-\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202e]|\x1b(?!\[)", output)
        assert not set(re.findall(r"\x1b\[[0-9;?]*[@-~]", output)) - set(SEEN.findall(output))
    last = play(out)
    assert any("13.8 % → 32.2 %" in line for line in last)
    assert "#642" in last[-3]


def test_a_long_run_is_filmed_faster() -> None:
    assert speed_for(60) == 1
    assert speed_for(170) == 2
    assert 36_000 / speed_for(36_000) <= LONGEST_S


class Reader(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if id := values.get("id"):
            self.ids.add(id)
        if href := values.get("href"):
            self.links.add(href)
        self.loads += [v or "" for k, v in attrs if k in ("src", "action", "data", "xlink:href")]


def test_a_page_needs_nothing_else_and_every_figure_leads_to_its_event(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.html"
    assert main(["export", "last", "--to", "html", "--out", str(out)]) == 0
    text = out.read_text()
    read = Reader()
    read.feed(text)
    assert read.loads == []
    assert all(link.startswith("#e") and link[1:] in read.ids for link in read.links)
    assert len(read.links) > 10
    assert read.tags.count("script") == 1  # ours; none from the run
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "default-src 'none'" in text
    for title in ("Plan", "Curves", "Evaluations", "Diagnoses", "Events", "What was read", "Data"):
        assert f"<h2>{title}</h2>" in text
    assert text.count("<polyline") >= 6


def test_the_report_is_exported_too(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    assert main(["export", "last", "--to", "report", "--out", str(out)]) == 0
    assert "## Result" in out.read_text()


def test_an_export_to_a_place_that_is_none_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "last", "--to", "html", "--out", str(tmp_path)]) == 2
    assert main(["export", "last", "--to", "html", "--out", str(tmp_path / "no" / "such" / "x.html")]) == 4
    assert "--out" in capsys.readouterr().err
