"""Many files on a Ray cluster of two machines, one of which is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iicnet_cli import cluster
from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import DeviceError, UsageError
from tests.helpers import Run, frames_of, write_clip
from tests.samples import moving

ROOT = Path(__file__).resolve().parents[1]
CLIPS = 8
GROUPS = 12
"""Groups of each clip: so many that a clip takes some seconds."""
ESTIMATE = rf"about .* minutes? for {CLIPS} inputs"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 16 * "0123"}


def test_addresses() -> None:
    assert cluster.check_address("ray") is None
    assert cluster.check_address("ray://head:10001") == "ray://head:10001"
    for wrong in ("dask", "ray:", "ray://head", "ray://head:"):
        with pytest.raises(UsageError, match="no cluster"):
            cluster.check_address(wrong)


def test_without_ray_the_extra_is_named(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    options = ("--task", "grayscale", "--out-dir", tmp_path / "o", "--on", "ray")
    result = run("embed", *photos, *options)
    assert result.exit_code == 2
    assert result.stderr == "iicnet: Ray is not installed (pip install 'iicnet[ray]')\n"
    assert result.stdout == ""


@pytest.mark.parametrize(("failures", "connected"), [(3, True), (4, False)])
def test_a_head_that_fails_to_serve_a_client_is_asked_again(
    failures: int, connected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def init(**_: object) -> None:
        asked.append(1)
        if len(asked) <= failures:
            raise ConnectionAbortedError("Initialization failure from server:\nTrace\nError: gone")

    ray = SimpleNamespace(init=init, shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    if connected:
        with cluster.connected("ray://head:1") as found:
            assert found is ray
    else:
        failure = "no Ray cluster ray://head:1: Initialization failure from server: Error: gone"
        with pytest.raises(DeviceError, match=failure), cluster.connected("ray://head:1"):
            pass
    assert len(asked) == 4


@pytest.fixture
def two_machines() -> Iterator[Any]:
    """A Ray cluster of two nodes with one core each; nodes that are lost are noticed quickly, and
    other work on the machine does not delay the workers."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'iicnet[ray]'")
    from ray.cluster_utils import Cluster

    quick = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 3,
        "worker_niceness": 0,
    }
    node = {"num_cpus": 1, "num_gpus": 0, "memory": 4 << 30, "object_store_memory": 80 << 20}
    head = {**node, "_system_config": quick, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=head)
    found.add_node(**node)
    try:
        yield found, found.worker_nodes.copy().pop()
    finally:
        found.shutdown()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def finished(folder: Path) -> dict[str, int]:
    """The PNGs of a folder and the times at which they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.png")}


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def check_outputs(out: Path) -> None:
    """Every file is there, complete and marked, and nothing else."""
    names = [f"{i}.png" for i in range(CLIPS)]
    assert sorted(path.name for path in out.iterdir()) == [".iicnet-done", *names]
    assert len(list((out / ".iicnet-done").iterdir())) == CLIPS
    for name in names:
        header = read_header(out / name)
        assert header is not None and header.frames == 5 * GROUPS


@pytest.mark.slow
def test_a_machine_and_a_caller_are_lost(two_machines: Any, tmp_path: Path) -> None:
    machines, second = two_machines
    for i in range(CLIPS):
        write_clip(tmp_path / f"{i}.mkv", moving(5 * GROUPS, 48, 64, i))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "iicnet_cli", "embed", f"{tmp_path}/*.mkv"]
    command += ["--out-dir", str(out), "--effort", "0", "--on", "ray", "--json"]
    environment = {**os.environ, "RAY_ADDRESS": machines.address, "PYTHONPATH": str(ROOT)}
    environment.pop("IICNET_JOBS", None)

    # The process that asks is killed after the first files.
    process = start(command, environment)
    wait_for(lambda: len(finished(out)) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished(out)
    assert len(before) < CLIPS

    # The same command goes on; then a machine is lost while it works.
    process = start(command, environment)
    wait_for(lambda: len(finished(out)) >= len(before) + 2, process)
    machines.remove_node(second, allow_graceful=False)
    lost_at = finished(out)
    assert len(lost_at) < CLIPS
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    lines = [json.loads(line) for line in stdout.splitlines()]
    assert [Path(line["input"]).name for line in lines] == [f"{i}.mkv" for i in range(CLIPS)]
    # Its workers may have finished a file more before they ended.
    skipped = {Path(line["input"]).stem + ".png" for line in lines if line.get("skipped")}
    assert set(before) <= skipped
    # On a busy machine an estimate of a minute or more is said before.
    said = [line for line in stderr.splitlines() if not re.fullmatch(ESTIMATE, line)]
    assert said == [f"{len(skipped)} of {CLIPS} were complete before"]

    after = finished(out)
    assert sorted(after) == [f"{i}.png" for i in range(CLIPS)]
    assert {name: after[name] for name in lost_at} == lost_at
    assert sorted(path.name for path in out.iterdir() if path.name not in after) == [".iicnet-done"]
    assert len(list((out / ".iicnet-done").glob("*.json"))) == CLIPS
    for i in range(CLIPS):
        header = read_header(out / f"{i}.png")
        assert header is not None and header.frames == 5 * GROUPS

    # Once more: nothing is left to be done, and no cluster is needed.
    environment["RAY_ADDRESS"] = "localhost:1"
    stdout, stderr = (process := start(command, environment)).communicate(timeout=120)
    assert process.returncode == 0, stderr
    again = [json.loads(line) for line in stdout.splitlines()]
    assert all(line.pop("skipped") for line in again)
    for line, first in zip(again, lines, strict=True):
        first.pop("skipped", None)
        assert line == first
    assert finished(out) == after


@pytest.fixture
def client_server() -> Iterator[tuple[str, dict[str, str]]]:
    """A cluster on the loopback interface that asks for a token: its ``ray://`` address and the
    environment, without token, of its processes and callers."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'iicnet[ray]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # A short path, for sockets; Ray's own default folder is that of other clusters.
    with tempfile.TemporaryDirectory(prefix="iicnet-", dir="/tmp") as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment |= {"HOME": folder, "PYTHONPATH": str(ROOT)}
        # Without the first, Ray takes the machine's address in the place of 127.0.0.1.
        at_head = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
        # On a busy machine the server of one client takes more than the usual 30 s to start,
        # gRPC's threads may end it when it is forked, and workers of niceness 15 hardly run.
        at_head["RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S"] = "100"
        at_head["GRPC_ENABLE_FORK_SUPPORT"] = "0"
        at_head["RAY_worker_niceness"] = "0"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += ["--node-ip-address=127.0.0.1", "--port=0", f"--ray-client-server-port={port}"]
        command += ["--num-cpus=1", "--num-gpus=0", f"--memory={4 << 30}"]
        command += [f"--object-store-memory={80 << 20}", "--include-dashboard=false"]
        command += [f"--temp-dir={folder}/ray"]
        process = start(command, {**environment, **at_head, **TOKEN})
        try:
            wait_for(lambda: _listens(port), process)
            yield f"ray://127.0.0.1:{port}", environment
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_all_commands_from_outside_with_a_token(
    client_server: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, environment = client_server
    (clips := tmp_path / "clips").mkdir()
    write_clip(clips / "a.mkv", moving(5, 48, 64, 0))

    def call(*arguments: object, **token: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "iicnet_cli", *map(str, arguments), "--on", address]
        process = start(command, {**environment, **token})
        stdout, stderr = process.communicate(timeout=300)
        return process.returncode, stdout, stderr

    embed = ("embed", clips / "a.mkv", "--out-dir", tmp_path / "out", "--effort", "0")
    code, stdout, stderr = call(*embed, RAY_AUTH_MODE="token")
    assert (code, stdout) == (1, "")
    assert stderr.startswith(f"iicnet: no Ray cluster {address}: Token authentication is enabled")
    assert stderr.endswith(f"({cluster.TOKEN_HINT})\n") and stderr.count("\n") == 1

    code, _, stderr = call(*embed, **TOKEN)
    assert code == 0, stderr
    picture = tmp_path / "out" / "a.png"
    header = read_header(picture)
    assert header is not None and header.frames == 5

    code, stdout, stderr = call("restore", picture, "--out-dir", tmp_path / "again", **TOKEN)
    assert code == 0, stderr
    assert frames_of(tmp_path / "again" / "a-restored.mkv").shape == (5, 48, 64, 3)

    rows = tmp_path / "rows"
    code, stdout, stderr = call("evaluate", clips, "-m", "video-5", "--out-dir", rows, **TOKEN)
    assert code == 0, stderr
    assert "a.mkv" in stdout and [row.name for row in rows.glob("*.json")] == ["000000-a.mkv.json"]
