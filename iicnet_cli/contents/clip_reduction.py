"""Smaller and slower versions of a clip, for embeddings that hold little."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from iicnet_cli.media.stills import resize
from iicnet_cli.pictures.group import Group
from iicnet_cli.pictures.metrics import mse
from iicnet_cli.tasks.task import PictureSource, SourceDescription

_SHARES = (1.0, 0.75, 0.5, 0.375, 0.25)
"""Of each side that are tried."""
_GOOD_RATE, _LEAST_RATE = 0.06, 0.02
"""Bits for each pixel of each frame at which a clip is about as good as a smaller one that gets
more; and below which even the smallest one has to do with fewer frames."""
_LEAST_FRAME_RATE = 5
"""Frames a second that are kept at least."""


@dataclass(frozen=True)
class Reduction:
    """How a clip is made smaller.

    Attributes:
        share: of each side that is kept.
        step: every so many frames are kept.
    """

    share: float
    step: int


def likely_reductions(source: PictureSource, frames: int, room: int) -> list[Reduction]:
    """The two reductions between which the best one lies, the larger picture first; or one.

    Args:
        source: the clip.
        frames: how many it has.
        room: bytes for its frames.
    """
    assert source.fps is not None
    rate = 8 * max(1, room) / (frames * source.images * source.width * source.height)
    step = 1
    while rate * step < _LEAST_RATE * _SHARES[-1] ** 2:
        if source.fps / (step + 1) < _LEAST_FRAME_RATE:
            break
        step += 1
    wanted = (rate * step / _GOOD_RATE) ** 0.5
    larger = min((share for share in _SHARES if share >= wanted), default=_SHARES[0])
    smaller = max((share for share in _SHARES if share <= wanted), default=_SHARES[-1])
    return [Reduction(share, step) for share in dict.fromkeys((larger, smaller))]


class ReducedSource(PictureSource):
    """A clip of which some frames are left out and the others are made smaller.

    Its groups know the pictures at their own sizes.
    """

    def __init__(self, source: PictureSource, reduction: Reduction) -> None:
        assert source.fps is not None
        self._source, self.reduction = source, reduction
        self.images, self.names = source.images, source.names
        # Encoders take even sides.
        self.width, self.height = (
            side if reduction.share == 1 else max(2, 2 * round(side * reduction.share / 2))
            for side in (source.width, source.height)
        )
        self.fps: Fraction = source.fps / reduction.step
        self.frame_delay = None if source.frame_delay is None else 1 / self.fps
        self.total = None if source.total is None else -(-source.total // reduction.step)
        self.notes, self.has_sound = source.notes, source.has_sound

    def write_sound(self, target: Path, offset: float, seconds: float, bit_rate: int) -> bool:
        return self._source.write_sound(target, offset, seconds, bit_rate)

    def lost_mse(self) -> float:
        """The mean squared error that the smaller size makes in the first pictures."""
        with closing(self.groups()) as groups:
            group = next(groups)
        size = self._source.width, self._source.height
        return mse(
            np.stack([resize(each, *size) for each in group.images]), np.stack(group.pictures)
        )

    def note(self) -> str:
        """How the clip is carried, in words."""
        rate = f"{float(self.fps):.3g} frames a second"
        return f"the clip is carried at {self.width}x{self.height}, {rate}"

    def _read(self) -> Generator[Group, None, SourceDescription]:
        step, count = self.reduction.step, 0
        with closing(self._source.groups()) as groups:
            for group in islice(groups, 0, None, step):
                images = [resize(image, self.width, self.height) for image in group.images]
                yield Group(np.stack(images), group.valid, list(group.images))
                count += 1
            for _ in groups:
                pass  # what is left out at the end; the source is described after its last group
            description = groups.description
        times = description.timestamps
        return replace(
            description,
            frames=count,
            fps=self.fps,
            timestamps=None if times is None else times[::step],
        )
