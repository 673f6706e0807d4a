"""What of a job's log a brain reads: the end, without what says nothing."""

from __future__ import annotations

from pathlib import Path

from core.compute.logs import telling


def log(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "log.txt"
    path.write_text(text)
    return path


def test_progress_bars_and_lines_that_differ_in_numbers_take_no_room(tmp_path: Path) -> None:
    bar = "".join(f"\r {n}%|{'█' * (n // 10)}| {n}/100 [00:{n % 60:02}<00:09]" for n in range(101))
    steps = "".join(f"step {n} loss {1 / (n + 1):.3f}\n" for n in range(500))
    said = telling(log(tmp_path, f"loading\n{bar}\n{steps}\x1b[31mCUDA out of memory\x1b[0m\n"), 4000)
    assert said.splitlines() == [
        "loading", " 100%|██████████| 100/100 [00:40<00:09]", "step 0 loss 1.000", "[498 more lines like these]",
        "step 499 loss 0.002", "CUDA out of memory",
    ]  # fmt: skip


def test_a_few_lines_alike_are_told_as_they_are(tmp_path: Path) -> None:
    assert telling(log(tmp_path, "a 1\na 2\na 3\nb"), 4000) == "a 1\na 2\na 3\nb"


def test_a_long_traceback_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    frames = "".join(f'  File "/lib/{chr(97 + n % 26)}{chr(97 + n // 26)}.py", in call\n' for n in range(300))
    text = f"{'noise about nothing. ' * 500}\nTraceback (most recent call last):\n{frames}ValueError: bad shape\n"
    said = telling(log(tmp_path, text), 1000)
    assert said.startswith("Traceback")
    assert said.endswith("ValueError: bad shape\n")
    assert len(said) <= 1000


def test_a_log_of_any_length_is_cut_to_what_was_asked_for(tmp_path: Path) -> None:
    assert len(telling(log(tmp_path, "word and " * 100_000), 300)) == 300
