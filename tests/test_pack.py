"""Packed training data: the same files in one smaller file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import OutputExistsError, TrainingError
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.training import scenes
from iicnet_cli.training.data import load_clips, load_cutouts, load_data, load_photos
from iicnet_cli.training.pack import LOSSLESS, Packing, PackSummary, pack, unpacked
from tests.samples import natural
from tests.training_helpers import tiny_recipe, write_pan


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos, four stereo pairs, three cut-outs and three clips, in one tree."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "more").mkdir()
    for i in range(6):
        Image.fromarray(natural(120, 100, i)).save(folder / f"photo{i}.png")
    for i in range(4):
        scene = natural(62, 100, 20 + i)
        for side, x in (("left", 5), ("right", 10)):
            Image.fromarray(scene[:, x : x + 90]).save(folder / "more" / f"{i}_{side}.bmp")
    for i in range(3):
        cutout = np.dstack([natural(60, 60, 30 + i), np.zeros((60, 60), np.uint8)])
        cutout[10:50, 10:50, 3] = 255
        Image.fromarray(cutout).save(folder / f"cut{i}.png")
        write_pan(folder / f"clip{i}.mkv", 4, 60, 72, i)
    Image.fromarray(natural(10, 200, 0)).save(folder / "flat.png")
    (folder / "broken.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips that are large enough for motion estimation."""
    folder = tmp_path_factory.mktemp("clips")
    for i in range(2):
        write_pan(folder / f"clip{i}.mkv", 5, 66, 80, i)
    return folder


@pytest.mark.parametrize(
    ("task", "images"), [("video", 3), ("stereo", 2), ("dual", 2), ("layers", 3), ("stego", 2)]
)
def test_packed_data_hold_out_the_same_samples(
    data: Path, tmp_path: Path, task: str, images: int
) -> None:
    recipe = tiny_recipe(task, images)
    summary = pack(recipe, [data], tmp_path / "data.pack")
    _, expected = load_data(recipe, [data])
    with unpacked([tmp_path / "data.pack"]) as folders:
        _, held_out = load_data(recipe, folders)
    assert np.mean([psnr(a, b) for a, b in zip(held_out, expected, strict=True)]) > 32
    assert summary.clips == (3 if task == "video" else 0)
    assert summary.size < 0.5 * sum(p.stat().st_size for p in data.rglob("*") if p.is_file())


def test_the_file_is_a_plain_zip_and_always_the_same(data: Path, tmp_path: Path) -> None:
    for name in "ab":
        pack(tiny_recipe("layers", 3), [data, data / "more"], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    assert {"0/photo0.jpg", "0/cut0.webp", "0/more/0_left.jpg", "1/0_left.jpg"} <= set(names)


def test_alpha_is_kept_exactly(data: Path, tmp_path: Path) -> None:
    pack(tiny_recipe("layers", 3), [data], tmp_path / "p")
    with unpacked([tmp_path / "p"]) as folders:
        cutouts = load_cutouts(folders)
    for (_, got), (_, expected) in zip(cutouts, load_cutouts([data]), strict=True):
        assert np.array_equal(got[..., 3], expected[..., 3])


def test_quality_100_is_lossless(data: Path, tmp_path: Path) -> None:
    pack(tiny_recipe("video", 3), [data], tmp_path / "p", packing=Packing(LOSSLESS))
    with unpacked([tmp_path / "p"]) as folders:
        for read, smallest, count in ((load_photos, 80, 6), (load_clips, 50, 3)):
            got = read(folders, smallest=smallest)
            expected = read([data], smallest=smallest)
            assert len(expected) == count
            for (a, pixels), (b, original) in zip(got, expected, strict=True):
                assert Path(a).stem == Path(b).stem
                assert np.array_equal(pixels, original)


def test_a_file_that_would_not_become_smaller_is_copied(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for i in range(2):
        Image.fromarray(natural(64, 64, i)).save(tmp_path / "d" / f"{i}.jpeg", quality=50)
    pack(tiny_recipe(), [tmp_path / "d"], tmp_path / "p")
    with zipfile.ZipFile(tmp_path / "p") as archive:
        assert archive.read("0/0.jpeg") == (tmp_path / "d" / "0.jpeg").read_bytes()


def test_names_that_would_collide_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for i, suffix in enumerate(("png", "bmp")):
        Image.fromarray(natural(64, 64, i)).save(tmp_path / "d" / f"a.{suffix}")
    pack(tiny_recipe(), [tmp_path / "d"], tmp_path / "p")
    with zipfile.ZipFile(tmp_path / "p") as archive:
        assert archive.namelist() == ["0/a.jpg", "0/a~.jpg"]


@pytest.fixture(scope="module")
def wide_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five stereo pairs of 640x100 pixels."""
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(5):
        scene = natural(100, 648, i)
        for side, x in (("left", 0), ("right", 8)):
            Image.fromarray(scene[:, x : x + 640]).save(folder / f"{i}_{side}.jpg")
    return folder


def test_a_limit_makes_pictures_smaller_and_then_fewer(wide_pairs: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe("stereo")
    free = pack(recipe, [wide_pairs], tmp_path / "free")
    small = pack(recipe, [wide_pairs], tmp_path / "small", packing=Packing(80, 512))
    assert small.size < free.size
    limited = []
    for i, limit in enumerate((free.size, small.size, small.size // 3)):
        limited.append(pack(recipe, [wide_pairs], tmp_path / str(i), limit=limit))
        assert limited[-1].size == (tmp_path / str(i)).stat().st_size <= limit
    assert limited[:2] == [free, small]
    assert 0 < limited[2].stills < 10 and limited[2].packing.share < 1
    with zipfile.ZipFile(tmp_path / "2") as archive:
        names = archive.namelist()
    for name in names:  # pairs stay complete
        assert name.replace("left", "right") in names


def test_a_packed_file_can_be_packed_again(wide_pairs: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe("stereo")
    free = pack(recipe, [wide_pairs], tmp_path / "free")
    again = pack(recipe, [tmp_path / "free"], tmp_path / "again", limit=free.size // 2)
    assert again.size <= free.size // 2


def test_an_impossible_limit_or_an_existing_file_is_an_error(
    wide_pairs: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe("stereo")
    with pytest.raises(TrainingError, match="do not fit"):
        pack(recipe, [wide_pairs], tmp_path / "none", limit=1000)
    assert not (tmp_path / "none").exists()
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OutputExistsError):
        pack(recipe, [wide_pairs], tmp_path / "taken")


def test_pictures_stay_large_enough_for_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    Image.fromarray(natural(150, 600, 0)).save(tmp_path / "d" / "a.png")
    pack(tiny_recipe("dual"), [tmp_path / "d"], tmp_path / "p", packing=Packing(side=100))
    with unpacked([tmp_path / "p"]) as folders:
        [(_, pixels)] = load_photos(folders, smallest=1)
    assert pixels.shape == (2 * 16 + 64, 384, 3)


SCENES = tiny_recipe("video", 3, scenes=3, synthetic=0.0)


@pytest.fixture(scope="module")
def packed_scenes(
    clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PackSummary]:
    target = tmp_path_factory.mktemp("packed") / "p"
    return target, pack(SCENES, [clips], target)


def test_the_motion_of_scenes_is_found_once_and_packed(
    packed_scenes: tuple[Path, PackSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(frames: object) -> None:
        raise AssertionError("motion was searched though the packed file holds it")

    path, summary = packed_scenes
    assert 1 < summary.scenes <= 3
    with unpacked([path]) as folders:
        with monkeypatch.context() as patch:
            patch.setattr(scenes, "estimate_motion", fail)
            with_motion, _ = load_data(SCENES, folders)
        for file in folders[0].rglob("*.motion"):
            file.unlink()
        found_anew, _ = load_data(SCENES, folders)
    rngs = (np.random.default_rng(3), np.random.default_rng(3))
    samples = [s.sample(rng, 48) for s, rng in zip((with_motion, found_anew), rngs, strict=True)]
    assert np.array_equal(*samples)


def test_a_limit_includes_the_motion_of_scenes(
    clips: Path, packed_scenes: tuple[Path, PackSummary], tmp_path: Path
) -> None:
    reserved = 3 * 2 * 3000
    limit = packed_scenes[1].size + reserved
    summary = pack(SCENES, [clips], tmp_path / "q", limit=limit)
    assert (tmp_path / "q").stat().st_size == summary.size <= limit
    with pytest.raises(TrainingError, match="do not fit"):
        pack(SCENES, [clips], tmp_path / "r", packing=Packing(80, 512), limit=reserved)
