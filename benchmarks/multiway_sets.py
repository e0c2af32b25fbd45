"""Which merges of many are measured: folds of the zoo's models, sets of them, trees of a set."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from random import Random

from simmerge_hub.operators import FED_ARMS, Arm, arm
from simmerge_hub.planning.tree import Tree, enumerate_trees, identity, join, leaf
from simmerge_hub.zoo.manifest import Manifest

FOLDS = 4
SEED = 6
SETS = {
    "train": {3: {"skills": 40, "half": 12, "large": 0}, 4: {"skills": 25, "half": 0, "large": 0}},
    "across": {
        3: {"skills": 20, "half": 20, "large": 20}, 4: {"skills": 180, "half": 60, "large": 40}
    },
    "test": {3: {"skills": 41, "half": 22, "large": 3}, 4: {"skills": 18, "half": 6, "large": 0}},
}  # fmt: skip
"""How many sets of a size are drawn from each base's models: of one fold, those to train on before
those to test; `across` two folds, to train on too."""
LEARNING = ("train", "across")
"""The parts that training reads."""
BASES = ("skills", "half", "large")
DRAWN = 100
"""Plans of four models that are drawn to stand for all."""
SMALLEST_GAP = 0.05
CHAINED = ("linear", "ties(density=0.5)", "task_arithmetic(scale=1)")
"""The operators of fixed chains, by label."""
FED = tuple(each for each in FED_ARMS if "weights" not in each.parameters)
"""The arms on what layers are fed, which merge any number of models in one step."""


def folds(manifest: Manifest) -> dict[str, int]:
    """Specialist -> fold, dealt base by base."""
    found: dict[str, int] = {}
    for base in BASES:
        members = sorted(n for n, e in manifest.specialists.items() if e.spec["base"] == base)
        Random(f"{SEED} {base}").shuffle(members)
        found |= {name: place % FOLDS for place, name in enumerate(members)}
    return found


def sets(manifest: Manifest, size: int, part: str = "test") -> list[tuple[str, ...]]:
    """The sets of a part, bases in turn: each model of a set is the expert for its own task."""
    place = folds(manifest)
    spanned = list(combinations(range(FOLDS), 2 if part == "across" else 1))
    drawn: list[list[tuple[str, ...]]] = []
    for base, count in SETS[part][size].items():
        members = sorted(n for n in place if manifest.models[n].spec["base"] == base)
        fitting = [
            chosen
            for some in spanned
            for chosen in combinations([n for n in members if place[n] in some], size)
            if {place[n] for n in chosen} == set(some) and _distinct(manifest, chosen)
        ]
        fitting.sort(key=lambda chosen: seeded_hash("set", *chosen))
        first = SETS["train"][size][base] if part == "test" else 0
        drawn.append(fitting[first : first + count])
    return [each[i] for i in range(max(map(len, drawn))) for each in drawn if i < len(each)]


def tasks_of(manifest: Manifest, models: Sequence[str]) -> dict[str, str]:
    """Task -> its expert."""
    return {manifest.models[name].spec["task"]: name for name in models}


def relative(manifest: Manifest, model: str, expert: str, name: str) -> float:
    """A model's exact match on a task over the expert's; 0 for a planted one: nobody states it."""
    if model not in manifest.models:
        return 0.0
    own, best = (manifest.models[each].scores[name]["exact_match"] for each in (model, expert))
    return own / best


def trees(models: Sequence[str]) -> list[Tree]:
    """The plans that are measured: all of three models; of four, controls and a seeded draw."""
    found = enumerate_trees(models)
    if len(models) < 4:
        return found
    wanted = {identity(tree) for tree in controls(models)}
    kept = [tree for tree in found if tree.shape == "one step" or identity(tree) in wanted]
    others = [tree for tree in found if tree not in kept]
    others.sort(key=lambda tree: seeded_hash("plan", tree.label))
    return kept + others[:DRAWN]


def fed_trees(models: Sequence[str]) -> list[Tree]:
    """The merges of a set in one step by what its models' layers are fed."""
    return [join(each, *map(leaf, models)) for each in FED]


def parse_label(label: str, arms: Mapping[str, Arm]) -> Tree:
    """The tree of a label; `arms` by theirs."""
    head, inside, rest = label.partition("[")
    if not inside:
        return leaf(label)
    found, depth = [""], 0
    for sign in rest[:-1].replace(", ", ","):
        depth += {"[": 1, "]": -1}.get(sign, 0)
        if sign == "," and not depth:
            found.append("")
        else:
            found[-1] += sign
    return join(arms[head], *(parse_label(part, arms) for part in found))


def controls(models: Sequence[str]) -> list[Tree]:
    """Chains of one operator: three seeded orders each, and for Linear every model last."""
    found = [chain(order, label) for order in orders(models) for label in CHAINED]
    for last in models:
        order = sorted((m for m in models if m != last), key=lambda m: seeded_hash("order", m))
        found.append(chain((*order, last), "linear"))
    return found


def orders(models: Sequence[str]) -> list[tuple[str, ...]]:
    """Three seeded orders."""
    random = Random("/".join(models))
    return [tuple(random.sample(list(models), len(models))) for _ in range(3)]


def chain(order: Sequence[str], label: str) -> Tree:
    """One operator at equal weights, model after model."""
    (chosen,) = (a for a in (arm("linear"), arm("ties", density=0.5),
                             arm("task_arithmetic", scale=1.0)) if a.label == label)  # fmt: skip
    tree = leaf(order[0])
    for model in order[1:]:
        tree = join(chosen, tree, leaf(model))
    return tree


def _distinct(manifest: Manifest, models: Sequence[str]) -> bool:
    """Whether every model is better than each other at its own task, and tasks differ."""
    asked = tasks_of(manifest, models)
    scores = {n: manifest.models[n].scores for n in models}
    return len(asked) == len(models) and all(
        scores[expert][t]["exact_match"] - scores[other][t]["exact_match"] >= SMALLEST_GAP
        for t, expert in asked.items()
        for other in models
        if other != expert
    )


def seeded_hash(*parts: str) -> str:
    return hashlib.sha256("/".join((str(SEED), *parts)).encode()).hexdigest()


def average(utilities: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Label -> mean over tasks."""
    return {label: sum(values) / len(values) for label, values in utilities.items()}
