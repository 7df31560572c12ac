"""Reading clips: every stored frame once, upright, in order of display, one frame in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iicnet_cli.errors import MediaError
from iicnet_cli.media.animations import is_animation, open_animation
from iicnet_cli.media.colour import WHITE, Colour
from iicnet_cli.media.frame_source import Clip, FrameSource, VideoInfo
from iicnet_cli.media.frame_times import FrameSelection
from iicnet_cli.media.motion_photo import find_embedded_clip
from iicnet_cli.media.patterns import is_pattern
from iicnet_cli.media.still_sequence import StillSequence, stills_of_folder, stills_of_pattern
from iicnet_cli.media.suffixes import HEIC_BRANDS, STILL_SUFFIXES, VIDEO_SUFFIXES
from iicnet_cli.media.video_file import VideoFile

Source = str | Path | Sequence[Path]
"""A clip: a file, a folder or a glob pattern of stills, or a list of still files."""

_RAW_BRAND = b"crx "
_PICTURE_BRANDS = HEIC_BRANDS | {b"heim", b"heis", b"avif", b"avis", _RAW_BRAND}


def open_frames(
    source: Source,
    *,
    start: float | None = None,
    end: float | None = None,
    step: int = 1,
    frames: int | None = None,
    background: Colour = WHITE,
) -> FrameSource:
    """Open a clip for reading: every stored frame exactly once, in order of display.

    Args:
        source: a video file; an animated GIF, WebP, PNG or AVIF; a motion photo, whose clip is
            read; a folder or a glob pattern of stills (sorted naturally, f2 before f10; 25 frames
            a second are assumed); or a list of still files, in its order.
        start: seconds; the first frame at or after this time is the first one read.
        end: seconds; only frames before this time are read.
        step: read every step-th frame from there.
        frames: read at most this many frames.
        background: sRGB colour behind the transparent pixels of stills and animations; the
            transparency of video files is ignored, and noted.

    Returns:
        A `FrameSource` of uint8 (H, W, 3) sRGB frames of one size. Iteration raises MediaError
        on damage that the decoder cannot conceal.

    Raises:
        UsageError: start, end, step or frames make no sense for this clip.
        MediaError: as `probe`; or there is no frame between start and end.
    """
    selection = FrameSelection(start, end, step, frames)
    return find_clip(source).open(selection, background)


def probe(source: Source) -> VideoInfo:
    """Describe a clip.

    Args:
        source: as of `open_frames`.

    Raises:
        MediaError: the source is missing, unreadable or holds no picture, or its stills differ in
            size.
    """
    return find_clip(source).info


def find_clip(source: Source) -> Clip:
    """Find out what kind of clip a source is.

    Args:
        source: as of `open_frames`.

    Returns:
        A `VideoFile`, an animation or a `StillSequence`.

    Raises:
        MediaError: the source does not exist, or holds no still.
    """
    if not isinstance(source, str | Path):
        files = [Path(item) for item in source]
        if not files:
            raise MediaError("the list of stills is empty")
        return StillSequence(files)
    path = Path(source)
    if path.is_dir():
        return StillSequence(stills_of_folder(path))
    if path.exists():
        return _clip_of_file(path)
    if is_pattern(path):
        return StillSequence(stills_of_pattern(str(source)))
    raise MediaError(f"{source}: no such file or folder")


def is_video(path: str | Path) -> bool:
    """Return whether a file is a clip: by its suffix, or as an animated GIF, WebP, PNG or AVIF.

    A file with an unknown suffix or none, such as one that came from a pipe, is recognised by its
    first bytes if it is MP4, MOV, Matroska, WebM or AVI. False for files that are missing or
    unreadable, and for folders.
    """
    path = Path(path)
    if not path.is_file():
        return False
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES or is_animation(path):
        return True
    return suffix not in STILL_SUFFIXES and _starts_like_video(path)


def _clip_of_file(path: Path) -> Clip:
    if is_animation(path):
        return open_animation(path)
    embedded = find_embedded_clip(path)
    if embedded is None and path.suffix.lower() in STILL_SUFFIXES:
        return StillSequence([path])
    return VideoFile(path, embedded)


def _starts_like_video(path: Path) -> bool:
    """Whether the first bytes of a file are those of MP4, MOV, Matroska, WebM or AVI."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    if start[4:8] == b"ftyp":
        return start[8:12] not in _PICTURE_BRANDS
    return start[:4] == b"\x1aE\xdf\xa3" or (start[:4], start[8:12]) == (b"RIFF", b"AVI ")
