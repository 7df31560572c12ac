"""Options of embedding, and which of them contradict each other."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from iicnet_cli import EmbedOptions, UsageError
from iicnet_cli.options import MAX_EFFORT, TASK_FIELDS
from tests.helpers import Run


@pytest.mark.parametrize("effort", [-1, MAX_EFFORT + 1])
def test_an_effort_out_of_range_is_refused(effort: int) -> None:
    with pytest.raises(UsageError, match="effort is 0 to 10"):
        EmbedOptions(effort=effort)


@pytest.mark.parametrize("effort", [0, 1])
@pytest.mark.parametrize("target", ["target_embed_psnr", "target_restored_psnr"])
def test_a_target_without_a_search_is_refused(effort: int, target: str) -> None:
    with pytest.raises(UsageError, match="needs a search") as error:
        EmbedOptions(effort=effort, **{target: 38})  # type: ignore[arg-type]
    assert "--effort" in (error.value.hint or "")
    assert EmbedOptions(effort=2, **{target: 38}).has_target  # type: ignore[arg-type]


def test_two_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="only one of the two targets"):
        EmbedOptions(effort=2, target_embed_psnr=38, target_restored_psnr=40)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e300"])
@pytest.mark.parametrize("option", ["min-psnr", "target-embed-psnr", "target-restored-psnr"])
def test_a_psnr_that_is_no_number_is_a_fault_of_the_call(
    run: Run, photos: list[Path], tmp_path: Path, option: str, value: str
) -> None:
    arguments = ("--effort", 2, f"--{option}", value, "-o", tmp_path / "x.png")
    result = run("embed", *photos[:2], *arguments)
    assert result.exit_code == 2 and f"--{option} is 0 to 200 dB" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--frames", 10**30),
        ("--step", 10**30),
        ("--start", "9" * 400),
        ("--end", "9" * 400 + ":00:00"),
        ("--memory", "9" * 400),
        ("--memory", "0.001"),
        ("--background", "rgb(300,0,0)"),
    ],
)
def test_numbers_out_of_range_are_faults_of_the_call(
    run: Run, clip: Path, tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    result = run("embed", clip, "-o", tmp_path / "x.png", *arguments)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--effort", 11], "less than or equal to 10"),
        (["--target-embed-psnr", 38], "--effort"),
        (["--effort", 0, "--target-embed-psnr", 38], "--effort"),
        (["--effort", 2, "--target-embed-psnr", 38, "--target-restored-psnr", 40], "one of"),
    ],
)
def test_the_command_line_refuses_them_before_it_reads_anything(
    run: Run, photos: list[Path], tmp_path: Path, arguments: list[object], message: str
) -> None:
    result = run("embed", *photos[:2], "-o", tmp_path / "x.png", *arguments)
    assert result.exit_code == UsageError.exit_code
    assert message in result.output
    assert not (tmp_path / "x.png").exists()


def test_what_each_effort_includes() -> None:
    included = [
        (options.adds_layer, options.searches)
        for options in (EmbedOptions(effort=effort) for effort in range(4))
    ]
    assert included == [(False, False), (True, False), (True, True), (True, True)]
    assert not EmbedOptions(enhance=False, effort=5).adds_layer
    assert EmbedOptions(enhance=False, effort=5).searches


def test_fields_for_some_tasks_only_are_those_that_were_given() -> None:
    assert EmbedOptions(effort=3, verify=False).given_for_tasks() == []
    assert EmbedOptions(step=2, zoom=4, align=False).given_for_tasks() == ["step", "zoom", "align"]
    assert {field.name for field in fields(EmbedOptions)} >= TASK_FIELDS


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_named_pipe_is_no_input(run: Run, photos: list[Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    result = run("embed", photos[0], tmp_path / "pipe.png", "-o", tmp_path / "x.png")
    assert result.exit_code == 2 and "is no regular file (give - to read" in result.stderr
