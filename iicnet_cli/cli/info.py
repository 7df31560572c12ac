"""``iicnet info``."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.common_options import DebugOption, JsonOption
from iicnet_cli.cli.console import command, input_paths, naming, print_json, say_error
from iicnet_cli.errors import ContainerError, ExitCode, ModelError

if TYPE_CHECKING:
    from iicnet_cli.engines.file_engine import FileEngine
    from iicnet_cli.integrity import Integrity
    from iicnet_cli.payload.embedding_reader import EmbeddingReader
    from iicnet_cli.payload.mark import Mark

_OF_NETWORKS = {"images", "model", "weights_sha256"}
"""Fields of the header that say nothing of a PNG that carries files."""


@command
def info(
    source: Annotated[Path, typer.Argument(help="The picture; - is stdin.", metavar="PICTURE")],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print what a picture holds, without restoring it.

    The exit status is 3 if it is not an iicnet picture, or if its header or marks tell that pixels
    were altered or that pictures are missing.
    """
    from iicnet_cli.identify import file_engine_of, no_embedding_error, task_of
    from iicnet_cli.integrity import check_integrity
    from iicnet_cli.payload.embedding_reader import EmbeddingReader
    from iicnet_cli.payload.mark import fps_from_code

    with naming(source), input_paths([source]) as paths, EmbeddingReader(paths[0]) as reader:
        width, height = reader.size
        embeddings = reader.n_frames
        header, mark = reader.header, reader.mark
        carrier = file_engine_of(reader)
        integrity = check_integrity(reader)
        described, carried = ({}, {}) if carrier is None else _carried_fields(reader, carrier)
        if header is None and mark is None and carrier is None:
            raise no_embedding_error(reader, source)
        by_model = _size_by_model(reader, source) if header is None and mark is not None else {}
    facts: dict[str, object] = {"file": str(source)}
    if header is not None:
        facts |= {
            "found_by": "header",
            **header.model_dump(
                by_alias=True,
                exclude_none=True,
                exclude_defaults=True,
                exclude=None if carrier is None else _OF_NETWORKS,
            ),
            "pixels": _state_of_pixels(integrity) or "intact",
        }
    elif mark is not None:
        facts |= {
            "found_by": "mark",
            "task": task_of(mark),
            "images": mark.images,
            **by_model,
            **_static_region_field(mark),
            "fps": fps_from_code(mark.fps),
            "pixels": _state_of_pixels(integrity) or "unknown: the header was stripped",
        }
    else:
        assert carrier is not None
        facts |= {"found_by": "mark", "engine": carrier.name}
        facts |= described
    facts |= {"embeddings": embeddings, "embedding_size": f"{width}x{height}"}
    facts |= carried
    if mark is not None and mark.enhancement:
        facts["enhancement_layer"] = f"{len(mark.enhancement)} bytes"
    if as_json:
        print_json(facts)
    else:
        for key, value in facts.items():
            typer.echo(f"{key.replace('_', ' '):16} {_readable(key, value)}")
    if integrity.altered:
        what = "; ".join(integrity.notes) or "the pixels were altered after embedding"
        say_error(f"{source}: {what}")
        raise typer.Exit(ExitCode.NOT_EMBEDDING)


def _state_of_pixels(integrity: Integrity) -> str | None:
    """What became of them; ``None`` where nothing tells of a change."""
    if integrity.missing:
        return "incomplete"
    return "altered" if integrity.altered else None


def _carried_fields(
    reader: EmbeddingReader, engine: FileEngine
) -> tuple[dict[str, object], dict[str, object]]:
    """What a picture says of its contents, and the files that it carries.

    Both as far as they can be known without a password.
    """
    from iicnet_cli.payload.bundle import Bundle, Role
    from iicnet_cli.payload.bundle_description import joined_description, read_description

    files: list[dict[str, object]] = []
    headers = []
    hidden = damaged = small_versions = 0
    for embedding in reader:
        try:
            data = engine.read(embedding)
            if not Bundle.recognises(data):
                hidden += len(data)
                continue
            bundle = Bundle.from_bytes(data)
            headers.append(read_description(bundle))
            files += [
                {"role": each.role.name.lower(), "name": each.name, "bytes": len(each.data)}
                for each in bundle.files
                if each.role is not Role.DESCRIPTION
            ]
        except ContainerError:
            damaged += 1
        small = engine.read_small_version(embedding)
        if small is not None:
            small_versions += len(small)
    fields: dict[str, object] = {"carried": files} if files else {}
    if hidden:
        fields["encrypted"] = f"{hidden} bytes"
    if damaged:
        fields["damaged"] = f"{damaged} of {reader.n_frames} pictures"
    if small_versions:
        fields["small_version"] = f"{small_versions} bytes"
    described = {}
    if headers:
        known = joined_description(headers)
        described = known.model_dump(
            include={"task", "width", "height", "sources", "frames", "fps"}, exclude_none=True
        )
    return described, fields


def _size_by_model(reader: EmbeddingReader, source: Path) -> dict[str, object]:
    """Size of the pictures, which only the model that the mark names knows; else empty.

    A mark does not say by how much the embedding is smaller than the pictures.
    """
    from iicnet_cli.identify import identify

    try:
        header = identify(reader, source).header
    except ModelError:
        return {}
    return header.model_dump(include={"model", "width", "height", "scale"}, exclude_defaults=True)


def _static_region_field(mark: Mark) -> dict[str, list[str]]:
    """The static region of a mark, as the header names and encodes it; empty without one."""
    data = mark.static_region_bytes
    return {"common": [base64.b64encode(data).decode()]} if data else {}


def _readable(key: str, value: Any) -> str:
    if key == "sources":
        return ", ".join(f"{s['name']} ({s['width']}x{s['height']})" for s in value)
    if key == "carried":
        return ", ".join(f"{each['role']} {each['name']} ({each['bytes']} bytes)" for each in value)
    if key == "common":
        return f"{_static_share(value):.0%} of the picture"
    if key == "motion":
        groups = sum(map(bool, value))
        return f"of {groups} of {len(value)} groups, {sum(map(len, value))} characters"
    return str(value)


def _static_share(of_groups: list[str]) -> float:
    """Share of the embeddings that the static regions cover."""
    from iicnet_cli.payload.static_map import StaticRegion

    regions = [StaticRegion.from_bytes(base64.b64decode(text)) for text in of_groups]
    return sum(float(region.cells.mean()) for region in regions if region) / max(1, len(regions))
