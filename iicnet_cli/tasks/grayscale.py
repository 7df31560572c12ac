"""A colour photo in its grey version, a true 8-bit grey PNG (paper, supplement)."""

from iicnet_cli.options import EmbedOptions
from iicnet_cli.pictures.arrays import Pixels, luma
from iicnet_cli.tasks.single import SinglePhotoTask


class GrayscaleTask(SinglePhotoTask):
    """The luma of the photo is the reference."""

    name = "grayscale"
    needs = "one colour photo"

    def cover(self, picture: Pixels, options: EmbedOptions) -> Pixels:
        return luma(picture)
