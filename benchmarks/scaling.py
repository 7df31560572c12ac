"""Throughput of many files: what handing out a file costs, and what 1, 2 and 4 workers do.

Photos and short clips are cut from the sample media and embedded by whole commands, start-up
included, with ``--jobs`` and, where Ray is installed, with ``--on ray``. CPU seconds are those of
all processes of a command; those of a Ray cluster are not known. The share of handing out is
measured apart, with jobs that do nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import child_usage
from tables import table_head, table_row

from iicnet_cli.jobs.job import ConverterSettings, Job, Outcome
from iicnet_cli.jobs.local_workers import perform_in_processes
from iicnet_cli.jobs.machine import available_cores

ROOT = Path(__file__).resolve().parents[1]
MEDIA = ROOT / "examples" / "media"
PHOTOS = ("china.jpg", "flower.jpg", "coffee.png", "chelsea.png", "rocket.jpg")
PHOTO_SIZE = (320, 240)
CLIP_SIZE = (320, 180)
CLIP_FRAMES = 5
"""Frames of a short clip: one group of video-5."""
MEMORY_SIZES = ((854, 480), (1920, 1080))
"""Sizes in pixels of the pictures whose memory is measured."""
CLIPS_ASKED, MACHINES_ASKED = 1_000_000, 100
"""What the arithmetic at the end is about."""

COLUMNS = ("files", "workers", "seconds", "files a second", "times one", "CPU s a file", "MiB each")
"""Titles of the table's columns."""


@dataclass(frozen=True, kw_only=True)
class NoWork(Job[None]):
    """A job that takes no time."""

    def run(self, converter: Any) -> None:
        return None

    def record(self, report: Any) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Run:
    """One command over all files of a kind.

    Attributes:
        kind: of the files, and where they were worked on.
        workers: number of them.
        files: number of them.
        seconds: of the whole command.
        cpu_seconds: of all its processes; ``None`` on a cluster.
        peak_bytes: memory of its largest process; ``None`` on a cluster.
    """

    kind: str
    workers: int
    files: int
    seconds: float
    cpu_seconds: float | None
    peak_bytes: float | None

    def cells(self, one: Run) -> list[str]:
        """A row of the table; ``one`` is the run with one worker."""
        return [
            f"{self.files} {self.kind}",
            str(self.workers),
            f"{self.seconds:.1f}",
            f"{self.files / self.seconds:.2f}",
            f"{one.seconds / self.seconds:.2f}",
            "-" if self.cpu_seconds is None else f"{self.cpu_seconds / self.files:.2f}",
            "-" if self.peak_bytes is None else f"{self.peak_bytes / 2**20:.0f}",
        ]


def make_photos(folder: Path, count: int) -> str:
    """Cut photos from the sample photos; returns the pattern that they fit."""
    from PIL import Image

    folder.mkdir()
    width, height = PHOTO_SIZE
    for i in range(count):
        with Image.open(MEDIA / PHOTOS[i % len(PHOTOS)]) as photo:
            x = 7 * i % (photo.width - width)
            y = 5 * i % (photo.height - height)
            photo.convert("RGB").crop((x, y, x + width, y + height)).save(folder / f"{i:04}.png")
    return str(folder / "*.png")


def make_clips(folder: Path, count: int) -> str:
    """Cut short clips from the sample clip; returns the pattern that they fit."""
    from iicnet_cli.media.video_reader import open_frames
    from iicnet_cli.media.video_writer import open_writer

    folder.mkdir()
    width, height = CLIP_SIZE
    with open_frames(MEDIA / "city.mp4") as frames:
        scene = list(islice(frames, 2 * CLIP_FRAMES))
    for i in range(count):
        tall, wide = scene[0].shape[:2]
        y, x = 11 * i % (tall - height), 17 * i % (wide - width)
        first = i % CLIP_FRAMES
        with open_writer(folder / f"{i:04}.mkv", width, height, Fraction(25)) as writer:
            for frame in scene[first : first + CLIP_FRAMES]:
                writer.add(frame[y : y + height, x : x + width])
    return str(folder / "*.mkv")


def measure(kind: str, pattern: str, files: int, workers: int, options: Sequence[str]) -> Run:
    """Embed all files that fit a pattern with one command."""
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryFile("w+") as lines:
        command = [sys.executable, "-m", "iicnet_cli", "embed", pattern, "--out-dir", out]
        command += ["--jobs", str(workers), "--json", *options]
        usage = child_usage.run(command, cwd=ROOT, stdout=lines)
        assert usage["returncode"] == 0, usage
        lines.seek(0)
        records = [json.loads(line) for line in lines]
    assert len(records) == files, f"{len(records)} of {files}"
    seconds = usage["wall_seconds"]
    if "--on" in options:
        return Run(f"{kind}, Ray", workers, files, seconds, None, None)
    return Run(kind, workers, files, seconds, usage["cpu_seconds"], usage["peak_bytes"])


def print_memory() -> None:
    """Print the peak memory of jobs of usual sizes, each in a process with one thread."""
    from PIL import Image

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    print(table_head(("input", "MiB"), text_columns=(0,)))
    for width, height in MEMORY_SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "frames"
            folder.mkdir()
            with Image.open(MEDIA / PHOTOS[0]) as photo:
                scene = photo.convert("RGB").resize((width + 80, height + 40))
            for i in range(CLIP_FRAMES):
                x, y = 8 * i, 4 * i
                scene.crop((x, y, x + width, y + height)).save(folder / f"{i}.png")
            for task, source in (("grayscale", folder / "0.png"), ("video", folder)):
                command = [sys.executable, "-m", "iicnet_cli", "embed", str(source), "-q"]
                command += ["--task", task, "-o", str(Path(scratch) / f"{task}.png")]
                usage = child_usage.run(command, cwd=ROOT, env=environment)
                assert usage["returncode"] == 0, usage
                name = f"{task}, {width}x{height}"
                print(table_row([name, f"{usage['peak_bytes'] / 2**20:.0f}"]), flush=True)


def seconds_of_handing_out(jobs: int, *, ray: bool) -> tuple[float, float]:
    """Seconds until the first outcome of a job without work, and seconds a job after it."""
    settings = ConverterSettings(device="cpu")
    todo = [NoWork(inputs=(Path(str(i)),)) for i in range(jobs + 1)]
    began = time.perf_counter()
    with closing(_outcomes(todo, settings, ray=ray)) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            if outcome.job == todo[0]:
                first = time.perf_counter()
        return first - began, (time.perf_counter() - first) / jobs


def _outcomes(todo: Sequence[NoWork], settings: ConverterSettings, *, ray: bool) -> Any:
    if ray:
        from iicnet_cli.cluster import perform_on_ray

        return perform_on_ray(todo, settings, None, 1, _ignore, print)
    return perform_in_processes(todo, settings, 1, _ignore)


def _ignore(outcome: Outcome[Any]) -> None:
    pass


def days_for(clips: int, machines: int, files_a_second: float) -> float:
    """Days for this many clips on machines that each do so many files a second.

    >>> round(days_for(1_000_000, 100, 0.5), 3)
    0.231
    """
    return clips / (machines * files_a_second) / 86_400


def arithmetic(fastest: Run, handing_out: float) -> str:
    """What the figures come to for very many clips."""
    rate = fastest.files / fastest.seconds
    days = days_for(CLIPS_ASKED, MACHINES_ASKED, rate)
    return (
        f"{CLIPS_ASKED:,} such clips on {MACHINES_ASKED} such machines: {CLIPS_ASKED:,} / "
        f"({MACHINES_ASKED} x {rate:.2f} a second) = {24 * days:.1f} hours. One process that hands "
        f"them all out is busy for {CLIPS_ASKED:,} x {1000 * handing_out:.1f} ms = "
        f"{CLIPS_ASKED * handing_out / 3600:.1f} hours of that."
    )


def _runs(
    kinds: Iterable[tuple[str, str]], options: argparse.Namespace, ray: bool
) -> Iterable[tuple[Run, Run]]:
    """Each run, with that of one worker of its kind."""
    for kind, pattern in kinds:
        more = ["--task", "grayscale"] if kind == "photos" else []
        measure(kind, pattern.replace("*", "0000"), 1, 1, more)  # compiles what is not in the cache
        for where in ([], ["--on", "ray"]) if ray else ([],):
            one = None
            for workers in options.workers:
                run = measure(kind, pattern, options.files, workers, [*more, *where])
                one = one or run
                yield run, one


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=12, help="photos, and clips")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--memory", action="store_true", help="measure the memory of a job only")
    options = parser.parse_args(arguments)
    # Workers have to import this file.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    os.environ.pop("IICNET_JOBS", None)
    if options.memory:
        print_memory()
        return 0
    ray = not options.no_ray and importlib.util.find_spec("ray") is not None
    local = seconds_of_handing_out(1000, ray=False)
    print(
        f"Worker process: {local[0]:.1f} s to start, {1000 * local[1]:.2f} ms to hand out a file."
    )
    handing_out = local[1]
    if ray:
        start, handing_out = seconds_of_handing_out(1000, ray=True)
        print(f"Ray actor: {start:.1f} s to start, {1000 * handing_out:.2f} ms to hand out a file.")
    print(f"\n{available_cores()} cores.\n\n{table_head(COLUMNS, text_columns=(0,))}")
    fastest = None
    with tempfile.TemporaryDirectory() as scratch:
        photos = make_photos(Path(scratch) / "photos", options.files)
        clips = make_clips(Path(scratch) / "clips", options.files)
        for run, one in _runs([("photos", photos), ("clips", clips)], options, ray):
            print(table_row(run.cells(one)), flush=True)
            if run.kind == "clips" and (fastest is None or run.seconds < fastest.seconds):
                fastest = run
    assert fastest is not None
    print(f"\n{arithmetic(fastest, handing_out)}")
    return 0


if __name__ == "__main__":
    # Jobs of __main__ would mean nothing to the workers.
    import scaling

    sys.exit(scaling.main())
