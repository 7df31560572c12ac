"""Decoding frames with an ffmpeg process.

Frames arrive on ffmpeg's stdout, each as a line with its time, which ffmpeg writes as statistics of
the packets that it outputs, and a PPM picture. Only what goes wrong is read from its log.
"""

from __future__ import annotations

import atexit
import re
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import IO

import numpy as np

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.frame_source import TimedFrames
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import max_pixels, max_pixels_text

_KEPT_ERRORS = 20
"""This many of the last lines that report errors are kept."""

_TIMED_PICTURES = (
    # The time of each frame, in ticks, and the length of a tick.
    *("-stats_mux_pre", "pipe:1", "-stats_mux_pre_fmt", "{pts} {tb}"),
    # Times as they leave the filters, and each picture written before the next time is.
    *("-enc_time_base", "filter", "-fps_mode", "passthrough", "-flush_packets", "1"),
    *("-c:v", "ppm", "-f", "image2pipe", "-"),
)

_SIZE_CHANGE = "Reconfiguring filter graph because video parameters changed"
"""How a line of the log begins when the size or the colours of the stored frames change."""

_NO_TIME = -(1 << 63)
"""Ticks of a frame whose time is unknown."""


def decode_frames(
    input_options: list[str],
    filters: str,
    limit: int | None,
    name: str,
    stored_size: tuple[int, int],
    notes: list[str],
) -> TimedFrames:
    """Decode the first video stream; ffmpeg runs until the generator ends or is closed.

    Args:
        input_options: ffmpeg's options up to the input file.
        filters: filter chain that ends with 8-bit RGB.
        limit: number of frames to decode at most.
        name: base name of the file, for messages.
        stored_size: width and height of the frames in the file, pixels.
        notes: list that receives a note if the file is damaged in places, and one if the size of
            its frames changes; they are scaled to that of the first then.

    Yields:
        Seconds since the start of the input, and pixels.

    Raises:
        MediaError: ffmpeg fails, or finds no frame.
    """
    arguments = ["-max_pixels", str(ffmpeg.most_decoded_pixels()), *input_options]
    arguments += ["-map", "0:V:0", "-an", "-sn", "-dn", "-vf", filters]
    if limit is not None:
        arguments += ["-frames:v", str(limit)]
    process = ffmpeg.start_reader([*arguments, *_TIMED_PICTURES])
    assert process.stdout is not None
    assert process.stderr is not None
    log = _LogReader(process.stderr, stored_size)
    log.start()

    def end() -> None:
        ffmpeg.stop(process)
        log.join()

    # If a reader is still open when Python exits, a thread that holds the lock of a pipe would
    # abort the interpreter.
    atexit.register(end)
    count, previous = 0, 0.0
    try:
        while (frame := _read_frame(process.stdout, name)) is not None:
            previous = previous if frame[0] is None else frame[0]
            count += 1
            yield previous, frame[1]
        process.wait()
        log.join()
        if process.returncode or not count:
            why = log.errors[-1] if log.errors else "it has no frames here"
            raise MediaError(f"{name}: cannot be decoded ({ffmpeg.reason(why)})")
        notes.extend(log.notes())
    finally:
        atexit.unregister(end)
        end()
        process.stdout.close()
        process.stderr.close()


class _LogReader(threading.Thread):
    """Thread that reads ffmpeg's log to its end.

    Attributes:
        errors: the last lines that report errors.
        other_size: to which the size of the stored frames changes first, such as "64x48"; None
            if it does not change.
    """

    def __init__(self, stderr: IO[bytes], stored_size: tuple[int, int]) -> None:
        super().__init__(daemon=True)
        self.errors: list[str] = []
        self.other_size: str | None = None
        self._stderr = stderr
        self._stored_size = "{}x{}".format(*stored_size)

    def run(self) -> None:
        for raw in self._stderr:
            line = raw.decode("utf-8", "replace")
            # The level stands before the text: texts of the file's own cannot pass for an error.
            level = re.match(r"(?:\[[^]]* @ [^]]*\] )*\[(\w+)\] ", line)
            if level and level[1] in ("error", "fatal", "panic"):
                self.errors.append(line)
                del self.errors[:-_KEPT_ERRORS]
            elif level and line.startswith(_SIZE_CHANGE, level.end()):
                size = re.search(r", (\d+x\d+)\b", line)
                if size and size[1] != self._stored_size and self.other_size is None:
                    self.other_size = size[1]

    def notes(self) -> Iterator[str]:
        """What is to be noted after the end."""
        if self.errors:
            yield f"damaged in places ({ffmpeg.reason(self.errors[-1])})"
        if self.other_size is not None:
            yield f"its frames become {self.other_size}; they are scaled to the first one's"


def _read_frame(stream: IO[bytes], name: str) -> tuple[float | None, Pixels] | None:
    """Read the time of a frame, None if it is unknown, and its pixels; None at the end.

    Raises:
        MediaError: the frame is too large.
    """
    ticks, _, tick = stream.readline().partition(b" ")
    if stream.readline().strip() != b"P6":
        return None
    width, height = (int(part) for part in stream.readline().split())
    if width * height > max_pixels():
        raise MediaError(f"{name}: {width}x{height} is more than {max_pixels_text()}")
    stream.readline()
    data = bytearray(width * height * 3)
    if stream.readinto(data) < len(data):  # type: ignore[attr-defined]
        return None
    time = None if int(ticks) == _NO_TIME else float(int(ticks) * Fraction(tick.decode().strip()))
    return time, np.frombuffer(data, np.uint8).reshape(height, width, 3)
