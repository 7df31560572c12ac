"""How many jobs a machine does at the same time."""

from __future__ import annotations

import pytest

from iicnet_cli.jobs import machine


@pytest.mark.parametrize(
    ("cores", "gigabytes", "device", "jobs"),
    [
        (8, 64, "cpu", 8),  # a core each
        (8, 7, "cpu", 3),  # 2 GiB each
        (8, 1, "cpu", 1),
        (8, None, "cpu", 8),
        (64, 256, "cuda:1", 4),  # one GPU for all
    ],
)
def test_cores_memory_and_gpu_limit_the_jobs(
    cores: int, gigabytes: int | None, device: str, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = None if gigabytes is None else gigabytes << 30
    monkeypatch.setattr(machine, "available_cores", lambda: cores)
    monkeypatch.setattr(machine, "available_memory", lambda: memory)
    assert machine.default_jobs(device) == jobs


def test_what_this_machine_has() -> None:
    assert machine.available_cores() >= 1
    memory = machine.available_memory()
    assert memory is None or 1 << 20 < memory < 1 << 50
