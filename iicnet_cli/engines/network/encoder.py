"""From a group of pictures to the embedding that the PNG shows, with all that it carries.

::

    pictures --network--> embedding --static region--> [--search-->] --rounding, mark, layer--> PNG
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.base import EncodingProgress, ignore_encoding
from iicnet_cli.engines.network.search import Search, Target, refine_tiles
from iicnet_cli.engines.network.sliced_encoder import (
    LayerRequest,
    encode_with_layer,
    layer_capacity,
    restored_pictures,
)
from iicnet_cli.engines.network.static_region import copy_static_region
from iicnet_cli.inference.runner import Passes, Runner
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.mark_pixels import write_mark
from iicnet_cli.pictures.arrays import PixelArray, Pixels, pad
from iicnet_cli.pictures.metrics import cap_psnr, mse, mse_to_psnr
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES
from iicnet_cli.reports import Stage

_MAX_SEARCHES = 3
"""A target is searched for at most this many times."""
_TARGET_TOLERANCE = 0.03
"""A target counts as reached within this many dB."""


@dataclass(frozen=True)
class EncoderSettings:
    """How to encode.

    Attributes:
        adds_layer: carry an enhancement layer where one gains.
        thorough: code it with more care, which takes eight times as long.
    """

    adds_layer: bool = True
    thorough: bool = False


@dataclass(frozen=True)
class MarkedEmbedding:
    """A rounded embedding.

    Attributes:
        mark: what it carries.
        pixels: (H_e, W_e, C_e) uint8.
        gained_psnr: dB that the search gained, on restored pictures or, with a target for those,
            on the embedding; ``None`` without a search.
    """

    mark: Mark
    pixels: Pixels
    gained_psnr: float | None = None


def encode_group(
    passes: Passes,
    images: PixelArray,
    mark: Mark,
    settings: EncoderSettings = EncoderSettings(),
    progress: EncodingProgress = ignore_encoding,
) -> MarkedEmbedding:
    """Embed one group of pictures.

    Args:
        passes: the network.
        images: (K, H, W, C) after prediction, the reference first, before padding.
        mark: with the padding and the motion field, if any.
        settings: how.
        progress: called while it works.
    """
    encoder = _GroupEncoder(passes, images, mark, settings, progress)
    return MarkedEmbedding(*encoder.carry(encoder.network_embedding))


def encode_group_with_search(
    runner: Runner,
    images: PixelArray,
    mark: Mark,
    search: Search,
    settings: EncoderSettings = EncoderSettings(),
    progress: EncodingProgress = ignore_encoding,
) -> MarkedEmbedding:
    """Embed one group of pictures, and refine the embedding before it is rounded.

    The search starts from the network's own embedding and holds its distance from the reference, or
    the target. It minimises the errors that the enhancement layer leaves. The layer gets more bits
    than without a search if they restore more dB than they cost the embedding, for the search wins
    that cost back.

    Args, except ``search``, and result: as :func:`encode_group`.
    """
    encoder = _GroupEncoder(runner, images, mark, replace(settings, thorough=True), progress)
    return _SearchingEncoder(runner, encoder, search).encode()


@dataclass(frozen=True)
class _Quality:
    """PSNR in dB of an embedding, and of the mean squared error over its restored pictures."""

    embed_psnr: float
    restored_psnr: float

    @property
    def total(self) -> float:
        return self.embed_psnr + self.restored_psnr


class _GroupEncoder:
    """One group on its way into an embedding.

    Attributes:
        settings: how the group is encoded.
        padded: (K, H', W', C), the pictures as the network gets them.
        network_embedding: the network's own embedding, with the static region copied.
        mark: what every embedding of the group carries.
    """

    def __init__(
        self,
        passes: Passes,
        images: PixelArray,
        mark: Mark,
        settings: EncoderSettings,
        progress: EncodingProgress,
    ) -> None:
        self._passes, self._images = passes, images
        self.settings, self._progress = settings, progress
        self.padded = pad(images, mark.padding)
        self.network_embedding = passes.embed(self.padded, self.tick(Stage.EMBEDDING))
        region = copy_static_region(
            self.padded, self.network_embedding, payload=len(mark.motion), place=mark.place
        )
        self.mark = replace(mark, static_region_bytes=region.to_bytes()) if region else mark

    @property
    def static(self) -> NDArray[np.bool_] | None:
        """(H_e, W_e), the static region."""
        region = self.mark.static_region
        if region is None:
            return None
        return region.mask(*self.network_embedding.pixels.shape[:2])

    @cached_property
    def reference(self) -> Pixels:
        """What the embedding should look like."""
        return self._passes.reference(self.padded)

    def tick(self, stage: Stage) -> Callable[[float], None]:
        """A listener for the share of a stage that is done."""
        return lambda share: self._progress(stage, share, None)

    def report_search(self, share: float, gained_psnr: float) -> None:
        """Report the progress of a search."""
        self._progress(Stage.SEARCHING, share, gained_psnr)

    def carry(self, embedding: UnroundedEmbedding, bits: int | None = None) -> tuple[Mark, Pixels]:
        """Round an embedding so that it carries mark and layer.

        Args:
            embedding: (H_e, W_e, C_e).
            bits: payload bits a pixel of the layer, 0 for none; by default as many as pay.
        """
        if not self.settings.adds_layer or bits == 0:
            return self.mark, write_mark(embedding, self.mark, self._passes.noise_shaping)
        request = LayerRequest(
            passes=self._passes,
            wanted=self._images,
            mark=self.mark,
            embedding=embedding,
            embedding_mse=embedding.mse(self.reference),
            thorough=self.settings.thorough,
            tick=self.tick(Stage.ENHANCING),
        )
        return encode_with_layer(request, bits)

    def quality(self, mark: Mark, pixels: Pixels) -> _Quality:
        """What a rounded embedding is worth."""
        restored = restored_pictures(self._passes, mark, pixels, self._images)
        errors = mse(pixels, self.reference), mse(self._images, restored)
        return _Quality(*(cap_psnr(mse_to_psnr(error)) for error in errors))


class _SearchingEncoder:
    """Searches for a better embedding of one group, with a layer of the best size."""

    def __init__(self, runner: Runner, encoder: _GroupEncoder, search: Search) -> None:
        self._runner, self._encoder, self._search = runner, encoder, search
        self._usual = encoder.carry(encoder.network_embedding)
        self._before = encoder.quality(*self._usual)

    def encode(self) -> MarkedEmbedding:
        """The better of the network's own embedding and those that were found."""
        encoder, target, before = self._encoder, self._search.target, self._before
        bits, start = self._bits_to_start_with()
        found, after = self._searched(bits, start)
        if encoder.settings.adds_layer and not bits:
            # A layer that is not worth it for the network's own embedding may be for one that is
            # made for it.
            smallest = encoder.carry(encoder.network_embedding, 1)
            if smallest[0].enhancement:
                other = self._searched(1, encoder.quality(*smallest))
                found, after = max((found, after), other, key=lambda each: each[1].total)
        if target.is_default and after.restored_psnr <= before.restored_psnr:
            return MarkedEmbedding(*self._usual, 0.0)
        if target.restored_psnr is None:
            gained = after.restored_psnr - before.restored_psnr
        else:
            gained = after.embed_psnr - before.embed_psnr
        return MarkedEmbedding(*found, max(0.0, gained))

    def _bits_to_start_with(self) -> tuple[int, _Quality]:
        """Payload bits a pixel at which both PSNRs together are highest before the search."""
        encoder, best = self._encoder, self._before
        mark = self._usual[0]
        bits = mark.code.trellis_bits if mark.enhancement else 0
        while 0 < bits < len(TRELLIS_CODES):
            richer = encoder.quality(*encoder.carry(encoder.network_embedding, bits + 1))
            if richer.total <= best.total:
                break
            best, bits = richer, bits + 1
        return bits, best

    def _searched(self, bits: int, start: _Quality) -> tuple[tuple[Mark, Pixels], _Quality]:
        """The best embedding with a layer of ``bits`` bits a pixel, and what it is worth.

        Args:
            bits: of the layer; 0 for none.
            start: quality of the network's own embedding with such a layer.
        """
        encoder, target = self._encoder, self._search.target
        unrounded = encoder.network_embedding
        layer_bytes = layer_capacity(unrounded.pixels, encoder.mark, bits) if bits else 0
        aim = self._aim(start)
        refined = unrounded
        for attempt in range(1 if target.is_default else _MAX_SEARCHES):
            refined = refine_tiles(
                self._runner,
                encoder.padded,
                refined,
                Search(self._search.steps >> attempt, aim),
                layer_bytes=layer_bytes,
                static=encoder.static,
                progress=encoder.report_search,
            )
            found = encoder.carry(refined, bits)
            after = encoder.quality(*found)
            shortfall = target.shortfall(after.embed_psnr, after.restored_psnr)
            is_near = shortfall < _TARGET_TOLERANCE
            # An embedding that is better than its target is fine: there was no use for the rest.
            if is_near and (target.restored_psnr is None or shortfall > -_TARGET_TOLERANCE):
                break
            aim = aim.raised(shortfall)
        return found, after

    def _aim(self, start: _Quality) -> Target:
        """The target before the layer is added, which costs the embedding some dB."""
        target, before = self._search.target, self._before
        if target.is_default and start is not before:
            target = replace(target, embed_psnr=before.embed_psnr)
        if target.embed_psnr is None:
            return target
        bare = self._encoder.network_embedding.mse(self._encoder.reference)
        return target.raised(cap_psnr(mse_to_psnr(bare)) - start.embed_psnr)
