"""Clips whose frames are still files: a folder, a glob pattern or a list of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import Colour
from iicnet_cli.media.frame_source import FrameSource, TimedFrames, VideoInfo
from iicnet_cli.media.frame_times import STILLS_RATE, FrameSelection
from iicnet_cli.media.patterns import files_of_pattern
from iicnet_cli.media.stills import read_still, still_size
from iicnet_cli.media.suffixes import STILL_SUFFIXES


class StillSequence:
    """Stills of one size, played at 25 frames a second."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Take still files in their order of display; nothing is read yet."""
        self._files = list(files)

    @cached_property
    def info(self) -> VideoInfo:
        """Facts about the sequence.

        Raises:
            MediaError: a still cannot be read, or the stills differ in size.
        """
        sizes = [still_size(file) for file in self._files]
        usual = Counter(sizes).most_common(1)[0][0]
        for file, size in zip(self._files, sizes, strict=True):
            if size != usual:
                raise MediaError(
                    f"{file.name}: {size[0]}x{size[1]}, but the other stills are "
                    f"{usual[0]}x{usual[1]}",
                    hint="the frames of a clip must have one size",
                )
        several = len(self._files) > 1
        return VideoInfo(
            width=sizes[0][0],
            height=sizes[0][1],
            fps=STILLS_RATE,
            frames=len(self._files),
            duration=float(len(self._files) / STILLS_RATE),
            rotation=0,
            has_audio=False,
            hdr=False,
            variable_rate=False,
            codec="stills",
            notes=("stills have no frame rate: 25 a second assumed",) if several else (),
        )

    def open(self, selection: FrameSelection, background: Colour) -> FrameSource:
        """Start reading frames; see `frame_source.Clip`."""
        info = self.info
        selection.check(info.duration)
        times = [float(i / info.fps) for i in range(len(self._files))]
        chosen = selection.indices(times)
        files = [self._files[i] for i in chosen]
        notes = list(info.notes)
        frames = _read_frames(files, [times[i] for i in chosen], notes, background)
        return FrameSource(info, frames, notes, tuple(file.name for file in files))


def stills_of_folder(folder: Path) -> list[Path]:
    """List the stills in a folder in natural order, f2 before f10; hidden files are left out.

    Raises:
        MediaError: there is none.
    """
    files = [file for file in folder.iterdir() if file.is_file()]
    stills = _sort_naturally(f for f in files if f.suffix.lower() in STILL_SUFFIXES)
    if not stills:
        raise MediaError(f"{folder}: no stills in this folder")
    return stills


def stills_of_pattern(pattern: str) -> list[Path]:
    """List the files that fit a pattern in natural order; hidden files are left out.

    Args:
        pattern: a glob pattern, or one with numbers as ffmpeg writes them, such as f%04d.png.

    Raises:
        MediaError: there is none.
    """
    stills = _sort_naturally(file for file in files_of_pattern(pattern) if file.is_file())
    if not stills:
        raise MediaError(
            f"{pattern}: no file fits this pattern", hint="name the folder, or use * as in f*.png"
        )
    return stills


def _sort_naturally(files: Iterable[Path]) -> list[Path]:
    def key(file: Path) -> list[tuple[int, str, int]]:
        parts = re.split(r"(\d+)", str(file).lower())
        return [(1, "", int(p)) if p.isdecimal() else (0, p, 0) for p in parts]

    return sorted((file for file in files if not file.name.startswith(".")), key=key)


def _read_frames(
    files: list[Path], times: list[float], notes: list[str], background: Colour
) -> TimedFrames:
    shape: tuple[int, ...] | None = None
    for file, time in zip(files, times, strict=True):
        still = read_still(file, background=background)
        notes.extend(note for note in still.notes if note not in notes)
        shape = shape or still.pixels.shape
        if still.pixels.shape != shape:
            raise MediaError(f"{file.name}: its size is not that of the other stills")
        yield time, still.pixels
