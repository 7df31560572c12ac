"""Times and rates of frames: parsing, choosing frames by time, and recognising frame rates."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from iicnet_cli.errors import UsageError
from iicnet_cli.pictures.limits import MAX_FPS, MAX_SECONDS

TIME_TOLERANCE = 1e-6
"""A frame counts as inside a time span up to this many seconds before it; ffmpeg rounds times to
microseconds."""

LEAST_SPACING = 1 / 45_000
"""Frames are at least so many seconds apart; two units of the times that are written."""
STILLS_RATE = Fraction(25)
"""Frames a second that are assumed for clips without a rate, such as folders of stills."""

STANDARD_RATES = tuple(
    rate
    for whole in (24, 25, 30, 48, 50, 60, 100, 120, 240)
    for rate in (Fraction(whole), Fraction(whole * 1000, 1001))
) + tuple(Fraction(n) for n in (1, 2, 5, 10, 12, 15, 20))
"""Frame rates, frames a second, that a measured rate is rounded to when it is close enough."""

DECLARED_RATE_ERROR = Fraction(1, 150)
"""A rate that a file declares, such as 29.97, may be wrong by this much, with some reserve."""


def parse_time(text: str) -> float:
    """Return the seconds of a time written as "83.5", "1:23.5" or "0:01:23.5".

    Raises:
        UsageError: the text is anything else, such as a negative time.
    """
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", text.strip(), re.ASCII)
    if (
        match is None
        or (match[2] and float(match[3]) >= 60)
        or (match[1] and float(match[2]) >= 60)
    ):
        raise UsageError(f"'{text}' is not a time", hint="write seconds (83.5) or 1:23.5")
    seconds = float(match[1] or 0) * 3600 + float(match[2] or 0) * 60 + float(match[3])
    if seconds > MAX_SECONDS:
        raise UsageError(f"'{text[:40]}' is later than a clip can be")
    return seconds


@dataclass(frozen=True)
class FrameSelection:
    """Which frames of a clip are read.

    Attributes:
        start: seconds; the first frame at or after this time is the first one read.
        end: seconds; only frames before this time are read.
        step: every step-th frame from the first one is read.
        frames: at most this many frames are read.

    Raises:
        UsageError: ``step`` or ``frames`` is below 1.
    """

    start: float | None = None
    end: float | None = None
    step: int = 1
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.step < 1 or (self.frames is not None and self.frames < 1):
            raise UsageError("step and frames must be 1 or more")

    def check(self, duration: float | None) -> None:
        """Refuse times that make no sense for a clip of ``duration`` seconds (None: unknown).

        Raises:
            UsageError: a time is negative or not finite, the end is not after the start, or the
                start is beyond the end of the clip.
        """
        first = self.start or 0.0
        finite_end = self.end is None or math.isfinite(self.end)
        if not (math.isfinite(first) and first >= 0) or not finite_end:
            raise UsageError("start and end must be 0 seconds or more")
        if self.end is not None and self.end <= first:
            raise UsageError(f"the end ({self.end:g} s) must come after the start ({first:g} s)")
        if duration is not None and first and first >= duration:
            raise UsageError(
                f"the start ({first:g} s) is beyond the end: the clip lasts {duration:.3f} s"
            )

    def indices(self, times: Sequence[float]) -> list[int]:
        """Return the indices of the selected frames, given the time of every frame in seconds."""
        first = (self.start or 0.0) - TIME_TOLERANCE
        last = (math.inf if self.end is None else self.end) - TIME_TOLERANCE
        inside = [i for i, time in enumerate(times) if first <= time < last]
        return inside[:: self.step][: self.frames]


def is_uneven(times: Sequence[float], resolution: float) -> bool:
    """Return whether frame times deviate from an even grid, as in clips of a variable rate.

    Args:
        times: seconds, increasing.
        resolution: seconds; the file stores times as multiples of this.

    Returns:
        True if a time is away from the grid by more than 10 % of the spacing and more than one and
        a half times the resolution.
    """
    if len(times) < 3:
        return False
    spacing = (times[-1] - times[0]) / (len(times) - 1)
    limit = max(0.1 * spacing, 1.5 * resolution)
    return any(abs(t - times[0] - i * spacing) > limit for i, t in enumerate(times))


def separate_times(times: Sequence[float]) -> list[float]:
    """Move times that are equal to or before the one of the frame before, to just behind it.

    Args:
        times: seconds; any finite numbers.

    Returns:
        Increasing seconds, at least ``LEAST_SPACING`` apart.
    """
    separate: list[float] = []
    for time in times:
        separate.append(max(time, separate[-1] + LEAST_SPACING) if separate else time)
    return separate


def simple_rate(rate: Fraction | float) -> Fraction:
    """Return a frame rate, or for less than a frame a second its inverse, as a simple fraction.

    It lies between one frame in MAX_FPS seconds and MAX_FPS frames a second.
    """
    exact = min(max(Fraction(rate), Fraction(1, MAX_FPS)), Fraction(MAX_FPS))
    return exact.limit_denominator(1001) if exact > 1 else 1 / (1 / exact).limit_denominator(1001)


def exact_rate(
    declared: Fraction | None, measured: Fraction | None, uncertainty: Fraction = Fraction(0)
) -> Fraction:
    """Return the frame rate of a video file.

    The times of the frames decide. What a file says of its rate may be that of the clip that it was
    cut or thinned from; but where both agree, it is the more exact one.

    Args:
        declared: the rate that the file declares; None if it declares none.
        measured: the rate that the frames' times give; None if they are unknown or uneven.
        uncertainty: of ``measured``, frames a second: files round times.

    Returns:
        Frames a second: a standard rate that fits, or the measured or declared rate.
    """
    if declared is None or measured is None:
        agree = True
    else:
        agree = abs(declared - measured) <= uncertainty + DECLARED_RATE_ERROR
    if not agree:
        declared = None
    rate, error = (measured, uncertainty) if declared is None else (declared, DECLARED_RATE_ERROR)
    if rate is None:
        return STILLS_RATE
    # Standard rates come first: times in whole milliseconds (Matroska) do not give them exactly.
    near = [standard for standard in STANDARD_RATES if abs(standard - rate) <= error]
    if near:
        return min(near, key=lambda standard: abs(standard - rate))
    if measured is not None and (declared is None or measured.denominator <= 1001):
        return simple_rate(measured)
    return simple_rate(rate)


def rate_from_duration(count: int, seconds: float, resolution: float) -> Fraction:
    """Return the rate at which ``count`` frames last ``seconds``.

    Args:
        count: number of frames.
        seconds: how long they are shown together.
        resolution: seconds; the file stores times as multiples of this.

    Returns:
        Frames a second: a standard rate if it fits within half the resolution, or the mean rate.
    """
    fits = [rate for rate in STANDARD_RATES if abs(count / float(rate) - seconds) <= resolution / 2]
    if fits:
        return min(fits, key=lambda rate: abs(count / float(rate) - seconds))
    return simple_rate(count / seconds) if seconds > 0 else STILLS_RATE
