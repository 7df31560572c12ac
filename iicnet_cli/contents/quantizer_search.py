"""The quantizer with which a part of a clip fills its room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

from iicnet_cli.media.compact_clips import CompactCodec, encode_clip
from iicnet_cli.media.frame_spool import FrameSpool

FIRST_CRF = 26.0
"""The quantizer with which a clip is encoded to learn how many bytes it takes."""
_AIMED_SLACK = 0.4
"""The search aims at this share of the slack of the codec."""
_MORE_SLACK, _MOST_SLACK = 0.5, 2.5
"""With each encoding, the slack that is accepted grows by this share of it, up to so many times."""
_MOST_ENCODINGS = 6
"""A part is encoded at most this often, unless nothing has fitted yet."""


@dataclass(frozen=True)
class _Encoded:
    """A part of a clip with the best quantizer that was found.

    Attributes:
        path: of the file; ``None`` if none fits.
        crf: the quantizer.
        size: bytes of the file.
        is_full: whether a better quantizer exists.
    """

    path: Path | None
    crf: float
    size: int
    is_full: bool


class QuantizerSearch:
    """Finds the quantizer with which a part of a clip fills its room.

    Args:
        codec: that encodes it.
        spool: its frames.
        times: of its frames in seconds, if the rate varies.
        fps: frames a second.
        folder: for the files.

    Attributes:
        smallest: bytes of the smallest file that was too large; 0 if none was.
    """

    def __init__(
        self,
        codec: CompactCodec,
        spool: FrameSpool,
        times: Sequence[float] | None,
        fps: Fraction,
        folder: Path,
    ) -> None:
        self._codec, self._spool, self._times, self._fps = codec, spool, times, fps
        self._folder = folder
        first = next(iter(spool))
        self._pixels = len(spool) * first.shape[0] * first.shape[1]
        self._numbers = count()
        self.smallest = 0

    def fill(self, room: int, size_at_first: int) -> tuple[Path | None, bool]:
        """The largest file of at most ``room`` bytes that was found; whether a larger one exists.

        Args:
            room: bytes.
            size_at_first: about how many bytes the part takes with the quantizer of the survey.
        """
        codec = self._codec
        crf = FIRST_CRF
        if codec.top_rate:
            # A rate says more than the survey, which another encoder made.
            crf, size_at_first = 0.0, round(codec.top_rate * self._pixels / 8)
        found = self._search(room, crf, size_at_first)
        return found.path, found.is_full

    def _search(self, room: int, crf: float, size: int) -> _Encoded:
        """Search from a quantizer on, with which the part takes about so many bytes."""
        codec = self._codec
        aim = room * (1 - _AIMED_SLACK * codec.slack)
        most, least = round(codec.max_crf / codec.crf_step), round(1 / codec.crf_step)
        too_large, fits = least - 1, most + 1
        best = _Encoded(None, crf, 0, is_full=False)
        for number in count():
            wanted = crf + codec.crf_per_octave * math.log2(max(1, size) / max(1.0, aim))
            if best.path is not None and self.smallest:
                wanted = self._between(best, too_large * codec.crf_step, aim)
            step = max(too_large + 1, min(fits - 1, math.ceil(wanted / codec.crf_step)))
            done = best.path is not None and number >= _MOST_ENCODINGS
            if step <= too_large or step >= fits or done:
                break
            crf = step * codec.crf_step
            target = self._folder / f"part-{next(self._numbers)}{codec.suffix}"
            encode_clip(self._spool, target, codec, crf, self._fps, self._times)
            size = target.stat().st_size
            if size > room:
                too_large, self.smallest = step, size
                target.unlink()
                continue
            fits = step
            if best.path is not None:
                best.path.unlink()
            best = _Encoded(target, crf, size, is_full=step > least)
            slack = codec.slack * min(1 + number * _MORE_SLACK, _MOST_SLACK)
            if size >= room * (1 - slack):
                break
        return best

    def _between(self, best: _Encoded, too_low: float, aim: float) -> float:
        """The quantizer that should make so many bytes, between the best one and a larger file."""
        span = math.log2(self.smallest / best.size)
        share = math.log2(aim / best.size) / span
        return best.crf + max(0.0, min(1.0, share)) * (too_low - best.crf)
