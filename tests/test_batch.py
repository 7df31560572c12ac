"""Many inputs in one call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iicnet_cli.cli.batch import expand_patterns, shard_of
from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import UsageError
from tests.helpers import QUICK, Run, done, write_clip
from tests.samples import moving


def test_batch_goes_on_after_a_bad_file(run: Run, tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{i}.mkv", moving(5, 32, 32, i)) for i in range(2)]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no clip")
    previews = tmp_path / "previews"
    result = run("embed", clips[0], bad, clips[1], "--out-dir", previews, "--json", "--effort", 0)
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


def test_the_file_that_failed_is_named_once(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gif"
    bad.write_bytes(b"GIF89a" + bytes(40))
    result = run("embed", bad, "--task", "grayscale", "--out-dir", tmp_path / "o")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"iicnet: {bad}: ")
    assert result.stderr.splitlines()[0].count(bad.name) == 1


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


def test_shards_are_a_partition_that_does_not_depend_on_the_order() -> None:
    items = ["d", "a", "c", "b", "e"]
    shards = [shard_of(items, f"{i}/3") for i in (1, 2, 3)]
    assert shards == [["d", "a"], ["b", "e"], ["c"]]
    assert [sorted(shard_of(items[::-1], f"{i}/3")) for i in (1, 2, 3)] == [
        sorted(shard) for shard in shards
    ]
    assert shard_of(items, "7/9") == [] and shard_of(items, None) == items
    for wrong in ("0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5"):
        with pytest.raises(UsageError, match="no shard"):
            shard_of(items, wrong)


def test_patterns_are_the_files_that_fit(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "[c].png", "d.txt"):
        (tmp_path / name).touch()
    pattern, plain = tmp_path / "?.png", tmp_path / "[c].png"
    assert expand_patterns([plain, pattern]) == [plain, tmp_path / "a.png", tmp_path / "b.png"]
    missing = tmp_path / "none.png"
    assert expand_patterns([missing]) == [missing]
    with pytest.raises(UsageError, match="no file fits"):
        expand_patterns([tmp_path / "*.mkv"])


def test_complete_outputs_are_skipped(run: Run, photos: list[Path], tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    embed = ("embed", photos[0].parent / "*", "--task", "grayscale", *QUICK, "--out-dir", out)
    done(run(*embed, "--shard", "2/2"))
    assert sorted(path.name for path in out.iterdir()) == ["one.png", "two.png"]
    (out / "two.png").write_bytes((out / "two.png").read_bytes()[:-9])
    (out / "three.png").write_bytes(b"of somebody else")
    times = (out / "one.png").stat().st_mtime_ns

    result = run(*embed, "--skip-existing", "--json")
    assert result.exit_code == 1  # neither the cut file nor the foreign one is replaced unasked
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(line["input"]).stem for line in lines] == ["cover", "one", "three", "two"]
    assert [("skipped" in line, "error" in line) for line in lines] == [
        *((False, False), (True, False), (False, True), (False, True))
    ]
    done(run(*embed, "--skip-existing", "-y"))
    assert (out / "one.png").stat().st_mtime_ns == times
    assert {read_header(path).task for path in out.iterdir()} == {"grayscale"}  # type: ignore

    restore = ("restore", out / "*.png", "--out-dir", again, "--skip-existing")
    done(run(*restore, "--shard", "1/2"))
    result = done(run(*restore))
    assert "2 of 4 were complete before" in result.stderr
    assert len(list(again.iterdir())) == 4


def test_options_for_many_inputs_need_a_folder(run: Run, photos: list[Path]) -> None:
    for option in (("--shard", "1/2"), ("--skip-existing",), ("--on", "ray")):
        result = run("embed", *photos[:2], "-o", "x.png", *option)
        assert (result.exit_code, "--out-dir" in result.stderr) == (2, True)
    result = run("embed", *photos[:2], "--out-dir", "x", "--dry-run", "--on", "ray")
    assert (result.exit_code, "--dry-run" in result.stderr) == (2, True)


def test_worker_processes_give_what_one_process_gives(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    records = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        result = run(
            *("embed", photos[0], bad, photos[1], "--task", "grayscale", *QUICK),
            *("--out-dir", out, "--json", "--jobs", jobs),
        )
        assert result.exit_code == 1
        assert "bad.png" in result.stderr and "1 of 3 failed" in result.stderr
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        for line in lines:
            line.pop("seconds", None), line.pop("output", None)
        written = [path.read_bytes() for path in sorted(out.iterdir())]
        records.append((lines, written))
    assert records[0] == records[1]
