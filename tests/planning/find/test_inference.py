"""Experts inferred from probes: only when asked, with a probability."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import ProbeError
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.find.inference import infer_experts, probability
from simmerge_hub.planning.plan import plan
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, FEATURE_SCHEMA, Features
from tests.rankings import inputs

CODE, MATH, BASE = (str(nano_folder() / name) for name in ("code", "math", "base"))
TABLE = Path(__file__).parents[3] / "recipes" / "outcomes" / "zoo-v2-features.jsonl.gz"


def features(entropy_difference: float) -> Features:
    values = np.zeros(len(FEATURE_NAMES))
    values[FEATURE_NAMES.index("entropy_difference")] = entropy_difference
    return Features(names=FEATURE_NAMES, values=values, schema=FEATURE_SCHEMA)


def test_the_surer_model_is_the_likelier_expert() -> None:
    found = [probability(features(d)) for d in (-3.0, -0.2, 0.0, 0.2, 3.0)]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[2], found[-1]) == pytest.approx((0.99, 0.5, 0.01))


@pytest.mark.parametrize("difference", [-7.0, -0.3, 0.0, 0.01, 2.0])
def test_both_orders_agree(difference: float) -> None:
    both = probability(features(difference)) + probability(features(-difference))
    assert both == pytest.approx(1)


def test_what_cannot_be_compared_is_not_guessed() -> None:
    assert np.isnan(probability(features(float("nan"))))


def test_it_is_right_on_the_zoo_as_often_as_it_says() -> None:
    """Every row of the table is written with the expert first."""
    table = load_features(TABLE)
    found = np.array(
        [
            probability(Features(names=table.names, values=values, schema=table.schema))
            for values in table.rows.values()
        ]
    )
    sure = np.maximum(found, 1 - found)
    right = found > 0.5
    assert right.mean() > 0.9
    assert right.mean() == pytest.approx(sure.mean(), abs=0.05)


def test_a_plan_infers_what_it_is_asked_to() -> None:
    probes = {name: str(nano_folder() / "probes" / f"{name}.jsonl") for name in ("code", "math")}
    made = plan(CODE, MATH, base=BASE, tasks=Tasks(infer=("code", "math"), probes=probes))
    assert {t.name: t.expert for t in made.tasks} == {"code": "code", "math": "math"}
    for task in made.why().tasks:
        assert task.probability is not None
        assert 0.6 <= task.probability <= 0.99
    assert all("inferred with probability" in task.source for task in made.tasks)


def test_named_experts_have_no_probability() -> None:
    named = Tasks(experts={"code": "code", "math": "math"})
    made = plan(CODE, MATH, base=BASE, tasks=named, sources=Sources(signals="structural"))
    assert [task.probability for task in made.why().tasks] == [None, None]
    assert {task.source for task in made.tasks} == {"as you say"}


def test_probes_must_be_run() -> None:
    with pytest.raises(ProbeError, match="inferred from probes, and none are run"):
        plan(CODE, MATH, tasks=Tasks(infer=("code",)), sources=Sources(signals="structural"))


def test_nothing_stands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simmerge_hub.planning.find.inference.features", lambda *_: features(0.02))
    unsigned: Any = {"a": None, "b": None}
    given = replace(inputs({}, names=("a", "b")), dropped={"poetry": "no score"})
    guess = Task(name="rag", expert="a", probes=None, scores={}, probability=0.5)
    with pytest.raises(ProbeError, match=r"no expert can be inferred for rag: neither model") as no:
        infer_experts(replace(given, tasks=(guess,)), unsigned)
    assert no.value.hint == "name it: --expert rag=a"
    named = Task(name="code", expert="b", probes=None, scores={}, named=True)
    kept = infer_experts(replace(given, tasks=(named, guess)), unsigned)
    assert kept.tasks == (named,)
    assert kept.dropped == {
        "poetry": "no score",
        "rag": "neither model stands out on its probes (probability 0.52)",
    }
