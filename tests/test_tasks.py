"""Every task through the real command line: what comes back, its size, its name, its quality."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.container.png_reader import read_header
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.stereo_formats import anaglyph, join, split
from iicnet_cli.media.video import open_frames, open_writer, probe
from iicnet_cli.payload.mark_pixels import read_mark, write_mark
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks import task_named
from iicnet_cli.tasks.dual import dual_views
from iicnet_cli.tasks.layers import estimate_alpha
from tests.conftest import Pixels, Run, done, frames_of, moving, natural


def pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def save(path: Path, picture: Pixels) -> Path:
    Image.fromarray(picture).save(path)
    return path


def strip(path: Path) -> None:
    """What a site does that keeps the pixels only."""
    with Image.open(path) as image:
        image.load()
        image.save(path, pnginfo=PngInfo())


def write_clip(path: Path, frames: Pixels) -> Path:
    height, width = frames.shape[1:3]
    with open_writer(path, width, height, Fraction(30000, 1001)) as writer:
        for frame in frames:
            writer.add(frame)
    return path


# --- stereo --------------------------------------------------------------------------------


@pytest.fixture
def views() -> tuple[Pixels, Pixels]:
    scene = natural(50, 100, 1)
    return scene[:, 4:85].copy(), scene[:, 10:91].copy()


def test_stereo_pair_in_two_files(run: Run, views: tuple[Pixels, Pixels], tmp_path: Path) -> None:
    left, right = (
        save(tmp_path / name, view) for name, view in zip(("a.png", "b.bmp"), views, strict=True)
    )
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", left, right, "--task", "stereo", "-o", out, "--json")).stdout
    )
    assert (report["task"], report["model"]) == ("stereo", "stereo")
    assert [p["name"] for p in report["restored"]] == ["a.png", "b.bmp"]
    assert report["embed_psnr"] > 30
    done(run("restore", out))
    folder = tmp_path / "out-restored"
    assert sorted(p.name for p in folder.iterdir()) == ["a.png", "b.png"]
    assert pixels(folder / "a.png").shape == (50, 81, 3)
    assert psnr(pixels(folder / "b.png"), views[1]) == pytest.approx(report["restored"][1]["psnr"])


@pytest.mark.parametrize("layout", ["side-by-side", "top-bottom", "cross-eyed"])
def test_stereo_layouts_in_and_out(
    run: Run, views: tuple[Pixels, Pixels], tmp_path: Path, layout: str
) -> None:
    source = save(tmp_path / "pair.png", join(*views, layout))
    out = tmp_path / "out.png"
    result = done(run("embed", source, "--layout", layout, "-o", out))
    assert "task: stereo" in result.stderr
    assert pixels(out).shape == (50, 82, 3)
    done(run("restore", out, "-o", tmp_path / "both"))
    done(run("restore", out, "-o", tmp_path / "joined.png", "--layout", layout))
    both = [pixels(tmp_path / "both" / f"pair-{view}.png") for view in ("left", "right")]
    joined = split(pixels(tmp_path / "joined.png"), layout)
    assert np.array_equal(np.stack(both), np.stack(joined))
    assert psnr(both[0], views[0]) > 25


def test_mpo_is_stereo_and_comes_back_as_one(
    run: Run, views: tuple[Pixels, Pixels], tmp_path: Path
) -> None:
    source = tmp_path / "pair.mpo"
    left, right = map(Image.fromarray, views)
    left.save(source, format="MPO", save_all=True, append_images=[right], quality=95)
    out, back = tmp_path / "out.png", tmp_path / "back.mpo"
    assert "task: stereo" in done(run("embed", source, "-o", out)).stderr
    done(run("restore", out, "-o", back))
    with Image.open(back) as image:
        assert (image.format, image.n_frames, image.size) == ("MPO", 2, (81, 50))
    done(run("restore", out, "-o", tmp_path / "red.png", "--layout", "anaglyph"))
    done(run("restore", out, "-o", tmp_path / "two"))
    two = [pixels(tmp_path / "two" / f"pair-{view}.png") for view in ("left", "right")]
    assert np.array_equal(pixels(tmp_path / "red.png"), anaglyph(*two))


def test_stereo_clip(run: Run, tmp_path: Path) -> None:
    left, right = moving(5, 32, 48, 1), moving(5, 32, 48, 2)
    both = np.concatenate([left, right], axis=2)
    source = write_clip(tmp_path / "sbs.mkv", both)
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", source, "--layout", "side-by-side", "-o", out, "--json")).stdout
    )
    assert (report["images"], report["embeddings"], report["width"]) == (10, 5, 48)
    done(run("restore", out))
    back = tmp_path / "out-restored.mkv"
    assert probe(back).fps == probe(source).fps
    restored = frames_of(back)
    assert restored.shape == both.shape
    assert psnr(restored[:, :, :48], left) > 25
    done(run("restore", out, "-o", tmp_path / "eyes"))
    assert np.array_equal(frames_of(tmp_path / "eyes" / "right.mkv"), restored[:, :, 48:])

    files = [write_clip(tmp_path / f"{i}.mkv", clip) for i, clip in enumerate((left, right))]
    done(run("embed", *files, "--task", "stereo", "-o", tmp_path / "two.png"))
    assert pixels(tmp_path / "two.png").tobytes() == pixels(out).tobytes()
    strip(tmp_path / "two.png")


def test_stereo_clip_keeps_its_times(run: Run, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.12, 0.16, 0.30]
    source, out = tmp_path / "tb.mkv", tmp_path / "out.png"
    with open_writer(source, 48, 64, Fraction(25), timestamps=times) as writer:
        for frame in moving(5, 64, 48):
            writer.add(frame)
    embedded = done(run("embed", source, "--layout", "top-bottom", "-o", out))
    assert "variable" not in embedded.stderr
    done(run("restore", out))
    done(run("restore", out, "-o", tmp_path / "eyes"))
    for path in (tmp_path / "out-restored.mkv", tmp_path / "eyes" / "right.mkv"):
        with open_frames(path) as frames:
            assert len(list(frames)) == 5
            assert frames.timestamps == pytest.approx(times, abs=2e-3), path
    lost = done(run("restore", out, "-o", tmp_path / "back.avi"))
    assert "variable frame rate is not kept" in lost.stderr


def test_pictures_of_a_stereo_clip_are_counted_alike(
    run: Run, views: tuple[Pixels, Pixels], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "sbs.mkv", moving(3, 32, 64))
    pair = save(tmp_path / "pair.png", join(*views, "side-by-side"))
    for source, count in ((clip, 6), (pair, 2)):
        out = tmp_path / f"{source.stem}-embedded.png"
        done(run("embed", source, "--layout", "side-by-side", "-o", out))
        header = read_header(out)
        assert header is not None
        assert task_named("stereo").pictures_in(header) == count
        assert json.loads(done(run("restore", out, "--json")).stdout)["images"] == count


# --- dual view -----------------------------------------------------------------------------


def test_dual_view_of_one_photo(run: Run, tmp_path: Path) -> None:
    photo = natural(130, 201, 3)
    source = save(tmp_path / "photo.png", photo)
    out = tmp_path / "out.png"
    report = json.loads(done(run("embed", source, "--zoom", "4", "-o", out, "--json")).stdout)
    assert (report["task"], report["width"], report["height"]) == ("dual", 50, 32)
    done(run("restore", out))
    normal, zoomed = dual_views(photo, 4)
    folder = tmp_path / "out-restored"
    assert psnr(pixels(folder / "photo-normal.png"), normal) > 25
    assert pixels(folder / "photo-zoom4.png").shape == zoomed.shape
    assert psnr(pixels(out)[:32, :50], normal) == pytest.approx(report["embed_psnr"])


def test_dual_views_of_two_sizes(run: Run, tmp_path: Path) -> None:
    normal = save(tmp_path / "wide.png", natural(40, 60, 1))
    zoomed = save(tmp_path / "tele.jpg", natural(51, 77, 2))
    out = tmp_path / "out.png"
    result = done(run("embed", normal, zoomed, "--task", "dual", "-o", out))
    assert "77x51 is fitted to wide.png's 60x40" in result.stderr
    done(run("restore", out))
    assert pixels(tmp_path / "out-restored" / "tele.png").shape == (51, 77, 3)


# --- layers --------------------------------------------------------------------------------


@pytest.fixture
def cutout() -> Pixels:
    """A soft disc of a photo, (48, 66, 4)."""
    y, x = np.mgrid[0:48, 0:66]
    alpha = np.clip((18 - np.hypot(y - 24, x - 30)) / 3, 0, 1)
    return np.dstack([natural(48, 66, 5), np.rint(255 * alpha).astype(np.uint8)])


def test_foreground_and_background_make_the_composite(
    run: Run, cutout: Pixels, tmp_path: Path
) -> None:
    front = save(tmp_path / "front.png", cutout)
    below = natural(48, 66, 6)
    back = save(tmp_path / "back.png", below)
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", front, back, "--task", "layers", "-o", out, "--json")).stdout
    )
    assert report["model"] == "layers-3"
    alpha = cutout[..., 3:] / 255
    composed = np.rint(alpha * cutout[..., :3] + (1 - alpha) * below)
    assert psnr(pixels(out), composed.astype(np.uint8)) == pytest.approx(
        report["embed_psnr"], abs=0.2
    )
    done(run("restore", out))
    folder = tmp_path / "out-restored"
    assert sorted(p.name for p in folder.iterdir()) == ["back.png", "composite.png", "front.png"]
    done(run("restore", out, "-o", tmp_path / "layers.ora"))
    with zipfile.ZipFile(tmp_path / "layers.ora") as ora:
        assert ora.read("mimetype") == b"image/openraster"


def test_alpha_is_estimated_from_the_three_pictures(cutout: Pixels) -> None:
    below = natural(48, 66, 6)
    alpha = cutout[..., 3:] / 255
    for on in ((255, 255, 255), (0, 0, 0), (200, 30, 90)):
        composed, front = (
            np.rint(alpha * cutout[..., :3] + (1 - alpha) * under).astype(np.uint8)
            for under in (below, np.array(on))
        )
        estimate = estimate_alpha(composed, below, front, on=on)
        assert np.abs(estimate[..., 3].astype(int) - cutout[..., 3]).mean() < 2
        again = estimate[..., 3:] / 255 * estimate[..., :3] + (1 - estimate[..., 3:] / 255) * below
        assert psnr(np.rint(again).astype(np.uint8), composed) > 40


def test_composite_and_background(run: Run, tmp_path: Path) -> None:
    composed = save(tmp_path / "poster.png", natural(40, 40, 1))
    back = save(tmp_path / "paper.png", natural(40, 40, 2))
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", composed, back, "--task", "layers", "-o", out, "--json")).stdout
    )
    assert (report["model"], report["images"]) == ("layers-2", 2)
    done(run("restore", out))
    assert {p.name for p in (tmp_path / "out-restored").iterdir()} == {"poster.png", "paper.png"}


def test_openraster_is_layers(run: Run, cutout: Pixels, tmp_path: Path) -> None:
    front = save(tmp_path / "front.png", cutout)
    back = save(tmp_path / "back.png", natural(48, 66, 6))
    done(run("embed", front, back, "--task", "layers", "-o", tmp_path / "a.png"))
    done(run("restore", tmp_path / "a.png", "-o", tmp_path / "a.ora"))
    result = done(run("embed", tmp_path / "a.ora", "-o", tmp_path / "b.png"))
    assert "task: layers" in result.stderr
    done(run("restore", tmp_path / "b.png"))
    assert sorted(p.name for p in (tmp_path / "b-restored").iterdir()) == [
        "background.png",
        "composite.png",
        "foreground.png",
    ]


# --- one photo -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(48, 66), (17, 16), (33, 47)])
def test_grayscale(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    photo = natural(*size, 7)
    source = save(tmp_path / "photo.png", photo)
    out = tmp_path / "grey.png"
    report = json.loads(
        done(run("embed", source, "--task", "grayscale", "-o", out, "--json")).stdout
    )
    with Image.open(out) as image:
        assert image.mode == "L"
        grey = np.asarray(image)[: size[0], : size[1]]
    luma = np.asarray(Image.fromarray(photo).convert("L"))
    assert psnr(grey, luma) == pytest.approx(report["embed_psnr"], abs=0.3)
    done(run("restore", out))
    restored = pixels(tmp_path / "grey-restored.png")
    assert psnr(restored, photo) == pytest.approx(report["restored_psnr"])
    strip(out)
    done(run("restore", out, "-o", tmp_path / "again.png"))
    assert np.array_equal(pixels(tmp_path / "again.png"), restored)


@pytest.mark.parametrize("size", [(48, 66), (17, 16), (33, 47)])
def test_rescale(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    photo = natural(*size, 8)
    source = save(tmp_path / "photo.png", photo)
    out = tmp_path / "small.png"
    report = json.loads(done(run("embed", source, "--task", "rescale", "-o", out, "--json")).stdout)
    assert pixels(out).shape == (-(-size[0] // 2), -(-size[1] // 2), 3)
    assert report["embed_psnr"] > 30
    done(run("restore", out))
    restored = pixels(tmp_path / "small-restored.png")
    assert restored.shape == photo.shape
    assert psnr(restored, photo) == pytest.approx(report["restored_psnr"])
    strip(out)
    done(run("restore", out, "-o", tmp_path / "again.png"))
    assert np.array_equal(pixels(tmp_path / "again.png"), restored)


# --- clips of half size --------------------------------------------------------------------


def test_half_size_clip(run: Run, tmp_path: Path) -> None:
    frames = moving(7, 33, 48)
    source = write_clip(tmp_path / "clip.mkv", frames)
    out = tmp_path / "out.png"
    report = json.loads(done(run("embed", source, "--half", "-o", out, "--json")).stdout)
    assert (report["model"], report["embeddings"], report["images"]) == ("video-3-half", 3, 7)
    assert pixels(out).shape == (18, 24, 3)
    done(run("restore", out))
    restored = frames_of(tmp_path / "out-restored.mkv")
    assert restored.shape == frames.shape
    with Image.open(out) as image:
        image.save(tmp_path / "bare.png", save_all=True, pnginfo=PngInfo())
    done(run("restore", tmp_path / "bare.png"))
    assert np.array_equal(frames_of(tmp_path / "bare-restored.mkv"), restored)


def test_half_and_a_full_size_model_contradict_each_other(run: Run, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.mkv", moving(5, 32, 32))
    result = run("embed", source, "--half", "--model", "video-5", "-o", tmp_path / "out.png")
    assert result.exit_code == 2
    assert "full size" in result.stderr


# --- what a stripped PNG tells -------------------------------------------------------------


def test_info_of_a_stripped_png_of_half_size(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = save(tmp_path / "photo.png", natural(37, 51, 8))
    clip = write_clip(tmp_path / "clip.mkv", moving(3, 45, 62))
    cases = [
        ((photo, "--task", "rescale"), "rescale", "rescale", (51, 37), "26x19"),
        ((clip, "--half"), "video", "video-3-half", (62, 45), "32x24"),
    ]
    for arguments, task, model, size, embedding_size in cases:
        out = tmp_path / "out.png"
        done(run("embed", *arguments, "-o", out, "-y"))
        strip(out)
        info = json.loads(done(run("info", out, "--json")).stdout)
        assert info["found_by"] == "mark"
        assert (info["task"], info["model"], info["scale"]) == (task, model, 2)
        assert (info["width"], info["height"]) == size
        assert info["embedding_size"] == embedding_size
        mark = read_mark(pixels(out))
        assert mark is not None
        save(out, write_mark(pixels(out), dataclasses.replace(mark, model=mark.model ^ 1)))
        info = json.loads(done(run("info", out, "--json")).stdout)
        assert (info["task"], info["embedding_size"]) == (task, embedding_size)
        assert not {"width", "height", "model"} & set(info)


def test_a_mark_of_more_padding_than_pixels(run: Run, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", natural(32, 32, 1))
    done(run("embed", photo, photo, "-o", tmp_path / "out.png"))
    mark = read_mark(pixels(tmp_path / "out.png"))
    assert mark is not None
    bad = dataclasses.replace(mark, static_region_bytes=b"", padding=(0, 15))
    save(tmp_path / "bad.png", write_mark(natural(10, 40, 1), bad))
    for command in ("info", "restore"):
        result = run(command, tmp_path / "bad.png")
        assert result.exit_code == 3
        assert "more padding" in result.stderr


# --- transparent clips ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gif", "folder", "stereo"])
def test_transparent_clips_get_the_background(run: Run, tmp_path: Path, kind: str) -> None:
    alpha = np.zeros((32, 32), np.uint8)
    alpha[8:24, 8:24] = 255
    images = [Image.fromarray(np.dstack([frame, alpha])) for frame in moving(5, 32, 32)]
    source = tmp_path / "clip"
    source.mkdir()
    for i, image in enumerate(images):
        image.save(source / f"{i}.png")
    if kind == "gif":
        source = tmp_path / "clip.gif"
        images[0].save(source, save_all=True, append_images=images[1:], disposal=2)
    arguments = (source, source, "--task", "stereo") if kind == "stereo" else (source,)
    out = tmp_path / "out.png"
    result = done(run("embed", *arguments, "-o", out, "--background", "black"))
    assert "composited on #000000" in result.stderr
    done(run("restore", out, "-o", tmp_path / "back.mkv", "-y"))
    for path in (out, tmp_path / "back.mkv"):
        frames = frames_of(path)
        assert frames[:, :4].mean() < 30, path
        assert frames[:, 12:20, 12:20].mean() > 60, path


# --- names of frames -----------------------------------------------------------------------


def test_frames_come_back_under_their_names(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    names = [f"IMG_{i}.png" for i in (9, 10, 11, 100, 101, 102)]
    for name, frame in zip(names, moving(6, 32, 48), strict=True):
        save(folder / name, frame)
    done(run("embed", folder, "-o", tmp_path / "out.png"))
    done(run("restore", tmp_path / "out.png", "-o", tmp_path / "back"))
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == sorted(names)
    assert psnr(pixels(tmp_path / "back" / names[2]), pixels(folder / names[2])) > 25
    done(run("embed", folder / "IMG_1*.png", "-o", tmp_path / "some.png"))
    done(run("restore", tmp_path / "some.png", "-o", tmp_path / "some"))
    assert len(list((tmp_path / "some").iterdir())) == 5


# --- many inputs ---------------------------------------------------------------------------


def test_batch_goes_on_after_a_bad_file(run: Run, tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{i}.mkv", moving(5, 32, 32, i)) for i in range(2)]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no clip")
    previews = tmp_path / "previews"
    result = run("embed", clips[0], bad, clips[1], "--out-dir", previews, "--json")
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("exit_code") for line in lines] == [None, 1, None]
    assert [Path(line["input"]).name for line in lines] == ["0.mkv", "bad.mp4", "1.mkv"]
    assert "1 of 3 failed" in result.stderr
    assert sorted(p.name for p in previews.iterdir()) == ["0.png", "1.png"]

    (previews / "x.png").write_bytes(b"no png")
    result = run("restore", *sorted(previews.iterdir()), "--out-dir", tmp_path / "clips")
    assert result.exit_code == 3
    assert sorted(p.name for p in (tmp_path / "clips").iterdir()) == [
        "0-restored.mkv",
        "1-restored.mkv",
    ]
    done(run("restore", previews / "0.png", previews / "1.png"))
    assert (previews / "1-restored.mkv").exists()


def test_batch_errors(run: Run, photos: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "cover.png"
    twin.write_bytes(photos[1].read_bytes())
    gray = ("--task", "grayscale")
    for arguments, words in [
        ((photos[0], twin, *gray, "--out-dir", tmp_path / "o"), "both become"),
        ((photos[1], *gray, "--out-dir", photos[1].parent), "overwritten"),
        ((photos[0], *gray), "-o FILE"),
        ((photos[0], *gray, "-o", tmp_path / "a.png", "--out-dir", tmp_path), "-o FILE"),
        ((*photos[:2], *gray, "-o", tmp_path / "a.png"), "--out-dir"),
        ((photos[0], *gray, "--out-dir", photos[1]), "not a folder"),
    ]:
        result = run("embed", *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert words in result.stderr


# --- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{a}", "--task", "stereo"), "--layout"),
        (("{a}", "{b}", "{a}", "--task", "stereo"), "3 files"),
        (("{a}", "{small}", "--task", "stereo"), "one size"),
        (("{a}", "--layout", "diagonal"), "no layout"),
        (("{a}", "{b}", "--layout", "top-bottom"), "one file"),
        (("{a}", "--task", "dual"), "--zoom"),
        (("{a}", "{b}", "--zoom", "2"), "dual needs"),
        (("{small}", "--zoom", "8"), "too small"),
        (("{a}", "--task", "layers"), "layers needs"),
        (("{a}", "{small}", "--task", "layers"), "one size"),
        (("{a}",), "cannot tell the task"),
        (("{a}",) * 6, "5 photos"),
    ],
)
def test_clear_errors(run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    files = {
        "a": save(tmp_path / "a.png", natural(64, 64, 1)),
        "b": save(tmp_path / "b.png", natural(64, 64, 2)),
        "small": save(tmp_path / "small.png", natural(40, 40, 3)),
    }
    result = run("embed", *(a.format(**files) for a in arguments), "-o", tmp_path / "out.png")
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not (tmp_path / "out.png").exists()


# --- sound and motion photos ---------------------------------------------------------------


def test_sound_is_kept_beside(run: Run, clip: Path, tmp_path: Path) -> None:
    out, sound = tmp_path / "out.png", tmp_path / "sound.mka"
    result = done(run("embed", clip, "-o", out, "--keep-audio", sound))
    assert result.stderr.count("sound is not carried") == 1
    listed = subprocess.run(
        [ffmpeg.executable(), "-hide_banner", "-i", str(sound)], capture_output=True, text=True
    ).stderr
    assert "Audio: aac" in listed and "Video" not in listed

    assert run("embed", clip, "-o", tmp_path / "2.png", "--keep-audio", sound).exit_code == 1
    assert not (tmp_path / "2.png").exists()
    silent = write_clip(tmp_path / "silent.mkv", moving(5, 32, 32))
    none = tmp_path / "none.mka"
    result = done(run("embed", silent, "-o", tmp_path / "3.png", "--keep-audio", none))
    assert "no sound" in result.stderr
    assert not none.exists()
    assert run("embed", clip, "--out-dir", tmp_path, "--keep-audio", sound).exit_code == 2


def test_sound_is_re_encoded_for_a_wav(run: Run, clip: Path, tmp_path: Path) -> None:
    out, sound = tmp_path / "out.png", tmp_path / "sound.wav"
    done(run("embed", clip, "-o", out, "--frames", "5", "--keep-audio", sound))
    assert out.exists() and sound.exists()


def test_motion_photo_is_a_clip(run: Run, tmp_path: Path) -> None:
    frames = moving(5, 48, 64)
    still, video = tmp_path / "still.jpg", write_clip(tmp_path / "video.mp4", frames)
    Image.fromarray(frames[2]).save(still)
    photo = tmp_path / "PXL_1.MP.jpg"
    photo.write_bytes(still.read_bytes() + video.read_bytes())
    out = tmp_path / "out.png"
    result = done(run("embed", photo, "-o", out))
    assert "task: video" in result.stderr and "motion photo" in result.stderr
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    assert frames_of(tmp_path / "back.mkv").shape == frames.shape

    done(run("embed", photo, still, "-o", tmp_path / "two.png"))
    with Image.open(tmp_path / "two.png") as image:
        assert image.size == (64, 48)
