"""The JSON header: what it holds, refuses and makes safe."""

from __future__ import annotations

import json
import time
import unicodedata
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.container import header
from iicnet_cli.container.header import (
    MAX_FRAMES,
    MAX_SOURCES,
    Header,
    Source,
    check_counts,
    safe_name,
)
from iicnet_cli.errors import DamagedError, ExitCode, UnsupportedVersionError, UsageError
from iicnet_cli.pictures.limits import MAX_PIXELS_VARIABLE
from tests.png_files import WEIGHTS, some_header

EVIL_NAMES = (
    *["../../etc/passwd", "/etc/passwd", "C:\\x", "..\\..\\x", "C:x", "..", ".", "", "/", "a/.."],
    *["NUL", "CON", "con.txt", "COM1.png", "nul .png", "a\0b", "\x1b[2Jx", "a\nb", "\u202egnp.x"],
    *["x" * 500 + ".png", "é" * 500 + ".png", "a." + "b" * 500, "\udcff.png", "x. . .", "a:b|c?"],
)

names = st.text(max_size=300)
sizes = st.integers(1, 100_000)
sides = st.integers(1, 10_000)  # so that five pictures stay within 500 megapixels
of_groups = st.none() | st.lists(st.sampled_from(["", "AAEC", "AA=="]), max_size=3)
headers = st.builds(
    Header,
    task=st.sampled_from(["video", "stego", "rescale"]),
    model=st.sampled_from(["video-5", "paper/video-5"]),
    weights_sha256=st.just(WEIGHTS),
    images=st.integers(1, 16),
    width=sizes,
    height=sizes,
    padding=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    static_regions=of_groups,
    motion=of_groups,
    sources=st.lists(st.builds(Source, name=names, width=sides, height=sides), max_size=5),
    frames=st.none() | st.integers(1, 10**6),
    fps=st.none() | st.sampled_from(["25", "30000/1001"]),
    timestamps=st.none() | st.lists(st.floats(0, 1e6), max_size=5),
    options=st.dictionaries(
        st.text("abc_", min_size=1),
        st.text() | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(-1e9, 1e9),
        max_size=4,
    ),
    software=st.just("iicnet 1.0"),
)


@settings(deadline=None)
@given(headers)
def test_round_trip(header: Header) -> None:
    text = header.to_json()
    again = Header.from_json(text)
    assert text.isascii()
    assert again == header
    assert {k: type(v) for k, v in again.options.items()} == {
        k: type(v) for k, v in header.options.items()
    }


def test_json_text_stays_as_it_is() -> None:
    header = some_header(static_regions=["AAEC", ""], motion=["", "AA=="], fps="25")
    assert header.to_json() == (
        '{"version":"1.0","task":"stego","model":"stego-3","weights_sha256":"' + WEIGHTS + '",'
        '"images":3,"precision":"fp32","width":40,"height":30,"padding":[0,0],"scale":1,'
        '"common":["AAEC",""],"motion":["","AA=="],"sources":[],"fps":"25","options":{},'
        '"pixels_sha256":"","software":""}'
    )


def test_frame_rate() -> None:
    assert some_header(fps="30000/1001").frame_rate == Fraction(30000, 1001)
    assert some_header().frame_rate is None


def test_newer_minor_with_unknown_fields_is_read() -> None:
    data = json.loads(some_header().to_json())
    data |= {"version": "1.7", "invented": {"later": [1]}}
    data["sources"] = [{"name": "a.png", "width": 4, "height": 3, "colour": "sRGB"}]
    header = Header.from_json(json.dumps(data))
    assert header.version == "1.7"
    assert header.sources == [Source(name="a.png", width=4, height=3)]


def test_newer_major_is_refused_whatever_its_fields() -> None:
    with pytest.raises(UnsupportedVersionError) as caught:
        Header.from_json('{"version": "2.0", "task": 5}')
    assert "upgrade" in caught.value.hint
    assert caught.value.exit_code == ExitCode.NOT_EMBEDDING


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "5", '"x"', "{}", '{"version": null}', "[" * 100_000],
    ids=lambda text: text[:12],
)
def test_damaged_json(text: str) -> None:
    with pytest.raises(DamagedError):
        Header.from_json(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "1"},
        {"version": "0.9"},
        {"task": "../x"},
        {"model": "../../etc"},
        {"model": "/etc/x"},
        {"model": "a//b"},
        {"model": "a\\b"},
        {"images": 0},
        {"images": 17},
        {"width": 0},
        {"height": 2**40},
        {"padding": [1]},
        {"padding": [-1, 0]},
        {"fps": "30/0"},
        {"common": ["a"]},
        {"motion": ["a"]},
        {"motion": ["é==="]},
        {"fps": "1e999999999"},
        {"pixels_sha256": "xyz"},
        {"options": {"a": [1]}},
        {"sources": [{"name": 5, "width": 1, "height": 1}]},
        {"sources": [{"name": "bomb", "width": 40000, "height": 40000}]},
    ],
)
def test_invalid_fields_are_damage(fields: dict[str, Any]) -> None:
    data = json.loads(some_header().to_json()) | fields
    with pytest.raises(DamagedError):
        Header.from_json(json.dumps(data))


def test_an_error_names_the_field_as_the_file_does() -> None:
    data = json.loads(some_header().to_json()) | {"common": ["a"]}
    with pytest.raises(DamagedError, match=r"common\.0"):
        Header.from_json(json.dumps(data))


def test_infinite_numbers_are_refused() -> None:
    text = some_header().to_json()[:-1]
    for value in ("NaN", "Infinity", "1e999"):
        with pytest.raises(DamagedError):
            Header.from_json(f'{text},"timestamps":[{value}]}}')


def test_text_cannot_steer_a_terminal() -> None:
    header = some_header(software="x\x1b[2J", options={"k\r": "v\x07"})
    assert header.software == "x[2J"
    assert header.options == {"k": "v"}


def assert_safe(name: str) -> None:
    assert name and not any(unicodedata.category(c)[0] == "C" for c in name)
    assert len(name.encode()) <= 200
    assert not set(name) & set('/\\:<>"|?*')
    assert name == name.strip(" .")
    assert name.split(".")[0].strip().upper() not in ("CON", "NUL", "COM1", "PRN", "AUX", "LPT9")
    assert safe_name(name) == name


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_malicious_names_become_safe(name: str) -> None:
    assert_safe(safe_name(name))
    assert_safe(Source(name=name, width=1, height=1).name)


@given(st.text(alphabet=st.characters(), max_size=300) | st.from_regex(r"(?i)\W*(con|lpt1)\W*"))
def test_any_name_becomes_safe(name: str) -> None:
    assert_safe(safe_name(name))


def test_names_in_a_file_become_safe() -> None:
    data = json.loads(some_header().to_json())
    data["sources"] = [{"name": "../../etc/passwd", "width": 1, "height": 1}]
    assert Header.from_json(json.dumps(data)).sources[0].name == "passwd"


def test_ordinary_names_stay() -> None:
    for name in ("IMG_0001.JPG", "Été à la mer (2).png", "写真.webp", "a.tar.gz"):
        assert safe_name(name) == name
    assert safe_name("x" * 500 + ".png").endswith("xx.png")


@pytest.mark.parametrize(
    "fields",
    [
        {"motion": [0] * 2_000_000},
        {"sources": [{}] * 1_000_000},
        {"sources": [{"name": "a", "width": 1, "height": 1}] * (MAX_SOURCES + 1)},
        {"timestamps": [0] * (MAX_FRAMES + 1)},
        {"options": {str(i): i for i in range(101)}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_long_lists_cost_no_more_than_their_length(fields: dict[str, object]) -> None:
    text = json.dumps(json.loads(some_header().to_json()) | fields)
    began = time.process_time()
    with pytest.raises(DamagedError):
        Header.from_json(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "fields",
    [
        {"fps": "9999999999"},
        {"fps": "1/9999999999"},
        {"timestamps": [0.0, 1e308]},
        {"timestamps": [0.0, 1e999]},
    ],
)
def test_times_that_no_clip_has_are_refused(fields: dict[str, object]) -> None:
    text = json.dumps(json.loads(some_header().to_json()) | fields)
    with pytest.raises(DamagedError):
        Header.from_json(text)


def test_the_pictures_of_one_file_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [Source(name="a", width=20_000, height=20_000)] * 2
    text = json.dumps(json.loads(some_header().to_json()) | {"sources": [dict(p) for p in photos]})
    with pytest.raises(DamagedError, match="500 megapixels together"):
        Header.from_json(text)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "800000000")
    assert Header.from_json(text).sources == photos
    monkeypatch.delenv(MAX_PIXELS_VARIABLE)
    for more in ({"frames": 2}, {"engine": "lowbits"}):  # not all in memory, or with own sizes
        assert Header.from_json(json.dumps(json.loads(text) | more)).sources == photos


def test_what_is_written_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes the check before the work fits into a header, with the longest names."""
    names = ["\U0001f338" * 60 + ".png"] * 100
    times = [i / 30 + 0.033366666666666667 for i in range(1000)]
    fields: dict[str, object] = {
        "task": "video",
        "model": "m",
        "weights_sha256": "",
        "images": 1,
        "width": 1920,
        "height": 1080,
        "sources": [{"name": name, "width": 1920, "height": 1080} for name in names],
        "timestamps": times,
        "frames": 1000,
    }
    size = len(Header.for_writing(**fields).to_json())
    monkeypatch.setattr(header, "MAX_HEADER_BYTES", size - 1)
    with pytest.raises(UsageError, match="do not fit into the header"):
        check_counts(names, len(times))
    monkeypatch.setattr(header, "MAX_HEADER_BYTES", size + 20_000)
    check_counts(names, len(times))
    with pytest.raises(UsageError, match="cannot say what is in it: frames"):
        Header.for_writing(**fields | {"frames": 0})
