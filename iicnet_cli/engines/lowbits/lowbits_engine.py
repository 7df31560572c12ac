"""The channel in the low bits as a :class:`FileEngine`."""

from __future__ import annotations

from iicnet_cli.engines.base import Alteration
from iicnet_cli.engines.file_engine import FileEngine
from iicnet_cli.engines.lowbits import channel
from iicnet_cli.errors import ContainerError
from iicnet_cli.payload.lowbits_mark import read_lowbits_mark
from iicnet_cli.pictures.arrays import Pixels


class LowBitsEngine(FileEngine):
    """Carries files in the low bits of all samples."""

    name = "lowbits"

    def survives(self) -> frozenset[Alteration]:
        return frozenset({Alteration.METADATA_STRIPPED})

    def capacity(self, reference: Pixels, psnr: float) -> int:
        return channel.measured_capacity(reference, psnr)

    def write(self, reference: Pixels, data: bytes) -> Pixels:
        return channel.write(reference, data)

    def recognises(self, embedding: Pixels) -> bool:
        try:
            return read_lowbits_mark(embedding) is not None
        except ContainerError:
            return True  # its mark is there, but it was altered or is newer than this program

    def read(self, embedding: Pixels) -> bytes:
        return channel.read(embedding)
