"""A photo in its half-size version (paper, supplement)."""

from iicnet_cli.tasks.single import SinglePhotoTask


class RescaleTask(SinglePhotoTask):
    """The photo halved bilinearly is the reference."""

    name = "rescale"
