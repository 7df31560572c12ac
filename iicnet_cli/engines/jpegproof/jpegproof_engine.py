"""The channel in the DCT lattice as a :class:`FileEngine`."""

from __future__ import annotations

from iicnet_cli.engines.base import Alteration
from iicnet_cli.engines.file_engine import FileEngine, FileWriter, LastPicture
from iicnet_cli.engines.jpegproof import jpeg_channel
from iicnet_cli.engines.jpegproof.jpeg_files import encode_jpeg
from iicnet_cli.engines.jpegproof.profiles import LATTICES, Profile, find_profile
from iicnet_cli.engines.jpegproof.simulated_channels import LOSSES, hardest_channels
from iicnet_cli.engines.jpegproof.synchronisation import locate
from iicnet_cli.errors import NotAnEmbeddingError, UsageError
from iicnet_cli.pictures.arrays import Pixels, as_colour

EXPECTED_PSNR = 37.0
"""PSNR in dB that embeddings have about, whatever they have to survive."""


class JpegProofEngine(FileEngine):
    """Carries files where JPEG does not reach them."""

    name = "jpegproof"

    def __init__(self) -> None:
        self._located = LastPicture(lambda picture: locate(as_colour(picture), LATTICES))

    def survives(self) -> frozenset[Alteration]:
        return frozenset(Alteration) - {Alteration.RESIZE}

    def writer_for(self, destination: str, embed_psnr: float | None) -> FileWriter:
        if embed_psnr is not None:
            raise UsageError(
                f"--target-embed-psnr has no use with --for {destination}: what has to be survived "
                "decides",
                hint="leave it out",
            )
        return JpegProofWriter(find_profile(destination or "jpeg"))

    def recognises(self, embedding: Pixels) -> bool:
        return self._located(embedding) is not None

    def likely_change(self, picture: Pixels) -> str:
        return jpeg_channel.likely_change(as_colour(picture))

    def read(self, embedding: Pixels) -> bytes:
        located = self._located(embedding)
        if located is None:
            raise NotAnEmbeddingError(
                "no mark was found in the picture" + self.likely_change(embedding)
            )
        return jpeg_channel.payload_of(located)

    def read_small_version(self, embedding: Pixels) -> bytes | None:
        located = self._located(embedding)
        return None if located is None else jpeg_channel.small_version_of(located)


class JpegProofWriter(FileWriter):
    """Writes pictures that survive what a profile says."""

    embed_psnr = EXPECTED_PSNR
    arrives_exact = False
    suffixes = (".png", ".jpg", ".jpeg")
    losses = LOSSES

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.limit = f"for {profile.name}"
        self.longest_side = profile.longest_side
        self.channels = hardest_channels(profile.lattice.quality)
        self._prepared = LastPicture(lambda cover: jpeg_channel.PreparedCover.of(cover, profile))

    def capacity(self, cover: Pixels) -> int:
        return self._prepared(cover).capacity

    def spared_capacity(self, cover: Pixels) -> int:
        return self._prepared(cover).spared_capacity

    def small_version_capacity(self, cover: Pixels) -> int:
        return self._prepared(cover).small_version_capacity

    def write(self, cover: Pixels, data: bytes, small_version: bytes | None = None) -> Pixels:
        return self._prepared(cover).write(data, small_version)

    def encode_jpeg(self, embedding: Pixels) -> bytes:
        return encode_jpeg(embedding, self._profile.lattice)
