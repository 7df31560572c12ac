"""A stereo pair, or a stereo clip, in its left view (paper, section 4.2)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from iicnet_cli.container.header import Header, Source
from iicnet_cli.errors import DamagedError, MediaError, UsageError
from iicnet_cli.media.files import check_target, filling_folder, named_after, names_folder
from iicnet_cli.media.frame_source import FrameSource
from iicnet_cli.media.stereo_formats import is_stereo, read_pair, write_pair
from iicnet_cli.media.stereo_layouts import LAYOUTS, anaglyph, join, split
from iicnet_cli.media.stills import read_still
from iicnet_cli.media.suffixes import STILL_SUFFIXES
from iicnet_cli.media.video_reader import is_video, probe
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks.clips import ClipSource, clip_writer
from iicnet_cli.tasks.photos import (
    Photo,
    PhotoSource,
    check_photo_folder,
    check_same_size,
    restored_photos,
    stills_in,
    write_photos,
)
from iicnet_cli.tasks.task import (
    Delivered,
    EvaluationItem,
    PictureSource,
    SourceDescription,
    Task,
)

VIEWS = ("left", "right")
OUTPUT_LAYOUTS = (*LAYOUTS, "anaglyph")
_PAIR_SUFFIXES = STILL_SUFFIXES | {".mpo", ".jps", ".pns"}


class StereoClipSource(ClipSource):
    """A stereo clip, one embedding for each moment: one file in a layout, or one for each eye."""

    images = 2
    names = VIEWS

    def __init__(self, inputs: Sequence[Path], options: EmbedOptions) -> None:
        self._said: list[str] = []
        if len(inputs) == 1 and options.layout is None:
            layout = _declared_layout(inputs[0])
            self._said.append(f"its views lie {layout}, as the file says")
            options = replace(options, layout=layout)
        super().__init__(options)
        self._inputs = inputs
        self.source_names = [path.name for path in inputs]
        self._use_files(inputs)
        self._layout = options.layout
        with ExitStack() as stack:
            clips = [stack.enter_context(self._open(path)) for path in inputs]
            left, right = self._views([next(clip) for clip in clips])
            info = clips[0].info
            self._use_facts_of(clips)
        if left.shape != right.shape:
            raise UsageError(
                f"the views of stereo must have one size, but they are {left.shape[1]}x"
                f"{left.shape[0]} and {right.shape[1]}x{right.shape[0]}"
            )
        self.height, self.width = left.shape[:2]
        self.frame_delay = 1 / self.fps
        is_uncut = options.start is None and options.end is None and info.frames is not None
        self.total = -(-(info.frames or 0) // options.step) if is_uncut else options.frames
        if self.total and options.frames:
            self.total = min(self.total, options.frames)

    def _read(self) -> Generator[Group, None, SourceDescription]:
        with ExitStack() as stack:
            clips = [stack.enter_context(self._open(path)) for path in self._inputs]
            try:
                for frames in zip(*clips, strict=True):
                    yield Group(np.stack(self._views(frames)), 2)
            except ValueError as error:
                count = min(len(clip.timestamps) for clip in clips)
                raise MediaError(
                    f"the clips of the two eyes have different lengths: one ends after {count} "
                    "frames",
                    hint="cut them with --frames",
                ) from error
            sources = [
                Source(name=path.name, width=self.width, height=self.height)
                for path in self._inputs
            ]
            return self._description(clips, sources)

    def _notes_of(self, clips: Sequence[FrameSource]) -> list[str]:
        return [*self._said, *super()._notes_of(clips)]

    def _views(self, frames: Sequence[Pixels]) -> tuple[Pixels, Pixels]:
        if len(frames) == 2:
            return frames[0], frames[1]
        assert self._layout is not None
        return split(frames[0], self._layout)


class StereoTask(Task):
    """Two views; the left one is the reference."""

    name = "stereo"
    needs = "two pictures or clips (left, right), one MPO or JPS, or one file with --layout"
    takes = frozenset({"start", "end", "step", "frames", "layout"})
    pictures = "views"

    def pictures_in(self, header: Header) -> int:
        return 2 * (header.frames or 1)

    def open(
        self, inputs: Sequence[Path], images: int | None, options: EmbedOptions
    ) -> PictureSource:
        if len(inputs) not in (1, 2):
            raise UsageError(f"stereo needs {self.needs}; {len(inputs)} files were given")
        if options.layout is not None and options.layout not in LAYOUTS:
            raise UsageError(f"no layout '{options.layout}'", hint=f"layouts: {', '.join(LAYOUTS)}")
        if len(inputs) == 2 and options.layout is not None:
            raise UsageError("--layout is for a pair in one file, but two files were given")
        if any(is_video(path) or path.is_dir() for path in inputs):
            return StereoClipSource(inputs, options)
        if len(inputs) == 2:
            stills = [read_still(path, background=options.background) for path in inputs]
            photos = [
                Photo(still.name, still.pixels, path)
                for still, path in zip(stills, inputs, strict=True)
            ]
            notes = [f"{still.name}: {note}" for still in stills for note in still.notes]
        else:
            pair = read_pair(inputs[0], options.layout, background=options.background)
            views = (pair.left, pair.right)
            photos = [
                Photo(f"{inputs[0].stem}-{view}{inputs[0].suffix}", pixels)
                for view, pixels in zip(VIEWS, views, strict=True)
            ]
            notes = [f"{inputs[0].name}: {note}" for note in pair.notes]
        check_same_size(photos, self.name)
        settings = {} if options.layout is None else {"layout": options.layout}
        return PhotoSource(photos, notes, options=settings, files=inputs)

    def embeddings_in(self, header: Header) -> int | None:
        return header.frames

    def default_output(self, png: Path, header: Header) -> Path:
        suffix = ".mkv" if _is_clip(header) else ""
        return named_after(png, f"-restored{suffix}")

    def deliver(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        *,
        overwrite: bool,
        options: RestoreOptions,
    ) -> Delivered:
        """Write a pair or a clip.

        A pair: two files into a folder; or one file, by its suffix an MPO, a JPS, or any picture
        in the layout that was asked for, side by side by default. A clip: one file in such a
        layout, its suffix as for the task video; or ``left.mkv`` and ``right.mkv`` in a folder.
        """
        layout = options.layout
        if layout is not None and layout not in OUTPUT_LAYOUTS:
            raise UsageError(f"no layout '{layout}'", hint=f"layouts: {', '.join(OUTPUT_LAYOUTS)}")
        folder = names_folder(target)
        if folder and layout is not None:
            raise UsageError(
                f"--layout puts both views in one file, but '{target.name}' is a folder",
                hint="give -o a suffix, such as .png",
            )
        if _is_clip(header):
            return self._deliver_clip(header, groups, target, folder, overwrite, layout)
        if folder:
            check_photo_folder(target, self.name)
            photos = restored_photos(header, next(groups), VIEWS)
            return write_photos(photos, target, overwrite=overwrite)
        if target.suffix.lower() not in _PAIR_SUFFIXES:
            raise UsageError(
                f"cannot write a stereo pair as '{target.suffix}'",
                hint="use .mpo, .jps, .png, .jpg, or a folder for two files",
            )
        check_target(target, overwrite)
        photos = restored_photos(header, next(groups), VIEWS)
        left, right = (photo.pixels for photo in photos)
        write_pair(target, left, right, layout, overwrite=overwrite)
        return Delivered((target,), 2)

    def restored_pictures(self, header: Header, groups: Iterator[Group]) -> Iterator[Pixels]:
        for group in islice(groups, header.frames):
            yield from group.images

    def _deliver_clip(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        folder: bool,
        overwrite: bool,
        layout: str | None,
    ) -> Delivered:
        if header.images != len(VIEWS):
            raise DamagedError(f"{header.images} views were found instead of {len(VIEWS)}")
        targets = tuple(target / f"{view}.mkv" for view in VIEWS) if folder else (target,)
        size = (header.width, header.height) if folder else _joined_size(header, layout)
        with ExitStack() as stack:
            paths = targets
            if folder:
                if target.is_dir():
                    for path in targets:
                        check_target(path, overwrite)
                filled = stack.enter_context(filling_folder(target, overwrite=overwrite))
                paths = tuple(filled / path.name for path in targets)
            writers = [
                stack.enter_context(clip_writer(header, path, size, overwrite=overwrite))
                for path in paths
            ]
            for group in islice(groups, header.frames):
                left, right = group.images
                views = (left, right) if folder else (_joined(left, right, layout),)
                for writer, pixels in zip(writers, views, strict=True):
                    writer.add(pixels)
        return Delivered(targets, 2 * writers[0].count, tuple(writers[0].notes))

    def evaluation_items(
        self, folder: Path, images: int, step: int, scratch: Path
    ) -> list[EvaluationItem]:
        """Every pair NAME_left and NAME_right of stills, every MPO and every JPS."""
        stills = stills_in(folder)
        by_stem = {path.stem: path for path in stills}
        pairs = [
            EvaluationItem(path.stem.removesuffix("_left"), (path, by_stem[right]))
            for path in stills
            if path.stem.endswith("_left")
            and (right := path.stem.removesuffix("_left") + "_right") in by_stem
        ]
        return pairs + [EvaluationItem(path.stem, (path,)) for path in stills if is_stereo(path)]


def _declared_layout(clip: Path) -> str:
    """The layout of a stereo clip in one file that the file itself declares.

    Raises:
        UsageError: it declares none, or one that cannot be read.
    """
    declared = probe(clip).stereo
    hint = " or ".join(LAYOUTS) + "; or give one file for each eye"
    if declared is None:
        raise UsageError(f"{clip.name}: a stereo clip in one file needs --layout", hint=hint)
    if declared not in LAYOUTS:
        raise UsageError(
            f"{clip.name}: says that its views lie {declared}, which cannot be read",
            hint="give one file for each eye",
        )
    return declared


def _is_clip(header: Header) -> bool:
    return header.fps is not None


def _joined(left: Pixels, right: Pixels, layout: str | None) -> Pixels:
    if layout == "anaglyph":
        return anaglyph(left, right)
    return join(left, right, layout or "side-by-side")


def _joined_size(header: Header, layout: str | None) -> tuple[int, int]:
    if layout == "anaglyph":
        return header.width, header.height
    if layout == "top-bottom":
        return header.width, 2 * header.height
    return 2 * header.width, header.height
