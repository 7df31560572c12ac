"""Clips: every stored frame once, upright, in order, as uint8 sRGB; one frame in memory."""

from __future__ import annotations

import atexit
import glob
import math
import mmap
import queue
import re
import struct
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.files import replacing, temporary_name
from iicnet_cli.media.stills import (
    STILL_SUFFIXES,
    VIDEO_SUFFIXES,
    WHITE,
    Colour,
    read_still,
    still_size,
    to_srgb,
    write_still,
)
from iicnet_cli.pictures.arrays import Pixels

Source = str | Path | Sequence[Path]

STILLS_RATE = Fraction(25)
_COUNT_LIMIT = 2_000_000_000  # bytes; larger files are not read through just to count frames
_SEEK_MARGIN = 10  # seconds: more than the usual distance of keyframes
_SLACK = 1e-6  # seconds: ffmpeg rounds times to microseconds
_STANDARD_RATES = tuple(
    rate
    for whole in (24, 25, 30, 48, 50, 60, 100, 120, 240)
    for rate in (Fraction(whole), Fraction(whole * 1000, 1001))
) + tuple(Fraction(n) for n in (1, 2, 5, 10, 12, 15, 20))
_ANIMATIONS = {"GIF": "gif", "WEBP": "webp", "PNG": "apng", "AVIF": "avif"}
_AVIF_SEQUENCE = ".avifs"
_EXACT = frozenset({".mkv", ".avi", ".webp", ".png", ".apng"})
_LOSSY = frozenset({".mp4", ".mov", ".m4v", ".webm", ".gif"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"})
_PICTURE_BRANDS = _HEIC_BRANDS | {b"heim", b"heis", b"avif", b"avis", b"crx "}  # the last is RAW


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a clip before its frames are decoded.

    Attributes:
        width, height: pixels, as displayed (after rotation).
        fps: frames a second; the mean if the rate varies.
        frames: how many the whole source holds; None if unknown.
        duration: seconds; None if unknown.
        rotation: degrees counter-clockwise that were stored as metadata and are applied.
        has_audio: there is a sound track.
        hdr: PQ or HLG transfer (tone-mapped on reading).
        variable_rate: the frames are not evenly spaced in time.
        codec: ffmpeg's name of the codec, or "stills".
        notes: short sentences about conversions and doubts.
    """

    width: int
    height: int
    fps: Fraction
    frames: int | None
    duration: float | None
    rotation: int
    has_audio: bool
    hdr: bool
    variable_rate: bool
    codec: str
    notes: tuple[str, ...]


class FrameSource(Iterator[Pixels]):
    """Iterator over the frames of a clip, and a context manager; see `open_frames`.

    Attributes:
        info: about the whole source, whatever part of it is read.
        names: file names of the frames that are read, if the source is a set of stills.
        timestamps: seconds of each frame handed out so far, counted from the first of them.
        notes: ``info.notes``, and what was noticed while reading.
    """

    def __init__(
        self,
        info: VideoInfo,
        frames: Generator[tuple[float, Pixels]],
        notes: list[str],
        names: tuple[str, ...] = (),
    ) -> None:
        """``frames`` yields (seconds, uint8 (H, W, 3)); the first is read at once."""
        self.names = names
        self.notes = notes
        self.timestamps: list[float] = []
        self._frames = frames
        try:
            self._ahead: tuple[float, Pixels] | None = next(frames)
        except StopIteration:
            raise MediaError("there is no frame in this part of the clip") from None
        self._origin = self._ahead[0]
        height, width = self._ahead[1].shape[:2]
        self.info = replace(info, width=width, height=height)

    def __iter__(self) -> FrameSource:
        return self

    def __next__(self) -> Pixels:
        if self._ahead is not None:
            (time, pixels), self._ahead = self._ahead, None
        else:
            time, pixels = next(self._frames)
        self.timestamps.append(time - self._origin)
        return pixels

    def close(self) -> None:
        """Stop reading; ends ffmpeg if it runs."""
        self._ahead = None
        self._frames.close()

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_time(text: str) -> float:
    """Seconds from "83.5", "1:23.5" or "0:01:23.5".

    Raises:
        UsageError: anything else, negative times included.
    """
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", text.strip(), re.ASCII)
    if match is None or (match[2] and float(match[3]) >= 60) or (match[1] and int(match[2]) >= 60):
        raise UsageError(f"'{text}' is not a time", hint="write seconds (83.5) or 1:23.5")
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])


def is_video(path: str | Path) -> bool:
    """Whether a file is a clip: by its suffix, or an animated GIF, WebP, PNG or AVIF.

    A suffix that is none of a picture or a clip, or none at all, as of what came from a pipe,
    tells nothing: then MP4, MOV, Matroska, WebM and AVI are known by their first bytes. False for
    files that are missing, unreadable or folders.
    """
    path = Path(path)
    if not path.is_file():
        return False
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES or _animation_format(path) is not None:
        return True
    return suffix not in STILL_SUFFIXES and _begins_as_clip(path)


def is_motion_photo(path: str | Path) -> bool:
    """Whether a file is a JPEG or HEIC photo with a clip behind its picture, as phones take them.

    `read_still` gives the picture of such a file, `open_frames` its clip. False for files that
    are missing, unreadable or folders.
    """
    return _clip_inside(Path(path)) is not None


def probe(source: Source) -> VideoInfo:
    """Describe a clip: any source that `open_frames` takes.

    Raises:
        MediaError: missing, unreadable, no picture in it, or stills of different sizes.
    """
    resolved = _resolve(source)
    if isinstance(resolved, list):
        return _probe_stills(resolved)
    if _animation_format(resolved):
        return _probe_animation(resolved)[0]
    return _probe_ffmpeg(resolved, _clip_inside(resolved))[0]


def open_frames(
    source: Source,
    *,
    start: float | None = None,
    end: float | None = None,
    step: int = 1,
    frames: int | None = None,
    background: Colour = WHITE,
) -> FrameSource:
    """Open a clip for reading: every stored frame exactly once, in order of display.

    Args:
        source: a video file; an animated GIF, WebP, PNG or AVIF; a motion photo, for its clip; a
            folder or a glob pattern of stills (sorted naturally, f2 before f10; 25 frames a
            second are assumed); or a list of still files, taken in its order.
        start: seconds; the first frame at or after it is the first one read.
        end: seconds; only frames before it are read.
        step: read every step-th frame from there.
        frames: read at most that many.
        background: sRGB colour, 0 to 255 each, behind the transparent pixels of stills and
            animations; the transparency of video files is ignored, and noted.

    Returns:
        A `FrameSource` of uint8 (H, W, 3) sRGB frames of one size. Iteration raises MediaError
        on damage that ffmpeg cannot pass over.

    Raises:
        UsageError: start, end, step or frames make no sense for this clip.
        MediaError: as `probe`; or there is no frame between start and end.
    """
    if step < 1 or (frames is not None and frames < 1):
        raise UsageError("step and frames must be 1 or more")
    resolved = _resolve(source)
    if isinstance(resolved, list):
        info = _probe_stills(resolved)
        times = [float(i / info.fps) for i in range(len(resolved))]
        chosen = _choose(info, times, start, end, step, frames)
        files = [resolved[i] for i in chosen]
        notes = list(info.notes)
        pictures = _read_stills(files, [times[i] for i in chosen], notes, background)
        return FrameSource(info, pictures, notes, tuple(file.name for file in files))
    if _animation_format(resolved):
        info, times = _probe_animation(resolved)
        chosen = _choose(info, times, start, end, step, frames)
        notes = list(info.notes)
        pictures = _read_animation(resolved, chosen, times, notes, background)
        return FrameSource(info, pictures, notes)
    part = _clip_inside(resolved)
    info, header = _probe_ffmpeg(resolved, part)
    _check_span(info.duration, start, end)
    seek = _seek(start)
    arguments = ["-ss", str(seek)] if seek else []
    arguments += ffmpeg.input_options(resolved, part)
    filters = _to_rgb_filters(header)
    if step > 1:
        filters = f"select='not(mod(n,{step}))',{filters}"
    limits = [("start", start), ("end", end)]
    trim = [f"{key}={max(0.0, t - seek - _SLACK):.6f}" for key, t in limits if t is not None]
    if trim:
        filters = f"trim={':'.join(trim)},{filters}"
    arguments += ["-map", "0:V:0", "-an", "-sn", "-dn", "-vf", f"{filters},showinfo=checksum=0"]
    if frames is not None:
        arguments += ["-frames:v", str(frames)]
    arguments += ["-fps_mode", "passthrough", "-c:v", "ppm", "-f", "image2pipe", "-"]
    notes = list(info.notes)
    return FrameSource(info, _read_ffmpeg(resolved.name, arguments, notes), notes)


def extract_audio(
    source: str | Path,
    target: Path,
    *,
    start: float | None = None,
    end: float | None = None,
    overwrite: bool = False,
) -> str | None:
    """Save the first sound track; it is copied, or re-encoded if the target cannot hold it.

    Args:
        source: a clip, as `open_frames` takes it.
        target: a file; the suffix says which codecs it holds (.mka all, .wav PCM only), and as
            which one others are encoded.
        start: seconds; the sound begins there, when copied at its first packet from there, which
            is some 20 ms long.
        end: seconds; the sound ends there, likewise.
        overwrite: replace an existing file.

    Returns:
        How it was written: the codec, as "aac", or "aac, re-encoded"; None, and nothing is
        written, if there is no sound, or none between start and end.

    Raises:
        OutputExistsError: ``target`` exists and ``overwrite`` is false.
        UsageError: start or end make no sense for this clip.
        MediaError: unreadable, or the suffix is not one of a sound file.
    """
    resolved = _resolve(source)
    if isinstance(resolved, list) or _animation_format(resolved):
        return None
    part = _clip_inside(resolved)
    header = ffmpeg.read_header(resolved, part)
    _check_span(header.duration, start, end)
    codec = header.audio
    if codec is None:
        return None
    seek = _seek(start)
    reading = ["-v", "error", *(["-ss", str(seek)] if seek else [])]
    reading += [*ffmpeg.input_options(resolved, part), "-map", "0:a:0", "-vn"]
    if start:
        reading += ["-ss", f"{start - seek:.6f}"]
    if end is not None:
        reading += ["-t", f"{end - (start or 0):.6f}"]
    first = ffmpeg.run([*reading, "-c:a", "copy", "-frames:a", "1", "-f", "framecrc", "-"])
    if not re.search(rb"^\d", first.stdout, re.MULTILINE):
        return None
    # ffmpeg would copy anything into a WAV, but hardly anything could play it.
    can_copy = target.suffix.lower() != ".wav" or codec.startswith("pcm_")
    with replacing(target, overwrite=overwrite) as temporary:
        if can_copy:
            copied = ffmpeg.run([*reading, "-c:a", "copy", "-y", f"file:{temporary}"])
            if not copied.returncode:
                return codec
        encoded = ffmpeg.run([*reading, "-y", f"file:{temporary}"])
        if encoded.returncode:
            why = ffmpeg.reason(encoded.stderr.decode("utf-8", "replace"))
            raise MediaError(f"{target}: cannot be written ({why})", hint="try the suffix .mka")
    return f"{codec}, re-encoded"


# --- sources -------------------------------------------------------------------------------


def _resolve(source: Source) -> Path | list[Path]:
    """A file that is a clip by itself, or the list of stills that make one."""
    if not isinstance(source, str | Path):
        files = [Path(item) for item in source]
        if not files:
            raise MediaError("the list of stills is empty")
        return files
    path = Path(source)
    if path.is_dir():
        found = [file for file in path.iterdir() if file.is_file()]
        stills = _naturally([f for f in found if f.suffix.lower() in STILL_SUFFIXES])
        if not stills:
            raise MediaError(f"{path}: no stills in this folder")
        return stills
    if path.exists():
        suffix = path.suffix.lower()
        still = suffix in STILL_SUFFIXES and _animation_format(path) is None
        return [path] if still and not is_motion_photo(path) else path
    if glob.has_magic(str(source)):
        found = [Path(name) for name in glob.glob(str(source), recursive=True)]
        stills = _naturally([file for file in found if file.is_file()])
        if not stills:
            raise MediaError(f"{source}: no file fits this pattern")
        return stills
    raise MediaError(f"{source}: no such file or folder")


def _naturally(files: list[Path]) -> list[Path]:
    def key(file: Path) -> list[tuple[int, str, int]]:
        parts = re.split(r"(\d+)", str(file).lower())
        return [(1, "", int(p)) if p.isdecimal() else (0, p, 0) for p in parts]

    return sorted((file for file in files if not file.name.startswith(".")), key=key)


def _animation_format(path: Path) -> str | None:
    """Pillow's name of the format if the file is an animation that Pillow reads best."""
    if path.suffix.lower() in VIDEO_SUFFIXES - {_AVIF_SEQUENCE}:
        return None
    try:
        with Image.open(path, formats=tuple(_ANIMATIONS)) as image:
            return image.format if getattr(image, "n_frames", 1) > 1 else None
    except Exception:  # not one of these, or damaged: the reader that is tried next says so
        return None


def _begins_as_clip(path: Path) -> bool:
    """Whether the first bytes of a file are those of MP4, MOV, Matroska, WebM or AVI."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    if start[4:8] == b"ftyp":
        return start[8:12] not in _PICTURE_BRANDS
    return start[:4] == b"\x1aE\xdf\xa3" or (start[:4], start[8:12]) == (b"RIFF", b"AVI ")


def _clip_inside(path: Path) -> ffmpeg.Part | None:
    """Which bytes of a photo are a whole clip; None for a mere photo, and for anything else.

    All makers put an MP4 behind the picture (in HEIC within a box), but each notes its place in
    another way, and editors lose the note: so only the clip's own boxes are looked for.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            heic = data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS
            if not heic and data[:3] != b"\xff\xd8\xff":
                return None
            # A JPEG's picture ends with FF D9; its thumbnail may do so earlier, which is no harm.
            found = 12 if heic else data.find(b"\xff\xd9") + 2
            while (found := data.find(b"ftyp", found + 1)) > 0:
                if end := _clip_end(data, found - 4):
                    return found - 4, end
    except (OSError, ValueError):  # unreadable, or empty
        pass
    return None


def _clip_end(data: mmap.mmap, start: int) -> int | None:
    """End of the MP4 boxes that begin at ``start``; None if they make no whole clip.

    Behind them may follow what is no box: Samsung, Oppo and vivo write a trailer.
    """
    at, kinds = start, set()
    while at + 16 <= len(data):
        size, kind, large = struct.unpack_from(">I4sQ", data, at)
        size = {0: len(data) - at, 1: large}.get(size, size)
        another = (kind == b"ftyp") != (at == start)
        if size < 8 or at + size > len(data) or not kind.isalnum() or another:
            break
        kinds.add(kind)
        at += size
    return at if kinds >= {b"ftyp", b"moov", b"mdat"} else None


def _seek(start: float | None) -> int:
    """Second to let ffmpeg seek to before it cuts at ``start`` by the frames' times.

    Seeking alone can lose frames (in .ts it lands on the next keyframe), and ffmpeg counts -t from
    the first frame that it finds: so it is well before.
    """
    return max(0, math.floor(start or 0) - _SEEK_MARGIN)


def _check_span(duration: float | None, start: float | None, end: float | None) -> None:
    first = start or 0.0
    if not (math.isfinite(first) and first >= 0) or not (end is None or math.isfinite(end)):
        raise UsageError("start and end must be 0 seconds or more")
    if end is not None and end <= first:
        raise UsageError(f"the end ({end:g} s) must come after the start ({first:g} s)")
    if duration is not None and first and first >= duration:
        raise UsageError(
            f"the start ({first:g} s) is beyond the end: the clip lasts {duration:.3f} s"
        )


def _choose(
    info: VideoInfo,
    times: list[float],
    start: float | None,
    end: float | None,
    step: int,
    frames: int | None,
) -> list[int]:
    _check_span(info.duration, start, end)
    first, last = start or 0.0, math.inf if end is None else end
    inside = [i for i, time in enumerate(times) if first - _SLACK <= time < last - _SLACK]
    return inside[::step][:frames]


def _probe_stills(files: list[Path]) -> VideoInfo:
    sizes = [still_size(file) for file in files]
    usual = Counter(sizes).most_common(1)[0][0]
    for file, size in zip(files, sizes, strict=True):
        if size != usual:
            raise MediaError(
                f"{file.name}: {size[0]}x{size[1]}, but the other stills are {usual[0]}x{usual[1]}",
                hint="the frames of a clip must have one size",
            )
    notes = ("stills have no frame rate: 25 a second assumed",) if len(files) > 1 else ()
    return VideoInfo(
        width=sizes[0][0],
        height=sizes[0][1],
        fps=STILLS_RATE,
        frames=len(files),
        duration=float(len(files) / STILLS_RATE),
        rotation=0,
        has_audio=False,
        hdr=False,
        variable_rate=False,
        codec="stills",
        notes=notes,
    )


def _read_stills(
    files: list[Path], times: list[float], notes: list[str], background: Colour
) -> Generator[tuple[float, Pixels]]:
    size: tuple[int, ...] | None = None
    for file, time in zip(files, times, strict=True):
        still = read_still(file, background=background)
        for note in still.notes:
            if note not in notes:
                notes.append(note)
        size = size or still.pixels.shape
        if still.pixels.shape != size:
            raise MediaError(f"{file.name}: its size is not that of the other stills")
        yield time, still.pixels


def _probe_animation(path: Path) -> tuple[VideoInfo, list[float]]:
    """About an animation, and the time of each frame in seconds (all frames are decoded)."""
    times, elapsed = [], 0.0
    try:
        with Image.open(path) as image:
            kind, (width, height) = image.format or "", image.size
            count = int(getattr(image, "n_frames", 1))
            for index in range(count):
                image.seek(index)
                image.load()
                times.append(elapsed / 1000)
                # Browsers show frames that have no duration for a tenth of a second.
                elapsed += float(image.info.get("duration") or 100)
    except Exception as error:  # damaged data raise nearly anything in Pillow's plugins
        raise MediaError(f"{path.name}: truncated or damaged ({error})") from error
    tick = 0.010 if kind == "GIF" else 0.001
    info = VideoInfo(
        width=width,
        height=height,
        fps=_snapped(count, elapsed / 1000, tick),
        frames=count,
        duration=elapsed / 1000,
        rotation=0,
        has_audio=False,
        hdr=False,
        variable_rate=_uneven([*times, elapsed / 1000], tick),
        codec=_ANIMATIONS.get(kind, kind.lower()),
        notes=(),
    )
    return info, times


def _read_animation(
    path: Path, chosen: list[int], times: list[float], notes: list[str], background: Colour
) -> Generator[tuple[float, Pixels]]:
    with Image.open(path) as image:
        for index in chosen:
            try:
                image.seek(index)
                image.load()
                said: list[str] = []
                pixels = to_srgb(image, said, background=background)
            except Exception as error:  # damaged data raise nearly anything in Pillow's plugins
                raise MediaError(f"{path.name}: damaged at frame {index} ({error})") from error
            notes.extend(note for note in said if note not in notes)
            yield times[index], pixels


def _probe_ffmpeg(path: Path, part: ffmpeg.Part | None) -> tuple[VideoInfo, ffmpeg.Header]:
    header = ffmpeg.read_header(path, part)
    packets = ffmpeg.read_packets(path, part) if path.stat().st_size <= _COUNT_LIMIT else None
    fps = header.rate or header.base_rate
    duration, frames = header.duration, None
    variable = bool(header.rate and header.base_rate and header.rate != header.base_rate)
    exact: Fraction | None = None
    if packets is not None:
        frames = len(packets.times)
        span = packets.times[-1] - packets.times[0]
        last = packets.end - packets.times[-1] or round(span / max(frames - 1, 1))
        duration = float((span + last) * packets.tick) or duration
        tick = float(packets.tick)
        variable = _uneven([time * tick for time in packets.times], tick)
        if frames > 1 and span and not variable:
            exact = Fraction(frames - 1) / (span * packets.tick)
    if variable and frames and duration:
        fps = Fraction(frames / duration).limit_denominator(1001)
    else:
        fps = _rate_of(fps, exact)
    notes = ["motion photo: its clip is used, not its still"] if part else []
    if header.rotation:
        notes.append(f"turned upright by {header.rotation} degrees as its metadata says")
    hdr = header.transfer in ("smpte2084", "arib-std-b67")
    can_map = ffmpeg.has_filter("zscale") and ffmpeg.has_filter("tonemap")
    if hdr and can_map:
        notes.append("HDR tone-mapped to the standard range")
    elif hdr:
        notes.append("HDR converted plainly, without tone mapping: colours look pale")
    elif header.primaries == "bt2020" and can_map:
        notes.append("BT.2020 colours converted to BT.709")
    if header.aspect not in ("1:1", "0:1"):
        notes.append(f"its pixels are not square ({header.aspect}); they are kept as stored")
    if re.match(r"yuva|rgba|bgra|argb|abgr|gbrap|ya\d", header.pixel_format):
        notes.append("its transparency is ignored")
    if " first" in header.colour:
        notes.append("interlaced: fields are not separated")
    width, height = header.width, header.height
    if header.rotation in (90, 270):
        width, height = height, width
    info = VideoInfo(
        width=width,
        height=height,
        fps=fps,
        frames=frames,
        duration=duration,
        rotation=header.rotation,
        has_audio=header.audio is not None,
        hdr=hdr,
        variable_rate=variable,
        codec=header.codec,
        notes=tuple(notes),
    )
    return info, header


def _to_rgb_filters(header: ffmpeg.Header) -> str:
    """Filters that turn the stored colours into full-range RGB."""
    wide = header.primaries == "bt2020" or header.transfer in ("smpte2084", "arib-std-b67")
    if wide and ffmpeg.has_filter("zscale") and ffmpeg.has_filter("tonemap"):
        hdr = header.transfer in ("smpte2084", "arib-std-b67")
        transfer = header.transfer if hdr else "bt2020-10"
        tags = f"setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
        linear = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709"
        mapped = ",tonemap=tonemap=hable:desat=0" if hdr else ""
        return f"{tags},{linear}{mapped},zscale=t=bt709:r=full,format=gbrp,format=rgb24"
    matrix = "auto"
    untagged = header.matrix in ("unknown", "unspecified") and header.pixel_format[:2] != "gb"
    if untagged and (header.width >= 1280 or header.height > 576):
        matrix = "bt709"  # ffmpeg takes BT.601 for all untagged video; players do so for SD only
    quality = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    return f"scale=in_color_matrix={matrix}:{quality},format=rgb24"


def _read_ffmpeg(
    name: str, arguments: list[str], notes: list[str]
) -> Generator[tuple[float, Pixels]]:
    process = ffmpeg.start_reader(arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    times: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    errors: list[str] = []
    watcher = threading.Thread(target=_watch, args=(process.stderr, times, errors), daemon=True)
    watcher.start()

    def end() -> None:
        ffmpeg.stop(process)
        watcher.join()

    # A reader that is still open when Python exits: a thread that holds the lock of a pipe then
    # aborts the interpreter.
    atexit.register(end)
    count, previous = 0, 0.0
    try:
        while (pixels := _read_ppm(process.stdout)) is not None:
            # showinfo speaks before the frame leaves, so this hardly waits.
            time = times.get()
            previous = previous if time is None else time
            count += 1
            yield previous, pixels
        process.wait()
        watcher.join()
        if process.returncode or not count:
            why = errors[-1] if errors else "it has no frames here"
            raise MediaError(f"{name}: cannot be decoded ({ffmpeg.reason(why)})")
        if errors:
            notes.append(f"damaged in places ({ffmpeg.reason(errors[-1])})")
    finally:
        atexit.unregister(end)
        end()
        process.stdout.close()
        process.stderr.close()


def _watch(stderr: IO[bytes], times: queue.SimpleQueue[float | None], errors: list[str]) -> None:
    """Collect from ffmpeg's log the frames' times (exact: ticks x time base) and the errors."""
    tick = Fraction(0)
    for raw in stderr:
        line = raw.decode("utf-8", "replace")
        if base := re.search(r"config in time_base: (\d+)/(\d+)", line):
            tick = Fraction(int(base[1]), int(base[2]))
        elif "showinfo" in line and (shown := re.search(r" pts: *(-?\d+|NOPTS) ", line)):
            times.put(None if shown[1] == "NOPTS" else float(int(shown[1]) * tick))
        elif re.search(r"\[(error|fatal|panic)\]", line):
            errors.append(line)
            del errors[:-20]
    times.put(None)


def _read_ppm(stream: IO[bytes]) -> Pixels | None:
    """One picture of a stream of PPMs: they carry their size, so nothing can get out of step."""
    if stream.readline().strip() != b"P6":
        return None
    width, height = (int(part) for part in stream.readline().split())
    stream.readline()
    data = bytearray(width * height * 3)
    if stream.readinto(data) < len(data):  # type: ignore[attr-defined]
        return None
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def _uneven(times: list[float], tick: float) -> bool:
    """Whether any time is away from an even grid by more than a tick and 10 % of the spacing."""
    if len(times) < 3:
        return False
    spacing = (times[-1] - times[0]) / (len(times) - 1)
    limit = max(0.1 * spacing, 1.5 * tick)
    return any(abs(t - times[0] - i * spacing) > limit for i, t in enumerate(times))


def _rate_of(printed: Fraction | None, exact: Fraction | None) -> Fraction:
    """The frame rate from what ffmpeg prints (two decimals) and from the frames' times."""
    if printed is None:
        return exact.limit_denominator(1001) if exact else STILLS_RATE
    # Standard rates first: times in whole milliseconds (Matroska) do not give them exactly.
    near = [rate for rate in _STANDARD_RATES if abs(rate - printed) <= Fraction(1, 150)]
    if near:
        return min(near, key=lambda rate: abs(rate - printed))
    if exact is not None and exact.denominator <= 1001 and abs(exact - printed) <= Fraction(1, 150):
        return exact
    return printed


def _snapped(count: int, seconds: float, tick: float) -> Fraction:
    """A standard rate if ``count`` frames last as long within a tick, else the measured one."""
    fits = [rate for rate in _STANDARD_RATES if abs(count / float(rate) - seconds) <= tick / 2]
    if fits:
        return min(fits, key=lambda rate: abs(count / float(rate) - seconds))
    return Fraction(count / seconds).limit_denominator(1001)


# --- writing -------------------------------------------------------------------------------


def is_exact(target: str | Path) -> bool:
    """Whether `open_writer` keeps every pixel exactly: .mkv .avi .webp .png and folders do."""
    return _is_folder(target) or Path(target).suffix.lower() in _EXACT


def _is_folder(target: str | Path) -> bool:
    path = Path(target)
    if isinstance(target, str) and target.endswith(("/", "\\")):
        return True
    return path.is_dir() or path.suffix == ""


def open_writer(
    target: str | Path,
    width: int,
    height: int,
    fps: Fraction,
    *,
    timestamps: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> VideoWriter:
    """Open a clip for writing; the suffix says how.

    Exact: .mkv and .avi (FFV1), .webp (lossless, animated; the file is put together in memory),
    .png (animated), or a folder (no suffix, or ending in a slash) of 00000.png, 00001.png, ...
    Lossy, of high quality: .mp4 .mov .m4v (H.264, 4:2:0, or 4:4:4 for odd sizes), .webm (VP9),
    .gif (a palette for each frame; 100 frames a second at most).

    Args:
        target: a file or a folder; it appears when the writer closes without an error.
        width, height: pixels of every frame.
        fps: frames a second, kept as an exact fraction where the format can.
        timestamps: seconds of every frame, increasing, for a variable rate; .avi and folders
            cannot keep them and play at ``fps``.
        names: file names for the frames in a folder, a.jpg for a.png; repeated ones become a-2.png,
            a-3.png, and frames without one keep their number. A file has no use for them.
        overwrite: replace an existing file; in a folder, the files of the same names only and,
            without ``names``, all numbered frames.

    Raises:
        UsageError: unknown suffix, or size, rate or timestamps make no sense.
        OutputExistsError: the target exists (for a folder: with something in it).
        MediaError: the system or ffmpeg refuses to write.
    """
    suffix = Path(target).suffix.lower()
    if not _is_folder(target) and suffix not in _EXACT | _LOSSY:
        raise UsageError(
            f"cannot write a clip as '{suffix}'",
            hint="use " + " ".join(sorted(_EXACT | _LOSSY)) + ", or a folder for PNG frames",
        )
    if width < 1 or height < 1 or fps <= 0:
        raise UsageError(f"cannot write a clip of {width}x{height} at {fps} frames a second")
    if timestamps is not None:
        ticks = [round(time * 90_000) for time in timestamps]
        if any(b <= a for a, b in pairwise(ticks)):
            raise UsageError("timestamps must increase")
    return VideoWriter(target, width, height, fps, timestamps, names or (), overwrite)


class VideoWriter:
    """Writes frames one at a time; use as a context manager. See `open_writer`.

    Attributes:
        count: frames added so far.
        notes: short sentences about what the format cannot keep.
    """

    def __init__(
        self,
        target: str | Path,
        width: int,
        height: int,
        fps: Fraction,
        timestamps: Sequence[float] | None,
        names: Sequence[str],
        overwrite: bool,
    ) -> None:
        self.count = 0
        self.notes: list[str] = []
        self._target = Path(target)
        self._shape = (height, width, 3)
        self._fps = fps
        self._times = timestamps
        self._names = names
        self._taken: set[str] = set()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._overwrite = overwrite
        self._stack = ExitStack()
        suffix = self._target.suffix.lower()
        if timestamps is not None and (_is_folder(target) or suffix == ".avi"):
            self.notes.append("the variable frame rate is not kept by this format")
            self._times = None
        try:
            if _is_folder(target):
                self._open_folder()
            else:
                self._open_ffmpeg(suffix)
        except BaseException:
            self._stack.close()
            raise

    def add(self, frame: Pixels) -> None:
        """Append a frame: uint8 (height, width, 3) sRGB, or (height, width) grey.

        Raises:
            ValueError: another shape or type, or more frames than timestamps.
            MediaError: the system or ffmpeg refuses to write.
        """
        if frame.ndim == 2:
            frame = np.repeat(frame[:, :, None], 3, axis=2)
        if frame.dtype != np.uint8 or frame.shape != self._shape:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}, not uint8 {self._shape}")
        if self._times is not None and self.count >= len(self._times):
            raise ValueError("more frames than timestamps")
        if self._folder is not None:
            write_still(self._folder / self._next_name(), frame)
        else:
            assert self._process is not None
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(np.ascontiguousarray(frame).data)
            except OSError:
                self._process.wait()
                raise self._failure() from None
        self.count += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            if self._process is not None:
                ffmpeg.stop(self._process)
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(OSError):  # ffmpeg has ended early; its exit status tells
                self._process.stdin.close()
            if self._process.wait() and self.count:
                raise self._failure()
        if not self.count:
            raise MediaError(f"{self._target}: no frame to write")
        if self._folder is not None:
            self._keep_folder(self._folder)

    def _failure(self) -> MediaError:
        self._log.seek(0)
        why = ffmpeg.reason(self._log.read().decode("utf-8", "replace"))
        return MediaError(f"{self._target}: cannot be written ({why})")

    def _open_folder(self) -> None:
        target = self._target
        if target.exists() and not target.is_dir():
            raise OutputExistsError(f"{target}: exists and is not a folder")
        if target.is_dir() and any(target.iterdir()) and not self._overwrite:
            raise OutputExistsError(f"{target}: is not empty", hint="add -y to overwrite")
        if not target.parent.is_dir():
            raise MediaError(f"{target}: its folder does not exist", hint="create it first")
        # Inside the target if there is one: it may be the only place that can be written.
        beside = target / "frames" if target.is_dir() else target
        self._folder = temporary_name(beside)
        try:
            self._folder.mkdir()
        except OSError as error:
            raise MediaError(f"{target}: cannot be written ({error.strerror})") from error
        self._stack.callback(_remove_frames, self._folder)

    def _next_name(self) -> str:
        name = self._names[self.count] if self.count < len(self._names) else ""
        stem = base = Path(name.replace("\\", "/")).stem or f"{self.count:05}"
        again = 1
        while stem.lower() in self._taken:
            again += 1
            stem = f"{base}-{again}"
        self._taken.add(stem.lower())
        return f"{stem}.png"

    def _keep_folder(self, folder: Path) -> None:
        try:
            if not self._target.is_dir():
                folder.rename(self._target)
                return
            for old in [] if self._names else list(self._target.iterdir()):
                if re.fullmatch(r"\d{5,}\.png", old.name):
                    old.unlink()
            for frame in folder.iterdir():
                frame.replace(self._target / frame.name)
        except OSError as error:
            raise MediaError(f"{self._target}: cannot be written ({error.strerror})") from error

    def _open_ffmpeg(self, suffix: str) -> None:
        height, width = self._shape[:2]
        fps = self._fps
        if suffix == ".gif" and fps > 100:
            self.notes.append("GIF cannot play faster than 100 frames a second")
            fps = Fraction(100)
        filters, options = _encoder(suffix, odd=bool(width % 2 or height % 2))
        # The stack unwinds in reverse: ffmpeg ends before its files are removed or renamed.
        output = self._stack.enter_context(replacing(self._target, overwrite=self._overwrite))
        graph = filters
        if self._times is not None:
            graph = f"settb=1/90000,setpts='{_schedule(self._times)}',{filters}"
            options = [*options, "-enc_time_base", "1/90000"]
            if suffix in (".mp4", ".mov", ".m4v"):
                options += ["-video_track_timescale", "90000"]
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        # From a file, since a long schedule does not fit into a command line.
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="iicnet-")))
        (scratch / "graph").write_text(graph)
        self._process = ffmpeg.start_writer(
            [
                *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
                *("-framerate", f"{fps.numerator}/{fps.denominator}", "-i", "pipe:0"),
                *("-/filter:v", str(scratch / "graph"), *options),
                *("-fps_mode", "passthrough", f"file:{output}"),
            ],
            self._log,
        )
        self._stack.callback(ffmpeg.stop, self._process)


def _encoder(suffix: str, *, odd: bool) -> tuple[str, list[str]]:
    """Filters and encoder options of a file suffix."""
    tags = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    quality = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    to_yuv = f"scale=out_color_matrix=bt709:out_range=tv:{quality},format={{}},setparams={tags}"
    if suffix in (".mkv", ".avi"):
        coder = ["-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1"]
        return "format=bgr0", [*coder, "-f", "matroska" if suffix == ".mkv" else "avi"]
    if suffix in (".mp4", ".mov", ".m4v"):
        coder = ["-c:v", "libx264", "-crf", "14", "-preset", "medium", "-movflags", "+faststart"]
        kind = "mov" if suffix == ".mov" else "mp4"
        return to_yuv.format("yuv444p" if odd else "yuv420p"), [*coder, "-f", kind]
    if suffix == ".webm":
        coder = ["-c:v", "libvpx-vp9", "-crf", "18", "-b:v", "0", "-row-mt", "1"]
        return to_yuv.format("yuv420p"), [*coder, "-f", "webm"]
    if suffix == ".webp":
        # Not libwebp_anim: it merges frames that are equal.
        return "format=bgra", ["-c:v", "libwebp", "-lossless", "1", "-loop", "0", "-f", "webp"]
    if suffix == ".gif":
        palette = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"
        return palette, ["-loop", "0", "-f", "gif"]
    return "format=rgb24", ["-c:v", "apng", "-plays", "0", "-f", "apng"]


def _schedule(times: Sequence[float]) -> str:
    """A setpts expression that gives frame N the time times[N], in 1/90000 s.

    It is a balanced tree of conditions, so that long clips neither nest deeply nor cost much.
    """
    ticks = [str(round((time - times[0]) * 90_000)) for time in times] or ["0"]

    def tree(low: int, high: int) -> str:
        if high - low == 1:
            return ticks[low]
        middle = (low + high) // 2
        return f"if(lt(N,{middle}),{tree(low, middle)},{tree(middle, high)})"

    return tree(0, len(ticks))


def _remove_frames(folder: Path) -> None:
    """Remove a temporary folder of ours with what is left in it."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
