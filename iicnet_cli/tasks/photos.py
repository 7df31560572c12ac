"""Shared by the tasks on photos: one group of pictures, restored as picture files."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from iicnet_cli.container.header import Header, Source
from iicnet_cli.errors import DamagedError, OutputExistsError, UsageError
from iicnet_cli.media.files import check_folder_target, filling_folder, names_folder
from iicnet_cli.media.stereo_formats import is_stereo
from iicnet_cli.media.still_pool import StillPool
from iicnet_cli.media.stills import has_alpha, resize
from iicnet_cli.media.suffixes import STILL_SUFFIXES
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks.task import Delivered, PictureSource, SourceDescription, Task


@dataclass(frozen=True)
class Photo:
    """A picture (H, W, 3) and the name under which it is restored.

    Attributes:
        name: file name.
        pixels: the picture.
        file: the file that holds just this picture, if there is one.
    """

    name: str
    pixels: Pixels
    file: Path | None = None


class PhotoSource(PictureSource):
    """K photos; all are fitted to the first, the reference, and restored at their own sizes.

    Args:
        photos: the reference first.
        notes: what was changed when they were read.
        options: settings that restoring needs, for the header.
        files: the inputs.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        notes: Sequence[str],
        *,
        options: Mapping[str, str | int] = MappingProxyType({}),
        files: Sequence[Path] = (),
    ) -> None:
        reference = photos[0].pixels
        self.images = len(photos)
        self.height, self.width = reference.shape[:2]
        self.names = self.source_names = [photo.name for photo in photos]
        self.own_pixels = sum(photo.pixels.shape[0] * photo.pixels.shape[1] for photo in photos)
        self._sizes = [(photo.pixels.shape[1], photo.pixels.shape[0]) for photo in photos]
        fitted = [
            f"{name}: {width}x{height} is fitted to {photos[0].name}'s {self.width}x{self.height}"
            for name, (width, height) in zip(self.names, self._sizes, strict=True)
            if (width, height) != (self.width, self.height)
        ]
        self.notes, self.fitting_notes = [*notes, *fitted], fitted
        self._options = dict(options)
        self.files = files
        self.picture_files = [photo.file for photo in photos]
        self._own_sizes = [photo.pixels for photo in photos] if fitted else None
        self._pictures = np.stack([resize(p.pixels, self.width, self.height) for p in photos])

    def _read(self) -> Generator[Group, None, SourceDescription]:
        yield Group(self._pictures, self.images, self._own_sizes)
        return SourceDescription(
            sources=[
                Source(name=name, width=width, height=height)
                for name, (width, height) in zip(self.names, self._sizes, strict=True)
            ],
            options=self._options,
            notes=self.notes,
        )


class PhotoTask(Task):
    """A task whose PNG holds one group of photos."""

    def restored_pictures(self, header: Header, groups: Iterator[Group]) -> Iterator[Pixels]:
        group = next(groups)
        roles = [str(i) for i in range(len(group.pictures))]
        for photo in restored_photos(header, group, roles):
            yield photo.pixels


def check_same_size(photos: Sequence[Photo], task: str) -> None:
    """Refuse photos of different sizes.

    Raises:
        UsageError: two differ; the message names them.
    """
    first = photos[0]
    for photo in photos[1:]:
        if photo.pixels.shape != first.pixels.shape:
            sizes = [f"{p.name} is {p.pixels.shape[1]}x{p.pixels.shape[0]}" for p in (first, photo)]
            raise UsageError(
                f"the pictures of {task} must have one size, but {sizes[0]} and {sizes[1]}"
            )


def restored_photos(header: Header, group: Group, roles: Sequence[str]) -> list[Photo]:
    """The photos of a restored group at their own sizes, with distinct names without suffix.

    Args:
        header: gives names and sizes, unless it was lost.
        group: restored pictures.
        roles: names for pictures whose source is unknown.

    Raises:
        DamagedError: there are more or fewer pictures than roles.
    """
    if len(group.pictures) != len(roles):
        raise DamagedError(f"{len(group.pictures)} pictures were found instead of {len(roles)}")
    sources = dict(enumerate(header.sources))
    stems = distinct(
        [Path(sources[i].name).stem if i in sources else role for i, role in enumerate(roles)]
    )
    return [
        Photo(stem, resize(pixels, sources[i].width, sources[i].height) if i in sources else pixels)
        for i, (stem, pixels) in enumerate(zip(stems, group.pictures, strict=True))
    ]


def check_photo_folder(target: Path, task: str) -> None:
    """Refuse a target for photos that is no folder, or could not be written.

    Raises:
        UsageError: it names a file.
        MediaError: as :func:`check_folder_target`.
    """
    if not names_folder(target):
        raise UsageError(
            f"{task} restores several photos: -o must be a folder, not '{target.name}'"
        )
    check_folder_target(target)


def write_photos(photos: Sequence[Photo], target: Path, *, overwrite: bool) -> Delivered:
    """Write every photo as ``NAME.png`` into the folder ``target``, all or none.

    Raises:
        OutputExistsError: one of the files exists and ``overwrite`` is False.
        MediaError: the folder cannot be written.
    """
    paths = [target / f"{photo.name}.png" for photo in photos]
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise OutputExistsError(f"{existing[0]} exists already", hint="add -y to overwrite")
    with filling_folder(target, overwrite=overwrite) as folder, StillPool() as stills:
        for path, photo in zip(paths, photos, strict=True):
            stills.write(folder / path.name, photo.pixels)
    return Delivered(tuple(paths), len(paths))


def distinct(stems: Sequence[str]) -> list[str]:
    """The names, with -2, -3 and so on added to repeated ones; upper and lower case are equal."""
    result: list[str] = []
    taken: set[str] = set()
    for stem in stems:
        candidate, n = stem, 1
        while candidate.lower() in taken:
            n += 1
            candidate = f"{stem}-{n}"
        taken.add(candidate.lower())
        result.append(candidate)
    return result


def stills_in(folder: Path) -> list[Path]:
    """The stills of a folder, sorted by name; empty if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in STILL_SUFFIXES)


def photos_in(folder: Path) -> list[Path]:
    """The stills of a folder, sorted by name, without cut-outs and stereo pairs."""
    return [p for p in stills_in(folder) if not (has_alpha(p) or is_stereo(p))]
