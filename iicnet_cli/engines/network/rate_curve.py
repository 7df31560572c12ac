"""How the size of a coded difference depends on the quality, learnt from the files coded so far."""

from __future__ import annotations

import math
from bisect import bisect_left

from iicnet_cli.engines.network.residual_codec import MAX_QUALITY

_USUAL_SLOPE = 1 / 25
"""The logarithm of the size grows by this much a step of the quality, before anything is known."""
_MIN_SLOPE = 1 / 100


class RateCurve:
    """Size against quality: the logarithm of the size is linear between the known points.

    Args:
        points: (quality, size in bytes) of each known file.
    """

    def __init__(self, points: dict[int, int]) -> None:
        self._points = sorted((quality, math.log(size)) for quality, size in points.items())

    def log_size(self, quality: int) -> float:
        """The logarithm of the expected size."""
        start, slope = self._line(bisect_left(self._points, (quality, -math.inf)))
        return start[1] + slope * (quality - start[0])

    def step(self, quality: int, size: float, max_size: float) -> int:
        """By how much to change a quality that gives ``size`` so that ``max_size`` is just met."""
        wanted = self.log_size(quality) + math.log(max(max_size, 1) / max(size, 1))
        best = quality
        while best < MAX_QUALITY and self.log_size(best + 1) <= wanted:
            best += 1
        while best > 0 and self.log_size(best) > wanted:
            best -= 1
        return best - quality

    def _line(self, index: int) -> tuple[tuple[int, float], float]:
        """A point, and the slope of the curve before the point of that index."""
        points = self._points
        if len(points) == 1:
            return points[0], _USUAL_SLOPE
        index = min(max(index, 1), len(points) - 1)
        (left, low), (right, high) = points[index - 1 : index + 1]
        return points[index], max(_MIN_SLOPE, (high - low) / (right - left))
