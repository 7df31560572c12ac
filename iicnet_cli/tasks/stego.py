"""Hidden photos: a cover that shows, and one to four photos inside it (paper, section 4.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iicnet_cli.container import Header
from iicnet_cli.errors import OutputExistsError, UsageError
from iicnet_cli.media.stills import read_still, resize, write_still
from iicnet_cli.tasks.base import Delivered, EmbedOptions, Group, Job, Task


class StegoJob(Job):
    """Photos of any sizes; all are fitted to the first, the cover."""

    def __init__(self, inputs: Sequence[Path], background: tuple[int, int, int]) -> None:
        stills = [read_still(path, background=background) for path in inputs]
        cover = stills[0].pixels
        self.images = len(stills)
        self.height, self.width = cover.shape[:2]
        self.names = [still.name for still in stills]
        notes = [f"{still.name}: {note}" for still in stills for note in still.notes]
        self._sizes = [(s.pixels.shape[1], s.pixels.shape[0]) for s in stills]
        notes += [
            f"{name}: {width}x{height} is fitted to the cover's {self.width}x{self.height}"
            for name, (width, height) in zip(self.names, self._sizes, strict=True)
            if (width, height) != (self.width, self.height)
        ]
        self.notes = notes
        self._pictures = np.stack([resize(s.pixels, self.width, self.height) for s in stills])

    def groups(self) -> Iterator[Group]:
        yield Group(self._pictures, self.images)

    def header_fields(self) -> dict[str, Any]:
        return {
            "sources": [
                {"name": name, "width": width, "height": height}
                for name, (width, height) in zip(self.names, self._sizes, strict=True)
            ]
        }


class StegoTask(Task):
    """K photos; the first is the reference."""

    name = "stego"
    needs = "two or more photos: the cover, then the photos to hide in it"

    def model_for(self, inputs: int) -> str:
        return f"stego-{inputs}"

    def open(self, inputs: Sequence[Path], images: int, options: EmbedOptions) -> StegoJob:
        if len(inputs) < 2:
            raise UsageError(f"stego needs {self.needs}", hint="give the cover first")
        if len(inputs) != images:
            raise UsageError(
                f"the model takes {images} photos, {len(inputs)} were given",
                hint=f"leave --model out to get {self.model_for(len(inputs))}",
            )
        return StegoJob(inputs, options.background)

    def default_target(self, source: Path) -> Path:
        return source.with_name(f"{source.stem}-restored")

    def deliver(
        self, header: Header, groups: Iterator[Group], target: Path, *, overwrite: bool
    ) -> Delivered:
        """Write every photo, the cover too, as ``NAME.png`` at its own size into a folder."""
        if target.suffix and not target.is_dir():
            raise UsageError(
                f"stego restores {header.images} photos: -o must be a folder, not '{target.name}'"
            )
        sources = dict(enumerate(header.sources))
        stems = [
            Path(sources[i].name).stem if i in sources else ("cover" if i == 0 else f"hidden-{i}")
            for i in range(header.images)
        ]
        paths = [target / f"{stem}.png" for stem in _distinct(stems)]
        existing = [path for path in paths if path.exists()]
        if existing and not overwrite:
            raise OutputExistsError(f"{existing[0]} exists already", hint="add -y to overwrite")
        target.mkdir(parents=True, exist_ok=True)
        group = next(groups)
        for i, (path, pixels) in enumerate(zip(paths, group.images, strict=True)):
            if i in sources:
                pixels = resize(pixels, sources[i].width, sources[i].height)
            write_still(path, pixels, overwrite=overwrite)
        return Delivered(tuple(paths), len(paths))


def _distinct(stems: Sequence[str]) -> list[str]:
    """The same names, told apart by -2, -3, ... where they repeat (case does not count)."""
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
