"""Restoring the groups of one PNG, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli import Converter
from iicnet_cli.container.header import Header
from iicnet_cli.engines.base import Engine
from iicnet_cli.engines.group_decoding import GroupDecoder
from iicnet_cli.errors import DamagedError
from iicnet_cli.inference.runner import Runner
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.reports import Progress, Stage, ignore_progress

HEADER = Header(task="video", model="m", weights_sha256="0" * 64, images=1, width=4, height=2)


class FakeEngine(Engine):
    """Restores each embedding as itself; notes which threads did."""

    images_per_group = 1
    model = "m"
    # Everything else of the contract has no use here.
    open = survives = capacity = reference = encode_group = header = estimate_group = None  # type: ignore[assignment]

    def __init__(self, at_once: int = 2) -> None:
        self.at_once = at_once
        self.threads: list[threading.Thread] = []

    def groups_decoded_at_once(self, height: int, width: int) -> int:
        assert (height, width) == (2, 4)
        return self.at_once

    def decode_group(
        self,
        embedding: Pixels,
        header: Header,
        index: int,
        tick: Callable[[float], None] = lambda share: None,
    ) -> Group:
        self.threads.append(threading.current_thread())
        if embedding[0, 0] != index:
            raise DamagedError(f"embedding {index} is another one")
        tick(0.5)
        tick(1.0)
        return Group(embedding[None], 1)


def embeddings(count: int, read: list[int] | None = None) -> Iterator[tuple[str, Pixels]]:
    for i in range(count):
        if read is not None:
            read.append(i)
        yield f"item {i}", np.full((2, 4), i, np.uint8)


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("total", [5, None])
def test_groups_come_in_order_with_what_belongs_to_them(at_once: int, total: int | None) -> None:
    engine = FakeEngine(at_once)
    read: list[int] = []
    decoder = GroupDecoder(engine, HEADER, total, Stage.RESTORING, ignore_progress)
    for i, (item, embedding, group) in enumerate(decoder.decode(embeddings(5, read))):
        assert item == f"item {i}"
        assert np.array_equal(group.images[0], embedding) and embedding[0, 0] == i
        assert len(read) <= i + 1 + at_once
    assert i == 4 and len(engine.threads) == 5
    assert threading.current_thread() not in engine.threads


@pytest.mark.parametrize(("count", "overlaps"), [(1, True), (3, False)])
def test_one_group_and_compiled_networks_stay_in_the_calling_thread(
    count: int, overlaps: bool
) -> None:
    engine = FakeEngine()
    decoder = GroupDecoder(
        engine, HEADER, count, Stage.RESTORING, ignore_progress, overlaps=overlaps
    )
    assert len(list(decoder.decode(embeddings(count)))) == count
    assert engine.threads == [threading.current_thread()] * count


def test_progress_ends_with_all_groups() -> None:
    reports: list[Progress] = []
    decoder = GroupDecoder(FakeEngine(1), HEADER, 3, Stage.VERIFYING, reports.append)
    list(decoder.decode(embeddings(3)))
    shares = [report.done for report in reports]
    assert shares == [0.5, 1, 1, 1.5, 2, 2, 2.5, 3]
    assert {(report.stage, report.total) for report in reports} == {(Stage.VERIFYING, 3)}


def test_an_error_comes_after_the_groups_before_it() -> None:
    items = [("good", np.zeros((2, 4), np.uint8)), *[("bad", np.full((2, 4), 9, np.uint8))] * 4]
    engine = FakeEngine()
    decoded = GroupDecoder(engine, HEADER, 5, Stage.RESTORING, ignore_progress).decode(items)
    assert next(decoded)[0] == "good"
    with pytest.raises(DamagedError, match="embedding 1"):
        next(decoded)
    assert len(engine.threads) <= 4


def test_a_clip_is_restored_the_same_however_many_groups_run_at_once(
    panning: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "clip.png"
    converter = Converter(device="cpu")
    assert converter.embed([panning], output).embeddings == 2
    restored = []
    for at_once in (1, 2):
        monkeypatch.setattr(Runner, "groups_at_once", lambda self, h, w, n=at_once: n)
        restored.append(np.stack(converter.restore_images(output)))
        converter.restore(output, tmp_path / f"frames-{at_once}")
    assert np.array_equal(*restored)
    one, two = (sorted((tmp_path / f"frames-{n}").iterdir()) for n in (1, 2))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
    assert len(one) == len(restored[0])
