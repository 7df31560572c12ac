"""What one training sample of each task is, drawn at random.

Every sampler gives (K, crop, crop, 3) uint8 arrays, the reference first, and depends on nothing
but the random generator that it is handed; so a run can be repeated and resumed exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli.errors import TrainingError
from iicnet_cli.motion.estimation import (
    Search,
    choose_grid,
    choose_octave,
    estimate_field,
    estimate_motion,
)
from iicnet_cli.motion.lifting import (
    neighbour_indices,
    predict_frame,
    predict_step,
    subtract_prediction,
)
from iicnet_cli.motion.phase_correlation import MIN_SIDE, phase_correlate
from iicnet_cli.motion.planes import downscale_to_grey
from iicnet_cli.pictures.arrays import PixelArray, Pixels
from iicnet_cli.tasks.dual import dual_views
from iicnet_cli.tasks.task import reference_first
from iicnet_cli.training.synthetic_motion import moving_photos, stereo_photos

_AROUND = 24
"""Pixels around a crop in which the motion is looked for."""


class Sampler(Protocol):
    """Draws one sample."""

    def sample(self, rng: Generator, crop: int) -> PixelArray:
        """Returns (K, crop, crop, 3), the reference first."""
        ...


class StegoSampler:
    """K different photos, cropped, flipped and turned independently."""

    def __init__(self, photos: Sequence[Pixels], images: int) -> None:
        if len(photos) < images:
            raise TrainingError(f"{images} photos are needed at least, {len(photos)} were found")
        self.photos = photos
        self.images = images

    def sample(self, rng: Generator, crop: int) -> Pixels:
        chosen = rng.choice(len(self.photos), self.images, replace=False)
        return np.stack([_turn(_crop(self.photos[i], crop, rng), rng) for i in chosen])


class VideoSampler:
    """K frames of a clip at a random stride, or moving photos; the middle frame first.

    Clips with more motion are drawn more often, because nearly still ones are learned at once.
    Motion is compensated as before embedding. All frames share one crop, flip and direction of
    time, so that the motion that is left stays true.

    Attributes:
        scenes: frames (K, H, W, 3) whose motion is compensated already; if there are any, samples
            are cut from these alone.
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
        motion = np.array([_motion(clip) for clip in self.clips]).clip(2, 20)
        self.weights = motion / motion.sum()
        self.scenes: Sequence[PixelArray] = ()

    def sample(self, rng: Generator, crop: int) -> PixelArray:
        if rng.random() < self.synthetic:
            moving = moving_photos(self.photos, self.images, crop, rng)
            frames: PixelArray = moving[reference_first(self.images)]
        else:
            frames = self._cut(rng, crop)
        return frames[:, :, ::-1] if rng.random() < 0.5 else frames

    def draw(self, rng: Generator) -> tuple[int, NDArray[np.int64]]:
        """A clip and the times of its frames, the reference first."""
        chosen = int(rng.choice(len(self.clips), p=self.weights))
        clip = self.clips[chosen]
        stride = int(rng.choice(self.strides))
        stride = min(stride, (len(clip) - 1) // (self.images - 1)) if self.images > 1 else 1
        start = rng.integers(len(clip) - (self.images - 1) * stride)
        times = start + stride * np.array(reference_first(self.images))
        if rng.random() < 0.5:
            times = len(clip) - 1 - times
        return chosen, times

    def _cut(self, rng: Generator, crop: int) -> PixelArray:
        if self.scenes:
            scene = self.scenes[int(rng.integers(len(self.scenes)))]
            y, x = _corner(scene[0], crop, rng)
            return scene[:, y : y + crop, x : x + crop]
        clip, times = self.draw(rng)
        frames = self.clips[clip][times]
        y, x = _corner(frames[0], crop, rng)
        return _compensated(frames, y, x, crop)


class DualSampler:
    """Crops, (2, crop, crop, 3), of the normal and zoomed views of random windows of photos.

    All zooms are drawn equally often; both views are turned and mirrored together.

    Args:
        photos: (H, W, 3) each, of any sizes.
        zooms: how many times smaller the normal view is.
        smallest: pixels of the shorter side of a normal view, at least; no crop may be larger.
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
        small, photo = pairs[int(rng.integers(len(pairs)))]
        corners = []
        for length in small.shape[:2]:
            window = int(rng.integers(crop, length + 1))
            start = int(rng.integers(length - window + 1))
            inside = int(rng.integers(window - crop + 1))
            corners.append((start + inside, zoom * start + (zoom - 1) * window // 2 + inside))
        cuts = [
            view[y : y + crop, x : x + crop]
            for view, y, x in zip((small, photo), *corners, strict=True)
        ]
        pair = np.stack(cuts)
        if rng.random() < 0.5:
            pair = pair[:, :, ::-1]
        return np.rot90(pair, int(rng.integers(4)), axes=(1, 2))


class StereoSampler:
    """A rectified pair, left first, or one made from photos that shift sideways with their depth.

    Mirrored, the left view becomes the right one; so the two change places, and disparities keep
    their sign. Disparities are compensated, as before embedding.

    Args:
        pairs: (2, H, W, 3) each.
        photos: for synthetic pairs.
        synthetic: share of those.
    """

    def __init__(self, pairs: Sequence[Pixels], photos: Sequence[Pixels], synthetic: float) -> None:
        if not (pairs or photos):
            raise TrainingError("neither stereo pairs NAME_left, NAME_right nor photos were found")
        both = [pair for given in pairs for pair in (given, given[::-1, :, ::-1])]
        self.pairs = [subtract_prediction(pair, estimate_motion(pair)) for pair in both]
        self.photos = photos
        self.synthetic = (synthetic if pairs else 1.0) if photos else 0.0

    def sample(self, rng: Generator, crop: int) -> PixelArray:
        if rng.random() < self.synthetic:
            views = stereo_photos(self.photos, crop + 2 * _AROUND, rng)
            return _compensated(views, _AROUND, _AROUND, crop)
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        y, x = _corner(pair[0], crop, rng)
        return pair[:, y : y + crop, x : x + crop]


class LayersSampler:
    """Composite, background, foreground: a cut-out of random size and place before a photo.

    The foreground stands on a plain colour, most often white.

    Args:
        cutouts: (H, W, 4) each, straight alpha.
        photos: backgrounds, (H, W, 3) each.
        images: 3, or 2 without the foreground.
    """

    def __init__(self, cutouts: Sequence[Pixels], photos: Sequence[Pixels], images: int) -> None:
        if not (cutouts and photos):
            raise TrainingError(
                f"{len(cutouts)} cut-outs with transparency and {len(photos)} photos were found; "
                "both are needed"
            )
        # Premultiplied, as Pillow needs them to resize.
        self.cutouts = [Image.fromarray(pixels).convert("RGBa") for pixels in cutouts]
        self.photos = photos
        self.images = images

    def sample(self, rng: Generator, crop: int) -> Pixels:
        photo = self.photos[int(rng.integers(len(self.photos)))]
        background = _turn(_crop(photo, crop, rng), rng)
        cutout = self.cutouts[int(rng.integers(len(self.cutouts)))]
        # A crop of a large picture shows a part of the cut-out, its outline, or nothing of it.
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
        shown = cutout.resize(size, Image.Resampling.BICUBIC, (left, top, right, bottom))
        layer = Image.new("RGBA", (crop, crop))
        layer.paste(shown.convert("RGBA"), (starts[0], starts[1]))
        pixels = np.asarray(layer)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        colour = np.full(3, 255) if rng.random() < 0.7 else rng.integers(0, 256, 3)
        pictures = [_over(pixels, background), background, _over(pixels, colour)]
        return np.stack(pictures[: self.images])


def _over(layer: Pixels, below: NDArray[Any]) -> Pixels:
    alpha = layer[..., 3:] / 255
    blend: Pixels = np.rint(alpha * layer[..., :3] + (1 - alpha) * below).astype(np.uint8)
    return blend


def _compensated(frames: Pixels, y: int, x: int, crop: int) -> PixelArray:
    """A crop of the frames as the network gets it: without what other frames show of it."""
    height, width = frames.shape[1:3]
    if min(height, width) < MIN_SIDE:
        return frames[:, y : y + crop, x : x + crop]
    top, left = max(0, y - _AROUND), max(0, x - _AROUND)
    bottom, right = min(height, y + crop + _AROUND), min(width, x + crop + _AROUND)
    window = frames[:, top:bottom, left:right]
    octave = choose_octave(height, width)
    rows, columns = np.arange(top, bottom), np.arange(left, right)
    # Motion of whole pictures is found in them; the rest is looked for around the crop only, which
    # is enough and much faster.
    shifts = [(0, 0), *phase_correlate(frames)]

    def moved(source: int, frame: int) -> Pixels:
        """The window of another frame, where this one's content is found in it."""
        dy, dx = np.subtract(shifts[frame], shifts[source])
        places = np.ix_((rows + dy).clip(0, height - 1), (columns + dx).clip(0, width - 1))
        return frames[source][places]

    near = neighbour_indices(len(frames))
    references = np.stack([moved(0, k) for k in range(1, len(frames))])
    others = np.stack([moved(source, k) for k, source in enumerate(near, 1)])
    far = [source > 0 for source in near]
    sources = np.concatenate([references, others[far]])
    search = Search(
        downscale_to_grey(window[1:], octave),
        downscale_to_grey(sources, octave),
        torch.zeros(len(sources), 2),
        far,
    )
    grid = choose_grid(len(frames), bottom - top, right - left, octave)
    motion = estimate_field(search, grid, octave)
    predictions = map(predict_frame, references, others, motion.vectors, motion.blend_weights)
    out = predict_step(window, predictions)
    return out[:, y - top :, x - left :][:, :crop, :crop]


def _motion(clip: Pixels) -> float:
    """Mean difference of neighbouring frames, 0..255, on a coarse grid of pixels."""
    return float(np.abs(np.diff(clip[:, ::4, ::4].astype(np.float32), axis=0)).mean())


def _corner(image: Pixels, crop: int, rng: Generator) -> tuple[int, int]:
    height, width = image.shape[:2]
    return int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))


def _crop(image: Pixels, crop: int, rng: Generator) -> Pixels:
    y, x = _corner(image, crop, rng)
    return image[y : y + crop, x : x + crop]


def _turn(image: Pixels, rng: Generator) -> Pixels:
    if rng.random() < 0.5:
        image = image[:, ::-1]
    turned: Pixels = np.rot90(image, int(rng.integers(4)))
    return turned
