"""Shared by grayscale and rescale: one photo in its grey or half-size version (supplement)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from iicnet_cli.container.header import Header
from iicnet_cli.errors import UsageError
from iicnet_cli.media.files import check_folder_target, check_target, named_after
from iicnet_cli.media.stills import read_still, write_still
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks.photos import Photo, PhotoSource, PhotoTask, photos_in, restored_photos
from iicnet_cli.tasks.task import Delivered, EvaluationItem


class SinglePhotoTask(PhotoTask):
    """One photo, whose embedding has fewer samples than it."""

    needs = "one photo"
    pictures = "photo"

    def open(
        self, inputs: Sequence[Path], images: int | None, options: EmbedOptions
    ) -> PhotoSource:
        if len(inputs) != 1:
            raise UsageError(
                f"{self.name} needs {self.needs}; {len(inputs)} files were given",
                hint="with --out-dir FOLDER each of many photos gets its own PNG",
            )
        still = read_still(inputs[0], background=options.background)
        photo = Photo(still.name, still.pixels, inputs[0])
        return PhotoSource([photo], still.notes, files=inputs)

    def default_output(self, png: Path, header: Header) -> Path:
        return named_after(png, "-restored.png")

    def deliver(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        *,
        overwrite: bool,
        options: RestoreOptions,
    ) -> Delivered:
        """Write the photo in the format of its suffix; ``.png`` is exact."""
        if target.is_dir():
            check_folder_target(target)
        else:
            check_target(target, overwrite)
        photo = restored_photos(header, next(groups), ("photo",))[0]
        if target.is_dir():
            target = target / f"{photo.name}.png"
        write_still(target, photo.pixels, overwrite=overwrite)
        return Delivered((target,), 1)

    def evaluation_items(
        self, folder: Path, images: int, step: int, scratch: Path
    ) -> list[EvaluationItem]:
        """Every photo of the folder."""
        return [EvaluationItem(path.stem, (path,)) for path in photos_in(folder)]
