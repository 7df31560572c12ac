"""What restoring writes where: sound, attachments, and files that users have there already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from iicnet_cli.container.header import Header, Source
from iicnet_cli.engines.lowbits import channel
from iicnet_cli.media.clip_packets import has_sound, packets_of
from iicnet_cli.media.video_reader import probe
from iicnet_cli.payload.bundle import Bundle, BundledFile, Role
from iicnet_cli.payload.bundle_description import description_file
from tests.helpers import Run, done, frames_of, pixels, save
from tests.samples import natural


@pytest.fixture(scope="module")
def sounding(sample_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG that carries plain.mp4 byte for byte."""
    clip = sample_clips / "plain.mp4"
    return carry([clip], tmp_path_factory.mktemp("png") / "x.png")


def carry(clips: list[Path], target: Path) -> Path:
    """Write a PNG that carries clips, of one or two eyes, as they are."""
    info = probe(clips[0])
    header = Header(
        task="video" if len(clips) == 1 else "stereo",
        model="files",
        weights_sha256="",
        images=len(clips),
        width=info.width,
        height=info.height,
        sources=[Source(name=c.name, width=info.width, height=info.height) for c in clips],
        frames=info.frames,
        fps=str(info.fps),
    )
    files = [BundledFile(Role.ORIGINAL, clip.name, clip.read_bytes()) for clip in clips]
    data = Bundle((description_file(header), *files)).to_bytes()
    Image.fromarray(channel.write(natural(384, 512, 1), data)).save(target)
    return target


@pytest.mark.parametrize(
    ("name", "kind"), [("clip.gif", "GIF"), ("clip.png", "PNG"), ("frames", "a folder")]
)
def test_sound_that_is_left_out_is_told(
    run: Run, sounding: Path, tmp_path: Path, name: str, kind: str
) -> None:
    said = done(run("restore", sounding, "-o", tmp_path / name)).stderr
    expected = f"the sound is left out, for {kind} holds none; these do: .mkv, "
    assert f"note: {expected}" in said
    record = json.loads(
        done(run("restore", sounding, "-o", tmp_path / name, "-y", "--json")).stdout
    )
    assert [note[: len(expected)] for note in record["notes"] if "sound" in note] == [expected]
    assert len(frames_of(tmp_path / name)) == 72


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".mov", ".mp4"])
def test_sound_that_is_kept_is_not_told(
    run: Run, sounding: Path, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"clip{suffix}"
    result = done(run("restore", sounding, "-o", target))
    assert "the sound" not in result.stderr
    seconds = float(sum(packet.duration for packet in packets_of(target, "audio")))
    assert seconds == pytest.approx(3, abs=0.1)
    assert len(frames_of(target)) == 72


def test_a_clip_without_sound_says_nothing_of_it(
    run: Run, sample_clips: Path, tmp_path: Path
) -> None:
    png = carry([sample_clips / "one.mp4"], tmp_path / "x.png")
    said = done(run("restore", png, "-o", tmp_path / "clip.gif")).stderr
    assert "the sound" not in said


def test_the_sound_of_a_pair_is_that_of_the_left_eye(
    run: Run, sample_clips: Path, tmp_path: Path
) -> None:
    png = carry([sample_clips / "plain.mp4"] * 2, tmp_path / "x.png")
    done(run("restore", png, "-o", tmp_path / "both.mkv"))
    assert has_sound(tmp_path / "both.mkv")
    said = done(run("restore", png, "-o", tmp_path / "eyes")).stderr
    assert "the sound is left out, for a folder holds none" in said


@pytest.fixture
def with_note(run: Run, tmp_path: Path) -> Path:
    """A PNG of one photo, with an attachment note.txt."""
    photo, note = tmp_path / "flower.jpg", tmp_path / "note.txt"
    Image.fromarray(natural(96, 96, 3)).save(photo, quality=20)  # small enough to be carried as is
    note.write_text("words")
    options = ("--task", "rescale", "--for", "file", "--attach", note)
    done(run("embed", photo, "-o", tmp_path / "q.png", *options))
    note.unlink()
    return tmp_path / "q.png"


def test_attachments_of_one_file_go_into_a_folder_of_its_name(
    run: Run, with_note: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("my own")
    result = done(run("restore", with_note, "-o", out / "flower.png", "--json"))
    attached = out / "flower-attachments" / "note.txt"
    assert json.loads(result.stdout)["outputs"] == [str(out / "flower.png"), str(attached)]
    assert attached.read_text() == "words"
    assert (out / "note.txt").read_text() == "my own"
    assert sorted(path.name for path in out.iterdir()) == [
        "flower-attachments",
        "flower.png",
        "note.txt",
    ]


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.JPG"])
def test_a_jpeg_is_one_under_each_of_its_suffixes(
    run: Run, with_note: Path, tmp_path: Path, name: str
) -> None:
    done(run("restore", with_note, "-o", tmp_path / name))
    assert (tmp_path / name).read_bytes() == (tmp_path / "flower.jpg").read_bytes()


def test_attachments_replace_nothing_unasked(run: Run, with_note: Path, tmp_path: Path) -> None:
    target, attached = tmp_path / "a.png", tmp_path / "a-attachments" / "note.txt"
    attached.parent.mkdir()
    attached.write_text("my own")
    failed = run("restore", with_note, "-o", target)
    assert failed.exit_code == 1
    assert f"{attached} exists already (add -y to overwrite)" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert attached.read_text() == "my own"
    assert not target.exists()
    done(run("restore", with_note, "-o", target, "-y"))
    assert attached.read_text() == "words"


def test_without_the_photo_there_are_no_attachments(
    run: Run, with_note: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    for name, code in (("flower.jpg", 1), ("none/flower.png", 1)):
        assert run("restore", with_note, "-o", tmp_path / name).exit_code == code
    assert sorted(tmp_path.rglob("*")) == before


def test_attachments_of_many_pngs_do_not_meet(run: Run, with_note: Path, tmp_path: Path) -> None:
    second = tmp_path / "r.png"
    second.write_bytes(with_note.read_bytes())
    done(run("restore", with_note, second, "--out-dir", tmp_path / "all"))
    found = {str(path.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*.txt")}
    assert found == {
        "q-restored-attachments/note.txt",
        "r-restored-attachments/note.txt",
    }


def test_an_attachment_of_the_name_of_a_photo_stays_beside_it(run: Run, tmp_path: Path) -> None:
    cover = save(tmp_path / "cover.png", natural(64, 64, 1))
    hidden = save(tmp_path / "x.tiff", natural(160, 160, 2))
    (tmp_path / "x.png").write_text("words")
    options = ("--for", "file", "--attach", tmp_path / "x.png", "--min-psnr", "20")
    done(run("embed", cover, hidden, "-o", tmp_path / "p.png", *options))
    for _ in range(2):
        done(run("restore", tmp_path / "p.png", "-o", tmp_path / "p", "-y"))
        assert pixels(tmp_path / "p" / "x.png").shape == (160, 160, 3)
        assert (tmp_path / "p" / "x-2.png").read_text() == "words"
