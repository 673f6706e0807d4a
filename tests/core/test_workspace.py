"""Snapshots by content: cheap when nothing changed, whole when brought back."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.agent.scope import differences, from_goal, parse
from core.errors import UsageError
from core.tools.files import loose_matches
from core.workspace import LARGEST, Workspace
from store.blobs import BlobStore


def test_a_snapshot_brings_back_content_modes_and_absences(tmp_path: Path) -> None:
    root = tmp_path / "w"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("one")
    (root / "sub" / "run.sh").write_text("echo")
    (root / "sub" / "run.sh").chmod(0o755)
    work = Workspace(root, BlobStore(tmp_path))
    first = work.save()
    assert first is not None
    assert work.save() is None, "nothing changed, nothing saved"
    (root / "a.txt").write_text("two")
    (root / "sub" / "run.sh").unlink()
    (root / "new.txt").write_text("new")
    second = work.save()
    assert second is not None
    assert second.changed == 3
    assert Workspace(root, BlobStore(tmp_path), second.digest).restore(first.digest) == 3
    assert (root / "a.txt").read_text() == "one"
    assert (root / "sub" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert not (root / "new.txt").exists()


def test_bringing_a_file_back_follows_no_link_out_of_the_workspace(tmp_path: Path) -> None:
    """Code of a brain may put a link where a folder was, or where a file is about to be written."""
    root, outside = tmp_path / "w", tmp_path / "outside"
    (root / "sub" / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").write_text("theirs")
    for name in ("sub/deep/a.txt", "b.txt", "c.txt"):
        (root / name).write_text("mine")
    work = Workspace(root, BlobStore(tmp_path))
    first = work.save()
    assert first is not None
    (root / "sub" / "deep" / "a.txt").unlink()
    (root / "sub" / "deep").rmdir()
    (root / "sub" / "deep").symlink_to(outside)
    for name in ("b.txt", "c.txt"):
        (root / name).unlink()
    (root / "b.txt").symlink_to(outside / "kept")
    (root / ".c.txt.restoring").symlink_to(outside / "kept")
    work.restore(first.digest)
    assert sorted(p.name for p in outside.iterdir()) == ["kept"]
    assert (outside / "kept").read_text() == "theirs"
    for name in ("sub/deep/a.txt", "b.txt", "c.txt"):
        assert (root / name).read_text() == "mine"
        assert not (root / name).is_symlink()


def test_a_file_comes_back_where_a_folder_stands_unless_that_holds_what_is_not_kept(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    (root / "a").write_text("mine")
    work = Workspace(root, BlobStore(tmp_path))
    first = work.save()
    assert first is not None
    (root / "a").unlink()
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "c").write_text("x")
    work.restore(first.digest)
    assert (root / "a").read_text() == "mine"
    (root / "a").unlink()
    (root / "a").mkdir()
    with (root / "a" / "big").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(OSError, match="not empty"):
        work.restore(first.digest)
    assert (root / "a" / "big").exists()


def test_links_and_what_is_too_large_are_not_kept(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    (root / "link").symlink_to("/etc/passwd")
    with (root / "big").open("wb") as file:
        file.truncate(LARGEST + 1)
    taken = Workspace(root, BlobStore(tmp_path)).save()
    assert taken is None or taken.manifest == {}
    if taken:
        assert taken.skipped == ["big"]


def test_what_a_goal_fixes_and_what_differs_from_it() -> None:
    fixed = from_goal("Full fine-tuning only, sequence length 4096, only SFT please")
    assert fixed == {"lora": False, "max_length": 4096, "method": "sft"}
    asked = {"method": "grpo", "settings": {"lora": {}, "max_length": 512, "eval_every": 0}}
    found = differences(fixed | {"monitoring": True}, "train", asked)
    assert len(found) == 4
    assert "LoRA instead of full weights" in found[0]
    assert differences(fixed, "train", {"method": "sft", "settings": {"max_length": 8192}}) == []
    assert differences(fixed, "evaluate", asked) == []
    with pytest.raises(UsageError):
        parse(["colour=red"])


def test_a_loose_match_finds_lines_that_differ_in_white_space_only() -> None:
    content = "def f():\n\tif x:   \n\t\treturn 1\n"
    found = loose_matches(content, "if x:\n    return 1")
    assert len(found) == 1
    start, end, indent = found[0]
    assert content[start:end] == "\tif x:   \n\t\treturn 1"
    assert indent == "\t"
