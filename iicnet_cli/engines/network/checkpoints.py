"""Which checkpoint embeds for a task unless the user names one."""

from __future__ import annotations

from iicnet_cli.errors import UsageError

_USUAL_IMAGES = {"video": 5, "stego": 2, "layers": 3}
"""Pictures in a group, for tasks whose checkpoints differ by that, unless the inputs decide."""
_MOST_IMAGES = {"stego": 5}
"""Most pictures in a group, as in the paper, where the inputs decide their number."""
_USUAL_HALF_IMAGES = 3
"""The same for clips whose embedding has half the size."""


def default_checkpoint(task: str, images: int | None = None, *, half: bool = False) -> str:
    """Name of the checkpoint for a task.

    Args:
        task: its name.
        images: pictures in a group; ``None`` takes the usual number.
        half: the embedding of a clip has half its width and height.

    Raises:
        UsageError: there are more pictures than any checkpoint takes.

    >>> default_checkpoint("stego", 3), default_checkpoint("video", half=True)
    ('stego-3', 'video-3-half')
    """
    most = _MOST_IMAGES.get(task)
    if images is not None and most is not None and images > most:
        raise UsageError(
            f"{task} takes {most} photos at most, the cover included",
            hint="--for file takes any number",
        )
    if task not in _USUAL_IMAGES:
        return task
    if task == "video" and half:
        return f"video-{images or _USUAL_HALF_IMAGES}-half"
    return f"{task}-{images or _USUAL_IMAGES[task]}"
