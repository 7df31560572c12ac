"""Compiled loops: their cache, and what is said when it is empty."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys
import numpy as np
from iicnet_cli.jit import compiled

logging.basicConfig(format="%(message)s", level=logging.INFO)

@compiled
def double(values):
    for i in range(len(values)):
        values[i] *= 2

@compiled
def halve(values):
    for i in range(len(values)):
        values[i] /= 0

values = np.arange(3.0)
double(values)
print(values.tolist(), end=" ")
halve(values[1:])
print(values.tolist())
"""
RESULT = "[0.0, 2.0, 4.0] [0.0, inf, inf]"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its cache is beside it; after the first test it is full."""
    path = tmp_path_factory.mktemp("jit") / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def start(program: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **variables},
    )


def messages(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=300)
    assert out.strip() == RESULT, err
    return err.splitlines()


@pytest.fixture(scope="module")
def first_messages(program: Path) -> list[list[str]]:
    """What two processes say that find the cache empty at the same time."""
    return [messages(process) for process in [start(program) for _ in range(2)]]


def test_one_message_when_something_is_compiled(first_messages: list[list[str]]) -> None:
    for lines in first_messages:
        assert len(lines) <= 1  # the later one may find what the other has compiled
        assert all(line.startswith("compiling") for line in lines)
    assert any(first_messages)


@pytest.mark.usefixtures("first_messages")
def test_code_from_the_cache_is_used_on_the_same_processor_only(program: Path) -> None:
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert len(messages(start(program, **other))) == 1
    assert messages(start(program)) == []


@pytest.mark.usefixtures("first_messages")
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_anew(program: Path, suffix: str) -> None:
    files = sorted((program.parent / "__pycache__").glob(f"*.{suffix}"))
    assert len(files) > 1
    for number, file in enumerate(files):
        os.truncate(file, 30 * (number % 2))
    assert len(messages(start(program))) == 1
    assert messages(start(program)) == []


@pytest.mark.usefixtures("first_messages")
def test_without_a_folder_for_the_cache_each_process_compiles(program: Path) -> None:
    # This locator finds a folder in notebooks only.
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}
    assert len(messages(start(program, **nowhere))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limit for the size of files")
def test_a_full_disk_does_not_stop_the_work(tmp_path: Path) -> None:
    limited = tmp_path / "limited.py"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    limited.write_text(limit + PROGRAM, encoding="utf-8")
    assert len(messages(start(limited))) == 1


def test_a_changed_module_beside_the_function_is_compiled_in(tmp_path: Path) -> None:
    program, factor = tmp_path / "program.py", tmp_path / "factor.py"
    program.write_text(
        "from factor import FACTOR\nfrom iicnet_cli.jit import compiled\n"
        "@compiled\ndef scale(x):\n    return x * FACTOR\n\nprint(scale(2))\n",
        encoding="utf-8",
    )
    for value in (3, 50):
        factor.write_text(f"FACTOR = {value}\n", encoding="utf-8")
        out, err = start(program, PYTHONDONTWRITEBYTECODE="1").communicate(timeout=300)
        assert out == f"{2 * value}\n", err
