"""Models on tasks, spread over workers: the results of one process, and kept as they come.

No cluster is needed: the pieces are done here, as a node with a cache of its own would do them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import EvaluationError
from simmerge_hub.evaluation import harness
from simmerge_hub.evaluation.results import Protocol
from simmerge_hub.evaluation.spread import evaluate_all
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.workers.here import Lost, Needs, Workers

TASKS = ["nano_code", "nano_math"]
ASKED: dict[str, Any] = {"protocol": Protocol(limit=5)}


@pytest.fixture
def models() -> list[Checkpoint]:
    return [resolve(str(nano_folder() / name)) for name in ("code", "math")]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """A worker with a cache of its own; the pieces it was given are its `needs` and theirs."""
    from simmerge_hub.hub import assets

    own = assets.cached_assets_path

    def map_there(
        work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
    ) -> Iterator[tuple[int, Any]]:
        for place in reversed(range(len(pieces))):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    assets,
                    "cached_assets_path",
                    lambda *a, **k: own(*a, **k, assets_dir=tmp_path / "node"),
                )
                result = work(pieces[place])
            yield place, result

    yield Workers(map=map_there, elsewhere=True)


def test_a_cluster_gives_what_one_process_gives_and_it_is_kept_here(
    node: Workers, models: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    there = evaluate_all([*models, models[0]], TASKS, workers=node, tell=tell, **ASKED)
    assert told == [
        ("math: nano_math", 1, 4),
        ("math: nano_code", 2, 4),
        ("code: nano_math", 3, 4),
        ("code: nano_code", 4, 4),
    ]
    monkeypatch.setattr(harness, "_run", lambda *_: pytest.fail("it was measured already"))
    assert evaluate_all([*models, models[0]], TASKS, **ASKED) == there
    scores = [[each[task][0].score for task in TASKS] for each in there]
    assert scores == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]


def test_what_came_before_a_worker_died_is_not_measured_again(
    node: Workers, models: list[Checkpoint]
) -> None:
    asked: list[str] = []

    def die_at_last(
        work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
    ) -> Iterator[tuple[int, Any]]:
        for place, result in node.map(work, pieces, needs):
            asked.append(pieces[place][1])
            yield place, result if place else Lost(reason="the node is gone")

    dying = replace(node, map=die_at_last)
    with pytest.raises(EvaluationError, match="evaluating code on nano_code: the node is gone"):
        evaluate_all(models[:1], TASKS, workers=dying, protocol=Protocol(limit=6))
    evaluate_all(
        models[:1], TASKS, workers=replace(dying, map=node.map), protocol=Protocol(limit=6)
    )
    assert asked == ["nano_math", "nano_code"]


def test_scores_of_another_harness_are_not_taken(node: Workers, models: list[Checkpoint]) -> None:
    def other(
        work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
    ) -> Iterator[tuple[int, Any]]:
        yield from ((place, ("another key", ())) for place in range(len(pieces)))

    with pytest.raises(EvaluationError, match="a node has another lm-evaluation-harness"):
        evaluate_all(models, TASKS, workers=replace(node, map=other), protocol=Protocol(limit=7))
