"""Choice of the device."""

from __future__ import annotations

import pytest

from iicnet_cli.errors import UsageError
from iicnet_cli.inference.device import choose_device


def test_device_choice() -> None:
    assert choose_device("cpu").device.type == "cpu"
    assert choose_device("auto").reason
    for wrong in ("gpu", "meta", "cuda:99"):
        with pytest.raises(UsageError):
            choose_device(wrong)
