"""Writing clips frame by frame: to a file by ffmpeg, or to a folder of PNGs."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.files import check_folder_target, filling_folder, replacing
from iicnet_cli.media.still_pool import StillPool
from iicnet_cli.media.temporary import remove_abandoned, scratch_folder
from iicnet_cli.media.video_encodings import (
    ENCODINGS,
    TICKS_PER_SECOND,
    Encoding,
    encoding_for,
    time_expression,
)
from iicnet_cli.pictures.arrays import Pixels


def open_writer(
    target: str | Path,
    width: int,
    height: int,
    fps: Fraction,
    *,
    timestamps: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    encoding: Encoding | None = None,
    overwrite: bool = False,
) -> VideoWriter:
    """Open a clip for writing; the suffix of the target decides how.

    Exact: .mkv and .avi (FFV1), .webp (lossless, animated; the file is assembled in memory),
    .png (animated), or a folder (no suffix, or ending in a slash) of 00000.png, 00001.png, ...
    Lossy, of high quality: .mp4 .mov .m4v (H.264, 4:2:0, or 4:4:4 for odd sizes), .webm (VP9),
    .gif (a palette for each frame; 50 frames a second at most, for browsers slow down more).

    Args:
        target: a file or a folder; it appears when the writer closes without an error.
        width: pixels of every frame.
        height: pixels of every frame.
        fps: frames a second, kept as an exact fraction where the format can.
        timestamps: seconds of every frame, increasing; .avi and folders play at ``fps``.
        names: file names for the frames in a folder, a.jpg for a.png; repeated ones become a-2.png,
            a-3.png, and frames without a name are numbered. Files ignore them.
        encoding: how a file is encoded; by default as its suffix says.
        overwrite: replace an existing file; in a folder, replace only files of the same names and,
            without ``names``, all numbered frames.

    Raises:
        UsageError: the suffix is unknown, or size, rate or timestamps make no sense.
        OutputExistsError, MediaError: the target is there already, or cannot be written.
    """
    is_folder = _is_folder(target)
    path = Path(target)
    suffix = path.suffix.lower()
    if not is_folder and suffix not in ENCODINGS:
        raise UsageError(
            f"cannot write a clip as '{suffix}'",
            hint="use " + " ".join(sorted(ENCODINGS)) + ", or a folder for PNG frames",
        )
    if width < 1 or height < 1 or fps <= 0:
        raise UsageError(f"cannot write a clip of {width}x{height} at {fps} frames a second")
    if timestamps is not None:
        _check_increasing(timestamps)
    notes = []
    if timestamps is not None and (is_folder or not ENCODINGS[suffix].keeps_times):
        notes.append("the variable frame rate is not kept by this format")
        timestamps = None
    writer: VideoWriter
    if is_folder:
        writer = _FolderWriter(path, (width, height), names or (), overwrite)
    else:
        chosen = encoding or encoding_for(suffix, odd_size=bool(width % 2 or height % 2))
        if chosen.note:
            notes.append(chosen.note)
        writer = _FileWriter(path, (width, height), fps, timestamps, chosen, overwrite)
    writer.notes += notes
    return writer


def _check_increasing(timestamps: Sequence[float]) -> None:
    ticks = [round(time * TICKS_PER_SECOND) for time in timestamps]
    if any(b <= a for a, b in pairwise(ticks)):
        raise UsageError("timestamps must increase")


def _is_folder(target: str | Path) -> bool:
    path = Path(target)
    if isinstance(target, str) and target.endswith(("/", "\\")):
        return True
    return path.is_dir() or path.suffix == ""


class VideoWriter(ABC):
    """Context manager that writes frames one at a time; made by `open_writer`.

    Attributes:
        count: number of frames added so far.
        notes: short sentences about what the format cannot keep.
    """

    def __init__(self, target: Path, size: tuple[int, int], max_frames: int | None) -> None:
        """Take the target, width and height in pixels, and the number of timestamps, if any."""
        width, height = size
        self.count = 0
        self.notes: list[str] = []
        self._target = target
        self._shape = (height, width, 3)
        self._max_frames = max_frames
        self._cleanup = ExitStack()

    def add(self, frame: Pixels) -> None:
        """Append a frame: uint8 (height, width, 3) sRGB, or (height, width) grey.

        It may be written later, so it may not be changed afterwards.

        Raises:
            ValueError: the frame has another shape or type, or there are more frames than
                timestamps.
            MediaError: the system or ffmpeg refuses to write.
        """
        if frame.ndim == 2:
            frame = np.repeat(frame[:, :, None], 3, axis=2)
        if frame.dtype != np.uint8 or frame.shape != self._shape:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}, not uint8 {self._shape}")
        if self._max_frames is not None and self.count >= self._max_frames:
            raise ValueError("more frames than timestamps")
        self._write(frame)
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup:
            self._finish()

    @abstractmethod
    def _write(self, frame: Pixels) -> None:
        """Append a frame that has been checked."""

    @abstractmethod
    def _finish(self) -> None:
        """Make the target complete; the cleanup follows."""

    def _require_frames(self) -> None:
        if not self.count:
            raise MediaError(f"{self._target}: no frame to write")


class _FileWriter(VideoWriter):
    """Writes a file by an ffmpeg process that takes raw frames on its stdin."""

    def __init__(
        self,
        target: Path,
        size: tuple[int, int],
        fps: Fraction,
        times: Sequence[float] | None,
        encoding: Encoding,
        overwrite: bool,
    ) -> None:
        super().__init__(target, size, None if times is None else len(times))
        width, height = size
        if encoding.max_fps is not None and fps > encoding.max_fps:
            kind = target.suffix[1:].upper()
            self.notes.append(f"{kind} cannot play faster than {encoding.max_fps} frames a second")
            fps = encoding.max_fps
        filters, options = encoding.filters, encoding.options
        if times is not None:
            timing = f"settb=1/{TICKS_PER_SECOND},setpts='{time_expression(times)}'"
            filters = f"{timing},{filters}"
            options += ("-enc_time_base", f"1/{TICKS_PER_SECOND}", *encoding.timed_options)
        # The stack unwinds in reverse: ffmpeg ends before its files are removed or renamed.
        with ExitStack() as stack:
            output = stack.enter_context(replacing(target, overwrite=overwrite))
            self._log = stack.enter_context(tempfile.TemporaryFile())
            # A long chain of filters does not fit into a command line.
            scratch = stack.enter_context(scratch_folder())
            (scratch / "filters").write_text(filters)
            arguments = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
            arguments += ["-framerate", f"{fps.numerator}/{fps.denominator}", "-i", "pipe:0"]
            arguments += ["-/filter:v", str(scratch / "filters"), *options]
            arguments += ["-fps_mode", "passthrough", f"file:{output}"]
            self._process = ffmpeg.start_writer(arguments, self._log)
            stack.callback(ffmpeg.stop, self._process)
            self._cleanup = stack.pop_all()

    def _write(self, frame: Pixels) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError:
            self._process.wait()
            raise self._failure() from None

    def _finish(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # ffmpeg has ended early; its exit status tells
            self._process.stdin.close()
        if self._process.wait() and self.count:
            raise self._failure()
        self._require_frames()

    def _failure(self) -> MediaError:
        self._log.seek(0)
        log = self._log.read().decode("utf-8", "replace")
        # The log lies in the temporary folder, and is empty if that is full.
        hint = "" if log.strip() else f"is there room in {tempfile.gettempdir()}?"
        return MediaError(f"{self._target}: cannot be written ({ffmpeg.reason(log)})", hint=hint)


class _FolderWriter(VideoWriter):
    """Writes PNGs into a folder."""

    def __init__(
        self, target: Path, size: tuple[int, int], names: Sequence[str], overwrite: bool
    ) -> None:
        super().__init__(target, size, None)
        self._names = names
        self._used_stems: set[str] = set()
        check_folder_target(target)
        remove_abandoned(target)
        if target.is_dir() and any(target.iterdir()) and not overwrite:
            raise OutputExistsError(f"{target}: is not empty", hint="add -y to overwrite")
        if not target.parent.is_dir():
            raise MediaError(f"{target}: its folder does not exist", hint="create it first")
        filling = filling_folder(target, overwrite=overwrite, only_frames=not names)
        self._folder = self._cleanup.enter_context(filling)
        self._stills = self._cleanup.enter_context(StillPool())

    def _write(self, frame: Pixels) -> None:
        self._stills.write(self._folder / self._next_name(), frame)

    def _next_name(self) -> str:
        name = self._names[self.count] if self.count < len(self._names) else ""
        # Only the stem: names come from headers of strangers and must not leave the folder.
        stem = base = Path(name.replace("\\", "/")).stem or f"{self.count:05}"
        repetition = 1
        while stem.lower() in self._used_stems:
            repetition += 1
            stem = f"{base}-{repetition}"
        self._used_stems.add(stem.lower())
        return f"{stem}.png"

    def _finish(self) -> None:
        self._require_frames()
        self._stills.finish()
