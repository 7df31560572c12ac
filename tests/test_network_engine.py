"""The network behind the contract of an engine."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.container.header import MAX_HEADER_BYTES, Header
from iicnet_cli.engines import open_engine
from iicnet_cli.engines.base import (
    Alteration,
    Computing,
    EncodedGroup,
    EncodingRequest,
    EngineRequest,
    SideInfo,
)
from iicnet_cli.engines.network import enhancement_layer
from iicnet_cli.engines.network.network_engine import NetworkEngine, find_checkpoint
from iicnet_cli.engines.network.sliced_encoder import layer_capacity
from iicnet_cli.errors import ModelError, UnsupportedVersionError, UsageError
from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.network import IICNet
from iicnet_cli.options import EmbedOptions
from iicnet_cli.payload.mark import ClipPlace
from iicnet_cli.payload.mark_pixels import payload_capacity, read_mark, write_mark
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.pictures.metrics import mse, psnr
from iicnet_cli.zoo.checkpoint import write_checkpoint
from tests.copying_network import copying_network
from tests.engine_helpers import (
    floyd_steinberg,
    group_of,
    layer_bits,
    mark_of,
    small_network,
)
from tests.samples import natural, pan

CPU = Computing(device="cpu")
STEGO = EncodingRequest("stego")
PLAIN = EmbedOptions(enhance=False)

MakeEngine = Callable[..., NetworkEngine]


@pytest.fixture
def make_engine(tmp_path: Path) -> MakeEngine:
    """Makes an engine of a network, as if it were a checkpoint for a task."""

    def make(net: IICNet, task: str, computing: Computing = CPU) -> NetworkEngine:
        checkpoint = write_checkpoint(
            tmp_path / "checkpoint",
            net,
            name="small",
            task=task,
            half_precision=False,
            noise_shaping=floyd_steinberg(),
        )
        return NetworkEngine(checkpoint, computing)

    return make


@pytest.fixture
def stego(make_engine: MakeEngine) -> NetworkEngine:
    return make_engine(small_network(), "stego")


@cache
def hidden_photos() -> Group:
    """Two photos of 64x64."""
    return Group(group_of(2, 64, 64), 2)


@cache
def panning_frames() -> Group:
    """Three frames of a fast pan, 159x127; the last one fills up the group."""
    return Group(pan(3, 127, 159, 6)[[1, 0, 2]], 2)


def header_of(engine: NetworkEngine, task: str, group: Group, *encoded: SideInfo) -> Header:
    """The header of a PNG with these embeddings."""
    height, width = group.images.shape[1:3]
    fields = asdict(engine.header(height, width, encoded))
    return Header(task=task, width=width, height=height, **fields)


def without_mark(embedding: Pixels) -> Pixels:
    """The embedding with every lowest bit flipped, which destroys the mark and little else."""
    damaged = embedding ^ np.uint8(1)
    assert read_mark(damaged) is None
    return damaged


def hidden_error(group: Group, restored: Group) -> float:
    """Mean squared error of the pictures beside the reference."""
    return mse(restored.images[1:], group.images[1:])


# ---------------------------------------------------------------------------------- opening


def test_a_request_names_engine_and_checkpoint() -> None:
    engine = open_engine(EngineRequest("network", "stego", images=2), CPU)
    assert isinstance(engine, NetworkEngine)
    assert (engine.images_per_group, engine.model, engine.scale) == (2, "stego-2", 1)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(UnsupportedVersionError, match="'telepathy' is unknown"):
        open_engine(EngineRequest("telepathy", "stego"), CPU)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (EngineRequest("network", "stego", model="none"), ModelError, "no model 'none'"),
        (EngineRequest("network", "video", model="stego-2"), UsageError, "made for stego"),
        (
            EngineRequest("network", "video", half=True, model="video-5"),
            UsageError,
            "half was asked for",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    request_: EngineRequest, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        find_checkpoint(request_)


# --------------------------------------------------------------------------------- encoding


def test_a_group_comes_back(stego: NetworkEngine) -> None:
    group = Group(group_of(2, 63, 95), 2)
    encoded = stego.encode_group(group, STEGO)
    assert encoded.pixels.shape == (64, 96, 3)
    header = header_of(stego, "stego", group, encoded.side_info)
    assert (header.padding, header.scale, header.images) == ((1, 1), 1, 2)
    assert (header.model, header.engine, header.precision) == ("small", None, "fp32")
    shares: list[float] = []
    restored = stego.decode_group(encoded.pixels, header, 0, shares.append)
    assert restored.images.shape == group.images.shape
    assert restored.valid == 2
    assert psnr(restored.images, group.images) > 28
    assert shares[-1] == 1


def test_the_mark_tells_what_the_header_tells(make_engine: MakeEngine) -> None:
    for half_size, task in ((False, "video"), (True, "video-half")):
        engine = make_engine(copying_network(3, half_size=half_size), "video")
        request = EncodingRequest("video", Fraction(24), options=PLAIN)
        mark = read_mark(engine.encode_group(panning_frames(), request).pixels)
        assert mark is not None
        assert (mark.task_name, mark.images, mark.valid) == (task, 3, 2)
        assert (mark.padding, mark.fps) == ((1, 1), 2400)


@pytest.mark.parametrize(("side", "has_room"), [(8, False), (24, True)])
def test_the_mark_tells_which_embedding_it_is_where_there_is_room(
    make_engine: MakeEngine, side: int, has_room: bool
) -> None:
    engine = make_engine(copying_network(3), "video")
    place = ClipPlace(2, is_last=False)
    request = EncodingRequest("video", Fraction(24), options=PLAIN, place=place)
    group = Group(np.stack([natural(side, side, i) for i in range(3)]), 3)
    mark = read_mark(engine.encode_group(group, request).pixels)
    assert mark is not None
    assert mark.place == (place if has_room else None)


def test_effort_0_is_the_network_alone_and_1_adds_the_layer(stego: NetworkEngine) -> None:
    def encode(**options: object) -> EncodedGroup:
        request = EncodingRequest("stego", options=EmbedOptions(**options))  # type: ignore[arg-type]
        return stego.encode_group(hidden_photos(), request)

    alone, bare, usual, one = (
        encode(**options) for options in ({"enhance": False}, {"effort": 0}, {}, {"effort": 1})
    )
    assert np.array_equal(alone.pixels, bare.pixels)
    assert np.array_equal(usual.pixels, one.pixels)
    assert not np.array_equal(usual.pixels, alone.pixels)
    marks = [read_mark(each.pixels) for each in (alone, usual)]
    assert all(marks)
    assert [layer_bits(mark) > 0 for mark in marks if mark] == [False, True]
    assert alone.gained_psnr is usual.gained_psnr is None


def test_effort_2_searches(stego: NetworkEngine) -> None:
    request = EncodingRequest("stego", options=EmbedOptions(effort=2, enhance=False))
    encoded = stego.encode_group(hidden_photos(), request)
    assert encoded.gained_psnr is not None and encoded.gained_psnr > 0


@pytest.mark.parametrize("reason", ["AVIF", "too large"])
def test_a_layer_that_cannot_be_had_is_noted(
    stego: NetworkEngine, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    layered = stego.encode_group(hidden_photos(), STEGO)
    assert layered.notes == () == stego.notes_on_restoring(layered.pixels)
    if reason == "AVIF":
        monkeypatch.setattr("PIL.features.check", lambda feature: feature != "avif")
    else:
        monkeypatch.setattr(enhancement_layer, "MAX_PICTURE_BYTES", 2 * 64 * 64 * 3 - 1)
    encoded = stego.encode_group(hidden_photos(), STEGO)
    assert reason in " ".join(encoded.notes)
    mark = read_mark(encoded.pixels)
    assert mark is not None and not mark.enhancement
    assert reason in " ".join(stego.estimate_group(hidden_photos(), STEGO).notes)
    # Who asks for no layer needs no excuse.
    plain = EncodingRequest("stego", options=PLAIN)
    assert stego.encode_group(hidden_photos(), plain).notes == ()
    # A layer that is there needs the codec only.
    notes = " ".join(stego.notes_on_restoring(layered.pixels))
    assert (reason in notes) == (reason == "AVIF")
    assert stego.notes_on_restoring(encoded.pixels) == ()


def test_a_search_has_all_cores_for_itself(make_engine: MakeEngine) -> None:
    engine = make_engine(small_network(), "stego", Computing("cpu", memory=1 << 34))
    assert engine.groups_at_once(64, 64, EmbedOptions(effort=2)) == 1
    expected = engine.runner.groups_at_once(64, 64)
    assert engine.groups_at_once(64, 64, EmbedOptions()) == expected


def test_the_estimate_is_near_what_encoding_gives(stego: NetworkEngine) -> None:
    expected = stego.estimate_group(hidden_photos(), STEGO)
    encoded = stego.encode_group(hidden_photos(), STEGO)
    reference = stego.reference(hidden_photos().images)
    assert expected.embed_psnr == pytest.approx(psnr(encoded.pixels, reference), abs=0.1)
    assert expected.notes == ()


# --------------------------------------------------------------------- motion, static region


def test_motion_is_only_estimated_for_pictures_of_one_scene(make_engine: MakeEngine) -> None:
    engine = make_engine(copying_network(3), "video")
    group = panning_frames()
    errors = []
    for predicts in (True, False):
        encoded = engine.encode_group(
            group, EncodingRequest("video", predicts=predicts, options=PLAIN)
        )
        assert bool(encoded.side_info.motion) == predicts
        header = header_of(engine, "video", group, encoded.side_info)
        assert (header.motion is not None) == predicts
        errors.append(hidden_error(group, engine.decode_group(encoded.pixels, header, 0)))
    assert errors[0] < errors[1] / 4


def test_motion_that_takes_too_much_of_a_small_embedding_is_not_carried(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(copying_network(3, half_size=True), "video")
    images = pan(3, 64, 96, 6)[[1, 0, 2]]
    smooth = estimate_motion(images)
    assert smooth is not None
    request = EncodingRequest("video", predicts=True, options=PLAIN)
    assert engine.encode_group(Group(images, 3), request).side_info.motion
    vectors = np.random.default_rng(0).integers(-90, 90, smooth.vectors.shape)
    wild = replace(smooth, vectors=vectors.astype(smooth.vectors.dtype))
    assert len(wild.to_bytes()) > payload_capacity((32, 48, 3), carriers_per_symbol=3)
    monkeypatch.setattr("iicnet_cli.motion.estimation.estimate_motion", lambda images: wild)
    assert engine.encode_group(Group(images, 3), request).side_info.motion == b""


def test_the_header_repeats_the_motion_in_case_the_mark_is_damaged(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(copying_network(3), "video")
    group = panning_frames()
    request = EncodingRequest("video", predicts=True, options=PLAIN)
    encoded = engine.encode_group(group, request)
    header = header_of(engine, "video", group, SideInfo(), encoded.side_info)
    assert header.motion is not None
    assert [base64.b64decode(text) for text in header.motion] == [b"", encoded.side_info.motion]
    intact = engine.decode_group(encoded.pixels, header, 1)
    damaged = without_mark(encoded.pixels)
    by_header = engine.decode_group(damaged, header, 1)
    still = engine.decode_group(damaged, header, 0)
    assert hidden_error(group, by_header) < 2 * hidden_error(group, intact)
    assert hidden_error(group, by_header) < hidden_error(group, still) / 4
    # The number of real frames is in the mark alone.
    assert (intact.valid, by_header.valid) == (2, 3)


def test_the_header_repeats_the_static_region_in_case_the_mark_is_damaged(
    stego: NetworkEngine,
) -> None:
    images = group_of(2, 64, 96)
    images[1, :, :64] = images[0, :, :64]
    group = Group(images, 2)
    encoded = stego.encode_group(group, STEGO)
    header = header_of(stego, "stego", group, encoded.side_info)
    assert header.static_regions == [base64.b64encode(encoded.side_info.static_region).decode()]
    damaged = without_mark(encoded.pixels)
    by_header = stego.decode_group(damaged, header, 0).images[:, :, :64]
    assert (by_header == damaged[:, :64]).all()
    # A mark alone serves as well, and neither leaves it to the network.
    bare = header.model_copy(update={"static_regions": None})
    by_mark = stego.decode_group(encoded.pixels, bare, 0).images[:, :, :64]
    assert (by_mark == encoded.pixels[:, :64]).all()
    by_network = stego.decode_group(damaged, bare, 0)
    assert np.array_equal(by_network.images, stego.runner.restore(damaged))


@pytest.mark.parametrize("text", ["", "bm9uc2Vuc2U="], ids=["empty", "nonsense"])
def test_nonsense_in_the_header_is_ignored(stego: NetworkEngine, text: str) -> None:
    damaged = without_mark(stego.encode_group(hidden_photos(), STEGO).pixels)
    header = header_of(stego, "stego", hidden_photos())
    odd = header.model_copy(update={"static_regions": [text]})
    without, with_nonsense = (stego.decode_group(damaged, each, 0) for each in (header, odd))
    assert np.array_equal(without.images, with_nonsense.images)


def test_the_header_repeats_nothing_where_there_is_nothing_or_too_much(
    stego: NetworkEngine,
) -> None:
    nothing = stego.header(64, 64, [SideInfo(), SideInfo()])
    assert nothing.motion is None and nothing.static_regions is None
    much = stego.header(64, 64, [SideInfo(motion=bytes(MAX_HEADER_BYTES)), SideInfo(b"", b"x")])
    assert much.motion is None
    assert much.static_regions is not None and len(much.static_regions) == 2


# ---------------------------------------------------------------------------------- decoding


def test_a_mark_of_another_number_of_images_is_ignored(stego: NetworkEngine) -> None:
    encoded = stego.encode_group(hidden_photos(), STEGO)
    header = header_of(stego, "stego", hidden_photos())
    odd = write_mark(encoded.pixels, mark_of(3))
    assert stego.decode_group(odd, header, 0).valid == 2
    # So is the layer of such a mark.
    other = header.model_copy(update={"images": 3})
    restored = stego.decode_group(encoded.pixels, other, 0)
    assert restored.valid == 3
    assert np.array_equal(restored.images, stego.runner.restore(encoded.pixels))


def test_altered_pixels_cost_the_layer_but_neither_mark_nor_base_layer(
    stego: NetworkEngine,
) -> None:
    encoded = stego.encode_group(hidden_photos(), STEGO)
    header = header_of(stego, "stego", hidden_photos(), encoded.side_info)
    mark = read_mark(encoded.pixels)
    assert mark is not None and mark.enhancement
    pasted = encoded.pixels.copy()
    pasted[40:43, 30:33] = 0
    found = read_mark(pasted)
    assert found is not None and not found.enhancement
    assert (found.images, found.valid, found.model) == (mark.images, mark.valid, mark.model)
    restored = stego.decode_group(pasted, header, 0)
    assert np.array_equal(restored.images, stego.runner.restore(pasted))
    far = slice(None), slice(0, 24)
    intact = stego.decode_group(encoded.pixels, header, 0)
    originals = hidden_photos().images[far]
    assert psnr(intact.images[far], originals) > psnr(restored.images[far], originals) > 20


def test_what_is_left_after_the_alterations_that_it_survives_is_restored(
    stego: NetworkEngine,
) -> None:
    assert stego.survives() == {
        Alteration.METADATA_STRIPPED,
        Alteration.CROP,
        Alteration.PASTE,
        Alteration.NOISE,
    }
    pixels = stego.encode_group(hidden_photos(), STEGO).pixels
    header = header_of(stego, "stego", hidden_photos())
    wanted = stego.runner.restore(pixels)
    pasted = pixels.copy()
    pasted[:16, :16] = 0
    restored = stego.decode_group(pasted, header, 0).images
    # The network looks 13 pixels far.
    assert psnr(restored[:, 32:, 32:], wanted[:, 32:, 32:]) > 25
    noise = np.random.default_rng(0).integers(-1, 2, pixels.shape)
    noisy = (pixels + noise).clip(0, 255).astype(np.uint8)
    assert psnr(stego.decode_group(noisy, header, 0).images, wanted) > 25
    cropped = header.model_copy(update={"width": 40, "height": 40})
    restored = stego.decode_group(pixels[:40, :40], cropped, 0).images
    assert np.array_equal(restored[:, :24, :24], wanted[:, :24, :24])


@pytest.mark.parametrize("shape", [(64, 64, 3), (100, 31, 3), (40, 40, 3)])
def test_the_capacity_is_that_of_a_layer_with_most_bits(
    stego: NetworkEngine, shape: tuple[int, ...]
) -> None:
    pixels = np.zeros(shape, np.uint8)
    capacities = [layer_capacity(pixels, mark_of(2), bits) for bits in range(1, 7)]
    assert stego.capacity(shape) == max(capacities)


def test_the_reference_is_padded_and_of_the_size_of_the_embedding(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(small_network(half_size=True), "stego")
    assert engine.scale == 2
    assert engine.reference(group_of(2, 63, 95)).shape == (32, 48, 3)
