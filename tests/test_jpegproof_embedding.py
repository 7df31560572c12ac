"""Pictures that survive JPEG, through the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli import Converter, EmbedOptions, EmbedReport
from iicnet_cli.engines import DESTINATIONS, engine_for
from iicnet_cli.engines.jpegproof.profiles import SERVICES
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.clip_probe import has_sound
from iicnet_cli.media.stills import resize
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import Run, done, frames_of, pixels, save, save_natural, strip, write_clip
from tests.samples import moving, natural


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_natural(tmp_path_factory.mktemp("photos"), [(256, 320), (120, 90)], 60, ".png")


@pytest.fixture(scope="module")
def sent(photo_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("jpeg") / "a.jpg"
    options = EmbedOptions(engine="jpegproof", destination="signal")
    Converter().embed(photo_files, target, options=options)
    return target


def save_again(source: Path, target: Path, **options: object) -> Path:
    with Image.open(source) as image:
        image.convert("RGB").save(target, **options)
    return target


def test_photos_come_back_from_what_a_service_makes_of_them(
    run: Run, photo_files: list[Path], tmp_path: Path
) -> None:
    out, note = tmp_path / "a.jpg", tmp_path / "note.txt"
    note.write_text("words")
    options = ["--for", "signal", "-o", out, "--attach", note, "--json"]
    record = json.loads(done(run("embed", *photo_files, *options)).stdout)
    assert record["model"] == "jpegproof"
    assert "JPEG 70" in record["survived"]
    assert record["embed_psnr"] > 35
    received = save_again(out, tmp_path / "b.jpg", quality=70, subsampling="4:2:0")
    result = done(run("restore", received, "-o", tmp_path / "b"))
    assert "stripped" not in result.stderr  # a JPEG never has a header
    cover, hidden = (pixels(tmp_path / "b" / f"{i}.png") for i in range(2))
    assert psnr(hidden, pixels(photo_files[1])) == pytest.approx(record["hidden_psnr"], abs=0.01)
    assert (cover == pixels(received)).all()
    assert (tmp_path / "b" / "note.txt").read_text() == "words"
    facts = json.loads(done(run("info", received, "--json")).stdout)
    assert (facts["engine"], facts["found_by"]) == ("jpegproof", "mark")
    assert {"role": "attachment", "name": "note.txt", "bytes": 5} in facts["carried"]
    assert facts["task"] == "stego"
    assert [source["name"] for source in facts["sources"]] == ["0.png", "1.png"]


def test_a_png_does_so_too_cropped_and_as_webp(
    run: Run, photo_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.png"
    monkeypatch.setenv("IICNET_PASSWORD", "x")
    small = save(tmp_path / "small.png", natural(24, 24, 3))
    done(run("embed", photo_files[0], small, "--for", "jpeg:70", "-o", out, "--password"))
    assert b"small.png" not in out.read_bytes()
    webp = save_again(strip(out, tmp_path / "s.png"), tmp_path / "b.webp", quality=90)
    Image.fromarray(pixels(out)[11:, 13:]).save(tmp_path / "cut.png")
    for number, source in enumerate((out, webp, tmp_path / "cut.png")):
        target = tmp_path / str(number)
        done(run("restore", source, "-o", target, "--password"))
        assert (target / "small.png").read_bytes() == (tmp_path / "0" / "small.png").read_bytes()
    failed = run("restore", webp, "-o", tmp_path / "none")
    assert failed.exit_code == 3
    assert "--password" in failed.stderr


def test_a_cover_is_made_as_small_as_it_will_be(run: Run, tmp_path: Path) -> None:
    cover = save(tmp_path / "wide.png", natural(240, 1600, 7))
    hidden = save(tmp_path / "h.png", natural(64, 64, 8))
    out = tmp_path / "a.png"
    result = done(run("embed", cover, hidden, "--for", "telegram", "-o", out))
    assert "the picture is made 1280x192, as large as it stays for telegram" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("task", ["grayscale", "rescale"])
def test_single_photos(run: Run, tmp_path: Path, task: str) -> None:
    photo = save(tmp_path / "p.png", natural(512, 640, 9))
    out = tmp_path / "a.jpg"
    done(run("embed", photo, "--task", task, "--for", "jpeg:85", "-o", out))
    with Image.open(out) as image:
        assert (image.mode, image.size) == (
            ("L", (640, 512)) if task == "grayscale" else ("RGB", (320, 256))
        )
    received = save_again(out, tmp_path / "b.jpg", quality=85)
    done(run("restore", received, "-o", tmp_path / "r.png"))
    assert psnr(pixels(tmp_path / "r.png"), pixels(photo)) > 25


@pytest.mark.slow
def test_a_clip_with_sound(run: Run, tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mkv", moving(24, 144, 256))
    clip = tmp_path / "tone.mkv"
    tone = ["-f", "lavfi", "-i", "sine=440:d=0.96", "-c:v", "copy", "-c:a", "flac"]
    command = [ffmpeg.executable(), "-v", "error", "-i", str(silent), *tone, str(clip)]
    subprocess.run(command, check=True)
    out = tmp_path / "a.jpg"
    record = json.loads(done(run("embed", clip, "--for", "telegram", "-o", out, "--json")).stdout)
    assert any(note.startswith("the clip is carried at") for note in record["notes"])
    assert record["embeddings"] == 1
    received = save_again(out, tmp_path / "b.jpg", quality=87)
    done(run("restore", received, "-o", tmp_path / "b.webm"))
    assert len(frames_of(tmp_path / "b.webm")) == 24
    assert has_sound(tmp_path / "b.webm")


def test_what_is_likely_is_said_and_nothing_is_written(
    run: Run, sent: Path, tmp_path: Path
) -> None:
    too_low = save_again(sent, tmp_path / "low.jpg", quality=52)
    much_too_low = save_again(sent, tmp_path / "lower.jpg", quality=20)
    for path, words in (
        (too_low, r"recompressed at about quality 52, but it was made for 70 and better"),
        (much_too_low, "it was compressed at about quality"),
    ):
        failed = run("restore", path, "-o", tmp_path / "r")
        assert failed.exit_code == 3
        assert words in failed.stderr
        assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_resizing_is_recognised(run: Run, tmp_path: Path) -> None:
    cover = save(tmp_path / "c.png", natural(960, 1280, 5))
    out = tmp_path / "a.png"
    hidden = save(tmp_path / "h.png", natural(64, 64, 8))
    done(run("embed", cover, hidden, "--for", "jpeg:75", "-o", out, "--no-verify"))
    larger = Image.fromarray(pixels(out)).resize((1600, 1200))
    larger.save(tmp_path / "larger.jpg", quality=90)
    failed = run("restore", tmp_path / "larger.jpg", "-o", tmp_path / "r")
    assert failed.exit_code == 3
    assert "it was resized from 1280x960 to 1600x1200" in failed.stderr


def test_check_says_what_would_come_back(run: Run, sent: Path, tmp_path: Path) -> None:
    lines = done(run("check", sent)).stdout.splitlines()
    assert all("simulated" in line for line in lines)
    outcome = {line.split(",")[0]: "everything comes back" in line for line in lines}
    assert outcome == {service.name: service.quality >= 70 for service in SERVICES}
    result = run("check", sent, "--for", "whatsapp", "--json")
    assert result.exit_code == 1
    (service,) = json.loads(result.stdout)["services"]
    assert not service["restored"]
    assert "recompressed at about quality 60" in service["reason"]
    assert run("check", save(tmp_path / "n.png", natural(64, 64, 1))).exit_code == 3


def test_check_of_a_png_that_must_arrive_as_it_is(
    run: Run, photo_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "a.png"
    done(run("embed", *photo_files, "--for", "file", "-o", out))
    result = run("check", out, "--for", "jpeg:95")
    assert result.exit_code == 1
    assert "jpeg:95, simulated as JPEG 95: lost" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--for", "pigeon", "-o", "a.png"], "--for pigeon: nothing is known of it"),
        (["--for", "signal:70", "-o", "a.png"], "nothing is known of it"),
        (["--for", "jpeg:50", "-o", "a.png"], "no picture survives JPEG of quality 50"),
        (["--for", "jpeg:x", "-o", "a.png"], "'x' is no quality of JPEG"),
        (["--for", "signal", "-o", "a.webp"], "the output must be a PNG or JPG"),
        (["--for", "file", "-o", "a.jpg"], "the output must be a PNG, not"),
        (["--for", "x", "-o", "a.png", "--target-embed-psnr", "40"], "has no use with --for x"),
    ],
)
def test_requests_that_make_no_sense(
    run: Run, photo_files: list[Path], tmp_path: Path, options: list[str], words: str
) -> None:
    target = tmp_path / options[3]
    failed = run("embed", *photo_files, *options[:3], target, *options[4:])
    assert failed.exit_code == 2
    assert words in failed.stderr
    assert not target.exists()


def test_too_much_is_refused(run: Run, photo_files: list[Path], tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(np.random.default_rng(0).bytes(20_000))
    options = ["--for", "signal", "--attach", large, "-o", tmp_path / "a.png"]
    failed = run("embed", *photo_files, *options)
    assert failed.exit_code == 1
    assert "bytes more than the picture holds for signal" in failed.stderr


def test_a_cover_that_holds_nothing_is_told(run: Run, tmp_path: Path) -> None:
    photo = save(tmp_path / "p.png", natural(64, 80, 9))
    failed = run("embed", photo, "--task", "grayscale", "--for", "signal", "-o", tmp_path / "a.png")
    assert failed.exit_code == 1
    assert "a picture of 80x64 like this holds nothing for signal" in failed.stderr


def test_every_service_is_a_destination() -> None:
    names = {service.name for service in SERVICES}
    assert {name for name, engine in DESTINATIONS.items() if engine == "jpegproof"} == names | {
        "jpeg"
    }
    assert engine_for("jpeg:70") == "jpegproof"
    with pytest.raises(UsageError, match="nothing is known"):
        engine_for("file:70")


def test_capacity_for_a_service(run: Run, photo_files: list[Path]) -> None:
    record = json.loads(done(run("capacity", photo_files[0], "--for", "telegram", "--json")).stdout)
    assert record["bytes"]["telegram"] > 256 * 320 * 0.42 / 8
    assert run("capacity", photo_files[0], "--for", "edits").exit_code == 2


def test_capacity_of_a_clip_is_that_of_the_enlarged_cover(run: Run, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", moving(2, 48, 80))
    record = json.loads(done(run("capacity", clip, "--for", "telegram", "--json")).stdout)
    assert (record["width"], record["height"]) == (1280, 768)
    assert record["bytes"]["telegram"] > 0


def test_a_dry_run_tells_the_bytes_of_the_kind_of_file(
    run: Run, photo_files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.jpg"
    command = ("embed", *photo_files, "--for", "whatsapp", "-o", out, "--json")
    told = json.loads(done(run(*command, "--dry-run")).stdout)["bytes"]
    assert not out.exists()
    done(run(*command))
    assert told == out.stat().st_size


@pytest.mark.parametrize(
    ("options", "name", "kinds"),
    [
        ((), "o.jpg", "PNG"),
        (("--for", "file"), "o.gif", "PNG"),
        (("--for", "x"), "o", "PNG or JPG"),
    ],
)
def test_a_dry_run_refuses_the_outputs_that_embed_refuses(
    run: Run,
    photo_files: list[Path],
    tmp_path: Path,
    options: tuple[str, ...],
    name: str,
    kinds: str,
) -> None:
    for dry in ((), ("--dry-run",)):
        result = run("embed", *photo_files, *options, "-o", tmp_path / name, *dry)
        assert result.exit_code == ExitCode.USAGE
        assert f"the output must be a {kinds}, not '{name}'" in result.stderr


def test_a_dry_run_writes_nothing(run: Run, photo_files: list[Path], tmp_path: Path) -> None:
    result = done(run("embed", *photo_files, "--for", "whatsapp", "--dry-run"))
    assert "with jpegproof" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def large_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_natural(tmp_path_factory.mktemp("large"), [(448, 576), (300, 400)], 70, ".png")


@pytest.fixture(scope="module")
def sent_large(
    large_files: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, EmbedReport]:
    target = tmp_path_factory.mktemp("jpeg") / "a.png"
    options = EmbedOptions(engine="jpegproof", destination="jpeg:70")
    return target, Converter().embed(large_files, target, options=options)


def test_a_part_of_the_picture_restores_everything(
    run: Run, sent_large: tuple[Path, EmbedReport], tmp_path: Path
) -> None:
    source, report = sent_large
    assert report.survives_crop is True
    assert {"a crop to 75 % of the area", "a pasted square"} < set(report.survived)
    cut = pixels(source)[37 : 37 + 388, 51 : 51 + 499]
    pasted = pixels(source)
    pasted[168:280, 216:360] = (250, 210, 40)
    done(run("restore", source, "-o", tmp_path / "whole"))
    for name, part in (("cut", cut), ("pasted", pasted)):
        done(run("restore", save(tmp_path / f"{name}.png", part), "-o", tmp_path / name))
        hidden = (tmp_path / name / "1.png").read_bytes()
        assert hidden == (tmp_path / "whole" / "1.png").read_bytes()


def test_what_fills_the_picture_is_told(run: Run, large_files: list[Path], tmp_path: Path) -> None:
    options = ["--for", "jpeg:70", "--json"]
    held = json.loads(done(run("capacity", large_files[0], *options)).stdout)
    most, spared = (held[key]["jpeg:70"] for key in ("bytes", "spared_bytes"))
    assert 0.65 * most < spared < 0.75 * most
    attached = tmp_path / "a.bin"
    attached.write_bytes(np.random.default_rng(0).bytes((most + spared) // 2))
    out = tmp_path / "a.png"
    record = json.loads(
        done(
            run(
                "embed",
                large_files[0],
                "--task",
                "stego",
                "--attach",
                attached,
                "-o",
                out,
                *options,
            )
        ).stdout
    )
    assert record["survives_crop"] is False
    assert any("would not survive a crop" in note for note in record["notes"])
    assert not any(each["role"] == "small version" for each in record["carried"])
    received = save_again(out, tmp_path / "b.jpg", quality=70)
    done(run("restore", received, "-o", tmp_path / "b"))
    assert (tmp_path / "b" / "a.bin").read_bytes() == attached.read_bytes()


def test_a_small_version_is_what_is_left(
    run: Run, sent_large: tuple[Path, EmbedReport], large_files: list[Path], tmp_path: Path
) -> None:
    source, report = sent_large
    (size,) = (each.bytes for each in report.carried if each.role == "small version")
    assert size > 100
    low = save_again(source, tmp_path / "low.jpg", quality=45)
    result = run("restore", low, "--json")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert "only the small version came back: the picture was recompressed at" in result.stderr
    record = json.loads(result.stdout)
    assert record["only_small_version"] and record["altered"]
    assert record["outputs"] == [str(tmp_path / "low-restored.png")]
    small = pixels(tmp_path / "low-restored.png")
    original = pixels(large_files[1])
    assert psnr(resize(small, 400, 300), original) > 15
    assert run("restore", low).exit_code == 1  # it exists
    for output, written in (
        (tmp_path / "folder", tmp_path / "folder" / "small-version.png"),
        (tmp_path / "other.webp", tmp_path / "other.webp"),
        (tmp_path / "clip.mkv", tmp_path / "clip.png"),
    ):
        assert run("restore", low, "-o", output).exit_code == 3
        assert (pixels(written) == small).all()
    facts = json.loads(done(run("info", low, "--json")).stdout)
    assert facts["small_version"] == f"{size} bytes"
    assert facts["damaged"] == "1 of 1 pictures"


def test_check_tells_of_the_small_version(run: Run, sent_large: tuple[Path, EmbedReport]) -> None:
    result = run("check", sent_large[0], "--for", "whatsapp")
    assert result.exit_code == 1
    assert "small version only (the picture was recompressed at about quality 60" in result.stdout
    (service,) = json.loads(run("check", sent_large[0], "--for", "x", "--json").stdout)["services"]
    assert service["restored"] and not service["small_version"]


@pytest.mark.slow
def test_the_small_version_is_encrypted_as_well(
    run: Run, large_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IICNET_PASSWORD", "x")
    out = tmp_path / "a.png"
    done(run("embed", *large_files, "--for", "jpeg:75", "-o", out, "--password", "--no-verify"))
    low = save_again(out, tmp_path / "low.jpg", quality=45)
    failed = run("restore", low, "-o", tmp_path / "r.png")
    assert failed.exit_code == 3
    assert "encrypted" in failed.stderr
    assert not (tmp_path / "r.png").exists()
    result = run("restore", low, "-o", tmp_path / "r.png", "--password")
    assert result.exit_code == 3
    assert "only the small version came back" in result.stderr
    assert psnr(resize(pixels(tmp_path / "r.png"), 400, 300), pixels(large_files[1])) > 14


def test_a_task_that_is_none_is_a_wrong_call(run: Run, sent: Path) -> None:
    result = run("restore", sent, "--task", "foo")
    assert result.exit_code == ExitCode.USAGE
    assert "no task 'foo'" in result.stderr
