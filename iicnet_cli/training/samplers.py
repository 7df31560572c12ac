"""Random training samples of each task.

Every sampler returns (K, crop, crop, 3) arrays, the reference first. A sample depends on nothing
but the random generator that is passed in, so a run can be repeated and resumed exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli.errors import TrainingError
from iicnet_cli.pictures.arrays import PixelArray, Pixels
from iicnet_cli.tasks.dual import dual_views
from iicnet_cli.tasks.task import reference_first
from iicnet_cli.training.crop_motion import subtract_crop_prediction
from iicnet_cli.training.synthetic_motion import moving_photos, stereo_photos


class Sampler(Protocol):
    """Draws random samples."""

    def sample(self, rng: Generator, crop: int) -> PixelArray:
        """Return (K, crop, crop, 3), the reference first."""
        ...


class StegoSampler:
    """K different photos, each cropped, flipped and turned on its own.

    Args:
        photos: (H, W, 3) each.
        images: number of photos in a sample.

    Raises:
        TrainingError: there are fewer photos than a sample has.
    """

    def __init__(self, photos: Sequence[Pixels], images: int) -> None:
        if len(photos) < images:
            raise TrainingError(f"{images} photos are needed at least, {len(photos)} were found")
        self.photos = photos
        self.images = images

    def sample(self, rng: Generator, crop: int) -> Pixels:
        chosen = rng.choice(len(self.photos), self.images, replace=False)
        return np.stack([_turn(_crop(self.photos[i], crop, rng), rng) for i in chosen])


class VideoSampler:
    """K frames of a clip at a random stride, or of a clip made from photos; the middle frame first.

    Clips with more motion are drawn more often, because a network learns nearly still ones at once.
    The motion is compensated as it is before embedding. All frames of a sample share one crop, flip
    and direction of time, so that the remaining motion stays realistic.

    Args:
        clips: (T, H, W, 3) each; those of fewer than ``images`` frames are left out.
        photos: photos for synthetic clips.
        images: number of frames in a sample.
        strides: steps between the frames of a sample, drawn with equal probability.
        synthetic: share of samples that are made from photos.

    Attributes:
        scenes: groups of frames (K, H, W, 3) whose motion is compensated already. If there are any,
            samples are cut from these instead of the clips.

    Raises:
        TrainingError: no clip is long enough.
    """

    def __init__(
        self,
        clips: Sequence[Pixels],
        photos: Sequence[Pixels],
        images: int,
        strides: Sequence[int],
        synthetic: float,
    ) -> None:
        self.clips = [clip for clip in clips if len(clip) >= images]
        if not self.clips:
            raise TrainingError(f"no clip of {images} frames or more was found")
        self.photos = photos
        self.images = images
        self.strides = strides
        self.synthetic = synthetic if photos else 0.0
        activity = np.array([_mean_frame_difference(clip) for clip in self.clips]).clip(2, 20)
        self.weights = activity / activity.sum()
        self.scenes: Sequence[PixelArray] = ()

    def sample(self, rng: Generator, crop: int) -> PixelArray:
        if rng.random() < self.synthetic:
            clip = moving_photos(self.photos, self.images, crop, rng)
            frames: PixelArray = clip[reference_first(self.images)]
        else:
            frames = self._real_frames(rng, crop)
        return frames[:, :, ::-1] if rng.random() < 0.5 else frames

    def draw(self, rng: Generator) -> tuple[int, NDArray[np.int64]]:
        """Draw a clip, as its index, and the times of K of its frames, the reference first."""
        chosen = int(rng.choice(len(self.clips), p=self.weights))
        clip = self.clips[chosen]
        stride = int(rng.choice(self.strides))
        stride = min(stride, (len(clip) - 1) // (self.images - 1)) if self.images > 1 else 1
        start = rng.integers(len(clip) - (self.images - 1) * stride)
        times = start + stride * np.array(reference_first(self.images))
        if rng.random() < 0.5:
            times = len(clip) - 1 - times
        return chosen, times

    def _real_frames(self, rng: Generator, crop: int) -> PixelArray:
        if self.scenes:
            scene = self.scenes[int(rng.integers(len(self.scenes)))]
            y, x = _corner(scene[0], crop, rng)
            return scene[:, y : y + crop, x : x + crop]
        clip, times = self.draw(rng)
        frames = self.clips[clip][times]
        y, x = _corner(frames[0], crop, rng)
        return subtract_crop_prediction(frames, y, x, crop)


class DualSampler:
    """Crops (2, crop, crop, 3) of the normal and the zoomed view of random windows of photos.

    All zooms are drawn equally often. Both views are turned and mirrored together.

    Args:
        photos: (H, W, 3) each, of any sizes.
        zooms: ratios of the zoomed view's scale to that of the normal view.
        smallest: minimum length in pixels of the shorter side of a normal view. Crops must not be
            larger than this.

    Raises:
        TrainingError: no photo is large enough.
    """

    def __init__(self, photos: Sequence[Pixels], zooms: Sequence[int], smallest: int) -> None:
        views = [
            [
                (dual_views(photo, zoom)[0], photo)
                for photo in photos
                if min(photo.shape[:2]) // zoom >= smallest
            ]
            for zoom in zooms
        ]
        self.views = [(zoom, pairs) for zoom, pairs in zip(zooms, views, strict=True) if pairs]
        if not self.views:
            raise TrainingError(f"no photo of {min(zooms) * smallest} pixels or more was found")

    def sample(self, rng: Generator, crop: int) -> Pixels:
        zoom, pairs = self.views[int(rng.integers(len(self.views)))]
        normal, photo = pairs[int(rng.integers(len(pairs)))]
        corners = []
        for length in normal.shape[:2]:
            window = int(rng.integers(crop, length + 1))
            start = int(rng.integers(length - window + 1))
            offset = int(rng.integers(window - crop + 1))
            corners.append((start + offset, zoom * start + (zoom - 1) * window // 2 + offset))
        crops = [
            view[y : y + crop, x : x + crop]
            for view, y, x in zip((normal, photo), *corners, strict=True)
        ]
        pair = np.stack(crops)
        if rng.random() < 0.5:
            pair = pair[:, :, ::-1]
        return np.rot90(pair, int(rng.integers(4)), axes=(1, 2))


class StereoSampler:
    """A rectified stereo pair, left view first, or one made from photos on planes in space.

    In a mirrored pair the views change places, so that disparities keep their sign.

    Args:
        pairs: (2, H, W, 3) each.
        photos: photos for synthetic pairs.
        synthetic: share of samples that are made from photos.

    Raises:
        TrainingError: there are neither pairs nor photos.
    """

    def __init__(self, pairs: Sequence[Pixels], photos: Sequence[Pixels], synthetic: float) -> None:
        if not (pairs or photos):
            raise TrainingError("neither stereo pairs NAME_left, NAME_right nor photos were found")
        self.pairs = pairs
        self.photos = photos
        self.synthetic = (synthetic if pairs else 1.0) if photos else 0.0

    def sample(self, rng: Generator, crop: int) -> Pixels:
        if rng.random() < self.synthetic:
            return stereo_photos(self.photos, crop, rng)
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        y, x = _corner(pair[0], crop, rng)
        views = pair[:, y : y + crop, x : x + crop]
        return views[::-1, :, ::-1] if rng.random() < 0.5 else views


class LayersSampler:
    """Composite, background and foreground: a cut-out of random size and place before a photo.

    The foreground stands on a plain colour, most often white.

    Args:
        cutouts: (H, W, 4) each, with straight (not premultiplied) alpha.
        photos: backgrounds, (H, W, 3) each.
        images: 3, or 2 without the foreground.

    Raises:
        TrainingError: there are no cut-outs or no photos.
    """

    def __init__(self, cutouts: Sequence[Pixels], photos: Sequence[Pixels], images: int) -> None:
        if not (cutouts and photos):
            raise TrainingError(
                f"{len(cutouts)} cut-outs with transparency and {len(photos)} photos were found; "
                "both are needed"
            )
        # Pillow resizes correctly only what is premultiplied.
        self.cutouts = [Image.fromarray(pixels).convert("RGBa") for pixels in cutouts]
        self.photos = photos
        self.images = images

    def sample(self, rng: Generator, crop: int) -> Pixels:
        photo = self.photos[int(rng.integers(len(self.photos)))]
        background = _turn(_crop(photo, crop, rng), rng)
        cutout = self.cutouts[int(rng.integers(len(self.cutouts)))]
        foreground = _place_cutout(cutout, crop, rng)
        if rng.random() < 0.5:
            foreground = foreground[:, ::-1]
        colour = np.full(3, 255) if rng.random() < 0.7 else rng.integers(0, 256, 3)
        composite = _alpha_blend(foreground, background)
        pictures = [composite, background, _alpha_blend(foreground, colour)]
        return np.stack(pictures[: self.images])


def _place_cutout(cutout: Image.Image, crop: int, rng: Generator) -> Pixels:
    """Draw a cut-out at a random size and place into a transparent picture (crop, crop, 4).

    Its longer side is 1 to 12 times the crop: like a crop of a large picture, the sample shows a
    part of the cut-out, its outline, or nothing of it.
    """
    scale = np.exp(rng.uniform(0, np.log(12))) * crop / max(cutout.size)
    starts, stops, box = [], [], []
    for length in cutout.size:
        side = max(8, round(length * scale))
        start = int(rng.integers(-side * 3 // 4, crop - side // 4))
        starts.append(max(0, start))
        stops.append(min(crop, start + side))
        box += [(end - start) * length / side for end in (starts[-1], stops[-1])]
    left, right, top, bottom = box
    size = (stops[0] - starts[0], stops[1] - starts[1])
    visible = cutout.resize(size, Image.Resampling.BICUBIC, (left, top, right, bottom))
    picture = Image.new("RGBA", (crop, crop))
    picture.paste(visible.convert("RGBA"), (starts[0], starts[1]))
    return np.asarray(picture)


def _alpha_blend(front: Pixels, back: NDArray[Any]) -> Pixels:
    """Blend (H, W, 4) over (H, W, 3) or one colour (3,)."""
    alpha = front[..., 3:] / 255
    blend: Pixels = np.rint(alpha * front[..., :3] + (1 - alpha) * back).astype(np.uint8)
    return blend


def _mean_frame_difference(clip: Pixels) -> float:
    """Mean absolute difference of neighbouring frames, 0..255, of every fourth row and column."""
    return float(np.abs(np.diff(clip[:, ::4, ::4].astype(np.float32), axis=0)).mean())


def _corner(image: Pixels | PixelArray, crop: int, rng: Generator) -> tuple[int, int]:
    """Draw the first row and column of a crop."""
    height, width = image.shape[:2]
    return int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))


def _crop(image: Pixels, crop: int, rng: Generator) -> Pixels:
    y, x = _corner(image, crop, rng)
    return image[y : y + crop, x : x + crop]


def _turn(image: Pixels, rng: Generator) -> Pixels:
    """Mirror half of the pictures, and turn each by a random number of quarters."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    turned: Pixels = np.rot90(image, int(rng.integers(4)))
    return turned
