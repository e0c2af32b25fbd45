"""How long `simmerge-hub plan` takes when all it needs is cached: the whole command, as typed.

    python benchmarks/planning_speed.py [--repeats N] [--only NAME …]

The nano models are published on a local Hub; of larger shapes there are files of that size, hollow
but for some rows, and signatures of random content in the cache. Every plan is made once so that
everything is cached, then some times, each in a process of its own, from the start of Python to its
end. *Before* is the code of the commit before planning did without torch, from this repository's
history; both are timed in turn, so that they see the same machine. Processor time is that of the
command alone; the wall also waits for the Hub, which runs on the same cores. What is left of the
first plan is told by the interpreter's own profiler, which makes all of it slower.
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
from dataclasses import replace
from pathlib import Path
from typing import Any

from signing import check_out
from synthetic import SEVEN_B, SMALL, save_hollow, seven_b_signature

ROOT = Path(__file__).parents[1]
PLANS = {
    "a pair": ["nano/code", "nano/math"],
    "three models": ["nano/code", "nano/math", "nano/multilingual"],
    "a model and an adapter": ["nano/instruct", "nano/rag-lora"],
}
SHAPES = {"a pair of 270 M": SMALL, "a pair of 7 B": SEVEN_B}
BEFORE = "953b6b4"
REPEATS = 5
COMMAND = [sys.executable, "-c", "from simmerge_hub.cli.main import run; run()"]
LOADED = """
import os, sys
from simmerge_hub.cli import main
main.os._exit = lambda code: os.write(3, " ".join(
    name for name in ("torch", "transformers", "xgboost") if sys.modules.get(name)).encode())
main.run()
"""
"""Tells which of these were imported, where nobody else writes."""
PROFILED = """
import cProfile, json, pstats, sys
profile = cProfile.Profile()
def command():
    from simmerge_hub.cli.main import main
    main(sys.argv[2:])
profile.runcall(command)
stats = pstats.Stats(profile).stats
with open(sys.argv[1], "w") as file:
    json.dump([[*where, *times[2:4]] for where, times in stats.items()], file)
"""
PARTS = {
    "importing modules": ("_bootstrap>", "_find_and_load"),
    "reading the predictor": ("origin.py", "find"),
    "pinning models, asking the Hub": ("inputs.py", "pin"),
    "reading signatures": ("store.py", "read"),
    "digests of signatures": ("remembered.py", "identify"),
    "judging": ("__init__.py", "_judge"),
    "printing": ("page/__init__.py", "page"),
}
"""What is told of the profile: end of the file's name, function."""


def measure(scratch: Path, repeats: int, only: list[str]) -> dict[str, Any]:
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
        results: dict[str, Any] = {}
        left: dict[str, float] = {}
        for name in only or [*PLANS, *SHAPES]:
            asked = PLANS.get(name) or _shaped(name, scratch, environment)
            for checkout in checkouts.values():
                _run(["plan", *asked], environment, checkout)
            results[name] = _times(asked, environment, checkouts, repeats)
            print(name, results[name], flush=True)
            left = left or _profile(asked, environment, scratch / "profile.json")
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "before": BEFORE,
        "repeats": repeats,
        "plans": results,
        "left": left,
    }


def _shaped(name: str, scratch: Path, environment: Mapping[str, str]) -> list[str]:
    """What to ask for a pair of this shape, whose signatures are in the cache."""
    folder = scratch / name.replace(" ", "-")
    subprocess.run(
        [sys.executable, __file__, "--shape", name, str(folder)],
        env={**environment, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    code, math, base = (str(folder / each) for each in ("code", "math", "base"))
    return [code, math, "--base", base, "--expert", f"code={code}", "--expert", f"math={math}"]


def shape(name: str, folder: Path) -> None:
    """Hollow models of a shape, and their signatures in the cache of this process's environment."""
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.signatures.probing.probe import probe_set
    from simmerge_hub.signatures.signing import cache, store
    from simmerge_hub.signatures.signing.artifact import dump_part, save
    from simmerge_hub.signatures.signing.signature import Request

    probes = {task: probe_set(task) for task in ("code", "math")}
    for seed, model in enumerate(("base", "code", "math")):
        save_hollow(folder / model, SHAPES[name], seed)
        request = Request(checkpoint=resolve(str(folder / model)))
        signed = seven_b_signature(seed, tuple(probes), 0.05 * bool(seed), SHAPES[name])
        identity, settings = request.identity, request.settings
        structure = replace(signed, digest=identity, sketches={})
        save(structure, cache.structure_path(identity, settings.entries))
        for task, sketch in signed.sketches.items():
            path = cache.sketch_path(identity, probes[task].digest, settings.dtype)
            store.write(path, *dump_part(replace(sketch, probes=probes[task].digest)))


def _times(
    asked: list[str], environment: Mapping[str, str], checkouts: Mapping[str, Path], repeats: int
) -> dict[str, dict[str, Any]]:
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    for _ in range(repeats):
        for name, checkout in checkouts.items():
            seen[name].append(_run(["plan", *asked], environment, checkout))
    return {
        name: {
            "wall_s": round(statistics.median(wall for wall, _ in times), 2),
            "cpu_s": round(statistics.median(cpu for _, cpu in times), 2),
            "least_wall_s": round(min(wall for wall, _ in times), 2),
            "least_cpu_s": round(min(cpu for _, cpu in times), 2),
            "imported": _loaded(["plan", *asked], environment, checkouts[name]),
        }
        for name, times in seen.items()
    }


def _run(
    arguments: list[str], environment: Mapping[str, str], checkout: Path
) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    _start([*COMMAND, *arguments], environment, checkout)
    then = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = then.ru_utime + then.ru_stime - used.ru_utime - used.ru_stime
    return time.perf_counter() - began, cpu


def _start(command: list[str], environment: Mapping[str, str], checkout: Path, **how: Any) -> None:
    subprocess.run(
        command,
        env={**environment, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        **how,
    )


def _loaded(arguments: list[str], environment: Mapping[str, str], checkout: Path) -> list[str]:
    """Which of the large libraries a command imported."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as names:
        script = LOADED.replace("write(3", f"write({writing}")
        command = [sys.executable, "-c", script, *arguments]
        _start(command, environment, checkout, pass_fds=[writing])
        os.close(writing)
        return names.read().split()


def _profile(asked: list[str], environment: Mapping[str, str], file: Path) -> dict[str, float]:
    """Seconds of the parts of a plan that is made again, with all that they call."""
    command = [sys.executable, "-c", PROFILED, str(file), "plan", *asked]
    _start(command, environment, ROOT)
    parts: dict[str, float] = {}
    for path, _, function, _, total in json.loads(file.read_text()):
        for part, (end, name) in PARTS.items():
            if path.endswith(end) and function == name:
                parts[part] = round(max(parts.get(part, 0.0), total), 3)
        if function == "command":
            parts["all"] = round(total, 3)
    return parts


def main() -> None:
    """Time the plans, or make the models of a shape."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", nargs="*", default=[], choices=[*PLANS, *SHAPES])
    parser.add_argument("--shape", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.shape:
        shape(asked.shape[0], Path(asked.shape[1]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        text = json.dumps(measure(Path(scratch), asked.repeats, asked.only), indent=2)
    (ROOT / "benchmarks" / "planning_speed.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
