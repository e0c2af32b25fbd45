"""Trying the most promising merges: what is run, what comes first then, what is left behind."""

import tempfile
from pathlib import Path

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import ProbeError
from simmerge_hub.planning.ask.objective import MEAN
from simmerge_hub.planning.ask.options import Search, Sources, Tasks
from simmerge_hub.planning.choice import CAUTION, Order
from simmerge_hub.planning.plan import plan
from simmerge_hub.planning.tree import sees_activations
from simmerge_hub.selector.predictor.origin import find

NAMES = ("code", "math", "multilingual")
MODELS = [str(nano_folder() / name) for name in NAMES]
BASE = str(nano_folder() / "base")
TASKS = Tasks(experts=dict(zip(NAMES, NAMES, strict=True)))


def test_the_most_promising_are_made_run_and_decided_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    blind = plan(*MODELS, base=BASE, tasks=TASKS, search=Search(least=3))
    search = Search(least=3, probe_intermediates=2)
    made = plan(*MODELS, base=BASE, tasks=TASKS, search=search)
    first = [c.tree.label for c in blind.choices if not sees_activations(c.tree)][:2]
    assert set(made.verdict.tried) == set(first)
    assert made.why().tried == made.verdict.tried
    before = {c.tree.label: c.beliefs for c in blind.choices}
    after = {c.tree.label: c.beliefs for c in made.choices}
    assert all(before[label] != after[label] for label in first)
    labels = [c.tree.label for c in blind.choices]
    last = 1 + max(labels.index(label) for label in first)
    order = Order(objective=MEAN, caution=CAUTION)
    assert list(made.choices[:last]) == order.sort(made.choices[:last])
    assert {c.tree.label for c in made.choices[:last]} == set(labels[:last])
    assert not list(tmp_path.iterdir())


def test_without_probes_there_is_nothing_to_try_them_on() -> None:
    with pytest.raises(ProbeError, match="merges are tried on the tasks' probes"):
        plan(
            *MODELS,
            base=BASE,
            tasks=TASKS,
            sources=Sources(signals="structural"),
            search=Search(probe_intermediates=1),
        )


def test_the_packaged_predictor_knows_merges_of_four_and_those_run_better() -> None:
    known = find().predictor.many
    assert known is not None
    assert known.models == 4
    assert 0 < known.run < known.unrun < 1
