"""Time, memory and quality of whole commands, beside those of another version of this project.

``--against GIT_REF`` exports that commit into a temporary folder and runs its commands and those of
this working tree in turn, with the same Python and the same packages, so that both are disturbed
alike by whatever else the machine does. Rows:

* ``embed/MODEL``, ``effort-0/MODEL``: one group of pictures, start-up apart. For video-5 that is
  (a clip of four groups - its first group) / 3. For the others it is (one group - the same pictures
  at half size) / 0.75, because half the size is a quarter of the work.
* ``restore/folder``, ``restore/mkv``, ``restore/mp4``: the whole command, for the clip of four
  groups. Both versions restore the same PNG, which the other version wrote.
* ``start/version``, ``start/info``, ``start/embed``: whole commands with next to nothing to do;
  the last one embeds a clip of 32x32 pixels.
* ``start/first-embed``: the first group of the clip, embedded when the cache of functions that
  Numba compiles is empty. All other rows find it full.

CPU seconds are those of the command and its children, user and system. Memory is the peak of the
largest single process. Of several runs each figure is the least: what else happens on the machine,
and threads that spin while they wait, only add to it.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from command_inputs import CLIP_MODEL, GROUPS, PHOTO_MODELS, CommandInputs, make_inputs
from evaluation_data import MEDIA, ROOT, display_name
from tables import table_head, table_row

from iicnet_cli.errors import ExitCode, IICNetError, MediaError, UsageError
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.pictures.metrics import psnr

SIZE = (854, 480)
"""Width and height of all pictures unless ``--size`` is given."""
EMBEDS = {"embed": (), "effort-0": ("--effort", "0")}
"""Kinds of rows that embed, with their options."""
RESTORES = {"folder": "restored", "mkv": "restored.mkv", "mp4": "restored.mp4"}
"""What is restored into which output."""
CLIP_PNG = "clip.png"
"""Name of the PNG that is restored."""
_REST = 0.75
"""Share of the work that is left when a quarter of it is subtracted."""
STARTS = ("version", "info", "embed")
FIRST = "start/first-embed"
NAMES = (
    *(f"{kind}/{model}" for model in (CLIP_MODEL, *PHOTO_MODELS) for kind in EMBEDS),
    *(f"restore/{target}" for target in RESTORES),
    *(f"start/{name}" for name in STARTS),
    FIRST,
)
"""All rows."""


class CommandError(IICNetError):
    """A command that was to be measured failed."""


@dataclass(frozen=True)
class Tree:
    """One version of the project.

    Attributes:
        label: for the table.
        root: folder that holds the package.
        scratch: folder where its commands run and write.
    """

    label: str
    root: Path
    scratch: Path

    @property
    def compiled(self) -> Path:
        """Folder for the functions that Numba compiles."""
        return self.scratch / "compiled"

    def environment(self) -> dict[str, str]:
        """Variables for its commands: its package, and a cache of compiled functions of its own."""
        return os.environ | {"PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(self.compiled)}

    def check(self) -> None:
        """Make sure that its commands run its own package.

        Raises:
            UsageError: they would run another one.
        """
        code = "import iicnet_cli; print(iicnet_cli.__file__)"
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command,
            cwd=self.scratch,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if not Path(done.stdout.strip()).is_relative_to(self.root):
            raise UsageError(f"{self.label} cannot be run from {self.root}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Usage:
    """What one run of a command took, and what its result is worth.

    Attributes:
        cpu_seconds: user and system, of the process and its children.
        wall_seconds: from start to end.
        peak_bytes: most memory of the largest process.
        embed_psnr: in dB; ``None`` unless it embeds.
        restored_psnr: in dB, mean over all pictures; ``None`` unless it embeds or restores.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: float
    embed_psnr: float | None = None
    restored_psnr: float | None = None


@dataclass(frozen=True)
class Case:
    """One row: commands to run, as arguments of iicnet.

    Attributes:
        name: of the row.
        whole: the command that is measured.
        less: a command whose time is subtracted; ``None`` if the whole command counts.
        groups: what the difference is divided by.
        originals: pictures, in order, that the output named after ``-o`` is compared with; empty
            if the command reports its quality itself.
    """

    name: str
    whole: tuple[str, ...]
    less: tuple[str, ...] | None = None
    groups: float = 1
    originals: tuple[Path, ...] = ()


def least(runs: Sequence[Usage]) -> Usage:
    """The least of each figure; the quality is that of the last run."""
    return dataclasses.replace(
        runs[-1],
        cpu_seconds=min(run.cpu_seconds for run in runs),
        wall_seconds=min(run.wall_seconds for run in runs),
        peak_bytes=min(run.peak_bytes for run in runs),
    )


def start_up_apart(whole: Usage, less: Usage | None, groups: float) -> Usage:
    """What one group takes of a command, less a command for the rest; memory is the whole's."""
    if less is None:
        return whole
    return dataclasses.replace(
        whole,
        cpu_seconds=(whole.cpu_seconds - less.cpu_seconds) / groups,
        wall_seconds=(whole.wall_seconds - less.wall_seconds) / groups,
    )


def run_command(tree: Tree, arguments: Sequence[str], originals: Sequence[Path] = ()) -> Usage:
    """Run iicnet once.

    Raises:
        CommandError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "usage.json"
        meter = Path(__file__).with_name("child_usage.py")
        command = [sys.executable, "-I", str(meter), str(target)]
        done = subprocess.run(
            [*command, sys.executable, "-m", "iicnet_cli", *arguments],
            cwd=tree.scratch,
            env=tree.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        usage = json.loads(target.read_text("utf-8")) if done.returncode == 0 else {}
    if usage.pop("returncode", 1):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CommandError(f"{tree.label}: iicnet {arguments[0]} failed: {last}")
    if originals:
        output = tree.scratch / arguments[arguments.index("-o") + 1]
        return Usage(**usage, restored_psnr=restored_psnr(output, originals))
    report = json.loads(done.stdout) if "--json" in arguments and "embed" in arguments else {}
    return Usage(
        **usage, embed_psnr=report.get("embed_psnr"), restored_psnr=report.get("restored_psnr")
    )


def restored_psnr(output: Path, originals: Sequence[Path]) -> float:
    """Mean PSNR in dB of the frames of a clip, or of a folder.

    Raises:
        MediaError: they are not as many.
    """
    with open_frames(output) as restored, open_frames(list(originals)) as wanted:
        try:
            values = [psnr(a, b) for a, b in zip(restored, wanted, strict=True)]
        except ValueError:
            raise MediaError(f"{output.name} has not {len(originals)} frames") from None
    return float(np.mean(values))


def embed_arguments(model: str, inputs: Sequence[Path], output: str, *more: str) -> tuple[str, ...]:
    """A command that embeds."""
    task = model.partition("-")[0]
    files = map(str, inputs)
    return ("embed", *files, "-o", output, "-y", "--json", "--task", task, "--model", model, *more)


def cases_of(wanted: Sequence[str], inputs: Mapping[str, CommandInputs], png: Path) -> list[Case]:
    """The rows that are measured in turn.

    Args:
        wanted: their names.
        inputs: of each model that they need.
        png: what ``restore`` restores and ``info`` describes.
    """
    cases = []
    for name in wanted:
        kind, _, what = name.partition("/")
        if kind in EMBEDS:
            given, output = inputs[what], f"{what}.png"
            groups = GROUPS if what == CLIP_MODEL else 1
            whole, subtracted = (
                embed_arguments(what, files, output, *EMBEDS[kind])
                for files in (given.whole, given.quarter)
            )
            cases.append(Case(name, whole, subtracted, groups * _REST))
        elif kind == "restore":
            (frames,) = inputs[CLIP_MODEL].whole
            whole = ("restore", str(png), "-o", RESTORES[what], "-y", "-q")
            cases.append(Case(name, whole, originals=tuple(sorted(frames.iterdir()))))
        elif name == "start/version":
            cases.append(Case(name, ("--version",)))
        elif name == "start/info":
            cases.append(Case(name, ("info", str(png))))
        elif name == "start/embed":
            cases.append(Case(name, tiny_embed(inputs)))
    return cases


def tiny_embed(inputs: Mapping[str, CommandInputs]) -> tuple[str, ...]:
    """A command that has next to nothing to do, but uses all parts of embedding."""
    return embed_arguments(CLIP_MODEL, inputs[CLIP_MODEL].tiny, "tiny.png")


def warm_up(
    trees: Sequence[Tree], cases: Sequence[Case], inputs: Mapping[str, CommandInputs]
) -> list[Usage]:
    """Run what may be compiled at its first use.

    Returns:
        For each tree, what its very first embedding takes.
    """
    first = []
    # Not of tiny pictures, for which the network is not compiled.
    group = embed_arguments(CLIP_MODEL, inputs[CLIP_MODEL].quarter, "group.png")
    for tree in trees:
        run_command(tree, tiny_embed(inputs))  # now its files are in memory
        shutil.rmtree(tree.compiled, ignore_errors=True)
        first.append(run_command(tree, group))
    models = {case.name.partition("/")[2] for case in cases if case.name.startswith(tuple(EMBEDS))}
    for tree in trees:
        for model in sorted(models):
            run_command(tree, embed_arguments(model, inputs[model].tiny, "other.png"))
        if any(case.originals for case in cases):
            for output in RESTORES.values():
                run_command(tree, ("restore", "tiny.png", "-o", output, "-y", "-q"))
        run_command(tree, ("info", "tiny.png"))
    return first


def in_turn(trees: Sequence[Tree], case: Case, repeats: int) -> list[Usage]:
    """Measure one row: the first version, then the other, and again."""
    whole: list[list[Usage]] = [[] for _ in trees]
    less: list[list[Usage]] = [[] for _ in trees]
    for _ in range(repeats):
        for i, tree in enumerate(trees):
            whole[i].append(run_command(tree, case.whole, case.originals))
            if case.less is not None:
                less[i].append(run_command(tree, case.less))
    return [
        start_up_apart(least(a), least(b) if b else None, case.groups)
        for a, b in zip(whole, less, strict=True)
    ]


def columns(trees: Sequence[Tree]) -> list[str]:
    """Titles of the table."""
    titles = ["row"]
    for figure, ratio in (
        ("CPU s", "times as fast"),
        ("wall s", "times as fast"),
        ("peak MB", "times as much"),
    ):
        titles += [f"{figure}, {tree.label}" for tree in trees]
        titles += [ratio] * (len(trees) - 1)
    return titles + [f"dB, {tree.label}" for tree in trees]


def cells(name: str, usages: Sequence[Usage]) -> list[str]:
    """One line of the table."""
    texts = [name]
    for values, is_speed in (
        ([u.cpu_seconds for u in usages], True),
        ([u.wall_seconds for u in usages], True),
        ([u.peak_bytes / 1e6 for u in usages], False),
    ):
        texts += [f"{value:.2f}" if is_speed else f"{value:.0f}" for value in values]
        if len(values) == 2:
            before, after = values
            over, under = (before, after) if is_speed else (after, before)
            texts.append(f"{over / under:.2f}" if min(before, after) > 0 else "-")
    return texts + [_decibels(usage) for usage in usages]


def _decibels(usage: Usage) -> str:
    known = [value for value in (usage.embed_psnr, usage.restored_psnr) if value is not None]
    return " / ".join(f"{value:.2f}" for value in known) or "-"


def export(ref: str, folder: Path) -> str:
    """Write the files of a commit into a folder; returns its hash.

    Raises:
        UsageError: there is no such commit.
    """
    git = ["git", "-C", str(ROOT)]
    commit = [*git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"]
    try:
        found = subprocess.run(commit, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError("--against needs git") from None
    if found.returncode:
        raise UsageError(f"{ROOT.name} has no commit {ref}")
    name = found.stdout.strip()
    archive = subprocess.run([*git, "archive", name], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return name


def image_size(text: str) -> tuple[int, int]:
    """``854x480`` as width and height."""
    width, by, height = text.partition("x")
    if not (by and width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 32):
        raise argparse.ArgumentTypeError(f"no size of 32x32 pixels or more: {text}")
    return int(width), int(height)


def row_names(text: str) -> list[str]:
    """The rows of a name, or of its beginning up to the slash.

    >>> row_names("restore")
    ['restore/folder', 'restore/mkv', 'restore/mp4']
    """
    found = [name for name in NAMES if text == name or text == name.partition("/")[0]]
    if not found:
        raise argparse.ArgumentTypeError(f"no such row: {text}; there are {', '.join(NAMES)}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="GIT_REF", help="the version to compare with")
    parser.add_argument(
        "--only",
        action="extend",
        type=row_names,
        metavar="ROW",
        help="a row, or embed, effort-0, restore or start; may be repeated; by default all",
    )
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each command")
    for name, text in (
        ("photos", "for stego and dual: the first ones by name"),
        ("clips", "the first clip of 20 frames or more"),
        ("stereo", "the first pair"),
    ):
        parser.add_argument(f"--{name}", type=Path, default=MEDIA, metavar="FOLDER", help=text)
    parser.add_argument(
        "--size", type=image_size, default=SIZE, metavar="WxH", help="of all pictures: 854x480"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    return parser


def measure_rows(
    trees: Sequence[Tree], wanted: Sequence[str], inputs: Mapping[str, CommandInputs], repeats: int
) -> Iterator[tuple[str, list[Usage]]]:
    """Warm up, then measure row by row."""
    png = trees[0].scratch / CLIP_PNG
    cases = cases_of(wanted, inputs, png)
    first = warm_up(trees, cases, inputs)
    # The PNG of the first tree, the older one, which cannot restore what later ones write.
    restores = any(case.originals for case in cases)
    clip = inputs[CLIP_MODEL].whole if restores else inputs[CLIP_MODEL].tiny
    run_command(trees[0], embed_arguments(CLIP_MODEL, clip, CLIP_PNG, "--no-verify"))
    for case in cases:
        yield case.name, in_turn(trees, case, repeats)
    if FIRST in wanted:
        yield FIRST, first


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, object]:
    """Measure and print all rows; returns all figures."""
    wanted = list(dict.fromkeys(options.only or NAMES))
    folders = {name: getattr(options, name) for name in ("photos", "clips", "stereo")}
    (scratch / "inputs").mkdir()
    models = {CLIP_MODEL, *(name.partition("/")[2] for name in wanted)}
    inputs = {
        model: make_inputs(model, folders, options.size, scratch / "inputs")
        for model in (CLIP_MODEL, *PHOTO_MODELS)
        if model in models
    }
    trees = [Tree("this", ROOT, scratch / "runs of this")]
    commit = None
    if options.against:
        commit = export(options.against, scratch / "other")
        trees.insert(0, Tree(options.against, scratch / "other", scratch / "runs of other"))
    for tree in trees:
        tree.scratch.mkdir()
        tree.check()
    print(table_head(columns(trees)))
    rows = []
    for name, usages in measure_rows(trees, wanted, inputs, options.repeat):
        print(table_row(cells(name, usages)), flush=True)
        by_label = {t.label: dataclasses.asdict(u) for t, u in zip(trees, usages, strict=True)}
        rows.append({"name": name, "measured": by_label})
    width, height = options.size
    data = ", ".join(f"{model} on {given.name}" for model, given in inputs.items())
    where = ", ".join(sorted({display_name(folder) for folder in folders.values()}))
    print(f"\n{data} of {where}, {width}x{height}; {options.repeat} runs, {os.cpu_count()} cores.")
    return {
        "commit": commit,
        "size": options.size,
        "repeats": options.repeat,
        "cores": os.cpu_count(),
        "data": {model: given.name for model, given in inputs.items()},
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error("--repeat must be 1 or more")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            record = measure(options, Path(scratch).resolve())
    except IICNetError as error:
        print(f"end_to_end: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
