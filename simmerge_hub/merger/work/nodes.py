"""Whether every node of a cluster can do its part of one merge; asked before any is handed out.

A node must see the output's folder, have the inputs that are folders, and compute with the same
versions on the same kind of CPU: the bytes of a merge depend on them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blake3 import blake3

from simmerge_hub.errors import OutputError, RequestError
from simmerge_hub.merger.layout import Layout
from simmerge_hub.merger.report import CPU, describe_computing
from simmerge_hub.weights.writing.token import HINT, answer_token, is_answered
from simmerge_hub.workers.here import Workers

SAMPLES, SAMPLE_BYTES = 64, 4096
"""Spans of a file that are compared between nodes, spread evenly, and how long each is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a node says.

    Args:
        answer: the file it wrote beside the token; "" where it does not see that.
        other: the inputs that are not there, or are others.
        computes_with: as of `describe_computing`.
    """

    answer: str
    other: tuple[str, ...]
    computes_with: Mapping[str, str]


def check_nodes(workers: Workers, layout: Layout, folder: Path, token: str) -> Sequence[str]:
    """The names of the nodes that can do parts of a merge.

    Raises:
        OutputError: one does not see the folder.
        RequestError: one has other inputs, versions or another kind of CPU, or there is none.
    """
    inputs = dict(_fingerprints(layout))
    nodes = workers.ask(partial(describe_node, folder, token, inputs))
    if not nodes:
        raise RequestError(
            "no node of the cluster has a core to work with",
            hint="start one: ray start --address=HOST:PORT",
        )
    for name, node in nodes:
        if not is_answered(folder, token, node.answer):
            raise OutputError(
                f"the node {name} does not see {folder}, which all nodes write into", hint=HINT
            )
        if node.other:
            raise RequestError(
                f"on the node {name}, {node.other[0]} is not there or not the same as here",
                hint="put it on a file system that all nodes share, or name it by its repository",
            )
        check_computing(f"the node {name}", node.computes_with, describe_computing())
    return [name for name, _ in nodes]


def check_computing(who: str, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raise RequestError unless a node computes with what the machine that asks does."""
    others = [name for name in here if name != CPU and there.get(name) != here[name]]
    if others:
        raise RequestError(
            f"{who} has {_spell(there, others)}, and the machine that splits the merge "
            f"{_spell(here, others)}: they would not compute the same bytes",
            hint="install the same versions on all nodes",
        )
    if there[CPU] != here[CPU]:
        raise RequestError(
            f"{who} has a CPU of the kind {there[CPU]}, and the machine that splits the merge "
            f"{here[CPU]}: they would not compute the same bytes",
            hint="use nodes with one kind of CPU, and ATEN_CPU_CAPABILITY the same or unset on "
            "all; or merge on one machine, without --ray",
        )


def describe_node(folder: Path, token: str, inputs: Mapping[str, str]) -> Node:
    """What this machine says of itself; `inputs` are the fingerprints of files by their path."""
    return Node(
        answer=answer_token(folder, token),
        other=tuple(path for path, known in inputs.items() if fingerprint(Path(path)) != known),
        computes_with=describe_computing(),
    )


def fingerprint(file: Path) -> str:
    """The size of a file and a hash of samples of it; "" where it cannot be read.

    Different models, and trainings of all weights, differ in the samples. Two files of one size
    that differ only between them, as after a training of a few tensors, look the same.
    """
    try:
        size, state = file.stat().st_size, blake3()
        with open(file, "rb", buffering=0) as handle:
            for number in range(SAMPLES):
                handle.seek(size * number // SAMPLES)
                state.update(handle.read(SAMPLE_BYTES))
    except OSError:
        return ""
    return f"{size} {state.hexdigest()}"


def _fingerprints(layout: Layout) -> Iterator[tuple[str, str]]:
    """(Path, fingerprint) of the weight files of inputs that lie in folders."""
    for checkpoint in layout.checkpoints.values():
        folder = checkpoint.weights.folder
        headers = [*checkpoint.tensors.values(), *checkpoint.buffers.values()]
        files = sorted({header.file for header in headers})
        for path in (folder.resolve() / file for file in files if folder):
            yield str(path), fingerprint(path)


def _spell(of: Mapping[str, str], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {of.get(name, 'unknown')}" for name in names)
