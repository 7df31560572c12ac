"""``iicnet train --pack``: the same data in one smaller file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import OutputExistsError, TrainingError
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.training.data import build_samplers, load_clips, load_cutouts, load_photos
from iicnet_cli.training.pack import LOSSLESS, Packing, pack, unpacked
from iicnet_cli.training.recipe import Recipe, Stage
from tests.conftest import Run, moving, natural

RECIPE = """
name = "tiny"
task = "stego"
stages = [{ until = 1.0, crop = 16, batch = 1 }]
[network]
images = 2
blocks = 1
width = 4
"""


def recipe(task: str, images: int) -> Recipe:
    return Recipe(
        name="test",
        task=task,  # type: ignore[arg-type]
        network=IICNetConfig.compact(images),
        stages=(Stage(until=1, crop=16, batch=1),),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos, four pairs, three cut-outs and three clips, in one tree."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "more").mkdir()
    for i in range(6):
        Image.fromarray(natural(180, 140, i)).save(folder / f"photo{i}.png")
    for i in range(4):
        scene = natural(100, 150, 20 + i)
        for side, x in (("left", 5), ("right", 10)):
            Image.fromarray(scene[:, x : x + 140]).save(folder / "more" / f"{i}_{side}.bmp")
    for i in range(3):
        cutout = np.dstack([natural(60, 60, 30 + i), np.zeros((60, 60), np.uint8)])
        cutout[10:50, 10:50, 3] = 255
        Image.fromarray(cutout).save(folder / f"cut{i}.png")
        writer = imageio_ffmpeg.write_frames(
            str(folder / f"clip{i}.mkv"),
            (120, 90),
            codec="ffv1",
            macro_block_size=1,
            pix_fmt_out="bgr0",
        )
        writer.send(None)
        for frame in moving(6, 90, 120, seed=i):
            writer.send(np.ascontiguousarray(frame))
        writer.close()
    Image.fromarray(natural(10, 200, 0)).save(folder / "flat.png")
    (folder / "broken.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


@pytest.mark.parametrize(
    ("task", "images"), [("video", 3), ("stereo", 2), ("dual", 2), ("layers", 3), ("stego", 2)]
)
def test_a_run_sees_the_same_from_the_pack(
    data: Path, tmp_path: Path, task: str, images: int
) -> None:
    asked = recipe(task, images)
    packed = pack(asked, [data], tmp_path / "data.pack")
    _, expected = build_samplers(asked, [data])
    with unpacked([tmp_path / "data.pack"]) as folders:
        _, held_out = build_samplers(asked, folders)
    assert np.mean([psnr(a, b) for a, b in zip(held_out, expected, strict=True)]) > 33
    assert packed.clips == (3 if task == "video" else 0)
    assert packed.size < 0.5 * sum(p.stat().st_size for p in data.rglob("*") if p.is_file())


def test_it_is_a_plain_zip_and_always_the_same(data: Path, tmp_path: Path) -> None:
    asked = recipe("layers", 3)
    for name in "ab":
        pack(asked, [data, data / "more"], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    assert {"0/photo0.jpg", "0/cut0.webp", "0/more/0_left.jpg", "1/0_left.jpg"} <= set(names)


def test_alpha_is_kept_exactly(data: Path, tmp_path: Path) -> None:
    pack(recipe("layers", 3), [data], tmp_path / "p")
    with unpacked([tmp_path / "p"]) as folders:
        cutouts = load_cutouts(folders)
    for (_, got), (_, expected) in zip(cutouts, load_cutouts([data]), strict=True):
        assert np.array_equal(got[..., 3], expected[..., 3])


def test_lossless(data: Path, tmp_path: Path) -> None:
    pack(recipe("video", 3), [data], tmp_path / "p", packing=Packing(LOSSLESS))
    with unpacked([tmp_path / "p"]) as folders:
        for read in (load_photos, load_clips):
            got = read(folders, smallest=80)
            expected = read([data], smallest=80)
            for (a, pixels), (b, original) in zip(got, expected, strict=True):
                assert Path(a).stem == Path(b).stem
                assert np.array_equal(pixels, original)


def test_what_would_not_become_smaller_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for i in range(2):
        Image.fromarray(natural(64, 64, i)).save(tmp_path / "d" / f"{i}.jpeg", quality=50)
    pack(recipe("stego", 2), [tmp_path / "d"], tmp_path / "p")
    with zipfile.ZipFile(tmp_path / "p") as archive:
        assert archive.read("0/0.jpeg") == (tmp_path / "d" / "0.jpeg").read_bytes()


def test_names_that_would_meet_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for i, suffix in enumerate(("png", "bmp")):
        Image.fromarray(natural(64, 64, i)).save(tmp_path / "d" / f"a.{suffix}")
    pack(recipe("stego", 2), [tmp_path / "d"], tmp_path / "p")
    with zipfile.ZipFile(tmp_path / "p") as archive:
        assert archive.namelist() == ["0/a.jpg", "0/a~.jpg"]


def test_a_limit_makes_pictures_smaller_and_then_fewer(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for i in range(8):
        scene = natural(200, 648, i)
        for side, x in (("left", 0), ("right", 8)):
            Image.fromarray(scene[:, x : x + 640]).save(tmp_path / "d" / f"{i}_{side}.jpg")
    asked = recipe("stereo", 2)
    free = pack(asked, [tmp_path / "d"], tmp_path / "free")
    small = pack(asked, [tmp_path / "d"], tmp_path / "small", packing=Packing(80, 512))
    seen = []
    for i, limit in enumerate((free.size, small.size, small.size // 3)):
        packed = pack(asked, [tmp_path / "d"], tmp_path / str(i), limit=limit)
        assert packed.size == (tmp_path / str(i)).stat().st_size <= limit
        seen.append(packed)
    assert seen[:2] == [free, small]
    assert 0 < seen[2].stills < 16 and seen[2].packing.share < 1
    with zipfile.ZipFile(tmp_path / "2") as archive:
        names = archive.namelist()
    for name in names:  # pairs stay pairs
        assert name.replace("left", "right") in names
    again = pack(asked, [tmp_path / "free"], tmp_path / "again", limit=free.size // 2)
    assert again.size <= free.size // 2
    with pytest.raises(TrainingError, match="do not fit"):
        pack(asked, [tmp_path / "d"], tmp_path / "none", limit=2000)
    assert not (tmp_path / "none").exists()
    with pytest.raises(OutputExistsError):
        pack(asked, [tmp_path / "d"], tmp_path / "free")


def test_pictures_stay_large_enough_for_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    Image.fromarray(natural(150, 600, 0)).save(tmp_path / "d" / "a.png")
    pack(recipe("dual", 2), [tmp_path / "d"], tmp_path / "p", packing=Packing(side=100))
    with unpacked([tmp_path / "p"]) as folders:
        [(_, pixels)] = load_photos(folders, smallest=1)
    assert pixels.shape == (2 * 16 + 64, 384, 3)


def test_the_command(run: Run, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    target = tmp_path / "data.zip"
    packing = ("train", "--recipe", path, "-d", data, "--pack", target)
    result = run(*packing, "--pack-limit", "60K", "--pack-quality", 80)
    assert result.exit_code == 0, result.output
    assert "stills" in result.stderr and "quality 80" in result.stderr
    assert target.stat().st_size <= 60 * 1024
    assert run(*packing).exit_code == 1
    assert run(*packing, "-y", "--pack-limit", "much").exit_code == 2
    model = tmp_path / "model"
    result = run("train", "--recipe", path, "-d", target, "-o", model, "--steps", 2)
    assert result.exit_code == 0, result.output
    assert (model / "model.safetensors").exists()


def test_what_is_no_pack_is_said(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    (tmp_path / "empty").mkdir()
    common = ("train", "--recipe", path, "--steps", 2)
    result = run(*common, "-d", path, "-o", tmp_path / "m")
    assert result.exit_code == 1 and "neither a folder nor a packed file" in result.stderr
    result = run(*common, "-d", tmp_path / "empty", "--pack", tmp_path / "p")
    assert result.exit_code == 1 and "no usable file" in result.stderr
    assert not (tmp_path / "p").exists()
    result = run(*common, "-d", tmp_path / "empty")
    assert result.exit_code == 2 and "-o FOLDER" in result.stderr


def test_the_motion_of_scenes_is_found_once_and_packed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe("video", 3).model_copy(update={"scenes": 5, "synthetic": 0.0})
    packed = pack(asked, [data], tmp_path / "p")
    assert 1 < packed.scenes <= 5
    with unpacked([tmp_path / "p"]) as folders:
        with_motion, _ = build_samplers(asked, folders)
        for file in folders[0].rglob("*.motion"):
            file.unlink()
        found_anew, _ = build_samplers(asked, folders)
    rngs = (np.random.default_rng(3), np.random.default_rng(3))
    samples = [s.sample(rng, 48) for s, rng in zip((with_motion, found_anew), rngs, strict=True)]
    assert np.array_equal(*samples)

    def estimate_motion(images: object) -> None:
        raise AssertionError("motion that is in the pack was looked for")

    monkeypatch.setattr("iicnet_cli.training.scenes.find_motion", estimate_motion)
    with unpacked([tmp_path / "p"]) as folders:
        build_samplers(asked, folders)


def test_a_limit_holds_with_the_motion_of_scenes(data: Path, tmp_path: Path) -> None:
    asked = recipe("video", 3).model_copy(update={"scenes": 3, "synthetic": 0.0})
    limit = pack(asked, [data], tmp_path / "p").size + 3 * 2 * 3000
    packed = pack(asked, [data], tmp_path / "q", limit=limit)
    assert (tmp_path / "q").stat().st_size == packed.size <= limit
    with pytest.raises(TrainingError, match="do not fit"):
        pack(asked, [data], tmp_path / "r", limit=3 * 2 * 3000)
