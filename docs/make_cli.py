"""Write docs/cli.md from the help of the program: ``python docs/make_cli.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from iicnet_cli.cli import app

TARGET = Path(__file__).with_name("cli.md")
WIDTH = 100
"""Help is wrapped at this many columns, whatever the terminal."""

INTRODUCTION = """\
# The command line

This page is made from the program by `python docs/make_cli.py`; do not edit it. The README has
examples, and [python-api.md](python-api.md) lists the errors behind the exit statuses.
"""


def sections(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, str]]:
    """A command and those below it: the words that call each, and its help as plain text."""
    context = command.context_class(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )
    text = re.sub("\x1b\\[[0-9;]*m", "", command.get_help(context))
    yield context.command_path, "\n".join(line.rstrip() for line in text.splitlines())
    for below_name, below in getattr(command, "commands", {}).items():
        yield from sections(below, below_name, context)


def render() -> str:
    """The whole page."""
    found = list(sections(typer.main.get_command(app), "iicnet"))
    contents = "\n".join(f"- [{path}](#{path.replace(' ', '-')})" for path, _ in found)
    blocks = [f"## {path}\n\n```text\n{text}\n```\n" for path, text in found]
    return "\n".join([INTRODUCTION, contents + "\n", *blocks])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
