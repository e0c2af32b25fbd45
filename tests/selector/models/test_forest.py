"""Forests of strangers: what XGBoost is given is written by us, from checked numbers."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.models import forest, heads, linear
from simmerge_hub.selector.predictor.origin import packaged_predictor
from simmerge_hub.selector.tables.rows import join

REFUSED = (KeyError, TypeError, AttributeError, ValueError)


@pytest.fixture(scope="module")
def head(known) -> str:
    rows = join(*known, PAPER_ARMS)
    return heads.text(heads.fit(rows, linear.fit(rows, 100.0), trees=5, seed=0)[0])


def features(model: Any) -> int:
    return int(model["learner"]["learner_model_param"]["num_feature"])


def tree(model: Any) -> Any:
    return parts(model)["trees"][0]


def parts(model: Any) -> Any:
    return model["learner"]["gradient_booster"]["model"]


def shape(model: Any) -> Any:
    return model["learner"]["learner_model_param"]


def chain(model: Any) -> None:
    """A tree of 40,001 nodes, 20,000 levels deep: explaining it would take all memory."""
    count = 20_000
    nodes, inner = 2 * count + 1, range(0, 2 * count, 2)
    one = tree(model)
    left, right, parents = [-1] * nodes, [-1] * nodes, [2**31 - 1] * nodes
    for at in inner:
        left[at], right[at] = at + 1, at + 2
        parents[at + 1] = parents[at + 2] = at
    one.update(left_children=left, right_children=right, parents=parents)
    for name in (*forest.REAL, "split_indices", "default_left", "split_type"):
        one[name] = [0] * nodes
    one["tree_param"]["num_nodes"] = str(nodes)


CHANGES = {
    "a version that is no whole number": lambda m: m.__setitem__("version", [float("inf")]),
    "a version with a fraction": lambda m: m.__setitem__("version", [3.5, 0, 0]),
    "a child far outside": lambda m: tree(m)["left_children"].__setitem__(0, 10**6),
    "a child that is itself": lambda m: tree(m)["left_children"].__setitem__(0, 0),
    "one child": lambda m: tree(m)["right_children"].__setitem__(0, -1),
    "a feature outside": lambda m: tree(m)["split_indices"].__setitem__(0, 999),
    "a feature before the first": lambda m: tree(m)["split_indices"].__setitem__(0, -1),
    "NaN": lambda m: tree(m)["split_conditions"].__setitem__(0, float("nan")),
    "more than float32": lambda m: tree(m)["split_conditions"].__setitem__(0, 1e39),
    "a text": lambda m: tree(m)["split_conditions"].__setitem__(0, "1"),
    "a flag": lambda m: tree(m)["default_left"].__setitem__(0, True),
    "a float index": lambda m: tree(m)["split_indices"].__setitem__(0, 0.5),
    "a short column": lambda m: tree(m)["split_conditions"].pop(),
    "a nested column": lambda m: tree(m).update(split_conditions=[[0]]),
    "categories": lambda m: tree(m)["split_type"].__setitem__(0, 1),
    "categories of a node": lambda m: tree(m).update(categories=[1]),
    "another parent": lambda m: tree(m)["parents"].__setitem__(1, -7),
    "a parent of the root": lambda m: tree(m)["parents"].__setitem__(0, 0),
    "more nodes than there are": lambda m: tree(m)["tree_param"].update(num_nodes="99"),
    "leaves of two numbers": lambda m: tree(m)["tree_param"].update(size_leaf_vector="2"),
    "deleted nodes": lambda m: tree(m)["tree_param"].update(num_deleted="5"),
    "deleted nodes, a list": lambda m: tree(m)["tree_param"].update(num_deleted=[]),
    "features of a tree": lambda m: tree(m)["tree_param"].update(num_feature="1"),
    "another id": lambda m: tree(m).update(id=7),
    "a key more": lambda m: tree(m).update(more=1),
    "a deep tree": chain,
    "no trees": lambda m: parts(m).update(trees=[]),
    "a tree less": lambda m: parts(m)["trees"].pop(),
    "a class of a tree": lambda m: parts(m)["tree_info"].__setitem__(0, 5),
    "classes that are no list": lambda m: parts(m).update(tree_info=3),
    "a node of no rows": lambda m: tree(m)["sum_hessian"].__setitem__(0, 0.0),
    "rounds": lambda m: parts(m)["iteration_indptr"].pop(),
    "categories of the model": lambda m: parts(m)["cats"].update(enc=[1]),
    "another booster": lambda m: m["learner"]["gradient_booster"].update(name="dart"),
    "another objective": lambda m: m["learner"]["objective"].update(name="reg:logistic"),
    "feature names": lambda m: m["learner"].update(feature_names=["a"]),
    "feature names, a number": lambda m: m["learner"].update(feature_names=3),
    "feature types": lambda m: m["learner"].update(feature_types={}),
    "attributes": lambda m: m["learner"].update(attributes={"a": "b"}),
    "attributes, a list": lambda m: m["learner"].update(attributes=[]),
    "fewer features": lambda m: shape(m).update(num_feature="3"),
    "an infinite score": lambda m: shape(m).update(base_score="[nan]"),
    "a score of two": lambda m: shape(m).update(base_score="[1E0,2E0]"),
    "a score that is a number": lambda m: shape(m).update(base_score=0.5),
    "two targets": lambda m: shape(m).update(num_target="2"),
    "a version": lambda m: m.update(version=[2, 0, 0]),
    "no version": lambda m: m.pop("version"),
    "no learner": lambda m: m.pop("learner"),
    "a list": lambda m: m.update(learner=[]),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_damaged_forest_is_refused(head: str, change: Any) -> None:
    model = json.loads(head)
    count = features(model)
    assert forest.check(model, count) == head
    change(model)
    with pytest.raises(REFUSED):
        forest.check(model, count)


def test_the_packaged_forests_are_written_as_they_are() -> None:
    fields = json.loads(packaged_predictor().read_text())
    for model in (*fields["heads"][:2], fields["conditioned"]["forest"]):
        same = json.dumps(model, sort_keys=True, separators=(",", ":"))
        assert forest.check(model, features(model)) == same


TEXTS = st.sampled_from(["", "1", "-1", "x", "99999999999"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_value_anywhere_is_refused_or_predicts(head: str, data: st.DataObject) -> None:
    """One value of the model replaced: refused, or XGBoost loads it and gives finite numbers."""
    model = json.loads(head)
    count = features(model)
    at, key = {"": model}, ""
    while isinstance(at[key], dict | list) and at[key]:
        at = at[key]
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.integers(0, 9)) == 0:
            break
    at[key] = data.draw(JSON)
    try:
        text = forest.check(model, count)
    except REFUSED:
        return
    values = np.linspace(-1, 1, count)
    booster = heads.booster(text)
    assert np.isfinite(heads.contributions(booster, values)).all()
