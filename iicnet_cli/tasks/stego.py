"""Hidden photos: a cover that shows, and photos inside it (paper, section 4.5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from iicnet_cli.container.header import Header
from iicnet_cli.errors import UsageError
from iicnet_cli.media.files import named_after
from iicnet_cli.media.stills import read_still, still_size
from iicnet_cli.options import EmbedOptions, RestoreOptions
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


class StegoTask(PhotoTask):
    """K photos; the first is the reference, which is enough where other files are hidden."""

    name = "stego"
    needs = "two or more photos: the cover, then the photos to hide in it"

    def check_inputs(self, inputs: Sequence[Path], options: EmbedOptions) -> None:
        if len(inputs) < 2 and not options.attachments:
            raise UsageError(f"stego needs {self.needs}", hint="give the cover first")

    def pictures_per_group(self, inputs: Sequence[Path]) -> int:
        return len(inputs)

    def open(
        self, inputs: Sequence[Path], images: int | None, options: EmbedOptions
    ) -> PhotoSource:
        if images is not None and len(inputs) != images:
            raise UsageError(
                f"the model takes {images} photos, {len(inputs)} were given",
                hint="leave --model out to get the one that fits",
            )
        stills = [read_still(path, background=options.background) for path in inputs]
        notes = [f"{still.name}: {note}" for still in stills for note in still.notes]
        photos = [
            Photo(still.name, still.pixels, path)
            for still, path in zip(stills, inputs, strict=True)
        ]
        return PhotoSource(photos, notes, files=inputs)

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
        """Write every photo, the cover too, as ``NAME.png`` at its own size into a folder."""
        check_photo_folder(target, self.name)
        group = next(groups)
        roles = ["cover", *(f"hidden-{i}" for i in range(1, len(group.pictures)))]
        photos = restored_photos(header, group, roles)
        return write_photos(photos, target, overwrite=overwrite)

    def evaluation_items(
        self, folder: Path, images: int, step: int, scratch: Path
    ) -> list[EvaluationItem]:
        """Every photo is the cover once; the next ones of its size, by name, are hidden in it."""
        by_size: dict[tuple[int, int], list[Path]] = defaultdict(list)
        for path in photos_in(folder):
            by_size[still_size(path)].append(path)
        chosen = sorted(
            tuple(same[(i + k) % len(same)] for k in range(images))
            for same in by_size.values()
            if len(same) >= images
            for i in range(len(same))
        )
        return [EvaluationItem(paths[0].stem, paths) for paths in chosen]
