"""Bytes in the DCT lattice: what comes back from which channel."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from iicnet_cli.engines.jpegproof import jpeg_channel, jpegproof_engine, synchronisation
from iicnet_cli.engines.jpegproof.jpegproof_engine import JpegProofEngine
from iicnet_cli.engines.jpegproof.profiles import jpeg_profile
from iicnet_cli.engines.jpegproof.simulated_channels import (
    LOSSES,
    Noise,
    SimulatedChannel,
    channels_from,
    jpeg,
)
from iicnet_cli.errors import DamagedError, NotAnEmbeddingError, UsageError
from iicnet_cli.pictures.metrics import psnr
from tests.samples import Pixels, natural

COVER = natural(256, 256, 3)
LARGE = natural(384, 512, 3)
SMALL = jpeg_profile(75)
ENGINE = JpegProofEngine()


@cache
def written(quality: int, share: float) -> tuple[Pixels, bytes]:
    prepared = jpeg_channel.PreparedCover.of(COVER, jpeg_profile(quality))
    data = np.random.default_rng(quality).bytes(int(prepared.capacity * share))
    return prepared.write(data), data


@pytest.mark.parametrize("quality", [60, 70, 75, 85])
def test_all_bytes_survive_every_channel_of_the_profile(quality: int) -> None:
    embedding, data = written(quality, 1.0)
    assert len(data) * 8 / (256 * 256) > {60: 0.15, 70: 0.22, 75: 0.26, 85: 0.42}[quality]
    assert psnr(embedding, COVER) > 36.5
    for each in channels_from(quality):
        assert ENGINE.read(each.apply(embedding)) == data, each.name


def test_a_crop_at_an_odd_offset_restores_a_smaller_payload() -> None:
    embedding, data = written(75, 0.6)
    assert ENGINE.read(embedding[19:249, 13:243]) == data


@cache
def with_small_version(quality: int) -> tuple[Pixels, bytes, bytes]:
    prepared = jpeg_channel.PreparedCover.of(LARGE, jpeg_profile(quality))
    rng = np.random.default_rng(quality)
    data = rng.bytes(prepared.spared_capacity)
    small = rng.bytes(prepared.small_version_capacity)
    return prepared.write(data, small), data, small


@pytest.mark.parametrize("quality", [60, 70, 75, 85])
def test_a_small_version_costs_little_and_survives_lower_qualities(quality: int) -> None:
    embedding, data, small = with_small_version(quality)
    assert len(small) == 384 * 512 // 64 * 3 // 4 * 2 // 5 // 8 - 6
    prepared = jpeg_channel.PreparedCover.of(LARGE, jpeg_profile(quality))
    assert prepared.capacity_beside > 0.9 * prepared.capacity
    assert psnr(embedding, LARGE) > 36.5
    for each in (jpeg(quality), jpeg(95)):
        assert ENGINE.read(each.apply(embedding)) == data
        assert ENGINE.read_small_version(each.apply(embedding)) == small
    lower = jpeg(45).apply(embedding)
    with pytest.raises(DamagedError, match="recompressed at about quality 4"):
        ENGINE.read(lower)
    assert ENGINE.read_small_version(lower) == small


def test_a_small_version_is_left_in_half_of_the_picture() -> None:
    embedding, _, small = with_small_version(75)
    half = embedding[13:, 257:]
    with pytest.raises(DamagedError, match="were cut off"):
        ENGINE.read(half)
    assert ENGINE.read_small_version(half) == small
    covered = embedding.copy()
    covered[:, :230] = 255
    assert ENGINE.read_small_version(covered) == small


@pytest.mark.parametrize("loss", LOSSES, ids=[each.name for each in LOSSES])
def test_a_reserve_makes_up_for_lost_parts(loss: SimulatedChannel) -> None:
    embedding, data, _ = with_small_version(75)
    assert ENGINE.read(loss.apply(embedding)) == data


def test_pictures_without_a_small_version() -> None:
    embedding, _ = written(75, 1.0)
    assert ENGINE.read_small_version(embedding) is None
    assert ENGINE.read_small_version(COVER) is None


def test_too_large_a_small_version() -> None:
    with pytest.raises(UsageError, match="1000 bytes are too many for this picture, which holds"):
        jpeg_channel.PreparedCover.of(LARGE, SMALL).write(b"", bytes(1000))


def test_a_picture_inside_a_larger_one_is_found() -> None:
    embedding, data = written(75, 0.6)
    page = np.full((330, 341, 3), 255, np.uint8)
    page[21 : 21 + 256, 43 : 43 + 256] = embedding
    assert ENGINE.read(page) == data


def test_a_pasted_square_is_left_out() -> None:
    embedding, data = written(75, 0.6)
    pasted = embedding.copy()
    pasted[96:160, 96:160] = (250, 210, 40)
    assert ENGINE.read(pasted) == data
    assert ENGINE.read(jpeg(75).apply(pasted)) == data


@pytest.mark.parametrize("size", [0, 1, 100])
def test_short_payloads(size: int) -> None:
    data = bytes(range(size))
    embedding = jpeg_channel.PreparedCover.of(COVER, SMALL).write(data)
    assert ENGINE.read(jpeg(75).apply(embedding)) == data


def test_sides_that_are_no_multiples_of_blocks() -> None:
    cover = natural(253, 267, 4)
    embedding = jpeg_channel.PreparedCover.of(cover, SMALL).write(b"odd")
    assert ENGINE.read(jpeg(80).apply(embedding)) == b"odd"
    assert np.array_equal(embedding[248:], cover[248:])


def test_white_areas_stay_white() -> None:
    cover = COVER.copy()
    cover[:, :100] = 255
    embedding = jpeg_channel.PreparedCover.of(cover, SMALL).write(b"white")
    assert ENGINE.read(jpeg(75).apply(embedding)) == b"white"
    assert (embedding[:, :88] == 255).mean() > 0.98


def test_too_many_bytes() -> None:
    with pytest.raises(UsageError, match=r"^100000 bytes are too many for this picture, which"):
        jpeg_channel.PreparedCover.of(COVER, SMALL).write(bytes(100_000))


def test_too_large_a_cover() -> None:
    with pytest.raises(UsageError, match="a cover of 32768 x 8 pixels is too large"):
        jpeg_channel.PreparedCover.of(np.zeros((8, 32768, 3), np.uint8), SMALL)


def test_too_low_a_quality_is_named() -> None:
    embedding = jpeg_channel.PreparedCover.of(LARGE, SMALL).write(bytes(6000))
    with pytest.raises(NotAnEmbeddingError, match=r"compressed at about quality 2\d, or resized"):
        ENGINE.read(jpeg(20).apply(embedding))
    with pytest.raises(DamagedError, match=r"recompressed at about quality 5\d, but it was made"):
        ENGINE.read(jpeg(55).apply(embedding))


def test_too_much_noise() -> None:
    embedding, _ = written(75, 1.0)
    with pytest.raises(DamagedError, match="changed more than can be restored"):
        ENGINE.read(Noise(3.0).apply(embedding))


def test_too_small_a_part() -> None:
    embedding = jpeg_channel.PreparedCover.of(LARGE, SMALL).write(bytes(6000))
    with pytest.raises(DamagedError, match=r"\d\d% of the picture were cut off"):
        ENGINE.read(embedding[:, :270])


@pytest.mark.parametrize("shape", [(256, 256), (5, 300), (1, 1)])
def test_pictures_without_a_mark(shape: tuple[int, int]) -> None:
    with pytest.raises(NotAnEmbeddingError):
        ENGINE.read(COVER[: shape[0], : shape[1]])


def test_pictures_without_capacity() -> None:
    assert jpeg_channel.PreparedCover.of(np.full((256, 256, 3), 255, np.uint8), SMALL).capacity == 0
    assert jpeg_channel.PreparedCover.of(COVER[:100, :200], SMALL).capacity == 0
    assert jpeg_channel.PreparedCover.of(COVER[:4, :4], SMALL).capacity == 0


def test_the_mark_of_a_large_picture_is_found_in_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synchronisation, "PART_BLOCKS", 32)  # of 48 x 64 blocks
    data = np.random.default_rng(0).bytes(2000)
    embedding = jpeg_channel.PreparedCover.of(LARGE, SMALL).write(data)
    covered = embedding.copy()
    covered[120:216, 160:288] = 255
    for each in (embedding, covered):
        for received in (jpeg(80).apply(each), jpeg(80).apply(each)[:-40, :-70], each[19:, 13:]):
            assert JpegProofEngine().read(received) == data
    assert not JpegProofEngine().recognises(LARGE)


def test_a_picture_is_located_once(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding, data = written(75, 0.6)
    calls = []

    def locate(*arguments: object) -> object:
        calls.append(arguments)
        return jpegproof_locate(*arguments)

    jpegproof_locate = jpegproof_engine.locate
    monkeypatch.setattr(jpegproof_engine, "locate", locate)
    engine = JpegProofEngine()
    assert engine.recognises(embedding)
    assert engine.read(embedding) == data
    assert engine.read_small_version(embedding) is None
    assert len(calls) == 1
    with pytest.raises(NotAnEmbeddingError):
        engine.read(COVER)
    assert len(calls) == 2
