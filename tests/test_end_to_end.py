"""The benchmark of whole commands: what it subtracts, what it prints, and one run of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import child_usage
import end_to_end
import pytest
from command_inputs import CommandInputs, make_inputs
from end_to_end import Case, Tree, Usage
from evaluation_data import MEDIA, ROOT
from PIL import Image

from iicnet_cli.errors import UsageError
from tests.samples import natural

FOLDERS = {"photos": MEDIA, "clips": MEDIA, "stereo": MEDIA}
TREES = [Tree(name, Path(name), Path(name)) for name in ("old", "this")]


def test_children_are_measured(tmp_path: Path) -> None:
    def measured(code: str) -> dict[str, float]:
        # As a program of its own, for a process starts out with the peak memory of this one.
        target = tmp_path / "usage.json"
        command = [sys.executable, child_usage.__file__, str(target), sys.executable, "-c", code]
        subprocess.run(command, check=True)
        usage: dict[str, float] = json.loads(target.read_text())
        return usage

    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', '[0] * 12_500_000'])"
    usage = measured(code)
    assert usage["returncode"] == 0
    assert 0.01 < usage["cpu_seconds"] < 10
    assert 1e8 < usage["peak_bytes"] < 3e8
    assert measured("raise SystemExit(3)")["returncode"] == 3


def test_start_up_is_subtracted_and_the_least_is_taken() -> None:
    whole = end_to_end.least([Usage(s, 2 * s, 100 * s, 38.0, 40.0) for s in (30.0, 20.0, 23.0)])
    assert whole == Usage(20.0, 40.0, 2000.0, 38.0, 40.0)
    less = Usage(8.0, 10.0, 5000.0)
    assert end_to_end.start_up_apart(whole, less, 3) == Usage(4.0, 10.0, 2000.0, 38.0, 40.0)
    assert end_to_end.start_up_apart(whole, None, 1) == whole


def test_versions_are_run_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def run(tree: Tree, arguments: Sequence[str], originals: Sequence[Path] = ()) -> Usage:
        called.append((tree.label, arguments[0]))
        return Usage(9.0 if arguments[0] == "whole" else 3.0, 1.0, 1.0)

    monkeypatch.setattr(end_to_end, "run_command", run)
    case = Case("row", ("whole",), ("less",), groups=3)
    assert [usage.cpu_seconds for usage in end_to_end.in_turn(TREES, case, 2)] == [2.0, 2.0]
    once = [(label, part) for label in ("old", "this") for part in ("whole", "less")]
    assert called == once * 2


def test_ratios_tell_how_much_faster_and_how_much_more_memory() -> None:
    usages = [Usage(6.0, 4.0, 2e8, 38.0, 40.0), Usage(2.0, 1.0, 3e8, 38.01, None)]
    cells = end_to_end.cells("row", usages)
    figures = ["6.00", "2.00", "3.00", "4.00", "1.00", "4.00", "200", "300", "1.50"]
    assert cells == ["row", *figures, "38.00 / 40.00", "38.01"]
    assert len(end_to_end.columns(TREES)) == len(cells)
    assert end_to_end.cells("row", [replace(usages[0], cpu_seconds=-0.1), usages[1]])[3] == "-"
    assert len(end_to_end.columns(TREES[1:])) == len(end_to_end.cells("row", usages[1:]))


def test_rows_are_chosen() -> None:
    assert end_to_end.row_names("effort-0") == [
        f"effort-0/{model}" for model in ("video-5", "stego-3", "stereo", "dual")
    ]
    with pytest.raises(SystemExit):
        end_to_end.main(["--only", "embed/video-7"])
    assert end_to_end.main(["--only", "start/version", "--against", "no-such-commit"]) == 2


def test_cases_have_the_commands_that_are_promised(tmp_path: Path) -> None:
    clip = CommandInputs("clip", (tmp_path,), (tmp_path / "1",), (tmp_path / "tiny",))
    photos = CommandInputs("photo", (Path("a"), Path("b")), (Path("c"),), (Path("d"),))
    Image.fromarray(natural(32, 32, 0)).save(tmp_path / "0.png")
    inputs = {"video-5": clip, "stego-3": photos}
    wanted = ["embed/video-5", "effort-0/stego-3", "restore/mkv", "start/version"]
    video, stego, restore, version = end_to_end.cases_of(wanted, inputs, Path("x.png"))
    assert video.less is not None and stego.less is not None
    assert (video.groups, video.whole[1], video.less[1]) == (3, str(tmp_path), str(tmp_path / "1"))
    assert (stego.groups, stego.whole[1:3], stego.less[1]) == (0.75, ("a", "b"), "c")
    assert stego.whole[-2:] == ("--effort", "0") and "--effort" not in video.whole
    assert restore.less is None and restore.originals == (tmp_path / "0.png",)
    assert version.whole == ("--version",)


def test_inputs_are_fitted_to_the_size(tmp_path: Path) -> None:
    given = make_inputs("stego-3", FOLDERS, (80, 48), tmp_path)
    assert [Image.open(path).size for path in given.whole] == [(80, 48)] * 3
    assert [Image.open(path).size for path in given.quarter] == [(40, 24)] * 3
    assert [Image.open(path).size for path in given.tiny] == [(32, 32)] * 3
    clip = make_inputs("video-5", FOLDERS, (80, 48), tmp_path)
    assert [len(list(folder.iterdir())) for folder in (*clip.whole, *clip.quarter)] == [20, 5]
    with pytest.raises(UsageError, match="holds nothing to evaluate"):
        make_inputs("video-5", FOLDERS | {"clips": tmp_path / "stego-3"}, (80, 48), tmp_path)


def test_the_psnr_of_restored_frames_is_measured(tmp_path: Path) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for i in range(2):
            path = tmp_path / folder / f"{i}.png"
            pixels = natural(32, 48, i) // 2 + (16 if folder == "a" else 0)
            Image.fromarray(pixels).save(path)
            paths.append(path)
    assert end_to_end.restored_psnr(tmp_path / "a", paths[2:]) == pytest.approx(24.05, abs=0.01)


def _has_history() -> bool:
    git = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not _has_history(), reason="no git, or no repository")
def test_the_last_commit_beside_the_working_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--against", "HEAD", "--repeat", "1", "--size", "64x48"]
    for row in ("effort-0/stego-3", "restore/folder", "start/version"):
        arguments += ["--only", row]
    record = tmp_path / "record.json"
    assert end_to_end.main([*arguments, "--json", str(record)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in lines[:5]}) == 1
    stego, restore, version = json.loads(record.read_text())["rows"]
    for row in (stego, restore, version):
        old, new = row["measured"]["HEAD"], row["measured"]["this"]
        assert old["peak_bytes"] > 5e6 and new["peak_bytes"] > 5e6
    assert stego["measured"]["this"]["embed_psnr"] > 20
    assert restore["measured"]["this"]["restored_psnr"] > 20
