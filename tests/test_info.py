"""``iicnet info``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from iicnet_cli.errors import ExitCode
from iicnet_cli.payload.mark_pixels import read_mark, write_mark
from tests.conftest import rewrite_header
from tests.helpers import QUICK, Run, change_header, done, pixels, save, strip, write_clip
from tests.samples import moving, natural


def test_info_reads_stdin(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    result = run("info", "-", "--json", input=(tmp_path / "out.png").read_bytes())
    assert result.exit_code == 0, result.output
    info = json.loads(result.stdout)
    assert (info["file"], info["task"], info["pixels"]) == ("-", "stego", "intact")
    result = run("info", "-", input=photos[0].read_bytes())
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert run("info", "-", input=b"").exit_code == ExitCode.USAGE


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
        done(run("embed", *arguments, "-o", out, "-y", "--effort", 0))
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


def test_info_tells_the_share_of_the_static_region(run: Run, tmp_path: Path) -> None:
    back = natural(64, 96, 0)
    front = back.copy()
    front[16:40, 24:56] = natural(24, 32, 1)
    photos = [save(tmp_path / f"{i}.png", picture) for i, picture in enumerate((front, back))]
    out = tmp_path / "out.png"
    done(run("embed", *photos, "-o", out))
    assert "88% of the picture" in done(run("info", out)).stdout
    strip(out, tmp_path / "stripped.png")
    assert "88% of the picture" in done(run("info", tmp_path / "stripped.png")).stdout
    rewrite_header(out, static_regions=[])
    assert "0% of the picture" in run("info", out).stdout


@pytest.mark.parametrize("command", ["info", "restore", "check"])
def test_a_damaged_header_is_told_with_the_name_of_the_file(
    run: Run, photos: list[Path], tmp_path: Path, command: str
) -> None:
    path = tmp_path / "odd.png"
    done(run("embed", *photos[:2], "-o", path, *QUICK))
    change_header(path, path, images=99)
    result = run(command, path)
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert f"{path}: the iicnet header is damaged: images" in result.stderr


def test_a_task_and_an_engine_of_a_later_version_are_told(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "out.png"
    done(run("embed", *photos[:2], "-o", path, *QUICK))
    later = change_header(path, tmp_path / "later.png", task="hologram")
    facts = json.loads(done(run("info", later, "--json")).stdout)
    assert (facts["task"], facts["pixels"]) == ("hologram", "intact")
    later = change_header(path, tmp_path / "later.png", engine="ether")
    facts = json.loads(done(run("info", later, "--json")).stdout)
    assert (facts["engine"], facts["pixels"]) == ("ether", "intact")


def test_changes_are_told_without_a_header_too(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "out.png"
    done(run("embed", *photos[:2], "-o", path))
    strip(path)
    assert json.loads(done(run("info", path, "--json")).stdout)["pixels"].startswith("unknown")
    changed = pixels(path).copy()
    changed[-3:, -3:] ^= 1
    result = run("info", save(tmp_path / "changed.png", changed), "--json")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert json.loads(result.stdout)["pixels"] == "altered"
    assert "only the network's own pictures can be restored" in result.stderr
