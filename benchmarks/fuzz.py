"""Mutated files for everything that reads: what is not answered as it should be is printed.

::

    corpus of small files --mutations--> reader or command --> ok, or one of our errors
                                                           --> fault: traceback, hang, crash,
                                                               wrong exit status, leftover

Each harness runs in worker processes of limited memory; an input that is not answered in ten
seconds is a hang. Inputs that cause a fault are kept in the folder of --keep.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzz_corpus import write_corpus
from fuzz_mutations import mutate

INPUTS_PER_WORKER = 500
SECONDS_PER_INPUT, SECONDS_PER_TURN = 10, 20
MEMORY_BYTES = 6 << 30
"""Of address space; numpy's and torch's libraries alone take two or three of it."""
FAULTS = ("traceback", "hang", "crash", "exit status", "leftover")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"))
    parser.add_argument("--only", choices=sorted(HARNESSES), action="append")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        harness, corpus, first = args.worker
        run_worker(harness, Path(corpus), int(first), args.keep)
        return
    counts = run_all(args.only or sorted(HARNESSES), args.minutes * 60, args.seed, args.keep)
    print(f"{'harness':10} {'inputs':>8} " + " ".join(f"{fault:>12}" for fault in FAULTS))
    for harness, count in counts.items():
        columns = " ".join(f"{count[fault]:12}" for fault in FAULTS)
        print(f"{harness:10} {count['inputs']:8} {columns}")
    total = sum(counts.values(), Counter())
    print(f"{total['inputs']} inputs, {sum(total[fault] for fault in FAULTS)} faults")
    sys.exit(any(total[fault] for fault in FAULTS))


def run_all(names: list[str], seconds: float, seed: int, keep: Path) -> dict[str, Counter[str]]:
    """Give each harness its turn until the time is over."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    spent = dict.fromkeys(names, 0.0)
    end, number = time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder))
        while time.monotonic() < end:
            name = min(spent, key=lambda each: spent[each])
            began, first = time.monotonic(), seed * 10**9 + number * INPUTS_PER_WORKER
            left = min(end - began, SECONDS_PER_TURN)
            counts[name] += run_in_worker(name, folder, first, keep, left)
            spent[name] += time.monotonic() - began
            number += 1
    return counts


def run_in_worker(name: str, corpus: str, first: int, keep: Path, seconds: float) -> Counter[str]:
    """Run some inputs in a process of their own; its death is a fault of the last input."""
    command = [sys.executable, __file__, "--keep", str(keep), "--worker", name, corpus, str(first)]
    environment = os.environ | {"FUZZ_SECONDS": str(seconds), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    count: Counter[str] = Counter(lines[-1]["counts"]) if lines else Counter()
    if ended.returncode:
        count["crash"] += 1
        print(f"{name}: its process ended with {ended.returncode} after {count['inputs']} inputs")
    return count


def run_worker(name: str, folder: Path, first: int, keep: Path) -> None:
    """Run one harness on mutated files; print the counts after each input."""
    import resource
    import signal

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _too_long)
    from fuzz_harnesses import HARNESSES as RUN
    from fuzz_harnesses import FaultError

    run, suffixes = RUN[name], HARNESSES[name]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        # Once without a limit of time: libraries are loaded, and loops are compiled.
        whole = next(path for path in sorted(folder.iterdir()) if path.suffix in suffixes)
        run(whole.read_bytes(), whole.suffix, Path(scratch))
        end = time.monotonic() + float(os.environ["FUZZ_SECONDS"])
        for data, suffix in _inputs(folder, suffixes, first):
            if time.monotonic() > end:
                break
            fault = ""
            signal.alarm(SECONDS_PER_INPUT)
            try:
                run(data, suffix, Path(scratch))
            except FaultError as error:
                fault = error.kind
                print(f"{name}: {error}", file=sys.stderr)
            except HangError:
                fault = "hang"
            finally:
                signal.alarm(0)
            counts["inputs"] += 1
            if fault:
                counts[fault] += 1
                keep.mkdir(exist_ok=True)
                kept = f"{name}-{fault.replace(' ', '-')}-{counts['inputs'] + first}{suffix}"
                (keep / kept).write_bytes(data)
            print(json.dumps({"counts": counts}), flush=True)


def _inputs(folder: Path, suffixes: tuple[str, ...], first: int) -> Iterator[tuple[bytes, str]]:
    files = sorted(path for path in folder.iterdir() if path.suffix in suffixes)
    for number in range(first, first + INPUTS_PER_WORKER):
        generator = random.Random(number)
        path, other = generator.choice(files), generator.choice(files)
        yield mutate(path.read_bytes(), other.read_bytes(), generator), path.suffix


class HangError(BaseException):
    """An input took too long; no Exception, for readers take those for damage."""


def _too_long(*_: object) -> None:
    raise HangError


STILLS = (".png", ".jpg", ".gif", ".tif", ".webp", ".avif", ".bmp", ".psd", ".mpo", ".jps")
CLIPS = (".mp4", ".mkv", ".webm", ".avi", ".ts")
HARNESSES: dict[str, tuple[str, ...]] = {
    "header": (".json",),
    "mark": (".mark",),
    "bundle": (".bundle",),
    "png": (".iicnet",),
    "still": STILLS,
    "animation": (".gif", ".webp", ".png", ".avifs"),
    "layers": (".ora", ".psd", ".tif"),
    "stereo": (".mpo", ".jps"),
    "clip": CLIPS,
    "info": (".iicnet",),
    "restore": (".iicnet",),
    "embed": (*STILLS, ".ora", *CLIPS),
}
"""The suffixes of the files of the corpus that each harness takes."""


if __name__ == "__main__":
    main()
