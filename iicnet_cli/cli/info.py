"""``iicnet info``."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.console import (
    DebugOption,
    JsonOption,
    command,
    input_paths,
    print_json,
    say_error,
)
from iicnet_cli.errors import ExitCode, ModelError, NotAnEmbeddingError

if TYPE_CHECKING:
    from iicnet_cli.payload.embedding_reader import EmbeddingReader


@command
def info(
    source: Annotated[Path, typer.Argument(help="The PNG; - is stdin.", metavar="PNG")],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell what a PNG holds, without restoring it.

    Exit status 3 if it is not an iicnet PNG, or its pixels were altered.
    """
    from iicnet_cli.identify import task_of
    from iicnet_cli.payload.embedding_reader import EmbeddingReader
    from iicnet_cli.payload.mark import fps_from_code

    with input_paths([source]) as paths, EmbeddingReader(paths[0]) as reader:
        width, height = reader.size
        embeddings = reader.n_frames
        header, mark = reader.header, reader.mark
        altered = header is not None and not reader.verify()
        by_model = _told_by_model(reader, source) if header is None and mark is not None else {}
    facts: dict[str, object] = {"file": str(source)}
    if header is not None:
        facts |= {
            "found_by": "header",
            **header.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True),
            "pixels": "altered" if altered else "intact",
        }
    elif mark is not None:
        facts |= {
            "found_by": "mark",
            "task": task_of(mark),
            "images": mark.images,
            **by_model,
            **(
                {"common": [base64.b64encode(mark.static_region_bytes).decode()]}
                if mark.static_region_bytes
                else {}
            ),
            "fps": fps_from_code(mark.fps),
            "pixels": "unknown: the header was stripped",
        }
    else:
        raise NotAnEmbeddingError(
            f"{source} is not an iicnet PNG, or it was re-encoded: it has neither the header nor "
            "the mark"
        )
    facts |= {"embeddings": embeddings, "embedding_size": f"{width}x{height}"}
    if mark is not None and mark.enhancement:
        facts["enhancement_layer"] = f"{len(mark.enhancement)} bytes"
    if as_json:
        print_json(facts)
    else:
        for key, value in facts.items():
            typer.echo(f"{key.replace('_', ' '):16} {_readable(key, value)}")
    if altered:
        say_error(f"{source}: the pixels were altered after embedding")
        raise typer.Exit(ExitCode.NOT_EMBEDDING)


def _told_by_model(reader: EmbeddingReader, source: Path) -> dict[str, object]:
    """Size of the pictures, by the model that the mark names; empty if that model is not here.

    A mark itself does not say by how much the embedding is smaller than the pictures.
    """
    from iicnet_cli.identify import identify

    try:
        told, _, _ = identify(reader, source)
    except ModelError:
        return {}
    return told.model_dump(include={"model", "width", "height", "scale"}, exclude_defaults=True)


def _readable(key: str, value: Any) -> str:
    if key == "sources":
        return ", ".join(f"{s['name']} ({s['width']}x{s['height']})" for s in value)
    if key == "common":
        return f"{_common_share(value):.0%} of the picture"
    if key == "motion":
        groups = sum(map(bool, value))
        return f"of {groups} of {len(value)} groups, {sum(map(len, value))} characters"
    return str(value)


def _common_share(of_groups: list[str]) -> float:
    """Of all pictures, where the embedding shows what its group has in common."""
    from iicnet_cli.payload.static_map import StaticRegion

    areas = [StaticRegion.from_bytes(base64.b64decode(told)) for told in of_groups]
    return sum(float(area.cells.mean()) for area in areas if area) / max(1, len(areas))
