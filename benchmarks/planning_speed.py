"""How long `simmerge-hub plan` takes when all it needs is cached: the whole command, as typed.

    python benchmarks/planning_speed.py [--repeats N]

The nano models are published on a local Hub; every plan is made once so that everything is cached,
then some times, each in a process of its own, from the start of Python to its end. *Before* is the
code of the commit before numbers of pairs were kept, from this repository's history; both are timed
in turn, so that they see the same machine. Processor time is that of the command alone; the wall
also waits for the Hub, which runs on the same cores.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signing import check_out

ROOT = Path(__file__).parents[1]
PLANS = {
    "a pair": ["nano/code", "nano/math"],
    "three models": ["nano/code", "nano/math", "nano/multilingual"],
}
BEFORE = "905c0e8"
REPEATS = 3
COMMAND = [sys.executable, "-c", "from simmerge_hub.cli.main import run; run()"]


def measure(scratch: Path, repeats: int) -> dict[str, Any]:
    """Seconds of every plan, before and now."""
    from simmerge_hub import localhub

    checkouts = {"before": check_out(scratch / "before", BEFORE), "now": ROOT}
    with tempfile.TemporaryDirectory() as folder, localhub.running(Path(folder) / "hub") as hub:
        plain = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("HF_") and key != "PYTHONDONTWRITEBYTECODE"  # as users have it
        }
        environment = plain | hub.environment()
        _run(["zoo", "publish", "nano"], environment, ROOT)
        results = {}
        for name, models in PLANS.items():
            for checkout in checkouts.values():
                _run(["plan", *models], environment, checkout)
            results[name] = _times(models, environment, checkouts, repeats)
            print(name, results[name], flush=True)
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "repeats": repeats,
        "plans": results,
    }


def _times(
    models: list[str], environment: Mapping[str, str], checkouts: Mapping[str, Path], repeats: int
) -> dict[str, dict[str, float]]:
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    for _ in range(repeats):
        for name, checkout in checkouts.items():
            seen[name].append(_run(["plan", *models], environment, checkout))
    return {
        name: {
            "wall_s": round(statistics.median(wall for wall, _ in times), 2),
            "cpu_s": round(statistics.median(cpu for _, cpu in times), 2),
            "least_wall_s": round(min(wall for wall, _ in times), 2),
        }
        for name, times in seen.items()
    }


def _run(
    arguments: list[str], environment: Mapping[str, str], checkout: Path
) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*COMMAND, *arguments],
        env={**environment, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    then = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = then.ru_utime + then.ru_stime - used.ru_utime - used.ru_stime
    return time.perf_counter() - began, cpu


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = json.dumps(measure(Path(scratch), asked.repeats), indent=2)
    (ROOT / "benchmarks" / "planning_speed.json").write_text(f"{text}\n")
