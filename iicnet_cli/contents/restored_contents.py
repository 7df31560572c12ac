"""Bundles as they were hidden, back to files and to groups of pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from iicnet_cli.container.header import Header, Source
from iicnet_cli.contents.part import ALL_FRAMES, LEFT_OUT
from iicnet_cli.errors import DamagedError, IICNetError, MediaError, OutputExistsError
from iicnet_cli.media.audio import USUAL_LAYOUTS, extract_audio
from iicnet_cli.media.clip_packets import add_sound, join_clips
from iicnet_cli.media.clip_probe import has_sound
from iicnet_cli.media.files import filling_folder, named_after, names_folder, replacing
from iicnet_cli.media.motion_photo import is_motion_photo
from iicnet_cli.media.stills import read_still, resize, write_still
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.payload.bundle import Bundle, BundledFile, Role
from iicnet_cli.payload.bundle_description import joined_description, read_description
from iicnet_cli.pictures.arrays import Pixels, as_colour
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks import task_named
from iicnet_cli.tasks.photos import Photo, distinct, restored_photos
from iicnet_cli.tasks.task import Delivered, Task

_AAC = ("-c:a", "aac", "-b:a", "160k")
_SOUND_ENCODINGS = {
    ".mkv": ("-c:a", "copy"),
    ".mp4": _AAC,
    ".m4v": _AAC,
    ".mov": _AAC,
    ".webm": ("-c:a", "libopus", "-b:a", "160k", *USUAL_LAYOUTS),
    ".avi": ("-c:a", "pcm_s16le"),
}
"""How the sound of a clip is encoded that is converted to a file of this suffix. Files of other
suffixes hold none."""
_CLIP_MAGICS = ((0, b"\x1aE\xdf\xa3"), (4, b"ftyp"))
"""What files in WebM and in MP4 have at which byte."""
_SYNONYMS = {".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tif": ".tiff", ".m4v": ".mp4"}
"""Suffixes that mean the same as others."""
_USUAL_RATE = Fraction(25)
"""Frames a second where a description does not tell."""

_MOST_ENLARGEMENT = 64
"""Pictures that are carried smaller are enlarged by at most this factor on each axis."""


class RestoredContents:
    """What the intact embeddings of a PNG hold.

    Args:
        bundles: of each of them, in order.
        covers: the embedding (H, W, 3) or (H, W) of each of them.
        scratch: an empty folder for the files while they are used.

    Raises:
        DamagedError: they are no bundles of one source.
        UsageError: their task is unknown.
    """

    def __init__(self, bundles: Sequence[Bundle], covers: Sequence[Pixels], scratch: Path) -> None:
        headers = [read_description(bundle) for bundle in bundles]
        self._bundles, self._covers, self._scratch = bundles, covers, scratch
        self._headers = headers
        self.task: Task = task_named(headers[0].task)
        self.header = joined_description(headers)
        self.attachments = [f for bundle in bundles for f in bundle.of_role(Role.ATTACHMENT)]

    @property
    def originals(self) -> list[BundledFile]:
        """The inputs that are carried byte for byte."""
        return self._bundles[0].of_role(Role.ORIGINAL)

    @property
    def shown_frames(self) -> list[int]:
        """The frame of the clip that each embedding shows; 0 for photos."""
        shown, first = [], 0
        for header in self._headers:
            frames = header.frames or 1
            shown.append(first + frames // 2)
            first += frames
        return shown

    @property
    def missing_frames(self) -> int:
        """Frames of the clip in parts that are not there."""
        all_frames = self._headers[0].options.get(ALL_FRAMES)
        if not isinstance(all_frames, int):
            return 0
        return max(0, all_frames - (self.header.frames or 0))

    @property
    def is_clip(self) -> bool:
        """Whether the pictures are the frames of a clip."""
        return self.header.fps is not None

    def default_output(self, png: Path) -> Path:
        """Where the content of a PNG is written by default."""
        target = self.task.default_output(png, self.header)
        whole = self._whole_file()
        return target if whole is None else target.with_suffix(whole.suffix)

    def deliver(self, target: Path, *, overwrite: bool, options: RestoreOptions) -> Delivered:
        """Write what was restored, and the attachments.

        Files are written as they are where the target allows it; a target of another kind makes
        the task write the pictures. Attachments go into the folder of the photos; beside a clip or
        a single file, where nobody expects more files, into one that is named after it.

        Raises:
            OutputExistsError: a file exists and ``overwrite`` is False.
            UsageError: the target does not fit the task.
            MediaError: the target cannot be written.
        """
        if not self.attachments:
            return self._deliver_pictures(target, overwrite=overwrite, options=options)
        is_within = names_folder(target) and not self.is_clip
        folder = target if is_within else named_after(target, "-attachments")
        names = _distinct_files(
            [file.name for file in self.attachments], self._photo_names() if is_within else ()
        )
        existing = [folder / name for name in names if (folder / name).exists()]
        if existing and not overwrite:
            raise OutputExistsError(f"{existing[0]} exists already", hint="add -y to overwrite")
        if not is_within and not target.parent.is_dir():
            raise MediaError(f"{target}: its folder does not exist", hint="create the folder first")
        # Around the pictures, so that either all is there in the end or nothing.
        with filling_folder(folder, overwrite=overwrite) as filled:
            for name, file in zip(names, self.attachments, strict=True):
                (filled / name).write_bytes(file.data)
            delivered = self._deliver_pictures(target, overwrite=overwrite, options=options)
        extra = [folder / name for name in names]
        return replace(delivered, outputs=(*delivered.outputs, *extra))

    def groups(self) -> Iterator[Group]:
        """The pictures, the reference first; frames of clips in time.

        Raises:
            DamagedError: a file is not what its bundle says.
        """
        if self._has_all_inputs():
            yield from self._reopened()
        elif self.is_clip:
            for i in range(len(self._bundles)):
                yield from self._frames_of(i)
        else:
            yield self._photo_group()

    def _deliver_pictures(
        self, target: Path, *, overwrite: bool, options: RestoreOptions
    ) -> Delivered:
        whole = self._whole_file()
        as_it_is = options.layout is None
        if whole is not None and as_it_is and _kind_of(target) == _kind_of(whole):
            with replacing(target, overwrite=overwrite) as temporary:
                shutil.copyfile(whole, temporary)
            return Delivered((target,), self.task.pictures_in(self.header))
        if not self.is_clip and self.originals and as_it_is and names_folder(target):
            return self._deliver_folder(target, overwrite=overwrite)
        delivered = self.task.deliver(
            self.header, self.groups(), target, overwrite=overwrite, options=options
        )
        sound = self._file_with_sound(whole) if self.is_clip else None
        if sound is None:
            return delivered
        encoding = _SOUND_ENCODINGS.get(target.suffix.lower())
        if encoding is None or not target.is_file():
            kind = target.suffix[1:].upper() if target.is_file() else "a folder"
            keeping = ", ".join(_SOUND_ENCODINGS)
            note = f"the sound is left out, for {kind} holds none; these do: {keeping}"
            return replace(delivered, notes=(*delivered.notes, note))
        with replacing(target, overwrite=True) as temporary:
            add_sound(target, sound, temporary, encoding)
        return delivered

    def _deliver_folder(self, target: Path, *, overwrite: bool) -> Delivered:
        """Photos into a folder: original files as they are, the others as PNGs."""
        exact = {file.picture: file for file in self.originals}
        rest: list[Photo] = []
        if not self._has_all_inputs():
            roles = [f"picture-{i}" for i in range(len(self.header.sources))]
            photos = restored_photos(self.header, self._photo_group(), roles)
            rest = [photo for i, photo in enumerate(photos) if i not in exact]
        names = [file.name for file in self.originals] + [f"{photo.name}.png" for photo in rest]
        paths = [target / name for name in _distinct_files(names)]
        existing = [path for path in paths if path.exists()]
        if existing and not overwrite:
            raise OutputExistsError(f"{existing[0]} exists already", hint="add -y to overwrite")
        with filling_folder(target, overwrite=overwrite) as folder:
            for path, file in zip(paths, self.originals, strict=False):
                _write(folder / path.name, file.data, overwrite=False)
            for path, photo in zip(paths[len(self.originals) :], rest, strict=True):
                write_still(folder / path.name, photo.pixels)
        return Delivered(tuple(paths), self.task.pictures_in(self.header))

    def _photo_names(self) -> list[str]:
        """Names that photos may get in a folder, whichever of them are carried as they are."""
        stems = distinct([Path(source.name).stem for source in self.header.sources])
        names = [*(file.name for file in self.originals), *(f"{stem}.png" for stem in stems)]
        return [*names, *_distinct_files(names)]

    def _file_with_sound(self, whole: Path | None) -> Path | None:
        """A file that has the sound of the clip; ``None`` if there is none.

        Args:
            whole: all pictures as one file, if there is one.
        """
        if whole is None and self.originals:
            whole = self._stored(self.originals[0], 0)  # of two eyes, the left one has the sound
        if whole is None or has_sound(whole):
            return whole
        if not is_motion_photo(whole):
            return None
        sound = self._scratch / "sound.mka"
        return sound if extract_audio(whole, sound, overwrite=True) else None

    def _has_all_inputs(self) -> bool:
        """Whether the originals are all inputs, so that the task can open them again."""
        numbers = [file.picture for file in self.originals]
        return bool(numbers) and (None in numbers or len(numbers) == len(self.header.sources))

    def _whole_file(self) -> Path | None:
        """All pictures as one file that can be given away as it is; ``None`` if there is none."""
        if len(self.originals) == 1 and self._has_all_inputs():
            return self._stored(self.originals[0], 0)
        if not self.is_clip or self.originals or LEFT_OUT in self.header.options:
            return None
        clips = [self._media_of(i) for i in range(len(self._bundles))]
        if len(clips) == 1:
            return clips[0]
        joined = self._scratch / f"joined{clips[0].suffix}"
        if not joined.exists():
            join_clips(clips, _durations(self._headers), joined)
        return joined

    def _media_of(self, i: int) -> Path:
        media = self._bundles[i].of_role(Role.MEDIA)
        if len(media) != 1 or not _is_clip(media[0].data):
            raise DamagedError("the payload of a clip holds no clip")
        return self._stored(media[0], i)

    def _stored(self, file: BundledFile, i: int) -> Path:
        """A file in the scratch folder, under a name that is nothing but its kind."""
        suffix = Path(file.name).suffix.lower()
        path = self._scratch / f"part-{i}{suffix if suffix[1:].isalnum() else ''}"
        if not path.exists():
            path.write_bytes(file.data)
        return path

    def _frames_of(self, i: int) -> Iterator[Group]:
        header, cover = self._headers[i], self._covers[i]
        expected, left_out = header.frames or 0, header.options.get(LEFT_OUT)
        seen = 0
        with open_frames(self._media_of(i)) as frames:
            for frame in frames:
                if seen == left_out:
                    yield Group(self._views_in(cover, header), header.images)
                    seen += 1
                if seen == expected:
                    break
                yield Group(self._views_in(frame, header), header.images)
                seen += 1
        if seen == left_out and seen < expected:
            yield Group(self._views_in(cover, header), header.images)

    @staticmethod
    def _views_in(frame: Pixels, header: Header) -> Pixels:
        """A moment of a clip, whose views lie side by side, as (K, H, W, 3)."""
        if frame.shape != (header.height, header.width * header.images, 3):
            raise DamagedError("the clip in the payload has another size")
        return np.stack(np.split(frame, header.images, axis=1))

    def _photo_group(self) -> Group:
        """The photos at their own sizes; what is not carried is what the PNG shows."""
        sources = self.header.sources
        width, height = self.header.width, self.header.height
        # Also because all pictures are fitted to this size, which may be huge.
        if not sources or (sources[0].width, sources[0].height) != (width, height):
            raise DamagedError("the payload holds no pictures of the size that it says")
        carried = {
            file.picture: file
            for file in self._bundles[0].of_role(Role.MEDIA, Role.ORIGINAL, Role.REFERENCE)
        }
        pictures = []
        for i, source in enumerate(sources):
            if i in carried:
                pixels = _read_picture(carried[i], self._scratch)
            elif i == 0:
                pixels = as_colour(self._covers[0])
            else:
                raise DamagedError(f"the payload does not hold {source.name}")
            pictures.append(_enlarged(pixels, source))
        fitted = np.stack([resize(picture, width, height) for picture in pictures])
        return Group(fitted, len(pictures), pictures)

    def _reopened(self) -> Iterator[Group]:
        """The groups that the task makes of the inputs."""
        folder = self._scratch / "inputs"
        folder.mkdir(exist_ok=True)
        paths = []
        for i, file in enumerate(self.originals):
            (folder / str(i)).mkdir(exist_ok=True)
            paths.append(folder / str(i) / file.name)
            paths[-1].write_bytes(file.data)
        images = self.header.images if self.is_clip else None
        source = self.task.open(paths, images, _options_of(self.header))
        if (source.width, source.height) != (self.header.width, self.header.height):
            raise DamagedError("the files in the payload have another size than it says")
        with closing(source.groups()) as groups:
            yield from groups


def _kind_of(path: Path) -> str:
    """The suffix of a file, the same for those that mean the same."""
    suffix = path.suffix.lower()
    return _SYNONYMS.get(suffix, suffix)


def _is_clip(data: bytes) -> bool:
    """Whether bytes are WebM or MP4; no other file may reach ffmpeg, such as a playlist."""
    return any(data.startswith(magic, at) for at, magic in _CLIP_MAGICS)


def _durations(headers: Sequence[Header]) -> list[float]:
    """How many seconds each part of a clip is shown."""
    durations = []
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        rate = header.frame_rate or _USUAL_RATE
        times = header.timestamps
        if not times:
            durations.append(float((header.frames or 1) / rate))
        elif following is not None and following.timestamps:
            durations.append(max(0.0, following.timestamps[0] - times[0]))
        else:
            durations.append(times[-1] - times[0] + float(1 / rate))
    return durations


def _options_of(header: Header) -> EmbedOptions:
    """The options of the task that restoring needs; nonsense in them is ignored."""
    from PIL import ImageColor

    layout, zoom = header.options.get("layout"), header.options.get("zoom")
    background = header.options.get("background", "white")
    try:
        red, green, blue = ImageColor.getrgb(str(background))[:3]
    except ValueError:
        red, green, blue = 255, 255, 255
    return EmbedOptions(
        layout=layout if isinstance(layout, str) else None,
        zoom=zoom if isinstance(zoom, int) and zoom > 1 else None,
        background=(red, green, blue),
    )


def _read_picture(file: BundledFile, scratch: Path) -> Pixels:
    suffix = Path(file.name).suffix.lower()
    path = scratch / f"picture-{file.picture}{suffix if suffix[1:].isalnum() else ''}"
    path.write_bytes(file.data)
    try:
        return read_still(path).pixels
    except IICNetError as error:
        raise DamagedError(f"{file.name} in the payload cannot be read: {error}") from error


def _enlarged(pixels: Pixels, source: Source) -> Pixels:
    """A picture at its own size; at low rates it is carried smaller.

    Raises:
        DamagedError: nobody would carry it so small.
    """
    height, width = pixels.shape[:2]
    if max(source.height / height, source.width / width) > _MOST_ENLARGEMENT:
        raise DamagedError(f"{source.name} has another size than its payload says")
    return resize(pixels, source.width, source.height)


def _distinct_files(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """The names, with -2, -3 and so on before the suffix of those that are taken or repeated.

    Upper and lower case are equal.
    """
    used = {name.lower() for name in taken}
    result = []
    for name in names:
        path, number, found = Path(name), 1, name
        while found.lower() in used:
            number += 1
            found = f"{path.stem}-{number}{path.suffix}"
        used.add(found.lower())
        result.append(found)
    return result


def _write(path: Path, data: bytes, *, overwrite: bool) -> None:
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
