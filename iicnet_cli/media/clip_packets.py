"""Cutting, joining and combining clips and sound packet by packet, without encoding them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.clip_probe import Kind, has_sound, list_packets
from iicnet_cli.media.temporary import scratch_folder

_BYTES_PER_RUN = 20
"""Bytes of the tables of MP4 for a run of packets of each of two streams: two places of 4 bytes,
and 12 bytes for the lengths of one of them, which differ."""


@dataclass(frozen=True)
class Packet:
    """A packet of a stream.

    Attributes:
        size: in bytes.
        duration: in seconds; 0 if the file does not tell.
    """

    size: int
    duration: Fraction


def packets_of(clip: Path, kind: Kind = "video") -> list[Packet]:
    """All packets of the first video stream or sound track, in order.

    Raises:
        MediaError: the file cannot be read, or there is no such stream.
    """
    packets = list_packets(clip, kind)
    rows = zip(packets.sizes, packets.durations, strict=True)
    return [Packet(size, duration * packets.time_base) for size, duration in rows]


def cut_sound(sound: Path, target: Path, first: int, stop: int) -> None:
    """Copy the packets of a sound file from one number to another; the target begins at time 0.

    Raises:
        MediaError: ffmpeg fails.
    """
    cut = f"noise=drop='lt(n,{first})+gte(n,{stop})',setts=ts=TS-STARTPTS"
    copying = ["-map", "0:a:0", "-c", "copy", "-bsf:a", cut, "-fflags", "+bitexact"]
    _run([*ffmpeg.input_options(sound), *copying], target)


def add_sound(
    clip: Path, sound: Path, target: Path, encoding: Sequence[str] = ("-c:a", "copy")
) -> None:
    """Put the pictures of a clip and the sound of another file into one file.

    Args:
        clip: gives the pictures, which are copied.
        sound: gives the sound.
        target: the file to write; it is replaced.
        encoding: ffmpeg's options for the sound.

    Raises:
        MediaError: ffmpeg fails.
    """
    sources = [*ffmpeg.input_options(clip), *ffmpeg.input_options(sound)]
    maps = ["-map", "0:v:0", "-map", "1:a:0", "-c:v", "copy", *encoding, "-fflags", "+bitexact"]
    _run([*sources, *maps], target)


def joining_bytes(sound: Path, frames: int) -> int:
    """Bytes, at most, by which a clip and its sound in one file are more than both files.

    WebM has none, for its streams share one header. MP4 lists each run of packets of one stream,
    and where the streams alternate there are as many runs as the shorter one has packets.

    Args:
        sound: its file, WebM or MP4.
        frames: of the clip.

    Raises:
        MediaError: there is no sound in the file.
    """
    if sound.suffix == ".webm":
        return 0
    return _BYTES_PER_RUN * (min(frames, len(packets_of(sound, "audio"))) + 1)


def join_clips(clips: Sequence[Path], durations: Sequence[float], target: Path) -> None:
    """Put clips of one kind one after the other.

    The sound runs on from packet to packet, whatever the durations of the clips; those without
    sound add none.

    Args:
        clips: files whose names are plain.
        durations: of the clips in seconds.
        target: the file to write; it is replaced.

    Raises:
        MediaError: ffmpeg fails.
    """
    with scratch_folder() as scratch:
        folder, suffix = scratch, target.suffix
        pictures, sounds, lengths = [], [], []
        for i, clip in enumerate(clips):
            pictures.append(folder / f"pictures-{i}{suffix}")
            only_pictures = ["-map", "0:V:0", "-c", "copy"]
            _run([*ffmpeg.input_options(clip), *only_pictures], pictures[-1])
            if not has_sound(clip):
                continue
            packets = packets_of(clip, "audio")
            sounds.append(folder / f"sound-{i}{suffix}")
            cut_sound(clip, sounds[-1], 0, len(packets))
            lengths.append(float(sum(packet.duration for packet in packets)))
        if not sounds:
            _concatenate(pictures, durations, target)
            return
        silent, sound = folder / f"silent{suffix}", folder / f"sound{suffix}"
        _concatenate(pictures, durations, silent)
        _concatenate(sounds, lengths, sound)
        add_sound(silent, sound, target)


def _concatenate(files: Sequence[Path], durations: Sequence[float], target: Path) -> None:
    script = files[0].with_suffix(".txt")
    lines = (
        f"file '{file.name}'\nduration {duration:.6f}\n"
        for file, duration in zip(files, durations, strict=True)
    )
    script.write_text("".join(lines))
    reading = ["-protocol_whitelist", "file", "-f", "concat", "-i", f"file:{script}"]
    _run([*reading, "-map", "0", "-c", "copy", "-fflags", "+bitexact"], target)


def _run(arguments: Sequence[str], target: Path) -> None:
    result = ffmpeg.run(["-v", "error", *arguments, "-y", f"file:{target}"])
    if result.returncode:
        why = ffmpeg.reason(result.stderr.decode("utf-8", "replace"))
        raise MediaError(f"{target.name}: ffmpeg fails ({why})")
