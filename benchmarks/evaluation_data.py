"""The checkpoints and the pictures that the benchmarks measure, and how tables name them."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from iicnet_cli.engines.base import EncodingRequest
from iicnet_cli.evaluation import items_of
from iicnet_cli.pictures.arrays import crop
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks import task_named
from iicnet_cli.zoo import Checkpoint, available
from iicnet_cli.zoo.registry import bundled_folder

ROOT = Path(__file__).resolve().parents[1]
"""The folder of this project."""
MEDIA = ROOT / "examples" / "media"
"""The sample media, which benchmarks measure unless other folders are given."""


@dataclasses.dataclass(frozen=True)
class FirstGroup:
    """The first group of pictures of one PNG of evaluation data.

    Attributes:
        name: of the PNG, for tables.
        group: its pictures, cut at the right and at the bottom so that the network needs no
            padding.
        request: what an engine needs to know besides, the same as ``embed`` passes to it.
    """

    name: str
    group: Group
    request: EncodingRequest


def first_groups(checkpoint: Checkpoint, folder: Path, limit: int | None) -> Generator[FirstGroup]:
    """Read the first group of each PNG that a folder of evaluation data makes.

    Args:
        checkpoint: gives the task and the number of pictures.
        folder: evaluation data for that task.
        limit: read at most this many, evenly chosen; ``None`` for all.

    Raises:
        UsageError: the folder holds nothing for the task.
    """
    config = checkpoint.config
    multiple = config.network.multiple
    task = task_named(config.task)
    with items_of(checkpoint, folder, limit=limit) as items:
        for item in items:
            source = task.open(item.inputs, config.network.images, item.options)
            with closing(source.groups()) as groups:
                group = next(groups)
            height, width = (side - side % multiple for side in group.images.shape[1:3])
            predicts = item.options.align and "align" in task.takes
            yield FirstGroup(
                name=item.name,
                group=dataclasses.replace(group, images=crop(group.images, width, height)),
                request=EncodingRequest(task.name, source.fps, predicts, item.options),
            )


def bundled_checkpoints() -> list[Checkpoint]:
    """The checkpoints that come with iicnet."""
    return [c for c in available() if c.folder.is_relative_to(bundled_folder())]


def display_name(folder: Path) -> str:
    """A folder as tables name it: by its path in this project, or else by its own name alone."""
    folder = folder.resolve()
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else folder.name
