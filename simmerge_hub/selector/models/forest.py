"""XGBoost's JSON of a forest, perhaps a stranger's -> the same, rebuilt from checked numbers.

XGBoost follows sizes and indices in a model without looking: a wrong one ends in a crash. So
nothing of a file is handed on as it is. A forest is written anew from its trees' columns, each of
its kind, length and range, and whatever else a file holds must be what our own files hold.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

OBJECTIVE = "reg:squarederror"
MOST_TREES = 10_000
DEEPEST_TREE = 16
"""Levels below the root; explaining a prediction takes memory by the square of it."""
WHOLE = ("left_children", "right_children", "parents", "split_indices", "default_left")
"""Columns of whole numbers, one for every node of a tree."""
REAL = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
"""Columns of finite numbers, likewise."""
NO_PARENT = 2**31 - 1
LARGEST = float(np.finfo(np.float32).max)
BEGINNING, VERSION, END = '{"learner":', '"version":[', "]}"
"""Of a forest in a file of ours, whose keys are sorted: its first key, its last, what ends it."""
NUMBER = re.compile(r"\[?(-?\d+(?:\.\d+)?(?:E-?\d+)?)\]?")
"""A base score as XGBoost writes it."""


def take_out(text: str) -> tuple[str, list[str]]:
    """A file of ours, which nothing is checked of, without its forests; and the JSON of these.

    Where a forest stood is its number. Forests are most of the file and XGBoost reads them as text:
    to parse them and write them again takes longer than all else in a plan.
    """
    rest: list[str] = []
    forests: list[str] = []
    place = 0
    while (start := text.find(BEGINNING, place)) >= 0:
        end = text.index(END, text.index(VERSION, start)) + len(END)
        rest += [text[place:start], str(len(forests))]
        forests.append(text[start:end])
        place = end
    return "".join([*rest, text[place:]]), forests


def check(head: Any, features: int) -> str:
    """The JSON of a forest read from a file, if it is a sound one over so many features.

    Raises KeyError, TypeError, AttributeError or ValueError saying what is wrong.
    """
    learner, model = head["learner"], head["learner"]["gradient_booster"]["model"]
    trees = model["trees"]
    if not isinstance(trees, list) or not 0 < len(trees) <= MOST_TREES:
        raise ValueError("trees are missing, or far too many")
    rebuilt = {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "model": {
                    "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
                    "gbtree_model_param": {
                        "num_parallel_tree": "1", "num_trees": str(len(trees)),
                    },
                    "iteration_indptr": list(range(len(trees) + 1)),
                    "tree_info": [0] * len(trees),
                    "trees": [_tree(tree, n, features) for n, tree in enumerate(trees)],
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": _score(learner["learner_model_param"]["base_score"]),
                "boost_from_average": "1",
                "num_class": "0",
                "num_feature": str(features),
                "num_target": "1",
            },
            "objective": {"name": OBJECTIVE, "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": _version(head["version"]),
    }  # fmt: skip
    if (path := _difference(head, rebuilt)) is not None:
        raise ValueError(f"{path} is not what a regression from {features} features has")
    return json.dumps(rebuilt, separators=(",", ":"), sort_keys=True)


def _tree(tree: Mapping[str, Any], number: int, features: int) -> dict[str, Any]:
    """One tree with a finite number per node in every column, whose children make a tree of it."""
    whole = {name: _column(tree[name], "iu") for name in WHOLE}
    real = {name: _column(tree[name], "iuf") for name in REAL}
    nodes = len(whole["parents"])
    columns = [*whole.values(), *real.values()]
    if not nodes or any(len(each) != nodes for each in columns) or not _is_tree(whole, features):
        raise ValueError(f"tree {number} is damaged")
    if any((np.abs(each) > LARGEST).any() or np.isnan(each).any() for each in real.values()):
        raise ValueError(f"tree {number} holds no number, or a huge one")
    if not (real["sum_hessian"] > 0).all():
        raise ValueError(f"a node of tree {number} has seen no row")
    return {
        **{name: each.tolist() for name, each in (whole | real).items()},
        **{f"categories{part}": [] for part in ("", "_nodes", "_segments", "_sizes")},
        "id": number,
        "split_type": [0] * nodes,
        "tree_param": {
            "num_deleted": "0", "num_feature": str(features), "num_nodes": str(nodes),
            "size_leaf_vector": "1",
        },
    }  # fmt: skip


def _column(values: Any, kinds: str) -> NDArray[Any]:
    """A list of plain numbers of these kinds."""
    if not isinstance(values, list) or not {*map(type, values)} <= {int, float}:
        raise TypeError("a column is no list of numbers")
    column = np.asarray(values)
    if column.ndim != 1 or column.dtype.kind not in kinds:
        raise TypeError("a column is no list of numbers")
    return column


def _is_tree(columns: Mapping[str, NDArray[Any]], features: int) -> bool:
    left, right, parents = (columns[n] for n in ("left_children", "right_children", "parents"))
    inner = np.flatnonzero(left != -1)
    children, above = np.concatenate([left[inner], right[inner]]), np.tile(inner, 2)
    expected = np.full(len(left), NO_PARENT)
    if not np.array_equal(np.sort(children), np.arange(1, len(left))):
        return False
    expected[children] = above
    return (
        np.array_equal(parents, expected)
        and bool((children > above).all())
        and bool((np.delete(right, inner) == -1).all())
        and _lie_in(columns["split_indices"], features)
        and _lie_in(columns["default_left"], 2)
        and _depth(expected) <= DEEPEST_TREE
    )


def _lie_in(column: NDArray[Any], end: int) -> bool:
    """Whether all numbers are from 0 to `end`, exclusive."""
    return bool(((column >= 0) & (column < end)).all())


def _depth(parents: NDArray[Any]) -> int:
    """Of a tree whose parents come before their children."""
    depths = [0] * len(parents)
    for node, parent in enumerate(parents.tolist()[1:], 1):
        depths[node] = depths[parent] + 1
    return max(depths)


def _score(text: Any) -> str:
    match = NUMBER.fullmatch(text) if isinstance(text, str) and len(text) < 40 else None
    if match is None or not abs(float(match[1])) <= LARGEST:
        raise ValueError("its base score is no number")
    return match[0]


def _version(stated: Any) -> list[int]:
    """Three whole numbers, the first of which is 3; a text may say 1e400 where a number is due."""
    whole = isinstance(stated, list) and all(type(n) is int and 0 <= n < 1000 for n in stated)
    if not whole or len(stated) != 3 or stated[0] != 3:
        raise ValueError("it is of another version of XGBoost")
    return stated


def _difference(given: Any, ours: Any, path: str = "the model") -> str | None:
    """Where two structures differ, or None; keys of neither may be missing in the other."""
    if isinstance(ours, dict):
        if not isinstance(given, dict) or given.keys() != ours.keys():
            return path
        pairs = ((given[key], ours[key], key) for key in ours)
        return next(filter(None, (_difference(g, o, str(key)) for g, o, key in pairs)), None)
    if isinstance(ours, list) and ours and isinstance(ours[0], dict):
        pairs = zip(given, ours, strict=True)  # as many: they were made from them
        return next(filter(None, (_difference(g, o, path) for g, o in pairs)), None)
    return None if type(given) is type(ours) and given == ours else path
