"""Embedding and restoring with the engine that carries files, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli import Converter, EmbedOptions
from iicnet_cli.container import header
from iicnet_cli.contents import part
from iicnet_cli.errors import DamagedError, UsageError
from iicnet_cli.pictures.limits import MAX_PIXELS_VARIABLE
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import (
    QUICK,
    Run,
    done,
    frames_of,
    pixels,
    save,
    save_all,
    save_natural,
    strip,
    write_clip,
)
from tests.samples import Pixels, moving, natural

FRAMES = np.repeat(moving(6, 48, 64)[..., :1], 3, axis=3)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "pan.mkv", FRAMES)


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_natural(tmp_path_factory.mktemp("photos"), [(96, 96), (24, 30)], 60, ".jpg")


@pytest.fixture(scope="module")
def clip_png(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("png") / "a.png"
    options = EmbedOptions(engine="lowbits", min_psnr=25)
    report = Converter().embed([clip], target, options=options)
    assert (report.embeddings, report.images, len(report.restored)) == (1, 6, 6)
    assert report.embed_psnr is not None
    assert report.embed_psnr > 39.5
    assert [each.role for each in report.carried] == ["description", "media"]
    return target


def test_a_clip_comes_back_as_the_file_it_was(run: Run, clip_png: Path, tmp_path: Path) -> None:
    done(run("restore", clip_png, "--out-dir", tmp_path))
    first = tmp_path / "a-restored.webm"
    done(run("restore", strip(clip_png, tmp_path / "s.png"), "-o", tmp_path / "s.webm"))
    assert first.read_bytes() == (tmp_path / "s.webm").read_bytes()
    done(run("restore", clip_png, "-o", tmp_path / "b.mkv"))
    assert (frames_of(tmp_path / "b.mkv") == frames_of(first)).all()


def test_restoring_loads_no_torch(clip_png: Path, tmp_path: Path) -> None:
    arguments = ["restore", str(clip_png), "-o", str(tmp_path / "b.webm"), "-v"]
    program = (
        "import sys; from iicnet_cli.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as e: assert not e.code\n"
        "assert not {'torch', 'numba'} & set(sys.modules)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_photos_of_one_name_restore_beside_each_other(run: Run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    cover = save(tmp_path / "x.png", natural(96, 96, 1))
    hidden = [save(tmp_path / f / "x.jpg", natural(24, 30, i)) for i, f in enumerate("ab")]
    done(run("embed", cover, *hidden, "--for", "file", "-o", tmp_path / "p.png"))
    done(run("restore", tmp_path / "p.png", "-o", tmp_path / "p"))
    found = {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()}
    assert found.keys() >= {"x.jpg", "x-2.jpg"}
    assert [found["x.jpg"], found["x-2.jpg"]] == [path.read_bytes() for path in hidden]
    assert not list(tmp_path.glob(".*"))


def test_photos_come_back_byte_for_byte(run: Run, photo_files: list[Path], tmp_path: Path) -> None:
    out, extra = tmp_path / "p.png", tmp_path / "note.txt"
    extra.write_text("words")
    options = ["--for", "file", "--exact", "--attach", extra, "--json"]
    record = json.loads(done(run("embed", *photo_files, "-o", out, *options)).stdout)
    assert record["model"] == "lowbits"
    assert {"role": "attachment", "name": "note.txt", "bytes": 5} in record["carried"]
    done(run("restore", out, "-o", tmp_path / "p"))
    assert (tmp_path / "p" / "1.jpg").read_bytes() == photo_files[1].read_bytes()
    assert (tmp_path / "p" / "note.txt").read_text() == "words"
    assert sorted(path.stem for path in (tmp_path / "p").iterdir()) == ["0", "1", "note"]
    facts = json.loads(done(run("info", out, "--json")).stdout)
    assert {each["name"] for each in facts["carried"]} >= {"1.jpg", "note.txt"}
    assert not {"images", "model", "weights_sha256"} & facts.keys()
    again = run("restore", out, "-o", tmp_path / "p")
    assert again.exit_code == 1
    assert "exists already" in again.stderr


def test_exact_pictures_are_said_to_be_exact(
    run: Run, photo_files: list[Path], tmp_path: Path
) -> None:
    cover = save(tmp_path / "cover.png", natural(96, 96, 1))
    hidden = photo_files[1]
    said = done(run("embed", cover, hidden, "--for", "file", "-o", tmp_path / "p.png", "-v")).stderr
    assert "dB, 1 of 2 exactly" in said
    assert "is fitted to" not in said  # it keeps its size
    assert f"  {hidden.name}: exact" in said
    plain = save(tmp_path / "plain.png", np.full((64, 64, 3), 99, np.uint8))
    rescaled = ("--task", "rescale", "--for", "file")
    said = done(run("embed", plain, *rescaled, "-o", tmp_path / "q.png")).stderr
    assert "restored exactly" in said
    assert "100.00" not in said


def test_a_password_hides_everything(
    run: Run, photo_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p.png"
    monkeypatch.setenv("IICNET_PASSWORD", "right")
    done(run("embed", *photo_files, "-o", out, "--for", "file", "--password"))
    facts = json.loads(done(run("info", out, "--json")).stdout)
    assert "carried" not in facts
    assert "sources" not in facts
    assert b"1.jpg" not in out.read_bytes()
    done(run("restore", out, "-o", tmp_path / "right", "--password"))
    assert (tmp_path / "right" / "1.jpg").read_bytes() == photo_files[1].read_bytes()
    for arguments, words in (([], "--password"), (["--password"], "the password is wrong")):
        monkeypatch.setenv("IICNET_PASSWORD", "wrong")
        failed = run("restore", out, "-o", tmp_path / "wrong", *arguments)
        assert failed.exit_code == 3
        assert words in failed.stderr
        assert not (tmp_path / "wrong").exists()


def test_an_altered_file_writes_nothing(run: Run, clip_png: Path, tmp_path: Path) -> None:
    with Image.open(clip_png) as image:
        image.load()
        chunks = image.info["iicnet"]
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("iicnet", chunks)
    altered = pixels(clip_png)
    altered[10:40, 10:40] += 1
    Image.fromarray(altered).save(tmp_path / "altered.png", pnginfo=info)
    Image.fromarray(altered[:24, :32]).save(tmp_path / "small.png", pnginfo=info)
    for name, words in (("altered.png", "re-encoded or edited"), ("small.png", "resized or crop")):
        failed = run("restore", tmp_path / name, "-o", tmp_path / "b.webm")
        assert failed.exit_code == 3
        assert words in failed.stderr
        assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "b.webm").exists()


def test_what_is_intact_of_an_animation_is_restored(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    scenes = np.stack([np.repeat(natural(48, 64, i)[..., :1], 3, axis=2) for i in range(4)])
    clip = write_clip(tmp_path / "scenes.mkv", scenes)
    options = ("--for", "file", "--min-psnr", "38")
    record = json.loads(done(run("embed", clip, "-o", out, *options, "--json")).stdout)
    count = record["embeddings"]
    assert count > 1
    with Image.open(out) as image:
        frames = []
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.array(image.convert("RGB")))
    frames[0][:20] ^= 1
    stills = [Image.fromarray(frame) for frame in frames]
    stills[0].save(tmp_path / "cut.png", save_all=True, append_images=stills[1:])
    cut = run("restore", tmp_path / "cut.png", "-o", tmp_path / "b.webm")
    assert cut.exit_code == 3
    assert f"1 of {count} pictures were altered: 1" in cut.stderr
    stills[1].save(tmp_path / "dropped.png", save_all=True, append_images=stills[2:])
    dropped = run("restore", tmp_path / "dropped.png", "-o", tmp_path / "c.webm")
    assert dropped.exit_code == 3
    missing = 4 - len(frames_of(tmp_path / "c.webm"))
    assert missing > 0
    assert f"{missing} frames are missing" in dropped.stderr
    whole = tmp_path / "whole.webm"
    done(run("restore", out, "-o", whole))
    assert len(frames_of(whole)) == 4
    assert 0 < len(frames_of(tmp_path / "b.webm")) < 4


def test_photos_that_are_too_large_together_are_refused_before_the_work(
    run: Run, photo_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(pixels(path)[..., 0].size for path in photo_files)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, str(total - 1))
    result = run("embed", *photo_files, "-o", tmp_path / "a.png", "--for", "file")
    assert result.exit_code == 2
    assert "the pictures have more than" in result.stderr


def test_pictures_in_memory(photo_files: list[Path]) -> None:
    pictures = [pixels(path) for path in photo_files]
    converter = Converter()
    image = converter.embed_images(pictures, options=EmbedOptions(engine="lowbits", password="x"))
    with pytest.raises(DamagedError, match="encrypted"):
        converter.restore_images(image)
    found = converter.restore_images(image, password="x")
    assert (found[1] == pictures[1]).all()
    assert psnr(found[0], pictures[0]) > 38


def test_the_embedding_is_held_above_a_floor_of_quality(
    run: Run, photo_files: list[Path], tmp_path: Path
) -> None:
    floor = ("--for", "file", "--min-psnr", "43")
    done(run("embed", *photo_files, "-o", tmp_path / "p.png", *floor))
    assert psnr(pixels(tmp_path / "p.png"), pixels(photo_files[0])) > 43
    contradictory = (*floor, "--target-embed-psnr", "40")
    failed = run("embed", *photo_files, "-o", tmp_path / "q.png", *contradictory)
    assert failed.exit_code == 2
    assert "--target-embed-psnr 40 makes embeddings below --min-psnr 43" in failed.stderr


def test_a_dry_run_writes_nothing(run: Run, photo_files: list[Path], tmp_path: Path) -> None:
    result = done(run("embed", *photo_files, "--for", "file", "--dry-run"))
    assert "with lowbits" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_the_fields_of_the_real_one(
    run: Run, photo_files: list[Path], clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.png"
    for inputs in (photo_files, [clip, "--min-psnr", "25"]):
        made = done(run("embed", *inputs, "--for", "file", "--json", "-o", out, "-y"))
        report = json.loads(made.stdout)
        tried = done(run("embed", *inputs, "--for", "file", "--json", "--dry-run", "--no-verify"))
        estimate = json.loads(tried.stdout)
        assert report["carried"]
        assert estimate["output"] is None
        different = {"output", "seconds"}
        assert {key: estimate[key] for key in report if key not in different} == {
            key: value for key, value in report.items() if key not in different
        }


def test_a_dry_run_of_many_prints_the_same_fields(
    run: Run, photo_files: list[Path], tmp_path: Path
) -> None:
    photos = [photo_files[0], save(tmp_path / "other.png", natural(90, 100, 3))]
    options = ["--task", "rescale", "--for", "file", "--out-dir", tmp_path / "out", "--json"]
    made = done(run("embed", *photos, *options)).stdout.splitlines()
    tried = done(run("embed", *photos, *options, "--dry-run")).stdout.splitlines()
    assert len(made) == len(tried) == 2
    for report, estimate in zip(map(json.loads, made), map(json.loads, tried), strict=True):
        assert set(report) <= set(estimate)
        for key in ("input", "carried", "survived", "restored", "images", "hidden_psnr"):
            assert estimate[key] == report[key]


@pytest.mark.parametrize("destination", ["edits", "file"])
def test_more_files_than_a_header_names_are_refused_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    frames = save_all(tmp_path / "frames", FRAMES)
    monkeypatch.setattr(header, "MAX_SOURCES", len(FRAMES) - 1)
    failed = run("embed", frames, "--for", destination, "-o", tmp_path / "a.png")
    assert failed.exit_code == 2
    assert failed.stderr.count("\n") == 1
    assert "6 files are more than one PNG can name, 5 (make several PNGs" in failed.stderr
    monkeypatch.setattr(header, "MAX_SOURCES", len(FRAMES))
    done(run("embed", frames, "--for", destination, "-o", tmp_path / "a.png"))
    done(run("restore", tmp_path / "a.png", "-o", tmp_path / "back"))
    assert len(list((tmp_path / "back").iterdir())) == len(FRAMES)


def test_more_times_than_a_header_gives_are_refused_before_the_work(
    run: Run, sample_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = sample_clips / "uneven.mp4"
    count = len(frames_of(clip))
    monkeypatch.setattr(header, "MAX_FRAMES", count - 1)
    options = ("--for", "file", "-o", tmp_path / "a.png")
    failed = run("embed", clip, *options)
    assert failed.exit_code == 2
    assert f"{count} frames are more than one PNG can give the times of" in failed.stderr
    done(run("embed", clip, *options, "--frames", str(count - 1), "--min-psnr", "20"))


def test_more_files_than_a_bundle_holds_are_refused_before_the_work(
    run: Run, photo_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "MAX_FILES", 4)
    options = ["--for", "file", "-o", tmp_path / "p.png", "--attach", photo_files[0]]
    failed = run("embed", *photo_files, *options, "--attach", photo_files[0])
    assert failed.exit_code == 2
    assert "4 files are more than one picture carries, 3 (hide fewer files" in failed.stderr
    assert not (tmp_path / "p.png").exists()
    done(run("embed", *photo_files, *options))


def test_attachments_are_looked_at_before_the_work(
    run: Run, photo_files: list[Path], clip: Path, tmp_path: Path
) -> None:
    for given, words in ((tmp_path / "none", "no such file"), (tmp_path, "is a folder")):
        for inputs in (photo_files, [clip]):
            out = tmp_path / "p.png"
            failed = run("embed", *inputs, "--for", "file", "-o", out, "--attach", given)
            assert failed.exit_code == 1
            assert f"{given}: {words}" in failed.stderr
            assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--exact"], "add --for file"),
        (["--for", "file", "--effort", "2"], "--effort is for the network"),
        (["--for", "file", "--model", "stego-2"], "--model is for the network"),
        (["--for", "file", "--no-enhance"], "--no-enhance is for the network"),
    ],
)
def test_options_of_the_other_engine_are_refused(
    run: Run, photo_files: list[Path], tmp_path: Path, options: list[str], words: str
) -> None:
    failed = run("embed", *photo_files, "-o", tmp_path / "p.png", *options)
    assert failed.exit_code == 2
    assert words in failed.stderr


def test_options_say_so_in_the_api_too() -> None:
    with pytest.raises(UsageError, match="password"):
        EmbedOptions(password="x")


def test_a_dry_run_says_that_photos_will_be_exact(run: Run, photo_files: list[Path]) -> None:
    result = done(run("embed", *photo_files, "--for", "file", "--exact", "--dry-run"))
    assert "restored exactly" in result.stdout


def test_a_file_in_a_photo(run: Run, photo_files: list[Path], tmp_path: Path) -> None:
    note, out = tmp_path / "note.txt", tmp_path / "a.png"
    note.write_text("words")
    result = done(run("embed", photo_files[0], "--attach", note, "--for", "file", "-o", out))
    assert "task: stego" in result.stderr
    note.unlink()
    done(run("restore", out, "-o", tmp_path / "back"))
    assert (tmp_path / "back" / "note.txt").read_text() == "words"
    assert psnr(pixels(out), pixels(photo_files[0])) > 40


def test_one_frame_is_no_frames(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.png"
    result = done(run("embed", clip, "--frames", "1", "--for", "file", "-o", out))
    assert ": 1 frame " in result.stderr
    assert "1 frame restored" in done(run("restore", out)).stderr


def test_capacity_is_printed(run: Run, photo_files: list[Path], clip: Path) -> None:
    record = json.loads(done(run("capacity", photo_files[0], "--json")).stdout)
    sizes = list(record["bytes"].values())
    assert sizes[0] > sizes[1] > sizes[2] > 6000
    lines = done(run("capacity", clip)).stdout.splitlines()
    assert [line[:5] for line in lines[1:]] == ["36 dB", "40 dB", "44 dB"]


def test_what_does_not_fit_is_told_in_the_words_of_the_call(
    run: Run, photo_files: list[Path], clip: Path, tmp_path: Path
) -> None:
    command = ("--for", "file", "-o", tmp_path / "p.png")
    floor = run("embed", *photo_files, *command, "--min-psnr", "90")
    assert floor.exit_code == 1
    assert "the pictures do not fit into what the picture holds at 90.05 dB" in floor.stderr
    assert "or lower --min-psnr)" in floor.stderr
    target = run("embed", clip, *command, "--start", "0", "--target-embed-psnr", "70")
    assert target.exit_code == 1
    assert "or lower --target-embed-psnr)" in target.stderr
    part = run("embed", clip, *command, "--start", "0", "--exact")
    assert part.exit_code == 1
    assert "no files that could be carried byte for byte (give a whole clip" in part.stderr


def tiny(height: int, width: int, seed: int) -> Pixels:
    """A picture of any size."""
    return natural(16, 16, seed)[:height, :width]


@pytest.mark.parametrize("destination", ["edits", "file", "jpeg"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (15, 16)])
@pytest.mark.parametrize("task", ["stego", "stereo", "grayscale", "rescale", "video"])
def test_tiny_pictures_are_refused_in_one_line(
    run: Run, tmp_path: Path, destination: str, size: tuple[int, int], task: str
) -> None:
    folder = save_all(tmp_path / "tiny", np.stack([tiny(*size, i) for i in range(2)]))
    photos = [folder / "0.png", folder / "1.png"]
    inputs = {"video": [folder], "grayscale": photos[:1], "rescale": photos[:1]}.get(task, photos)
    options = ("--task", task, "--for", destination, "-o", tmp_path / "out.png")
    failed = run("embed", *inputs, *options)
    assert failed.exit_code == 2
    assert f"{size[1]}x{size[0]} pixels are too small: 16x16 is the least" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


def test_the_smallest_pictures(run: Run, tmp_path: Path) -> None:
    """What a cover of 16x16 pixels holds is told; half of it holds nothing."""
    photos = [save(tmp_path / f"{i}.png", natural(16, 16, i)) for i in range(2)]
    for task, inputs in (("stego", photos), ("rescale", photos[:1])):
        options = ("--task", task, "-o", tmp_path / f"{task}.png", "--for")
        failed = run("embed", *inputs, *options, "file")
        assert failed.exit_code == 1
        assert "the picture holds at 40 dB" in failed.stderr or "holds nothing" in failed.stderr
        assert failed.stderr.count("\n") == 1
        done(run("embed", *inputs, *options, "edits", *QUICK))
        done(run("restore", tmp_path / f"{task}.png"))


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (12, 5)])
def test_a_tiny_picture_without_anything_is_told_in_one_line(
    run: Run, tmp_path: Path, size: tuple[int, int]
) -> None:
    picture = save(tmp_path / "x.png", tiny(*size, 1))
    for command in ("info", "restore", "check"):
        failed = run(command, picture)
        assert failed.exit_code == 3
        assert "is not an iicnet picture" in failed.stderr
        assert failed.stderr.count("\n") == 1
