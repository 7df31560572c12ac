"""Jobs in worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iicnet_cli.errors import DeviceError, UsageError
from iicnet_cli.jobs.job import ConverterSettings, Job, Outcome
from iicnet_cli.jobs.local_workers import perform_here, perform_in_processes
from iicnet_cli.media.files import temporary_name
from tests.helpers import write_clip
from tests.samples import moving

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Play(Job[str]):
    """A job for tests: it waits, writes to stderr and stdout, fails, or ends its process."""

    seconds: float = 0.0
    fails: bool = False
    kills: bool = False

    def run(self, converter: Any) -> str:
        print(f"{self.source} on stderr", file=sys.stderr)
        print(f"{self.source} on stdout", flush=True)
        if self.kills:
            temporary_name(self.source).write_bytes(b"unfinished")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        if self.fails:
            raise UsageError(f"{self.source} fails", hint="do not ask for it")
        return f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}"

    def record(self, report: Any) -> dict[str, Any]:
        return {"said": report}

    def outputs(self) -> tuple[Path, ...]:
        return self.inputs


@pytest.fixture(autouse=True)
def _tests_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield


def play(jobs: list[Play], workers: int = 2) -> tuple[list[Outcome[str]], list[Outcome[Any]]]:
    """Outcomes in the order of the jobs, and in the order of their ends."""
    ends: list[Outcome[Any]] = []
    settings = ConverterSettings(device="cpu")
    with closing(perform_in_processes(jobs, settings, workers, ends.append)) as outcomes:
        return list(outcomes), ends


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_order_messages_errors_and_a_killed_worker(tmp_path: Path) -> None:
    first = Play(inputs=(Path("a"),), seconds=1.0)
    quick = Play(inputs=(Path("b"),))
    failing = Play(inputs=(Path("c"),), fails=True)
    killed = Play(inputs=(tmp_path / "d",), kills=True)
    last = Play(inputs=(Path("e"),))
    outcomes, ends = play([first, quick, failing, killed, last])
    assert [outcome.job for outcome in outcomes] == [first, quick, failing, killed, last]
    assert {end.job for end in ends} == {outcome.job for outcome in outcomes}
    assert ends[0].job == quick  # while the first one still waits
    processes = {str(outcome.report).split()[0] for outcome in outcomes if outcome.report}
    assert len(processes) == 3  # two, and one in place of the killed one
    assert str(os.getpid()) not in processes

    assert outcomes[1].messages == "b on stderr\n"
    error = outcomes[2].error
    assert isinstance(error, UsageError) and str(error) == "c fails"
    assert error.hint == "do not ask for it"
    assert "in run" in error.__notes__[0]  # where it was raised, for --debug
    assert isinstance(outcomes[3].error, DeviceError)
    assert str(outcomes[3].error) == "its worker process was killed by SIGKILL"
    assert not list(tmp_path.iterdir())


def test_the_cores_are_shared_out() -> None:
    outcomes, _ = play([Play(inputs=(Path(str(i)),)) for i in range(2)], workers=1000)
    assert {str(outcome.report).split()[1] for outcome in outcomes} == {"1"}


def test_closing_early_ends_the_workers_at_work() -> None:
    jobs = [Play(inputs=(Path(str(i)),), seconds=0 if i == 0 else 600) for i in range(4)]
    settings = ConverterSettings(device="cpu")
    began = time.monotonic()
    outcomes = perform_in_processes(jobs, settings, 2, lambda outcome: None)
    process = int(str(next(outcomes).report).split()[0])
    outcomes.close()
    assert time.monotonic() - began < 60
    if sys.platform != "win32":
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


class Unreadable:
    """What can be sent, but not read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def test_a_job_that_a_worker_cannot_read_fails() -> None:
    unreadable: Any = Unreadable()
    outcomes, _ = play([Play(inputs=(Path("a"),), seconds=unreadable)])
    assert str(outcomes[0].error) == "its worker process ended with status 0"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_an_interrupt_of_a_worker_that_is_starting_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        process = start(*args, **kwargs)
        process.send_signal(signal.SIGINT)
        return process

    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", interrupted)
    outcomes, _ = play([Play(inputs=(Path("a"),))], workers=1)
    assert [outcome.error for outcome in outcomes] == [None]


def test_here_one_converter_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(ConverterSettings, "open", lambda *_: opened.append(1) or object())
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    jobs = [Play(inputs=(Path(str(i)),), fails=i == 1) for i in range(3)]
    outcomes = list(perform_here(jobs, ConverterSettings(), lambda progress: None))
    assert [outcome.report for outcome in outcomes] == [
        f"{os.getpid()} 7",
        None,
        outcomes[0].report,
    ]
    assert isinstance(outcomes[1].error, UsageError)
    assert opened == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_interrupt_ends_all_at_once(tmp_path: Path) -> None:
    for i in range(3):
        write_clip(tmp_path / f"{i}.mkv", moving(400, 48, 64, i))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "iicnet_cli", "embed", f"{tmp_path}/*.mkv", "--effort", "0"]
    command += ["--out-dir", str(out), "--jobs", "2", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (out.is_dir() and len(list(out.glob(".*.png"))) == 2):  # both are at work
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "iicnet: interrupted\n")
    assert not list(out.iterdir())
    with pytest.raises(ProcessLookupError):
        for _ in range(200):  # the system may take a moment to forget the last of them
            os.killpg(process.pid, 0)
            time.sleep(0.05)


def test_the_main_module_does_not_run_again(photos: list[Path], tmp_path: Path) -> None:
    """A program without ``if __name__ == "__main__"`` may use the command line."""
    arguments = ["embed", *map(str, photos[:2]), "--task", "grayscale", "--json", "--jobs", "2"]
    arguments += ["--effort", "0", "-y", "--out-dir", str(tmp_path / "out")]
    program = f"print('begins'); from iicnet_cli.cli import app; app({arguments!r})"
    file = tmp_path / "program.py"
    file.write_text(program)
    shown = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False)
    lines = shown.stdout.splitlines()
    assert lines[0] == "begins" and len(lines) == 3, shown
    names = [json.loads(line)["input"] for line in lines[1:]]
    assert names == [str(photo) for photo in photos[:2]]
