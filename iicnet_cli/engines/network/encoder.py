"""One group of pictures to the embedding that the PNG shows, with its mark, layer and search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.network.sliced_encoder import enhanced, restored_error, room_for
from iicnet_cli.engines.network.static_region import copy_static_region
from iicnet_cli.errors import UsageError
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.mark_pixels import write_mark
from iicnet_cli.pictures.arrays import FixedPoint, PixelArray, Pixels, pad
from iicnet_cli.pictures.metrics import cap_psnr, mse, mse_to_psnr
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES
from iicnet_cli.quantize.viterbi import TrellisQuantizer, viterbi_quantize

if TYPE_CHECKING:
    from iicnet_cli.engines.network.search import Target
    from iicnet_cli.inference.runner import Runner

LAYERED, SEARCHED = 1, 2
"""Efforts from which on there is an enhancement layer, and a search."""
_ATTEMPTS = 3
"""Searches for a target, at most."""
_NEAR = 0.03
"""dB of it that will do."""


@dataclass(frozen=True)
class Search:
    """Per-picture optimisation: so many steps towards a target."""

    steps: int
    target: Target

    @classmethod
    def of(
        cls, effort: int, embed_psnr: float | None = None, restored_psnr: float | None = None
    ) -> Search | None:
        """The search of an effort of 0 to 10, and of a target in dB; ``None`` where there is none.

        Raises:
            UsageError: an effort that is none, a target without a search, or two.
        """
        if not 0 <= effort <= 10:
            raise UsageError(f"effort is 0 to 10, not {effort}")
        if embed_psnr is not None and restored_psnr is not None:
            raise UsageError("only one of the two targets can be held")
        if effort < SEARCHED:
            if embed_psnr is not None or restored_psnr is not None:
                raise UsageError("a target needs a search", hint=f"add --effort, {SEARCHED} to 10")
            return None
        from iicnet_cli.engines.network.search import STEPS, Target

        return cls(STEPS[effort], Target(embed_psnr, restored_psnr))


@dataclass(frozen=True)
class _Psnrs:
    """In dB; of the restored pictures that of the mean squared error over all of them."""

    embed_psnr: float
    restored_psnr: float

    @property
    def total(self) -> float:
        """Of both."""
        return self.embed_psnr + self.restored_psnr


@dataclass(frozen=True)
class EncodedGroup:
    """An embedding (H_e, W_e, C_e) that carries its mark.

    Attributes:
        mark: that it carries.
        pixels: its levels.
        gained_psnr: dB that the search gained, on restored pictures or, with a target for those,
            on the embedding; ``None`` without one.
    """

    mark: Mark
    pixels: Pixels
    gained_psnr: float | None = None


def marked(
    runner: Runner,
    images: PixelArray,
    mark: Mark,
    *,
    enhance: bool = True,
    search: Search | None = None,
    along: TrellisQuantizer = viterbi_quantize,
    embedding: Callable[[float], None] = lambda share: None,
    enhancing: Callable[[float], None] = lambda share: None,
    improving: Callable[[float, float], None] = lambda share, gain: None,
) -> EncodedGroup:
    """Embed one group of pictures.

    A search goes on from the network's own embedding, and holds what that looks like. It is for
    what an enhancement layer leaves, which has more bits than usual, or is there at all, where it
    so restores more dB than it costs the embedding: what it costs is won back.

    Args:
        runner: the network.
        images: (K, H, W, C) as the network gets them, the reference first, before padding.
        mark: with the padding and the motion, if any.
        enhance: add an enhancement layer where one gains.
        search: for a better embedding; none by default.
        along: as ``quantizer`` of :class:`RowQuantizer`.
        embedding: called with the share 0..1 of the network's pass that is done.
        enhancing: likewise, of a layer.
        improving: called with the share of a search that is done, and the dB gained so far.
    """
    padded = pad(images, mark.padding)
    found = runner.embed_unrounded(padded, embedding)
    if area := copy_static_region(padded, found, load=len(mark.motion)):
        mark = replace(mark, static_region_bytes=area.to_bytes())
    restore = partial(_levels, runner, images)
    reference = cache(partial(runner.reference, padded))

    def laden(found: UnroundedEmbedding, bits: int | None = None) -> tuple[Mark, Pixels]:
        if not enhance or bits == 0:
            return mark, write_mark(found, mark, runner.feedback)
        return enhanced(
            mark,
            images,
            found,
            runner.feedback,
            restore,
            found.mse(reference()),
            enhancing,
            thorough=search is not None,
            bits=bits,
            along=along,
        )

    usual = laden(found)
    if search is None:
        return EncodedGroup(*usual)

    def quality(mark: Mark, pixels: Pixels) -> _Psnrs:
        errors = mse(pixels, reference()), restored_error(mark, pixels, images, restore)
        return _Psnrs(*(cap_psnr(mse_to_psnr(error)) for error in errors))

    before = start = quality(*usual)
    bits = usual[0].code.trellis_bits if usual[0].enhancement else 0
    while 0 < bits < len(TRELLIS_CODES):
        richer = quality(*laden(found, bits + 1))
        if richer.total <= start.total:
            break
        start, bits = richer, bits + 1
    target = search.target
    known = None if area is None else area.mask(*found.pixels.shape[:2])

    def searched(bits: int, start: _Psnrs) -> tuple[tuple[Mark, Pixels], _Psnrs]:
        """The best embedding with a layer of so many bits to a pixel, which starts with that."""
        aim = target
        if target.free and start is not before:
            aim = replace(target, embed_psnr=before.embed_psnr)
        # What is held is told before there is a layer; so what it lacks with one is aimed at, too.
        if aim.embed_psnr is not None:
            bare = found.mse(reference())
            aim = aim.raised(cap_psnr(mse_to_psnr(bare)) - start.embed_psnr)
        room = room_for(found.pixels, mark, bits) if bits else 0
        better = found
        for attempt in range(1 if target.free else _ATTEMPTS):
            better = runner.improve(
                padded,
                better,
                search.steps >> attempt,
                aim,
                improving,
                room=room,
                known=known,
            )
            loaded = laden(better, bits)
            after = quality(*loaded)
            lacking = target.lacking(after.embed_psnr, after.restored_psnr)
            # An embedding may be better than it must be, for there was no use for the room.
            if lacking < _NEAR and (target.restored_psnr is None or lacking > -_NEAR):
                break
            aim = aim.raised(lacking)
        return loaded, after

    better, after = searched(bits, start)
    if enhance and not bits:
        # Not worth it for the network's own embedding, a layer may be for one that is made for it.
        least = laden(found, 1)
        if least[0].enhancement:
            other = searched(1, quality(*least))
            better, after = max((better, after), other, key=lambda each: each[1].total)
    if target.free and after.restored_psnr <= before.restored_psnr:
        return EncodedGroup(*usual, 0.0)
    if target.restored_psnr is None:
        gained = after.restored_psnr - before.restored_psnr
    else:
        gained = after.embed_psnr - before.embed_psnr
    return EncodedGroup(*better, max(0.0, gained))


def _levels(
    runner: Runner,
    wanted: PixelArray,
    embedding: Pixels,
    remainder: NDArray[np.int8] | None,
    rows: slice,
) -> FixedPoint:
    """Rows that the network restores, in range and width of what it got before padding."""
    restored = runner.restore_fixed_point(embedding, wanted.dtype, remainder, rows)
    return restored[:, :, : wanted.shape[2]]
