"""Decoding frames with an ffmpeg process.

The pixels arrive on ffmpeg's stdout as a stream of PPM pictures. The times of the frames are read
from its log, where the filter ``showinfo`` writes them.
"""

from __future__ import annotations

import atexit
import queue
import re
import threading
from fractions import Fraction
from typing import IO

import numpy as np

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.frame_source import TimedFrames
from iicnet_cli.pictures.arrays import Pixels

_KEPT_ERRORS = 20
"""This many of the last lines that report errors are kept."""


def decode_frames(
    input_options: list[str], filters: str, limit: int | None, name: str, notes: list[str]
) -> TimedFrames:
    """Decode the first video stream; ffmpeg runs until the generator ends or is closed.

    Args:
        input_options: ffmpeg's options up to the input file.
        filters: filter chain that ends with 8-bit RGB.
        limit: number of frames to decode at most.
        name: base name of the file, for messages.
        notes: list that receives a note if the file is damaged in places.

    Yields:
        Seconds since the start of the input, and pixels.

    Raises:
        MediaError: ffmpeg fails, or finds no frame.
    """
    arguments = [*input_options, "-map", "0:V:0", "-an", "-sn", "-dn"]
    arguments += ["-vf", f"{filters},showinfo=checksum=0"]
    if limit is not None:
        arguments += ["-frames:v", str(limit)]
    arguments += ["-fps_mode", "passthrough", "-c:v", "ppm", "-f", "image2pipe", "-"]
    process = ffmpeg.start_reader(arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    log = _LogReader(process.stderr)
    log.start()

    def end() -> None:
        ffmpeg.stop(process)
        log.join()

    # If a reader is still open when Python exits, a thread that holds the lock of a pipe would
    # abort the interpreter.
    atexit.register(end)
    count, previous = 0, 0.0
    try:
        while (pixels := _read_ppm(process.stdout)) is not None:
            # showinfo writes before the frame leaves, so this hardly waits.
            time = log.times.get()
            previous = previous if time is None else time
            count += 1
            yield previous, pixels
        process.wait()
        log.join()
        if process.returncode or not count:
            why = log.errors[-1] if log.errors else "it has no frames here"
            raise MediaError(f"{name}: cannot be decoded ({ffmpeg.reason(why)})")
        if log.errors:
            notes.append(f"damaged in places ({ffmpeg.reason(log.errors[-1])})")
    finally:
        atexit.unregister(end)
        end()
        process.stdout.close()
        process.stderr.close()


class _LogReader(threading.Thread):
    """Thread that reads ffmpeg's log to its end.

    Attributes:
        times: seconds of each frame, exact (ticks x time base); None if unknown, and at the end.
        errors: the last lines that report errors.
    """

    def __init__(self, stderr: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.times: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self.errors: list[str] = []
        self._stderr = stderr

    def run(self) -> None:
        time_base = Fraction(0)
        for raw in self._stderr:
            line = raw.decode("utf-8", "replace")
            if base := re.search(r"config in time_base: (\d+)/(\d+)", line):
                time_base = Fraction(int(base[1]), int(base[2]))
            elif "showinfo" in line and (shown := re.search(r" pts: *(-?\d+|NOPTS) ", line)):
                ticks = shown[1]
                self.times.put(None if ticks == "NOPTS" else float(int(ticks) * time_base))
            elif re.search(r"\[(error|fatal|panic)\]", line):
                self.errors.append(line)
                del self.errors[:-_KEPT_ERRORS]
        self.times.put(None)


def _read_ppm(stream: IO[bytes]) -> Pixels | None:
    """Read one picture of a stream of PPMs; None at the end of the stream."""
    if stream.readline().strip() != b"P6":
        return None
    width, height = (int(part) for part in stream.readline().split())
    stream.readline()
    data = bytearray(width * height * 3)
    if stream.readinto(data) < len(data):  # type: ignore[attr-defined]
        return None
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)
