"""What comes back after a picture went through simulated channels and services.

Nothing is sent anywhere: each channel is a model of what may happen, see
``engines/jpegproof/profiles.py``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from iicnet_cli.engines.file_engine import Channel, FileEngine
from iicnet_cli.errors import ContainerError
from iicnet_cli.identify import file_engine_of, identify
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.pictures.arrays import Pixels, as_colour
from iicnet_cli.pictures.metrics import cap_psnr, psnr

_MOST_THREADS = 4
"""Channels that are simulated at once, which bounds the memory."""


@dataclass(frozen=True)
class Delivery:
    """What became of one picture on one way.

    Attributes:
        channel: its name.
        width: of the picture that arrives, in pixels.
        height: likewise.
        restored: whether everything that it carries comes back.
        reason: why not, in words; empty if it does.
        psnr: of the picture that arrives, beside the one that was sent, in dB; ``None`` if it has
            another size.
        small_version: whether at least the small version comes back, where not everything does.
    """

    channel: str
    width: int
    height: int
    restored: bool
    reason: str
    psnr: float | None
    small_version: bool = False


def deliver(
    embedding: Pixels, data: bytes, engine: FileEngine, channels: Sequence[Channel]
) -> list[Delivery]:
    """Send a picture through each channel, and read it again.

    Args:
        embedding: (H, W) or (H, W, 3) uint8.
        data: what it carries.
        engine: that reads it.
        channels: what is simulated.
    """

    def send(channel: Channel) -> Delivery:
        received = channel.apply(embedding)
        height, width = received.shape[:2]
        try:
            reason = "" if engine.read(received) == data else "other bytes come back"
        except ContainerError as error:
            reason = str(error)
        small = bool(reason) and engine.read_small_version(received) is not None
        sent = as_colour(embedding)
        alike = cap_psnr(psnr(received, sent)) if received.shape == sent.shape else None
        return Delivery(channel.name, width, height, not reason, reason, alike, small)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        return list(pool.map(send, channels))


def check_picture(path: Path, channels: Sequence[Channel]) -> list[Delivery]:
    """What would come back from a file after each channel.

    Args:
        path: a picture that holds something.
        channels: what is simulated.

    Raises:
        ContainerError: nothing can be restored from the file as it is.
        MediaError: it cannot be read.
    """
    with EmbeddingReader(path) as reader:
        engine = file_engine_of(reader)
        embedding = reader.read_frame(0)
        is_still = reader.n_frames == 1
        if engine is None:
            identify(reader, path)
    if engine is not None and is_still:
        return deliver(embedding, engine.read(embedding), engine, channels)
    why = (
        "header and mark of the network's pictures do not survive JPEG"
        if is_still
        else "of an animated PNG, one still arrives"
    )
    return [_lost(embedding, channel, why) for channel in channels]


def _lost(embedding: Pixels, channel: Channel, reason: str) -> Delivery:
    height, width = channel.apply(embedding).shape[:2]
    return Delivery(channel.name, width, height, restored=False, reason=reason, psnr=None)
