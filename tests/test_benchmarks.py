"""The benchmarks' own parts: what is hidden without a network, and what damage does to both."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import baselines
import capacity
import effort
import hairy_cutouts
import jpeg_payloads
import numpy as np
import pytest
import quality
import speed
import survival
import training_runs
from damages import DAMAGES
from evaluation_data import first_groups
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli import Converter
from iicnet_cli.engines.base import Computing
from iicnet_cli.engines.network.network_engine import NetworkEngine
from iicnet_cli.evaluation import Evaluation, Row, spread
from iicnet_cli.media import ffmpeg
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.zoo import find
from tests.samples import moving, natural

Pixels = NDArray[np.uint8]


def written(pixels: Pixels, path: Path) -> Pixels:
    Image.fromarray(pixels).save(path)
    return np.asarray(Image.open(path))


@settings(deadline=None, max_examples=60)
@given(
    modulus=st.integers(2, 40),
    data=st.binary(max_size=200),
)
def test_digits_hold_bits(modulus: int, data: bytes) -> None:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    digits = baselines.to_digits(bits, modulus)
    assert not digits.size or (digits.min() >= 0 and digits.max() < modulus)
    assert np.array_equal(baselines.from_digits(digits, modulus)[: len(bits)], bits)


@given(count=st.integers(0, 40), limit=st.integers(1, 50))
def test_a_limit_takes_evenly(count: int, limit: int) -> None:
    assert spread(range(count), None) == list(range(count))
    taken = spread(range(count), limit)
    assert len(taken) == min(count, limit)
    distances = {b - a for a, b in itertools.pairwise(taken)}
    assert distances <= {count // limit, -(-count // limit)} or distances == {1}


def test_the_papers_figures_are_of_the_step_measured() -> None:
    rows = (
        Row("weak", 34.0, 40.0, 28.0, 0.9, 0.9, 1.0),
        Row("strong", 38.0, 37.0, 28.0, 0.9, 0.9, 2.0),
    )
    expected = {
        1: ["37.91 / 36.70", "1 of 2"],
        5: ["36.74 / 36.07", "1 of 2"],
        2: ["-", "-"],
    }
    for step, figures in expected.items():
        measured = Evaluation("video-9", "clips", step, rows)
        cells = quality.Measurement(find("video-9"), measured, measured, 1).cells()
        assert cells[-2:] == figures
        assert "34.00 / 37.00" in cells


def test_training_cases_change_one_thing_of_the_base() -> None:
    recipes = [
        Recipe.model_validate(training_runs.changed(training_runs.BASE, change))
        for change in training_runs.CASES.values()
    ]
    base = recipes[0].model_dump()
    for recipe in recipes[1:]:
        assert len([k for k, v in recipe.model_dump().items() if v != base[k]]) == 1
    assert len({recipe.model_dump_json() for recipe in recipes}) == len(recipes)


@pytest.mark.parametrize("modulus", [2, 3, 5, 10, 16, 33])
def test_blocks_waste_little(modulus: int) -> None:
    digits, width = baselines.block_size(modulus)
    assert 2**width <= modulus**digits
    assert width / digits == pytest.approx(np.log2(modulus), rel=0.02)


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (21, 50)])
@pytest.mark.parametrize(
    "carrier",
    [
        baselines.Carrier(2, 2),
        baselines.Carrier(1, 3, 0.4),
        baselines.Carrier(5, 7, 0.5),
        baselines.Carrier(9, 10, 0.25),
        baselines.Carrier(16, 16),
        baselines.Carrier(31, 32, 0.9),
    ],
    ids=str,
)
def test_a_full_cover_gives_back_every_byte(
    carrier: baselines.Carrier, size: tuple[int, int], tmp_path: Path
) -> None:
    cover = natural(*size, seed=0)
    cover[:8], cover[8:16] = 0, 255  # where the nearest level may lie outside
    payload = np.random.default_rng(1).bytes(carrier.capacity(cover.size))
    stego = baselines.hide(cover, payload, carrier)
    assert baselines.reveal(written(stego, tmp_path / "stego.png"), carrier) == payload
    inside = np.abs(stego[16:].astype(int) - cover[16:])
    assert inside.max() <= max(carrier.low, carrier.high)
    with pytest.raises(baselines.DoesNotFitError):
        baselines.hide(cover, payload + b"x", carrier)


def test_a_flipped_bit_loses_the_payload() -> None:
    cover = natural(32, 32, seed=0)
    carrier = baselines.Carrier(3, 5, 0.5)
    payload = np.random.default_rng(1).bytes(carrier.capacity(cover.size))
    stego = baselines.hide(cover, payload, carrier)
    for place in np.flatnonzero(stego != cover)[::100]:
        damaged = stego.copy()
        damaged.ravel()[place] ^= 1
        assert baselines.reveal(damaged, carrier) is None
    assert baselines.reveal(cover[1:], carrier) is None
    assert baselines.reveal(cover[:2, :2], carrier) is None


@pytest.mark.parametrize("target", [32.0, 36.5, 40.0, 44.0, 50.0, 55.0])
@pytest.mark.parametrize("clipped", [False, True])
def test_a_full_cover_has_the_wanted_psnr(target: float, clipped: bool) -> None:
    cover = natural(64, 96, seed=0)
    if clipped:
        cover[:32] = 255
    carrier = baselines.carrier_for(cover, target)
    payload = np.random.default_rng(1).bytes(carrier.capacity(cover.size))
    assert psnr(baselines.hide(cover, payload, carrier), cover) == pytest.approx(target, abs=0.15)


@pytest.mark.parametrize("growth", [1.001, 1.05, 1.2])
def test_the_largest_quality_is_found(growth: float) -> None:
    def encode(pictures: Pixels, quality: float) -> bytes:
        return bytes(int(100 * growth ** round(quality * 63)))

    codec = baselines.Codec("bytes", 64, encode, lambda data: np.empty(0, np.uint8))
    pictures = np.empty((1, 1, 1, 3), np.uint8)
    sizes = [len(encode(pictures, step / 63)) for step in range(50)]
    for size in sizes:
        assert len(codec.encode_within(pictures, size)) == size
    for room in (99, 0, -8):
        with pytest.raises(baselines.DoesNotFitError):
            codec.encode_within(pictures, room)


def test_photos_in_low_bits() -> None:
    images = np.stack([natural(97, 131, seed) for seed in range(3)])
    found = {
        target: baselines.measure_codec(images[0], images, target, baselines.AVIF)
        for target in (33.0, 42.0)
    }
    hidden = []
    for target, row in found.items():
        assert row is not None and row.hidden_psnr is not None
        assert row.embed_psnr == pytest.approx(target, abs=0.5)
        assert row.restored_psnr == pytest.approx((row.embed_psnr + 2 * row.hidden_psnr) / 3)
        hidden.append(row.hidden_psnr)
    assert hidden[0] > hidden[1] + 2 > 30
    assert baselines.measure_codec(images[0], images, 90, baselines.AVIF) is None


@pytest.mark.parametrize("codec", [baselines.X265, baselines.AV1], ids=lambda codec: codec.name)
def test_clips_in_low_bits(codec: baselines.Codec) -> None:
    if codec is baselines.X265 and baselines.clip_codec() is not codec:
        pytest.skip("this ffmpeg has no x265")
    if b" libaom-av1 " not in ffmpeg.run(["-encoders"]).stdout:
        pytest.skip("this ffmpeg has no libaom")
    frames = moving(3, 49, 67)
    row = baselines.measure_codec(frames[0], frames, 36, codec)
    assert row is not None and row.hidden_psnr is not None
    assert row.embed_psnr == pytest.approx(36, abs=0.5)
    assert row.hidden_psnr > 30


def test_a_smaller_or_grey_cover_hides_every_picture() -> None:
    images = natural(96, 128, seed=0)[None]
    small = baselines.measure_codec(images[0, ::2, ::2].copy(), images, 36, baselines.AVIF)
    grey = baselines.measure_codec(images[0, ..., 1:2].copy(), images, 36, baselines.AVIF)
    for row in (small, grey):
        assert row is not None and row.hidden_psnr is None
        assert row.embed_psnr == pytest.approx(36, abs=0.5)
        assert row.restored_psnr > 28


def test_plain_lsb() -> None:
    images = np.stack([natural(65, 98, seed) for seed in range(10)])
    stego = baselines.hide_lsb(images[:2])
    assert np.array_equal(stego >> 4, images[0] >> 4)
    assert np.array_equal(stego & 15, images[1] >> 4)
    two = baselines.measure_lsb(images[:2])
    # Of 4 bits that are all as likely: 31.8 dB where they are replaced, 34.8 where they are lost.
    assert two.embed_psnr == pytest.approx(31.8, abs=2)
    assert two.hidden_psnr == pytest.approx(34.8, abs=0.5)
    five, ten = baselines.measure_lsb(images[:5]), baselines.measure_lsb(images)
    assert two.hidden_psnr and five.hidden_psnr and ten.hidden_psnr
    assert ten.hidden_psnr < five.hidden_psnr < two.hidden_psnr
    assert ten.embed_psnr == pytest.approx(two.embed_psnr, abs=1)
    assert baselines.reveal_lsb(stego, 2).shape == images[:2].shape


@pytest.mark.slow
def test_survival_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        Image.fromarray(natural(450, 514, seed)).save(tmp_path / f"photo {seed}.png")
    record = tmp_path / "record.json"
    arguments = ["--photos", str(tmp_path), "--model", "stego-2", "--limit", "1"]
    assert survival.main([*arguments, "--device", "cpu", "--json", str(record)]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len(lines) == 4 * len(survival.ALL_DAMAGES) + 2
    assert len({line.count("|") for line in lines}) == 1
    assert str(tmp_path) not in out + record.read_text()
    found: dict[str, dict[str, float]] = {}
    small = {}
    for row in json.loads(record.read_text())["rows"]:
        found.setdefault(row["engine"], {})[row["damage"]] = row["hidden_psnr"]
        small[row["engine"], row["damage"]] = row["small_versions"]
    network, jpegproof, lowbits, codec = found.values()
    # What is no network comes back whole or not at all.
    assert {name for name, hidden in codec.items() if hidden is not None} == {"none"}
    assert {name for name, hidden in lowbits.items() if hidden is not None} == {"none"}
    for service in survival.SERVICE_DAMAGES:
        assert jpegproof[service.name] > 25
    assert jpegproof["JPEG 80, 4:2:0"] == jpegproof["none"]
    assert jpegproof["half size and back"] is None
    assert jpegproof["JPEG 50, 4:2:0"] is None
    assert small["jpegproof", "JPEG 50, 4:2:0"] == 1
    where = {key for key, count in small.items() if count}
    assert all(engine == "jpegproof" and jpegproof[name] is None for engine, name in where)
    # One pixel is enough to lose the enhancement layer; all below is the network alone.
    intact = network["one pixel changed by 1"]
    assert network["none"] > intact + 0.1
    # The network sees the new border, and the square, from some pixels off.
    assert intact - 8 < network["cropped by 8 px"] < intact
    assert network["cropped by 7 px, re-aligned"] > network["cropped by 7 px"] + 10
    assert network["square pasted over"] < intact
    assert network["square pasted over, from 16 px off"] == pytest.approx(intact, abs=0.5)
    noisy = [network[f"noise, sigma {sigma}"] for sigma in ("2", "1", "0.5")]
    assert noisy == sorted(noisy) and noisy[-1] < intact
    assert network["JPEG 80, 4:2:0"] < network["JPEG 98, 4:4:4"] < intact


def test_survival_damages_what_embed_writes(tmp_path: Path) -> None:
    for seed in range(2):
        Image.fromarray(natural(96, 128, seed)).save(tmp_path / f"{seed}.png")
    checkpoint = find("stego-2")
    first, *_ = first_groups(checkpoint, tmp_path, None)
    engine = NetworkEngine(checkpoint, Computing(device="cpu"))
    embedding = survival.NetworkPng.encode(engine, first)
    converter = Converter(device="cpu")
    paths = sorted(tmp_path.glob("*.png"))
    converter.embed(paths, tmp_path / "out.png", model="stego-2")
    with EmbeddingReader(tmp_path / "out.png") as reader:
        assert np.array_equal(next(iter(reader)), embedding.pixels)
    restored = converter.restore_images(tmp_path / "out.png")
    assert np.array_equal(embedding.restore(DAMAGES[0]), np.stack(restored))


def test_survival_of_other_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert survival.main(["--model", "rescale"]) == 2
    assert "rescale" in capsys.readouterr().err
    assert survival.main(["--model", "stego-2", "--photos", str(tmp_path)]) == 2


@pytest.mark.slow
def test_jpeg_payloads_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(natural(384, 448, 0), tmp_path / "photo.png")
    jpeg_payloads.main(["--photos", str(tmp_path), "--quality", "85"])
    table = capsys.readouterr().out
    assert "JPEG 85 and better, 1 pictures" in table
    lost = [line for line in table.splitlines() if "| 0 of 1 |" in line]
    assert all(line.startswith("| small version: ") for line in lost)
    assert "| small version: JPEG 50 | 1 of 1 |" in table


def test_speed_of_ours_beside_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(speed.SIZES, "480p", (32, 64))
    ours, paper, plain = (
        speed.measure(model, "480p", "cpu", 1, 1 << 30)
        for model in ("stego-2", "paper/stego-2", "plain/stego-2")
    )
    assert paper.parameters == plain.parameters > 3e6 > ours.parameters
    assert paper.flops == plain.flops > ours.flops > 0
    cells = speed.cells(ours, 2 * ours.gigaflops, {("stego-2", "480p"): 8 * ours.seconds})
    assert (cells[5], cells[-1]) == ("8.0", "50 %")


@pytest.mark.parametrize("model", ["bf16/plain/video-5", "fast/video-5"])
def test_unknown_kinds_of_networks(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speed.main(["--model", model])
    assert model in capsys.readouterr().err


def test_effort_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(natural(48, 64, 1)).save(tmp_path / "photo.png")
    arguments = ["--model", "rescale", "--effort", "1", "--side", "32", "--data", str(tmp_path)]
    assert effort.main([*arguments, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["model"], row["effort"]) for row in rows] == [("rescale", 0), ("rescale", 1)]
    assert effort.main(arguments) == 0
    table = capsys.readouterr().out
    assert table.count("| rescale |") == 2 and "rescale: photo." in table


@pytest.mark.slow
def test_training_runs_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(6):
        Image.fromarray(natural(160, 160, i)).save(tmp_path / f"{i}.png")
    arguments = ["-d", str(tmp_path), "--steps", "1", "--case", "4 blocks", "--device", "cpu"]
    assert training_runs.main(arguments) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.count("|") == row.count("|") and row.startswith("| 4 blocks |")


def test_capacity_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(natural(128, 128, 0), tmp_path / "photo.png")
    assert capacity.main(["--photos", str(tmp_path), "--psnr", "40", "36"]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["photo", "40"],
        ["photo", "36"],
        ["mean", "40"],
        ["mean", "36"],
    ]
    assert rows[0][2:] == rows[2][2:]
    for row in rows:
        assert float(row[3]) == pytest.approx(float(row[1]), abs=0.3)
        assert int(row[2]) > 1.03 * int(row[4])


def test_drawn_cutouts_are_soft_and_the_same_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.fromarray(natural(48, 64, i)).save(photos / f"{i}.png")
    for folder in ("first", "again"):
        assert hairy_cutouts.main(["--photos", str(photos), "-o", str(tmp_path / folder)]) == 0
    for kind in hairy_cutouts.KINDS:
        first, again = (tmp_path / folder / f"{kind}.webp" for folder in ("first", "again"))
        assert first.read_bytes() == again.read_bytes()
        alpha = np.asarray(Image.open(first))[..., 3]
        assert np.mean((alpha > 5) & (alpha < 250)) > 0.05  # soft
        assert np.mean(alpha < 5) > 0.1  # the background shows
    assert hairy_cutouts.main(["--photos", str(tmp_path), "-o", str(tmp_path / "none")]) == 1
    assert "has no 3 photos" in capsys.readouterr().err
