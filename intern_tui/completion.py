"""Shell completion, made from the parser: whatever the command line knows, the shell knows.

`intern completion bash` prints a script; run ids are asked for when they are needed (`intern runs` is quick).
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from core.errors import UsageError


class Command(NamedTuple):
    name: str
    help: str
    options: list[str]
    takes_run: bool
    values: dict[str, list[str]]
    """What may stand behind an option, or (under the empty name) alone."""


def commands_of(parser: argparse.ArgumentParser) -> list[Command]:
    """Every command with its options, from argparse's own table."""
    found: list[Command] = []
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, sub in action.choices.items():
            options = sorted(o for a in sub._actions for o in a.option_strings if o.startswith("--"))
            takes_run = any(a.dest == "run" and not a.option_strings for a in sub._actions)
            values = {
                (o or [""])[-1]: [str(v) for v in a.choices]
                for a in sub._actions
                if a.choices
                for o in [a.option_strings]
            }
            found.append(Command(name, helps.get(name, ""), options, takes_run, values))
    return found


RUNS = "intern runs 2>/dev/null | cut -d' ' -f1"


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The completion script of a shell. Raises UsageError for a shell that is not known."""
    commands = commands_of(parser)
    made = {"bash": _bash, "zsh": _zsh, "fish": _fish}.get(shell)
    if made is None:
        raise UsageError(f"No completion for {shell!r}", next="Use bash, zsh or fish")
    return made(commands)


def _bash(commands: list[Command]) -> str:
    cases = "\n".join(
        f'    {c.name}) words="{" ".join(c.options + c.values.get("", []))}"{f"; [[ $cur == -* ]] || words=$(echo last; {RUNS})" if c.takes_run else ""} ;;'
        for c in commands
    )
    behind = "\n".join(
        f'    "{c.name} {option}") words="{" ".join(values)}" ;;'
        for c in commands
        for option, values in c.values.items()
        if option
    )
    names = " ".join(c.name for c in commands)
    return f"""\
# bash: eval "$(intern completion bash)"
_intern() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} words=
  if [ "$COMP_CWORD" -eq 1 ]; then words="{names}"; else
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD-1]}}" in
{behind}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _intern intern
"""


def _zsh(commands: list[Command]) -> str:
    names = " ".join(f"'{c.name}:{_quoted(c.help)}'" for c in commands)
    runs = f"; [[ $PREFIX == -* ]] || offered=(last $({RUNS}))"
    cases = "\n".join(
        f"    {c.name}) offered=({' '.join(c.options + c.values.get('', []))}){runs if c.takes_run else ''} ;;"
        for c in commands
    )
    behind = "\n".join(
        f"    '{c.name} {option}') offered=({' '.join(values)}) ;;"
        for c in commands
        for option, values in c.values.items()
        if option
    )
    return f"""\
# zsh: eval "$(intern completion zsh)"
_intern() {{
  local -a known offered
  if (( CURRENT == 2 )); then known=({names}); _describe command known; return; fi
  case $words[2] in
{cases}
  esac
  case "$words[2] $words[CURRENT-1]" in
{behind}
  esac
  compadd -a offered || _files
}}
compdef _intern intern
"""


def _fish(commands: list[Command]) -> str:
    lines = ["# fish: intern completion fish | source", "complete -c intern -f"]
    for c in commands:
        lines.append(f"complete -c intern -n __fish_use_subcommand -a {c.name} -d '{_quoted(c.help)}'")
        seen = f"-n '__fish_seen_subcommand_from {c.name}'"
        offered = {o: f" -x -a '{' '.join(c.values[o])}'" for o in c.options if o in c.values}
        lines += [f"complete -c intern {seen} -l {o[2:]}{offered.get(o, '')}" for o in c.options]
        if "" in c.values:
            lines.append(f"complete -c intern {seen} -a '{' '.join(c.values[''])}'")
        if c.takes_run:
            lines.append(f'complete -c intern {seen} -a "last ({RUNS})"')
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("'", "").replace(":", ",")
