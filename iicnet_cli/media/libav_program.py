"""What libav says about a clip, as data: the program of a process of its own.

A file that makes libav crash, or take too much memory, ends this process only. It starts fast
because it imports nothing of the package.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from typing import Any

_ATTACHED_PICTURE = 1 << 10
"""A stream with this disposition is a cover picture."""
_GENERATE_TIMES = 1
"""With this flag, which PyAV sets, libav may read far ahead for the times of a packet."""
_MOST_DECODED_PACKETS = 64
"""So many packets are decoded, at most, to find the first frame."""

Facts = dict[str, Any]


def serve() -> None:
    """Answer one request: JSON on stdin, and on stdout."""
    json.dump(describe(json.load(sys.stdin)), sys.stdout)


def describe(request: Facts) -> Facts:
    """Describe a clip.

    Args:
        request: ``url`` and ``format`` (a demuxer, or ``None``) as libav takes them; ``options``
            of the demuxer; ``most_pixels`` of a frame; and which ``packets`` to list: those of
            the first ``video`` or ``audio`` stream, or ``None``.

    Returns:
        ``error``, in words; or ``video`` (``None`` if there is none), ``audio_codec``,
        ``duration`` and ``packets``, as `clip_probe` takes them.
    """
    try:
        import av
        from av.logging import ERROR, set_level
    except ImportError:
        return {"error": "PyAV is missing", "hint": "pip install av"}
    set_level(ERROR)  # else errors would not say why
    limits = {"max_pixels": str(request["most_pixels"])}
    # Metadata in any encoding must not hide a clip; from version 19 on PyAV sees to that itself.
    is_strict = int(av.__version__.split(".")[0]) < 19
    decoding: Facts = {"metadata_errors": "replace"} if is_strict else {}
    try:
        with av.open(
            request["url"],
            format=request["format"],
            options=limits,
            container_options=request["options"],
            **decoding,
        ) as container:
            return _describe_container(container, request["packets"], limits)
    except Exception as error:
        log = getattr(error, "log", None)
        reason = str(log[2] if log else getattr(error, "strerror", None) or error).strip()
        is_refused = "not on whitelist" in reason
        return {"error": "files of this kind are not read" if is_refused else reason}


def _describe_container(container: Any, listed: str | None, limits: dict[str, str]) -> Facts:
    container.flags &= ~_GENERATE_TIMES
    pictures = (s for s in container.streams.video if not s.disposition & _ATTACHED_PICTURE)
    video, sound = next(pictures, None), next(iter(container.streams.audio), None)
    facts: Facts = {
        "duration": None if container.duration is None else container.duration / 1e6,
        "audio_codec": None if sound is None else _codec_name(sound) or "unknown",
        "video": None,
        "packets": None,
    }
    if video is not None:
        facts["video"] = _describe_stream(video)
    if listed == "audio":
        if sound is not None:
            packets = _until_damage(container.demux(sound))
            facts["packets"] = _list_packets(sound, packets, only_shown=False)
    elif video is not None:
        to_the_end = listed == "video"
        frame, facts["packets"] = _read_packets(container, video, limits, to_the_end=to_the_end)
        if frame is not None:
            facts["video"] |= _describe_frame(frame)
    return facts


def _codec_name(stream: Any) -> str | None:
    context = stream.codec_context
    return None if context is None else context.codec.canonical_name


def _describe_stream(stream: Any) -> Facts:
    context = stream.codec_context
    pixels = None if context is None else context.format
    if context is None or not context.width or not context.height:
        return {"codec": _codec_name(stream), "width": 0, "height": 0}
    return {
        "codec": _codec_name(stream),
        "width": context.width,
        "height": context.height,
        "pixel_format": "" if pixels is None else pixels.name,
        "is_rgb": pixels is not None and pixels.is_rgb,
        "has_alpha": stream.metadata.get("alpha_mode") == "1"
        or (pixels is not None and any(part.is_alpha for part in pixels.components)),
        "matrix": int(context.colorspace),
        "primaries": int(context.color_primaries),
        "transfer": int(context.color_trc),
        "pixel_aspect": _pair(stream.sample_aspect_ratio),
        "frame_rate": _pair(stream.average_rate),
        "base_rate": _pair(stream.base_rate),
    }


def _pair(number: Any) -> tuple[int, int] | None:
    """A fraction of PyAV that may be missing, or be 0 for that."""
    return (number.numerator, number.denominator) if number else None


def _describe_frame(frame: Any) -> Facts:
    facts: Facts = {"interlaced": bool(frame.interlaced_frame), "rotation": frame.rotation % 360}
    try:
        extra = frame.side_data
        matrix, stereo = extra.get("DISPLAYMATRIX"), extra.get("STEREO3D")
    except ValueError:  # PyAV knows not all kinds of extra data
        return facts
    if matrix is not None:
        facts["rotation"] = _rotation(struct.unpack_from("=9i", bytes(matrix)))
    if stereo is not None:
        facts["stereo"] = struct.unpack_from("=2i", bytes(stereo))  # kind, and flags
    return facts


def _rotation(matrix: tuple[int, ...]) -> int:
    """Degrees counter-clockwise; PyAV rounds them down."""
    across, along = math.hypot(matrix[0], matrix[3]), math.hypot(matrix[1], matrix[4])
    if not across or not along:
        return 0
    return round(-math.degrees(math.atan2(matrix[1] / along, matrix[0] / across))) % 360


def _read_packets(
    container: Any, stream: Any, limits: dict[str, str], *, to_the_end: bool
) -> tuple[Any, Facts | None]:
    """The first frame, and all packets if they are wanted, in one pass."""
    context = stream.codec_context
    if context is not None:
        context.thread_count = 1  # each further thread would take another packet
        context.options = limits
    found: list[Any] = []

    def watched() -> Any:
        for number, packet in enumerate(_until_damage(container.demux(stream))):
            is_looking = not found and context is not None and number < _MOST_DECODED_PACKETS
            if is_looking:
                found.extend(_decode(packet))
            elif not to_the_end:
                return
            yield packet

    packets = _list_packets(stream, watched(), only_shown=True)
    return (found[0] if found else None), packets if to_the_end else None


def _decode(packet: Any) -> list[Any]:
    try:
        return list(packet.decode())
    except Exception:  # those of libav have no common base but this
        return []


def _until_damage(packets: Any) -> Any:
    """Packets up to where the file cannot be read on."""
    try:
        yield from packets
    except Exception:  # as above
        return


def _list_packets(stream: Any, packets: Any, *, only_shown: bool) -> Facts:
    """Times, durations and sizes of packets from the first keyframe on.

    Packets that are not shown are decoded for others, such as those before an edit list starts.
    """
    starts, durations, sizes = [], [], []
    has_begun = False
    for packet in packets:
        has_begun = has_begun or packet.is_keyframe
        if packet.size and has_begun and not (only_shown and packet.is_discard):
            starts.append(packet.pts)
            durations.append(packet.duration or 0)
            sizes.append(packet.size)
    base = _pair(stream.time_base)
    return {"time_base": base, "starts": starts, "durations": durations, "sizes": sizes}


if __name__ == "__main__":
    serve()
