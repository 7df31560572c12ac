"""The level of a codec at which a file has a certain size.

The size is about exponential in the level, so two or three files are enough to find it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from iicnet_cli.engines.network.residual_codec import MAX_LEVEL, SIZE_AT_SPEED

MIN_LEVEL = -20.0
"""Below 0 the level of the codec stays 0, and the gain gets smaller."""
MIN_FILLED = 0.93
"""A slice that fills this share of its bytes is not coded again."""
SLOPES = 0.03, 0.25
"""Range of the slope of the logarithm of the size against the level."""
_FAR_APART = 2.0
"""Two sizes give a slope if they are of levels so far apart: the codec rounds levels."""
_STEP = 0.7
"""Where a file at one level fits and a file at a level nearer than this does not, the search ends:
the size jumps at whole levels, and what lies between is not worth another file."""


class LevelSearch:
    """Finds the level at which a file has a certain size, by secants of the logarithm of the size.

    Args:
        max_size: bytes that are available.
        slope: by how much the logarithm of the size grows with the level, at first.
        filled: a file that fills this share of ``max_size`` is good enough.
    """

    def __init__(self, max_size: int, slope: float, filled: float = MIN_FILLED) -> None:
        self._wanted = math.log(max(1, max_size) * (1 + filled) / 2)
        self.max_size, self._filled, self._slope = max_size, filled, slope
        self._low: float | None = None
        self._high: float | None = None
        self._last: tuple[float, float] | None = None

    def scaled(self, factor: float) -> LevelSearch:
        """A new search, for a file of ``factor`` times that size."""
        return LevelSearch(max(1, round(self.max_size * factor)), self._slope, self._filled)

    def accepts(self, size: int) -> bool:
        """Whether a file of this size is good enough."""
        return self._filled * self.max_size < size <= self.max_size

    def aim(self, level: float, size: int) -> float:
        """The level where the size should be in the middle of those that are good enough.

        Args:
            level, size: of a file.
        """
        following = level + (self._wanted - math.log(size)) / self._slope
        return min(max(following, MIN_LEVEL), float(MAX_LEVEL))

    def next_level(self, level: float, size: int) -> float:
        """The level to try next; the same if there is none."""
        found = math.log(size)
        if self._last is not None and abs(level - self._last[0]) >= _FAR_APART:
            slope = (found - self._last[1]) / (level - self._last[0])
            self._slope = min(max(slope, SLOPES[0]), SLOPES[1])
        self._last = level, found
        if size <= self.max_size:
            self._low = level if self._low is None else max(self._low, level)
        else:
            self._high = level if self._high is None else min(self._high, level)
        following, low, high = self.aim(level, size), self._low, self._high
        if low is not None and high is not None:
            if high - low < _STEP:
                return level
            return following if low < following < high else (low + high) / 2
        if low is not None and following <= low:
            return min(low + 1, float(MAX_LEVEL))
        if high is not None and following >= high:
            return max(high - 1, MIN_LEVEL)
        return following

    def nearest(
        self, level: float, size_at: Callable[[float], int], trials: int
    ) -> tuple[float, int]:
        """The last level that was tried, and its size: a good one, if that was found in time.

        Args:
            level: to begin at.
            size_at: bytes of a file at a level.
            trials: at most so many levels are tried.
        """
        for trial in range(trials):
            size = size_at(level)
            if self.accepts(size) or trial == trials - 1:
                break
            following = self.next_level(level, size)
            if following == level:
                break
            level = following
        return level, size


class SizeModel:
    """How large a file gets compared with one that is coded quickly at the same level.

    That depends on the pictures, so each file that was coded improves the guess for the next.
    """

    def __init__(self) -> None:
        self._ratios = dict(SIZE_AT_SPEED)

    def ratio(self, speed: int) -> float:
        """Size of a file at an encoder speed, divided by that of the file coded quickly."""
        return self._ratios[speed]

    def learn(self, quick_size: int, speed: int, size: float) -> None:
        """Take note of a file that has, or would have at that level, ``size`` bytes."""
        self._ratios[speed] = size / quick_size
