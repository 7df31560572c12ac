"""The size at which a cover is sent."""

from __future__ import annotations

from iicnet_cli.media.stills import fit_within, scale_to
from iicnet_cli.pictures.arrays import Pixels

_CLIP_COVER_SIDE = 1600
"""Where a clip has to fit into one embedding, its cover is enlarged to a longer side of so many
pixels, for the frames are often small."""


def as_sent(cover: Pixels, longest_side: int | None, *, is_enlarged: bool) -> Pixels:
    """A cover, (H, W, 3) or (H, W), at the size that its embedding has.

    Args:
        cover: as the task makes it.
        longest_side: pixels of the longer side that the destination leaves; ``None`` if any.
        is_enlarged: whether it has to hold a whole clip.
    """
    if is_enlarged:
        side = min(_CLIP_COVER_SIDE, longest_side or _CLIP_COVER_SIDE)
        if max(cover.shape) < side:
            return scale_to(cover, side)
    return fit_within(cover, longest_side)
