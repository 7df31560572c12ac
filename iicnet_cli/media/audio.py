"""The sound of clips."""

from __future__ import annotations

import re
from pathlib import Path

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.files import replacing
from iicnet_cli.media.frame_times import FrameSelection
from iicnet_cli.media.video_file import VideoFile, seek_position
from iicnet_cli.media.video_reader import find_clip

USUAL_LAYOUTS = ("-af", "aformat=channel_layouts=7.1|5.1|stereo|mono")
"""ffmpeg's options that turn sound into one of the layouts of channels that libopus takes; it
refuses others of many channels, such as 5.1(side)."""


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
        source: a clip, as of `open_frames`.
        target: a file; its suffix decides which codecs it can hold (.mka all, .wav PCM only) and
            as which one others are encoded.
        start: seconds at which the sound begins; a copy begins at the first packet from there,
            and a packet lasts about 20 ms.
        end: seconds at which the sound ends, to the same accuracy.
        overwrite: replace an existing file.

    Returns:
        How the sound was written: the codec, such as "aac", or "aac, re-encoded". None if there is
        no sound, or none between start and end; nothing is written then.

    Raises:
        OutputExistsError: ``target`` exists and ``overwrite`` is false.
        UsageError: start or end make no sense for this clip.
        MediaError: the clip is unreadable, or the suffix is not one of a sound file.
    """
    clip = find_clip(source)
    if not isinstance(clip, VideoFile):
        return None
    codec = clip.facts.audio_codec
    FrameSelection(start, end).check(clip.facts.duration)
    if codec is None:
        return None
    reading = _reading_options(clip, start, end)
    if not _has_packets(reading):
        return None
    # ffmpeg would copy any codec into a WAV, but hardly any player could read it.
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


def encode_audio(
    source: str | Path, target: Path, start: float, seconds: float, bit_rate: int
) -> bool:
    """Encode a part of the first sound track of a clip in few bytes.

    Args:
        source: a clip, as of `open_frames`.
        target: the file; .webm gets Opus, .m4a gets AAC.
        start: seconds at which the sound begins.
        seconds: how long it lasts at most.
        bit_rate: bits a second of all channels together, 6000 or more.

    Returns:
        False if there is no sound in this part; nothing is written then.

    Raises:
        MediaError: ffmpeg fails.
    """
    clip = find_clip(source)
    if not isinstance(clip, VideoFile) or clip.facts.audio_codec is None:
        return False
    reading = _reading_options(clip, start, start + seconds)
    if not _has_packets(reading):
        return False
    codec = "libopus" if target.suffix == ".webm" else "aac"
    options = ["-c:a", codec, "-b:a", str(bit_rate), "-map_metadata", "-1", "-fflags", "+bitexact"]
    result = ffmpeg.run([*reading, *USUAL_LAYOUTS, *options, "-y", f"file:{target}"])
    if result.returncode:
        why = ffmpeg.reason(result.stderr.decode("utf-8", "replace"))
        raise MediaError(f"{source}: its sound cannot be encoded ({why})")
    return True


def _reading_options(clip: VideoFile, start: float | None, end: float | None) -> list[str]:
    seek = seek_position(start)
    options = ["-v", "error", *clip.input_options(seek), "-map", "0:a:0", "-vn"]
    if start:
        options += ["-ss", f"{start - seek:.6f}"]
    if end is not None:
        options += ["-t", f"{end - (start or 0):.6f}"]
    return options


def _has_packets(reading: list[str]) -> bool:
    """Whether there is any sound to read."""
    first = ffmpeg.run([*reading, "-c:a", "copy", "-frames:a", "1", "-f", "framecrc", "-"])
    return re.search(rb"^\d", first.stdout, re.MULTILINE) is not None
