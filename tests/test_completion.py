"""Markers of complete jobs."""

from __future__ import annotations

from pathlib import Path

from iicnet_cli.jobs.completion import marker_beside, read_marker, write_marker


def test_a_marker_is_of_one_job_only(tmp_path: Path) -> None:
    marker = marker_beside(tmp_path / "out" / "a.png")
    assert read_marker(marker, "abc") is None
    write_marker(marker, "abc", {"output": tmp_path / "a.png", "images": 3})
    assert read_marker(marker, "abc") == {"output": str(tmp_path / "a.png"), "images": 3}
    assert read_marker(marker, "abd") is None
    assert [path.name for path in marker.parent.iterdir()] == ["a.png.json"]


def test_what_is_no_marker_is_none(tmp_path: Path) -> None:
    marker = tmp_path / "marker.json"
    for content in (b"", b"{", b"[]", b"null", b'{"job": "abc"}', b'{"job": "abc", "record": 1}'):
        marker.write_bytes(content)
        assert read_marker(marker, "abc") is None
    marker.write_bytes(b'{"job": "abc", "record": {}' + b" " * (1 << 20) + b"}")
    assert read_marker(marker, "abc") is None
