"""Which outputs are complete, and which jobs are the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from iicnet_cli.jobs.file_jobs import EmbedJob, EvaluateJob, RestoreJob
from iicnet_cli.jobs.job import earlier_outcome
from iicnet_cli.options import EmbedOptions
from tests.helpers import QUICK, Run, done, strip, write_clip
from tests.samples import moving, natural


def test_an_embedding_is_complete_with_all_its_chunks(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "o.png"
    job = EmbedJob(inputs=(photos[0],), output=output)
    assert not job.is_complete()
    done(run("embed", photos[0], "--task", "grayscale", "-o", output, *QUICK))
    assert job.is_complete()
    assert replace(job, task="grayscale", model="grayscale").is_complete()
    assert replace(job, model="models/grayscale/").is_complete()
    assert not replace(job, task="rescale").is_complete()
    assert not replace(job, model="grayscale-2").is_complete()
    whole = output.read_bytes()
    output.write_bytes(whole[:-20])
    assert not job.is_complete()
    output.write_bytes(whole)
    assert not replace(job, output=strip(output)).is_complete()
    assert not replace(job, output=photos[0]).is_complete()


def test_what_was_restored_is_complete_under_its_name(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    png = tmp_path / "o.png"
    done(run("embed", *photos[:2], "-o", png, *QUICK))
    jobs = [RestoreJob(inputs=(png,)), RestoreJob(inputs=(strip(png, tmp_path / "s.png"),))]
    jobs = [replace(job, folder=tmp_path / "r") for job in jobs]
    assert [job.is_complete() for job in jobs] == [False, False]
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "o-restored").mkdir()
    assert [job.is_complete() for job in jobs] == [False, False]
    done(run("restore", *(job.source for job in jobs), "--out-dir", tmp_path / "r"))
    assert [job.is_complete() for job in jobs] == [True, True]
    names = sorted(path.name for path in (tmp_path / "r").iterdir())
    assert names == ["o-restored", "s-restored"]


def test_files_that_were_restored_are_complete_whatever_their_kind(
    run: Run, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "pan.mkv", np.repeat(moving(12, 48, 64)[..., :1], 3, axis=3))
    part = ("--start", "0", "--min-psnr", "20")  # encoded, not carried as it is
    done(run("embed", clip, "--for", "file", *part, "-o", tmp_path / "c.png"))
    photo, rescaled = tmp_path / "p.jpg", ("--task", "rescale", "--for", "file")
    Image.fromarray(natural(96, 96, 3)).save(photo, quality=20)
    done(run("embed", photo, *rescaled, "-o", tmp_path / "p.png"))
    pngs = [tmp_path / "c.png", tmp_path / "p.png"]
    jobs = [RestoreJob(inputs=(png,), folder=tmp_path / "r") for png in pngs]
    assert [job.is_complete() for job in jobs] == [False, False]
    restore = ("restore", *pngs, "--out-dir", tmp_path / "r")
    done(run(*restore))
    names = [path.name for path in sorted((tmp_path / "r").iterdir())]
    assert names == ["c-restored.webm", "p-restored.jpg"]
    assert [job.is_complete() for job in jobs] == [True, True]
    again = done(run(*restore, "--skip-existing"))
    assert "2 of 2 were complete before" in again.stderr
    (tmp_path / "r" / "c-restored.webm").unlink()
    assert "1 of 2 were complete before" in done(run(*restore, "--skip-existing")).stderr


def test_a_fingerprint_tells_jobs_and_inputs_apart(photos: list[Path]) -> None:
    job = EmbedJob(inputs=(photos[0],), output=Path("o.png"))
    same = replace(job, overwrite=True, marker=Path("m"), skip_existing=True)
    assert same.fingerprint() == job.fingerprint()
    others = [
        replace(job, inputs=(photos[1],)),
        replace(job, output=Path("p.png")),
        replace(job, options=EmbedOptions(effort=0)),
    ]
    prints = {each.fingerprint() for each in (job, *others)}
    assert len(prints) == 4
    os.utime(photos[0], ns=(0, 0))
    assert job.fingerprint() not in prints


def test_evaluated_inputs_are_known_by_their_content(photos: list[Path], tmp_path: Path) -> None:
    job = EvaluateJob(
        inputs=(photos[0],), name="a", task="t", model=Path("m"), options=EmbedOptions()
    )
    copy = tmp_path / photos[0].name
    copy.write_bytes(photos[0].read_bytes())
    assert replace(job, inputs=(copy,)).fingerprint() == job.fingerprint()
    copy.write_bytes(photos[1].read_bytes())
    assert replace(job, inputs=(copy,)).fingerprint() != job.fingerprint()
    folder = replace(job, inputs=(photos[0].parent,))
    before = folder.fingerprint()
    photos[1].unlink()
    assert folder.fingerprint() != before


def test_an_input_that_is_gone_fails_with_its_own_work(tmp_path: Path) -> None:
    job = EvaluateJob(
        inputs=(tmp_path / "gone.png",),
        marker=tmp_path / "marker.json",
        name="a",
        task="t",
        model=Path("m"),
        options=EmbedOptions(),
    )
    assert earlier_outcome(job) is None


def test_an_output_without_its_marker_gets_one(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    done(run("embed", *photos[:2], "-o", out, *QUICK))
    marker = tmp_path / "done" / "out.png.json"
    job = EmbedJob(inputs=tuple(photos[:2]), output=out, marker=marker, skip_existing=True)
    first = earlier_outcome(job)
    assert first is not None and first.skipped and first.record is None
    again = earlier_outcome(replace(job, skip_existing=False))
    assert again is not None and again.record == {"outputs": [str(out)]}
