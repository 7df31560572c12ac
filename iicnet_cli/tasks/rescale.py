"""A photo in its half-size version (paper, supplement)."""

from iicnet_cli.options import EmbedOptions
from iicnet_cli.pictures.arrays import Pixels, halve
from iicnet_cli.tasks.single import SinglePhotoTask


class RescaleTask(SinglePhotoTask):
    """The photo halved bilinearly is the reference."""

    name = "rescale"

    def cover(self, picture: Pixels, options: EmbedOptions) -> Pixels:
        return halve(picture)
