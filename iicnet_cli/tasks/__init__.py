"""The tasks of the paper, one file each. Adding one = one file and one row here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iicnet_cli.errors import UsageError
from iicnet_cli.media.video import is_video
from iicnet_cli.tasks.base import EmbedOptions, Group, Job, Task
from iicnet_cli.tasks.stego import StegoTask
from iicnet_cli.tasks.video import VideoTask

TASKS: dict[str, Task] = {task.name: task for task in (VideoTask(), StegoTask())}

__all__ = ["TASKS", "EmbedOptions", "Group", "Job", "Task", "guess_task", "task_named"]


def task_named(name: str) -> Task:
    """A task by its name.

    Raises:
        UsageError: there is none.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise UsageError(f"no task '{name}'", hint=f"tasks: {', '.join(TASKS)}") from None


def guess_task(inputs: Sequence[Path]) -> Task:
    """The task, where the inputs leave no doubt: one clip is video, two or more photos are stego.

    Raises:
        UsageError: they leave doubt; the message names what each task needs.
    """
    if len(inputs) == 1 and (inputs[0].is_dir() or is_video(inputs[0])):
        return TASKS["video"]
    if len(inputs) >= 2 and not any(path.is_dir() or is_video(path) for path in inputs):
        return TASKS["stego"]
    needs = "; ".join(f"{task.name} needs {task.needs}" for task in TASKS.values())
    raise UsageError("cannot tell the task from these inputs", hint=f"add --task. {needs}")
