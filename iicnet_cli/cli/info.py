"""``iicnet info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iicnet_cli.cli.console import DebugOption, JsonOption, command, print_json, say_error
from iicnet_cli.errors import ExitCode, NotAnEmbeddingError


@command
def info(
    source: Annotated[Path, typer.Argument(help="The PNG.", metavar="PNG")],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell what a PNG holds, without restoring it.

    Exit status 3 if it is not an iicnet PNG, or its pixels were altered.
    """
    from iicnet_cli.container import EmbeddingReader, fps_from_code

    with EmbeddingReader(source) as reader:
        width, height = reader.size
        embeddings = reader.n_frames
        header, mark = reader.header, reader.mark
        altered = header is not None and not reader.verify()
    facts: dict[str, object] = {"file": str(source)}
    if header is not None:
        facts |= {
            "found_by": "header",
            **header.model_dump(exclude_none=True, exclude_defaults=True),
            "pixels": "altered" if altered else "intact",
        }
    elif mark is not None:
        facts |= {
            "found_by": "mark",
            "task": mark.task_name,
            "images": mark.images,
            "width": width - mark.padding[0],
            "height": height - mark.padding[1],
            "fps": fps_from_code(mark.fps),
            "pixels": "unknown: the header was stripped",
        }
    else:
        raise NotAnEmbeddingError(
            f"{source} is not an iicnet PNG, or it was re-encoded: it has neither the header nor "
            "the mark"
        )
    facts |= {"embeddings": embeddings, "embedding_size": f"{width}x{height}"}
    if as_json:
        print_json(facts)
    else:
        for key, value in facts.items():
            typer.echo(f"{key.replace('_', ' '):16} {_readable(value)}")
    if altered:
        say_error(f"{source}: the pixels were altered after embedding")
        raise typer.Exit(ExitCode.NOT_EMBEDDING)


def _readable(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(f"{s['name']} ({s['width']}x{s['height']})" for s in value)
    return str(value)
