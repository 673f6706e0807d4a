"""Shell completion knows what the command line knows."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from intern_tui.cli import main, parser
from intern_tui.completion import commands_of


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_offered(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    commands = commands_of(parser())
    assert {"run", "replay", "export", "web"} <= {c.name for c in commands}
    for command in commands:
        assert command.name in script
        assert all(option[2:] in script for option in command.options)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_a_command_and_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    ask = 'COMP_WORDS=({words}); COMP_CWORD={at}; _intern; echo "${{COMPREPLY[*]}}"'

    def completed(words: str, at: int) -> list[str]:
        command = script + ask.format(words=words, at=at)
        return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout.split()

    assert completed("intern rec", 1) == ["recipes"]
    assert {"resume", "replay", "report", "recipes"} <= set(completed("intern re", 1))
    assert all(name.startswith("re") for name in completed("intern re", 1))
    assert completed("intern export --t", 2) == ["--to"]
    assert completed('intern export last --to ""', 4) == ["parquet", "sts", "cast", "html", "report", "repro", "otel"]
    assert completed("intern completion z", 2) == ["zsh"]
