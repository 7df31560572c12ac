"""The network as an :class:`Engine`.

Everything that needs torch is imported when it is used, so that wrong inputs are refused at once.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from iicnet_cli.container.header import MAX_GROUPS, MAX_HEADER_BYTES, Header
from iicnet_cli.engines.base import (
    Alteration,
    Computing,
    EncodedGroup,
    EncodingEstimate,
    EncodingProgress,
    EncodingRequest,
    Engine,
    EngineHeader,
    EngineRequest,
    SideInfo,
    ignore_encoding,
)
from iicnet_cli.engines.network.checkpoints import default_checkpoint
from iicnet_cli.engines.network.enhancement_layer import layer_unavailable_reason
from iicnet_cli.engines.network.residual_codec import codec_unavailable_reason
from iicnet_cli.errors import UsageError
from iicnet_cli.options import EmbedOptions
from iicnet_cli.payload.mark import TASKS as MARK_TASKS
from iicnet_cli.payload.mark import Mark, fps_code, model_id
from iicnet_cli.payload.mark_pixels import payload_capacity, read_mark
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.pictures.arrays import PixelArray, Pixels, pad, padding_to
from iicnet_cli.pictures.group import Group
from iicnet_cli.zoo import Checkpoint, find

if TYPE_CHECKING:
    from iicnet_cli.inference.runner import Runner

_MAX_REPEATED_CHARACTERS = MAX_HEADER_BYTES // 4
"""The header repeats motion fields, and static regions, only if all of them together take at most
this many characters; those of longer clips are in the marks alone."""
_MIN_SAMPLES_PER_MOTION_BIT = 3
"""A motion field may take at most one bit for each group of this many samples of the embedding; a
larger one would cost more than it gains."""


class NetworkEngine(Engine):
    """Embeds K pictures with a checkpoint.

    Args:
        checkpoint: the network.
        computing: where and how it computes.
    """

    def __init__(self, checkpoint: Checkpoint, computing: Computing) -> None:
        self._checkpoint = checkpoint
        self._computing = computing
        self.config = checkpoint.config.network
        self.images_per_group = self.config.images
        self.model = checkpoint.name
        self.weights_sha256 = checkpoint.config.weights_sha256
        self.scale = self.config.scale

    @cached_property
    def runner(self) -> Runner:
        """The network, loaded when it is first used."""
        from iicnet_cli.inference.device import choose_device
        from iicnet_cli.inference.runner import Runner

        computing = self._computing
        return Runner(
            self._checkpoint.load(),
            choose_device(computing.device).device,
            noise_shaping=self._checkpoint.noise_shaping,
            memory=computing.memory,
            compiled=computing.compiled,
            precision=computing.precision,
        )

    @classmethod
    def open(cls, request: EngineRequest, computing: Computing) -> Self:
        return cls(find_checkpoint(request), computing)

    def survives(self) -> frozenset[Alteration]:
        return frozenset(
            {
                Alteration.METADATA_STRIPPED,
                Alteration.CROP,
                Alteration.PASTE,
                Alteration.NOISE,
            }
        )

    def capacity(self, shape: tuple[int, ...]) -> int:
        return payload_capacity(shape, code=max(PayloadCode))

    def reference(self, images: Pixels) -> Pixels:
        return self.runner.reference(self._padded(images))

    def groups_at_once(self, height: int, width: int, options: EmbedOptions) -> int:
        # A search uses all cores by itself.
        return 1 if options.searches else self.runner.groups_at_once(height, width)

    def groups_decoded_at_once(self, height: int, width: int) -> int:
        return self.runner.groups_at_once(height, width)

    def encode_group(
        self,
        group: Group,
        request: EncodingRequest,
        progress: EncodingProgress = ignore_encoding,
    ) -> EncodedGroup:
        from iicnet_cli.engines.network.encoder import (
            EncoderSettings,
            encode_group,
            encode_group_with_search,
        )
        from iicnet_cli.engines.network.search import Search

        images, motion = self._subtract_prediction(group.images, request.predicts)
        reason = layer_unavailable_reason(images) if request.options.adds_layer else None
        settings = EncoderSettings(adds_layer=request.options.adds_layer and reason is None)
        mark = self._mark(group, request, motion)
        search = Search.of(request.options)
        if search is None:
            encoded = encode_group(self.runner, images, mark, settings, progress)
        else:
            encoded = encode_group_with_search(
                self.runner, images, mark, search, settings, progress
            )
        return EncodedGroup(
            pixels=encoded.pixels,
            side_info=SideInfo(encoded.mark.motion, encoded.mark.static_region_bytes),
            gained_psnr=encoded.gained_psnr,
            notes=_layer_notes(reason),
        )

    def header(self, height: int, width: int, encoded: Sequence[SideInfo]) -> EngineHeader:
        return EngineHeader(
            model=self.model,
            weights_sha256=self.weights_sha256,
            images=self.config.images,
            padding=padding_to(width, height, self.config.multiple),
            scale=self.scale,
            precision=self._computing.precision,
            static_regions=_encode_repeated([info.static_region for info in encoded]),
            motion=_encode_repeated([info.motion for info in encoded]),
        )

    def decode_group(
        self,
        embedding: Pixels,
        header: Header,
        index: int,
        tick: Callable[[float], None] = lambda share: None,
    ) -> Group:
        from iicnet_cli.engines.network.decoder import Carried, decode_group

        mark = read_mark(embedding)
        if mark is not None and mark.images != header.images:
            mark = None
        repeated = SideInfo(
            motion=_decode_repeated(header.motion, index),
            static_region=_decode_repeated(header.static_regions, index),
        )
        shape = embedding.shape if self.scale == 1 else None
        carried = Carried.from_mark_and_header(mark, repeated, shape)
        size = header.width, header.height
        images = decode_group(self.runner, embedding, carried, size, tick)
        return Group(images, mark.valid if mark else header.images)

    def notes_on_restoring(self, embedding: Pixels) -> tuple[str, ...]:
        mark = read_mark(embedding)
        has_layer = mark is not None and mark.enhancement != b""
        return _layer_notes(codec_unavailable_reason() if has_layer else None)

    def estimate_group(self, group: Group, request: EncodingRequest) -> EncodingEstimate:
        from iicnet_cli.engines.network.encoder import EncoderSettings
        from iicnet_cli.engines.network.estimate import estimate_group
        from iicnet_cli.engines.network.search import Search

        began = time.perf_counter()
        images, motion = self._subtract_prediction(group.images, request.predicts)
        predicting = time.perf_counter() - began
        reason = layer_unavailable_reason(images) if request.options.adds_layer else None
        settings = EncoderSettings(adds_layer=request.options.adds_layer and reason is None)
        search = Search.of(request.options)
        estimate = estimate_group(self.runner, self._padded(images), len(motion), settings, search)
        seconds = estimate.seconds + predicting
        return replace(estimate, seconds=seconds, notes=_layer_notes(reason))

    def _padded(self, images: PixelArray) -> PixelArray:
        height, width = images.shape[1:3]
        return pad(images, padding_to(width, height, self.config.multiple))

    def _embedding_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return height // self.scale, width // self.scale, self.config.embedding_channels

    def _subtract_prediction(self, images: Pixels, predicts: bool) -> tuple[PixelArray, bytes]:
        """The pictures as the network gets them, and the motion field that undoes it."""
        if not predicts:
            return images, b""
        from iicnet_cli.motion.estimation import estimate_motion
        from iicnet_cli.motion.lifting import subtract_prediction

        motion = estimate_motion(images)
        data = motion.to_bytes() if motion else b""
        shape = self._embedding_shape(*images.shape[1:3])
        if len(data) > payload_capacity(shape, carriers_per_symbol=_MIN_SAMPLES_PER_MOTION_BIT):
            return images, b""
        return subtract_prediction(images, motion), data

    def _mark(self, group: Group, request: EncodingRequest, motion: bytes) -> Mark:
        height, width = group.images.shape[1:3]
        is_half_clip = request.task == "video" and self.config.half_size
        place = request.place
        if payload_capacity(self._embedding_shape(height, width), place=place) <= len(motion):
            place = None  # tiny pictures have no room for it
        return Mark(
            task=MARK_TASKS.index("video-half" if is_half_clip else request.task),
            model=model_id(self.weights_sha256),
            images=len(group.images),
            valid=group.valid,
            padding=padding_to(width, height, self.config.multiple),
            fps=fps_code(request.fps),
            motion=motion,
            place=place,
        )


def find_checkpoint(request: EngineRequest) -> Checkpoint:
    """The checkpoint that a request names, or the default one for its task.

    Raises:
        ModelError: it is not here.
        UsageError: it is made for another task, or for embeddings of full size where half the size
            was asked for.
    """
    name = request.model or default_checkpoint(request.task, request.images, half=request.half)
    checkpoint = find(name)
    if checkpoint.config.task != request.task:
        raise UsageError(
            f"the model '{checkpoint.name}' is made for {checkpoint.config.task}, "
            f"not for {request.task}",
            hint="see: iicnet models list",
        )
    if request.half and not checkpoint.config.network.half_size:
        raise UsageError(
            f"the embeddings of '{checkpoint.name}' have full size, but half was asked for",
            hint="leave --model or --half out",
        )
    return checkpoint


def _layer_notes(reason: str | None) -> tuple[str, ...]:
    return (f"without the enhancement layer: {reason}",) if reason else ()


def _encode_repeated(of_groups: list[bytes]) -> list[str] | None:
    """What the header repeats of the groups in base64; ``None`` if that is nothing or too much."""
    texts = [base64.b64encode(data).decode() for data in of_groups]
    is_short = len(texts) <= MAX_GROUPS and sum(map(len, texts)) <= _MAX_REPEATED_CHARACTERS
    return texts if any(texts) and is_short else None


def _decode_repeated(of_groups: list[str] | None, index: int) -> bytes:
    """Inverse of :func:`_encode_repeated` for one group; empty where the header has nothing."""
    if of_groups is None or index >= len(of_groups):
        return b""
    return base64.b64decode(of_groups[index])
