"""Merge trees: what is merged with what, in which order, and with which arms.

A tree is a model, or a merge of trees. Trees that give the same merge are the same plan: order
does not matter to arms that treat their inputs alike, and a tree of sums (linear, task arithmetic)
is nothing but a weight for each model.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from types import MappingProxyType

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.operators import Arm, find, known_arm
from simmerge_hub.recipe import Recipe, Step, check_recipe, source
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.weights.shapes import common_dtype

PAIRWISE = (
    known_arm("linear"),
    known_arm("ties", density=0.5),
    known_arm("task_arithmetic", scale=1.0),
)
"""What two parts are merged with, at equal weights."""
AT_ONCE = (
    known_arm("linear"),
    *(known_arm("ties", density=density) for density in (0.2, 0.5, 1.0)),
    *(known_arm("task_arithmetic", scale=scale) for scale in (0.4, 0.7, 1.0)),
    known_arm("karcher"),
)
"""What three or more models are merged with in one step."""
LEANING_WEIGHTS = (0.3, 0.4, 0.6, 0.7)
"""Weights of a last step's first part that are tried where its weights are predicted."""
WEIGHT_DIGITS = 6
"""Weights that agree to so many digits are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A model (no `arm`, no `parts`), or the merge of `parts` with `arm`, in the arm's order.

    Args:
        models: the names of all models in it, in order.
        arm: what merges the parts.
        parts: the trees that are merged.
    """

    models: tuple[str, ...]
    arm: Arm | None = None
    parts: tuple["Tree", ...] = ()

    @property
    def label(self) -> str:
        """The tree in one line: `linear[ties(density=0.5)[a, b], c]`."""
        if self.arm is None:
            return self.models[0]
        return f"{self.arm.label}[{', '.join(part.label for part in self.parts)}]"

    @property
    def shape(self) -> str:
        """What kind of plan it is, in a word or two."""
        if self.arm is None:
            return "a model"
        if all(part.arm is None for part in self.parts):
            return "one step"
        return "chain" if any(part.arm is None for part in self.parts) else "balanced"

    @property
    def merges(self) -> tuple["Tree", ...]:
        """Every merge in it in the order of execution, itself last."""
        if self.arm is None:
            return ()
        return (*(merge for part in self.parts for merge in part.merges), self)


def leaf(model: str) -> Tree:
    """A model as a tree."""
    return Tree(models=(model,))


def join(chosen: Arm, *parts: Tree) -> Tree:
    """The merge of trees with an arm."""
    return Tree(models=tuple(m for part in parts for m in part.models), arm=chosen, parts=parts)


def pairwise(first: Tree, second: Tree, *, base: bool = True) -> tuple[Arm, ...]:
    """The arms that two trees may be merged with: equal weights, and by their numbers of models.

    Args:
        first, second: the trees.
        base: whether there is one, which arms on deltas need.
    """
    one, other = len(first.models), len(second.models)
    by_number = known_arm("linear", weights=(one / (one + other), other / (one + other)))
    return _usable(PAIRWISE if one == other else (*PAIRWISE, by_number), base)


def vary_weights(tree: Tree) -> list[Tree]:
    """The same tree with other weights in its last step; none if that cannot lean."""
    if tree.arm is None or len(tree.parts) != 2 or tree.arm.operator not in ("linear", "ties"):
        return []
    kept = {name: value for name, value in tree.arm.parameters.items() if name != "weights"}
    return [
        join(known_arm(tree.arm.operator, **kept, weights=(weight, 1 - weight)), *tree.parts)
        for weight in LEANING_WEIGHTS
    ]


def identity(tree: Tree) -> Hashable:
    """The same for two trees that give the same merge.

    Equal weights of `linear` and `task_arithmetic` are followed through the whole tree; any other
    arm makes its parts' order irrelevant only where it treats them alike.
    """
    shares = _shares(tree)
    if shares is not None:
        return "sum", tuple(sorted((m, round(s, WEIGHT_DIGITS)) for m, s in shares.items()))
    assert tree.arm is not None
    parts = [identity(part) for part in tree.parts]
    alike = len(parts) > 2 or tree.arm == tree.arm.swapped()
    return tree.arm.label, tuple(sorted(parts, key=repr) if alike else parts)


def splits(models: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """How the models of a merge of two trees may be divided: one off (a chain), or in halves of 4.

    Two models are divided once; which part comes first is of no account.
    """
    last = models if len(models) > 2 else models[1:]
    firsts = [tuple(m for m in models if m != one) for one in last]
    if len(models) == 4:
        firsts += [(models[0], other) for other in models[1:]]
    return [(first, tuple(m for m in models if m not in first)) for first in firsts]


def enumerate_trees(models: Sequence[str]) -> list[Tree]:
    """All distinct merges of all of these models: those in one step first, then chains and halves.

    With four models there are hundreds.
    """
    if len(models) == 1:
        return [leaf(models[0])]
    in_steps = (
        join(chosen, first, second)
        for one, other in splits(models)
        for first, second in product(enumerate_trees(one), enumerate_trees(other))
        for chosen in pairwise(first, second)
    )
    distinct: dict[Hashable, Tree] = {}
    for tree in chain(at_once(models), in_steps):
        distinct.setdefault(identity(tree), tree)
    return list(distinct.values())


def at_once(models: Sequence[str], *, base: bool = True, fed: Sequence[Arm] = ()) -> list[Tree]:
    """The merges of models in one step: of three or more with AT_ONCE, of two or more with `fed`.

    Args:
        models: their names.
        base: whether there is one, which arms on deltas need.
        fed: arms that look at what the models' layers are fed.
    """
    arms = _usable(AT_ONCE, base) if len(models) > 2 else ()
    return [join(chosen, *map(leaf, models)) for chosen in (*arms, *fed)]


def sees_activations(tree: Tree) -> bool:
    """Whether its last step looks at what its models' layers are fed; nothing is built upon it."""
    return tree.arm is not None and find(tree.arm.operator).activations


def steps(tree: Tree) -> tuple[Step, ...]:
    """The tree as the steps of a recipe, one a merge; all but the last have a name."""
    names: dict[str, str] = {}
    listed = []
    for number, merge in enumerate(tree.merges, 1):
        assert merge.arm is not None
        names[merge.label] = "" if merge is tree else f"step-{number}"
        listed.append(
            Step(
                operator=merge.arm.operator,
                models=tuple(names.get(part.label, part.models[0]) for part in merge.parts),
                parameters=merge.arm.parameters,
                name=names[merge.label],
            )
        )
    return tuple(listed)


def recipe_of(
    tree: Tree,
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    prompts: Mapping[str, tuple[Prompts, ...]] = MappingProxyType({}),
) -> Recipe:
    """The recipe that makes the tree's merge, of its models only.

    Args:
        tree: what is merged with what.
        models, base: the checkpoints to choose from.
        prompts: what each model is fed where an arm looks at activations.
    """
    fed = {name: some for name, some in prompts.items() if name in tree.models}
    recipe = Recipe(
        base=source(base) if base else None,
        models=tuple(source(model) for model in models if model.name in tree.models),
        steps=steps(tree),
        dtype=common_dtype(base or models[0]),
    )
    if recipe.sees_activations:
        recipe = replace(recipe, calibration=Calibration(prompts=fed))
    check_recipe(recipe, "the plan", tried=False)
    return recipe


def draw(tree: Tree, notes: Mapping[str, str]) -> list[str]:
    """The tree as lines of text, the last merge first; `notes` by label."""
    note = notes.get(tree.label, "")
    what = tree.models[0] if tree.arm is None else tree.arm.label
    lines = [f"{what}  {note}" if note else what]
    for part in tree.parts:
        branch, rest = ("└─ ", "   ") if part is tree.parts[-1] else ("├─ ", "│  ")
        first, *others = draw(part, notes)
        lines += [branch + first, *(rest + line for line in others)]
    return lines


def _usable(arms: Sequence[Arm], base: bool) -> tuple[Arm, ...]:
    """Without a base, the arms on weights."""
    return tuple(a for a in arms if base or not find(a.operator).needs_base)


def _shares(tree: Tree) -> dict[str, float] | None:
    """Model -> the share of its delta in the merge; None if the merge is no sum of deltas."""
    if tree.arm is None:
        return {tree.models[0]: 1.0}
    weights = _weights(tree.arm, len(tree.parts))
    parts = [_shares(part) for part in tree.parts]
    if weights is None or any(part is None for part in parts):
        return None
    total: dict[str, float] = {}
    for weight, part in zip(weights, parts, strict=True):
        for model, share in (part or {}).items():
            total[model] = total.get(model, 0.0) + weight * share
    return total


def _weights(chosen: Arm, count: int) -> tuple[float, ...] | None:
    """The weights of a sum; None for arms that are none."""
    if chosen.operator == "linear":
        given = chosen.parameters.get("weights") or (1.0,) * count
        return tuple(float(weight) / sum(given) for weight in given)
    if chosen.operator == "task_arithmetic" and "weights" not in chosen.parameters:
        return (float(chosen.parameters.get("scale", 1.0)),) * count
    return None
