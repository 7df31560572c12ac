"""Writing many pictures at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.errors import MediaError, OutputExistsError
from iicnet_cli.media import still_pool
from iicnet_cli.media.still_pool import StillPool
from iicnet_cli.media.stills import read_still
from tests.media_samples import noise


def test_all_pictures_are_complete_at_the_end(tmp_path: Path) -> None:
    pictures = [noise(9, 7, seed) for seed in range(40)]
    with StillPool() as stills:
        for i, picture in enumerate(pictures):
            stills.write(tmp_path / f"{i}.png", picture)
    assert len(list(tmp_path.iterdir())) == 40
    for i, picture in enumerate(pictures):
        assert np.array_equal(read_still(tmp_path / f"{i}.png").pixels, picture)


def test_an_error_of_any_picture_is_raised(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    with (
        pytest.raises(OutputExistsError, match=r"1\.png"),
        StillPool() as stills,
    ):
        for i in range(2):
            stills.write(tmp_path / f"{i}.png", noise(4, 4, i))
    with pytest.raises(MediaError), StillPool() as stills:
        stills.write(tmp_path / "nowhere" / "0.png", noise(4, 4, 0))
        stills.finish()
        pytest.fail("the error came too late")


def test_few_pictures_wait_and_none_begins_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, begun = threading.Event(), []

    def write(target: Path, pixels: object, *, overwrite: bool) -> None:
        begun.append(target)
        let_go.wait(30)

    monkeypatch.setattr(still_pool, "write_still", write)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt), StillPool() as stills:
        for i in range(2):
            stills.write(tmp_path / f"{i}.png", noise(4, 4, i))
        third = threading.Thread(target=stills.write, args=(tmp_path / "2.png", noise(4, 4, 2)))
        third.start()
        third.join(0.2)
        assert third.is_alive() and len(begun) == 1  # one is written, one waits, the third has to
        let_go.set()
        third.join(30)
        let_go.clear()
        before = len(begun)
        threading.Timer(0.2, let_go.set).start()
        raise KeyboardInterrupt
    assert before <= len(begun) <= 3
