"""How long `crucible import` takes for a log of 5,000 samples, and how much memory.

    python scripts/bench_import.py                 # five kinds of logs, about a minute
    python scripts/bench_import.py --inspect       # and Inspect's own reader, beside it

The logs are recorded ones (packages/crucible-harness/tests/logs) with their samples many times
over, each under another id. Each is read and imported in a process of its own, imports included;
the best of three. Memory is the high-water mark of Linux. Bars: 3 s and 200 MB for a log. Nothing
is asserted: machines differ.
"""

import argparse
import csv
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crucible_harness.importers.inspect_ai import _zipfile

LOGS = Path(__file__).parent.parent / "packages" / "crucible-harness" / "tests" / "logs"
INSPECT = "inspect-ai==0.3.285"

IMPORT = """
import sys, time
begun = time.perf_counter()
from crucible_harness.importers import import_logs
import_logs([sys.argv[1]], directory=sys.argv[2])
spent = time.perf_counter() - begun
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(spent, int(peak) / 1024)
"""
READ = """
import sys, time
begun = time.perf_counter()
from inspect_ai.log import read_eval_log
log = read_eval_log(sys.argv[1])
spent = time.perf_counter() - begun
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(spent, int(peak) / 1024)
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=5_000)
    options.add_argument("--inspect", action="store_true", help="time Inspect's own reader, too")
    asked = options.parse_args()
    print(f"Python {platform.python_version()}, {asked.samples:,} samples, best of three")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in logs(Path(folder), asked.samples):
            size = sum(f.stat().st_size for f in ([path] if path.is_file() else path.iterdir()))
            found = [
                timed([sys.executable, "-c", IMPORT, path, Path(folder) / f"runs-{name}-{n}"])
                for n in range(3)
            ]
            show(name, size, found)
            if asked.inspect and path.suffix in (".eval", ".json"):
                uv = ["uv", "run", "-q", "--isolated", "--no-project", "--with", INSPECT, "python"]
                show(f"{name}, {INSPECT}", size, [timed([*uv, "-c", READ, path]) for _ in range(3)])


def show(name: str, size: int, found: list[tuple[float, float]]) -> None:
    seconds, megabytes = min(s for s, _ in found), min(m for _, m in found)
    print(f"{name:32} {size / 1e6:6.1f} MB  {seconds:6.2f} s  {megabytes:5.0f} MB peak")


def timed(command: list[object]) -> tuple[float, float]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def logs(folder: Path, n: int) -> Iterator[tuple[str, Path]]:
    """Write the logs, one of each kind."""
    zipfile = _zipfile()
    with zipfile.ZipFile(LOGS / "inspect" / "plain.eval") as archive:
        header = archive.read("header.json")
        recorded = [
            json.loads(archive.read(name))
            for name in archive.namelist()
            if name.startswith("samples/")
        ]
    samples = [{**recorded[at % len(recorded)], "id": f"s{at}", "epoch": 1} for at in range(n)]
    path = folder / "large.eval"
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_ZSTANDARD) as archive:
        archive.writestr("header.json", header)
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    yield "Inspect .eval", path
    path = folder / "large.json"
    path.write_text(json.dumps({**json.loads(header), "samples": samples}, indent=2))
    yield "Inspect .json", path
    path = folder / "lm_eval"
    path.mkdir()
    for file in (LOGS / "lm_eval" / "plain").iterdir():
        text = file.read_text()
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines()]
            rows = [{**rows[at % len(rows)], "doc_id": at} for at in range(n)]
            text = "".join(json.dumps(row) + "\n" for row in rows)
        (path / file.name).write_text(text)
    yield "lm-eval", path
    rows = [
        {"item": f"s{at}", "condition": c, "score": float((at + (c == "b")) % 3 > 0)}
        for at in range(n)
        for c in "ab"
    ]
    path = folder / "large.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    yield "CSV, two conditions", path
    path = folder / "large.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield "JSON Lines, two conditions", path


if __name__ == "__main__":
    main()
