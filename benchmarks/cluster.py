"""One Ray node of one core against two: what signing, evaluating, merging and a split merge gain.

    python benchmarks/cluster.py      # about ten minutes; needs the extra ray; writes cluster.json

Nodes are processes of this machine (`ray.cluster_utils.Cluster`), each with one core, beside a head
that does no work. Each measurement has a cluster and a cache of its own, and workers that have
loaded their libraries before the clock starts; the better of two runs counts. `learn` works on the
nano models: what is timed is each mapping of work over the nodes, as the driver sees it. The split
merge is one of synthetic models by TIES, with the digest of every file held against that of the
merge on one thread without Ray.

The driver, the head, both nodes and whatever else runs share the cores of this machine, so two
nodes of a machine with two cores cannot reach 2 by the clock: `cores` and the load before each run
are in the JSON. What else runs hardly changes the seconds of CPU of the node that had most to do;
on machines of their own the clock's time is near those, as long as the driver has less to do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE / "cluster.json"
REPEATS = 2
NODES = (1, 2)
ROWS, COLUMNS, TENSORS = 4096, 2048, 24
"""Of the synthetic models, in bfloat16: 403 MB each."""
STORE = 200 * 2**20
NAMES = {
    "evaluate_tasks": "evaluate models alone",
    "find_or_sign": "sign models",
    "try_merge": "make and evaluate merges",
    "write_part": "parts of one merge",
}
"""Function that is mapped -> what it is called in the JSON."""


def main() -> None:
    """Measure and write the JSON; or, as a child, measure once and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--again", action="store_true", help="only the sums, of the runs there")
    given = parser.parse_args()
    if given.again:
        measured = json.loads(FILE.read_text())
        write(measured["here"], measured["runs"])
        return
    if given.nodes:
        print(json.dumps(measure(given.nodes, given.work)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        save_models(Path(scratch))
        here = merge_here(Path(scratch))
        runs = [
            run_child(nodes, Path(scratch), f"{nodes}-{i}")
            for i in range(REPEATS)
            for nodes in NODES
        ]
    write(here, runs)


def write(here: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    """Write the JSON."""
    result = {"cores": os.cpu_count(), "here": here, "runs": runs, "gains": summarise(runs)}
    result["the same files"] = all(run["digests"] == here["digests"] for run in runs)
    FILE.write_text(json.dumps(result, indent=1) + "\n")


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was mapped -> pieces, and on one node and on two the least seconds on the clock, and the
    least seconds of CPU of the node that had most to do."""
    gains: dict[str, Any] = {}
    for what, first in runs[0]["mapped"].items():
        rounds = split_rounds(what, first["pieces"])
        most = sum(-(-pieces // 2) for pieces in rounds)
        gains[what] = {"rounds": rounds, "at best": round(sum(rounds) / most, 2)}
        for measure in ("clock", "busiest"):
            one, two = (
                min(run["mapped"][what][measure] for run in runs if run["nodes"] == nodes)
                for nodes in NODES
            )
            gains[what][measure] = {"one": one, "two": two, "ratio": round(one / two, 2)}
    return gains


def split_rounds(what: str, pieces: int) -> list[int]:
    """The pieces of each round: `learn` waits for all of one before it chooses the next pairs."""
    from simmerge_hub.learning.design import round_sizes

    if what != NAMES["try_merge"]:
        return [pieces]
    arms = len(learn_recipe().arms)
    return [arms * pairs for pairs in round_sizes(pieces // arms)]


def run_child(nodes: int, work: Path, name: str) -> dict[str, Any]:
    """One measurement in a process and a cache of its own."""
    paths = ":".join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH", "")]))
    own = {"HF_HOME": str(work / f"cache-{name}"), "PYTHONPATH": paths}
    load = os.getloadavg()[0]
    child = subprocess.run(
        [sys.executable, __file__, "--nodes", str(nodes), "--work", str(work)],
        env=os.environ | own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if child.returncode:
        raise RuntimeError(child.stderr[-2000:])
    return {"nodes": nodes, "load before": load, **json.loads(child.stdout.splitlines()[-1])}


def measure(nodes: int, work: Path) -> dict[str, Any]:
    """Seconds of every mapping on so many nodes."""
    from simmerge_hub.learning.learn import learn
    from simmerge_hub.merger import merge
    from simmerge_hub.recipe import load

    with start_cluster(nodes) as workers, tempfile.TemporaryDirectory() as scratch:
        mapped: dict[str, dict[str, Any]] = {}
        timed = replace(workers, map=time_map(workers.map, mapped))
        learn(learn_recipe(), Path(scratch) / "learned", workers=timed, fit=False)
        began, before = time.perf_counter(), time.process_time()
        merge(load(work / "recipe.yaml")[0], Path(scratch) / "merged", workers=timed, durable=False)
        whole = {
            "clock": round(time.perf_counter() - began, 2),
            "driver's CPU": round(time.process_time() - before, 2),
        }
        made = digests(Path(scratch) / "merged")
    for each in mapped.values():
        per_node = each.pop("CPU")
        each["busiest"] = round(max(per_node.values()), 2)
        each["CPU of the nodes"] = sorted(round(seconds, 2) for seconds in per_node.values())
    return {"mapped": mapped, "split merge, all of it": whole, "digests": made}


def time_map(spread: Any, mapped: dict[str, dict[str, Any]]) -> Any:
    """The same, and what each mapping took is added up by the name of what was mapped."""

    def timed(work: Any, some: Sequence[Any], needs: Any) -> Iterator[tuple[int, Any]]:
        name, began = getattr(work, "func", work).__name__, time.perf_counter()
        empty: dict[str, Any] = {"pieces": 0, "clock": 0.0, "CPU": {}}
        sums = mapped.setdefault(NAMES.get(name, name), empty)
        for place, (result, node, seconds) in spread(partial(do_timed, work), some, needs):
            sums["CPU"][node] = sums["CPU"].get(node, 0.0) + seconds
            yield place, result
        sums["clock"] = round(sums["clock"] + time.perf_counter() - began, 2)
        sums["pieces"] += len(some)

    return timed


def do_timed(work: Any, piece: Any) -> tuple[Any, str, float]:
    """The result of a piece, the node that did it, and the seconds of CPU it took there."""
    import ray

    began = time.process_time()
    result = work(piece)
    return result, ray.get_runtime_context().get_node_id(), time.process_time() - began


@contextmanager
def start_cluster(nodes: int) -> Iterator[Any]:
    """The workers of so many nodes of one core, each with its libraries loaded."""
    import ray
    from ray.cluster_utils import Cluster

    from simmerge_hub.workers.cluster import connect

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE}
    )
    for _ in range(nodes):
        made.add_node(num_cpus=1, object_store_memory=STORE)
    workers = connect(made.address)
    workers.ask(load_libraries)
    dict(workers.map(wait_a_moment, range(4 * nodes), workers.needs))
    yield workers
    ray.shutdown()
    made.shutdown()


def load_libraries() -> None:
    """What a worker loads for its first piece of any kind."""
    import lm_eval  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import simmerge_hub.learning.trying
    import simmerge_hub.merger  # noqa: F401

    torch.zeros(2)


def wait_a_moment(_: int) -> None:
    """Long enough that every worker gets one."""
    load_libraries()
    time.sleep(0.5)


def learn_recipe() -> Any:
    """The nano catalogue, and merges of it."""
    from simmerge_hub.cli.zoo import nano_folder
    from simmerge_hub.learning.recipe import LearnRecipe, LearnTask
    from simmerge_hub.operators import arm

    names = ("code", "math", "multilingual", "instruct")
    return LearnRecipe(
        models=tuple(str(nano_folder() / name) for name in names),
        collection=None,
        base=str(nano_folder() / "base"),
        tasks=tuple(LearnTask(name=n, evaluate=f"nano_{n}") for n in names),
        arms=(arm("linear"), arm("ties", density=0.5), arm("slerp")),
        budget=18,
        limit=100,
    )


def save_models(folder: Path) -> None:
    """A base and two fine-tunes, from seeds, and the recipe that merges them."""
    import torch
    from safetensors.torch import save_file

    for seed, name in enumerate(("base", "a", "b")):
        random = torch.Generator().manual_seed(seed)
        (folder / name).mkdir()
        weights = {
            f"layers.{i}.weight": torch.randn(ROWS, COLUMNS, generator=random).bfloat16()
            for i in range(TENSORS)
        }
        save_file(weights, folder / name / "model.safetensors", metadata={"format": "pt"})
        (folder / name / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "recipe.yaml").write_text(
        "simmerge: 1\nbase: {folder: base}\nmodels: [{folder: a}, {folder: b}]\n"
        "steps: [{operator: ties, models: [a, b]}]\n"
    )


def merge_here(folder: Path) -> dict[str, Any]:
    """The same merge on one thread, without Ray."""
    from simmerge_hub.merger import merge
    from simmerge_hub.recipe import load

    recipe, seconds = load(folder / "recipe.yaml")[0], []
    for i in range(REPEATS):
        began = time.perf_counter()
        report = merge(recipe, folder / f"here-{i}", threads=1, durable=False)
        seconds.append(round(time.perf_counter() - began, 2))
    made = digests(folder / "here-0")
    return {"seconds": min(seconds), "bytes": report.size, "digests": made}


def digests(folder: Path) -> dict[str, str]:
    """File -> sha256."""
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    main()
