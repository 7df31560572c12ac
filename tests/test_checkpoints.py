"""Which checkpoint embeds for a task."""

from __future__ import annotations

import pytest

from iicnet_cli.engines.network.checkpoints import default_checkpoint


@pytest.mark.parametrize(
    ("task", "images", "half", "name"),
    [
        ("video", None, False, "video-5"),
        ("video", None, True, "video-3-half"),
        ("video", 9, False, "video-9"),
        ("video", 5, True, "video-5-half"),
        ("stego", None, False, "stego-2"),
        ("stego", 4, False, "stego-4"),
        ("layers", None, False, "layers-3"),
        ("layers", 2, False, "layers-2"),
        ("stereo", None, False, "stereo"),
        ("dual", 2, False, "dual"),
        ("grayscale", 1, False, "grayscale"),
        ("rescale", None, False, "rescale"),
    ],
)
def test_each_task_has_a_default_checkpoint(
    task: str, images: int | None, half: bool, name: str
) -> None:
    assert default_checkpoint(task, images, half=half) == name
