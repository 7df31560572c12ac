"""Pictures and embeddings in memory instead of in files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iicnet_cli.container.chunks import HEADER_KEYWORD
from iicnet_cli.container.png_reader import read_header
from iicnet_cli.errors import MediaError
from iicnet_cli.pictures.arrays import Pixels

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo


def write_pictures(images: Sequence[Pixels | Image.Image], folder: Path) -> list[Path]:
    """Write pictures losslessly into a folder, in order.

    Args:
        images: arrays (H, W), (H, W, 3) or (H, W, 4) uint8, or Pillow images.
        folder: where ``picture-0001.png`` and so on are written.

    Returns:
        The files.

    Raises:
        MediaError: PNG has no such kind of picture.
    """
    from PIL import Image

    paths = []
    for number, picture in enumerate(images, 1):
        path = folder / f"picture-{number:04}.png"
        try:
            image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
            image.save(path)
        except (OSError, TypeError) as error:
            raise MediaError(
                f"picture {number} cannot be written as a PNG ({error})",
                hint="convert it to 8-bit RGB first",
            ) from error
        paths.append(path)
    return paths


def open_embedding(png: bytes) -> Image.Image:
    """A PNG that iicnet wrote, as a Pillow image that has its header in ``info``."""
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    image.load()
    header = read_header(io.BytesIO(png))
    if header is not None:
        image.info[HEADER_KEYWORD.decode()] = header.to_json()
    return image


def embedding_info(image: Image.Image) -> PngInfo:
    """The header of an embedding for ``image.save(..., pnginfo=embedding_info(image))``.

    Args:
        image: as :meth:`Converter.embed_images` returns it.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    text = image.info.get(HEADER_KEYWORD.decode())
    if text is not None:
        info.add_itxt(HEADER_KEYWORD.decode(), str(text))
    return info


def encode_embedding(image: Image.Image) -> bytes:
    """An embedding as a PNG, with its header if the image has it."""
    file = io.BytesIO()
    image.save(file, "PNG", save_all=True, pnginfo=embedding_info(image))
    return file.getvalue()
