"""The channel in the low bits as a :class:`FileEngine`."""

from __future__ import annotations

from iicnet_cli.engines.base import Alteration
from iicnet_cli.engines.file_engine import FileEngine, FileWriter, LastPicture
from iicnet_cli.engines.lowbits import channel
from iicnet_cli.payload.lowbits_mark import has_lowbits_mark
from iicnet_cli.pictures.arrays import Pixels

DEFAULT_PSNR = 40.0
"""Embeddings are held at this many dB, unless another number is asked for."""


class LowBitsEngine(FileEngine):
    """Carries files in the low bits of all samples."""

    name = "lowbits"

    def survives(self) -> frozenset[Alteration]:
        return frozenset({Alteration.METADATA_STRIPPED})

    def writer_for(self, destination: str, embed_psnr: float | None) -> FileWriter:
        return LowBitsWriter(DEFAULT_PSNR if embed_psnr is None else embed_psnr)

    def recognises(self, embedding: Pixels) -> bool:
        return has_lowbits_mark(embedding)

    def read(self, embedding: Pixels) -> bytes:
        return channel.read(embedding)


class LowBitsWriter(FileWriter):
    """Writes PNGs that arrive as they are, at a PSNR in dB."""

    def __init__(self, embed_psnr: float) -> None:
        self.embed_psnr = embed_psnr
        self.limit = f"at {embed_psnr:g} dB"
        self._capacity = LastPicture(lambda cover: channel.measured_capacity(cover, embed_psnr))

    def capacity(self, cover: Pixels) -> int:
        return self._capacity(cover)

    def write(self, cover: Pixels, data: bytes, small_version: bytes | None = None) -> Pixels:
        assert small_version is None, "there is no room for one"
        return channel.write(cover, data)
