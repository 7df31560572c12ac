"""A normal and a zoomed-in view of one scene in the normal view (paper, section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from iicnet_cli.container.header import Header
from iicnet_cli.errors import UsageError
from iicnet_cli.media.files import named_after
from iicnet_cli.media.stills import read_still, resize, still_size
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks.photos import (
    Photo,
    PhotoSource,
    PhotoTask,
    check_photo_folder,
    photos_in,
    restored_photos,
    write_photos,
)
from iicnet_cli.tasks.task import Delivered, EvaluationItem

ZOOMS = (2, 4, 8)
MIN_VIEW_SIDE = 16
"""A view has at least this many pixels on its shorter side."""


class DualTask(PhotoTask):
    """Two views of any sizes; the normal view is the reference."""

    name = "dual"
    needs = "two photos (normal view, zoomed view), or one large photo and --zoom 2, 4 or 8"
    takes = frozenset({"zoom"})
    pictures = "views"

    def open(
        self, inputs: Sequence[Path], images: int | None, options: EmbedOptions
    ) -> PhotoSource:
        if len(inputs) not in (1, 2) or (len(inputs) == 1) != (options.zoom is not None):
            raise UsageError(f"dual needs {self.needs}")
        stills = [read_still(path, background=options.background) for path in inputs]
        notes = [f"{still.name}: {note}" for still in stills for note in still.notes]
        photos = [
            Photo(still.name, still.pixels, path)
            for still, path in zip(stills, inputs, strict=True)
        ]
        settings = {}
        if options.zoom is not None:
            source = inputs[0]
            settings["zoom"] = options.zoom
            views = dual_views(photos[0].pixels, options.zoom)
            photos = [
                Photo(f"{source.stem}-{role}{source.suffix}", view)
                for role, view in zip(("normal", f"zoom{options.zoom}"), views, strict=True)
            ]
        return PhotoSource(photos, notes, options=settings, files=inputs)

    def default_output(self, png: Path, header: Header) -> Path:
        return named_after(png, "-restored")

    def deliver(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        *,
        overwrite: bool,
        options: RestoreOptions,
    ) -> Delivered:
        """Write both views into a folder as ``NAME.png``, at their own sizes."""
        check_photo_folder(target, self.name)
        photos = restored_photos(header, next(groups), ("normal", "zoomed"))
        return write_photos(photos, target, overwrite=overwrite)

    def evaluation_items(
        self, folder: Path, images: int, step: int, scratch: Path
    ) -> list[EvaluationItem]:
        """Every photo at every zoom that leaves views of 64 pixels or more."""
        return [
            EvaluationItem(f"{path.stem} x{zoom}", (path,), EmbedOptions(zoom=zoom))
            for zoom in ZOOMS
            for path in photos_in(folder)
            if min(still_size(path)) // zoom >= 64
        ]


def dual_views(photo: Pixels, zoom: int) -> tuple[Pixels, Pixels]:
    """The whole photo reduced by ``zoom``, and its centre of the same size in full detail.

    Args:
        photo: (H, W, 3).
        zoom: 1 or more.

    Returns:
        Two views (H // zoom, W // zoom, 3).

    Raises:
        UsageError: the views would have less than 16 pixels on a side.
    """
    height, width = photo.shape[0] // zoom, photo.shape[1] // zoom
    if min(height, width) < MIN_VIEW_SIDE:
        raise UsageError(
            f"{photo.shape[1]}x{photo.shape[0]} is too small for zoom {zoom}: the views would be "
            f"{width}x{height}"
        )
    y, x = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    whole = photo[: height * zoom, : width * zoom]
    return resize(whole, width, height), photo[y : y + height, x : x + width]
