"""The tasks of the paper, one file each. A new task is one file and one row here."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from iicnet_cli.container.header import check_counts
from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.motion_photo import is_motion_photo
from iicnet_cli.media.patterns import is_pattern
from iicnet_cli.media.stereo_formats import is_stereo
from iicnet_cli.media.video_reader import is_video
from iicnet_cli.options import EmbedOptions
from iicnet_cli.pictures.limits import max_pixels, max_pixels_text
from iicnet_cli.tasks.dual import DualTask
from iicnet_cli.tasks.grayscale import GrayscaleTask
from iicnet_cli.tasks.layers import LayersTask
from iicnet_cli.tasks.rescale import RescaleTask
from iicnet_cli.tasks.stego import StegoTask
from iicnet_cli.tasks.stereo import StereoTask
from iicnet_cli.tasks.task import PictureSource, Task
from iicnet_cli.tasks.video import VideoTask

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        VideoTask(),
        StereoTask(),
        DualTask(),
        LayersTask(),
        StegoTask(),
        GrayscaleTask(),
        RescaleTask(),
    )
}

MIN_PICTURE_SIDE = 16
"""Pictures whose shorter side has fewer pixels than this cannot be embedded."""

__all__ = [
    "TASKS",
    "Task",
    "check_total_size",
    "choose_task",
    "guess_task",
    "open_source",
    "task_named",
]


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        UsageError: there is no such task.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise UsageError(f"no task '{name}'", hint=f"tasks: {', '.join(TASKS)}") from None


def guess_task(inputs: Sequence[Path], options: EmbedOptions) -> Task:
    """Guess the task from inputs that leave no doubt.

    One clip, folder or pattern is video; one MPO or JPS, or a file with ``layout``, is stereo; one
    OpenRaster or PSD is layers; one photo with ``zoom`` is dual; two or more photos are stego, and
    so is one with attachments.

    Raises:
        UsageError: they fit several tasks, or none.
        MediaError: an input does not exist.
    """
    first = inputs[0]
    for path in inputs:
        if not path.exists() and not is_pattern(path):
            raise MediaError(f"{path}: no such file or folder")
    if options.layout is not None:
        return TASKS["stereo"]
    if options.zoom is not None:
        return TASKS["dual"]
    if len(inputs) == 1:
        if first.suffix.lower() in (".ora", ".psd"):
            return TASKS["layers"]
        if is_stereo(first):
            return TASKS["stereo"]
        if first.is_dir() or is_pattern(first) or is_video(first) or is_motion_photo(first):
            return TASKS["video"]
        if options.attachments:
            return TASKS["stego"]
    elif not any(path.is_dir() or is_video(path) for path in inputs):
        return TASKS["stego"]
    what = "one photo" if len(inputs) == 1 and first.is_file() else "these inputs"
    raise UsageError(
        f"cannot tell the task from {what}",
        hint=f"add --task ({', '.join(TASKS)}); iicnet embed --help says what each needs",
    )


def choose_task(
    inputs: Sequence[str | PathLike[str]], task: str | None, options: EmbedOptions
) -> tuple[list[Path], Task]:
    """The inputs as paths, and the task that is named or can be guessed.

    Raises:
        UsageError: there are no inputs, they leave doubts, or the task has no use for an option.
        MediaError: an input does not exist.
    """
    paths = [Path(path) for path in inputs]
    if not paths:
        raise UsageError("nothing to embed: no input was given")
    for path in paths:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UsageError(f"{path}: is no regular file", hint="give - to read from a pipe")
    chosen = task_named(task) if task else guess_task(paths, options)
    for name in options.given_for_tasks():
        if name not in chosen.takes:
            raise UsageError(f"{chosen.name} has no use for --{name}")
    return paths, chosen


def open_source(
    task: Task, paths: Sequence[Path], images: int | None, options: EmbedOptions
) -> PictureSource:
    """Open the inputs of a task as :meth:`Task.open` does.

    Raises:
        UsageError: the inputs are not what the task needs, their pictures are too small, or a
            header could not describe so many.
        MediaError: an input cannot be read.
    """
    task.check_inputs(paths, options)
    source = task.open(paths, images, options)
    if min(source.width, source.height) < MIN_PICTURE_SIDE:
        raise UsageError(
            f"pictures of {source.width}x{source.height} pixels are too small: "
            f"{MIN_PICTURE_SIDE}x{MIN_PICTURE_SIDE} is the least"
        )
    check_counts(source.source_names, source.timed_frames)
    return source


def check_total_size(source: PictureSource) -> None:
    """Refuse photos of more pixels than are restored at once.

    Raises:
        UsageError: the photos are larger together than ``max_pixels``.
    """
    if source.own_pixels > max_pixels():
        raise UsageError(
            f"the pictures have more than {max_pixels_text()} together",
            hint="make them smaller, or raise the limit with --max-pixels",
        )
