"""Predict how to merge fine-tuned language models, merge them once, push the result.

    import simmerge_hub

    plan = simmerge_hub.plan("org/code-7b", "org/math-7b")
    simmerge_hub.merge(plan, "merged")
    simmerge_hub.push("merged", "org/code-math-7b")

Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from simmerge_hub.version import __version__

_HOMES = {
    "Arm": "operators",
    "CataloguePlan": "planning.catalogue",
    "Checkpoint": "hub.resolve",
    "Features": "signatures.features.vector",
    "MergeReport": "merger",
    "ModelRef": "hub.resolve",
    "ManyPlan": "planning.many",
    "Objective": "planning.objective",
    "Operator": "operators",
    "Plan": "planning.plan",
    "Preflight": "merger",
    "Prediction": "selector.predictor.ranking",
    "Ranking": "selector.predictor.ranking",
    "Recipe": "recipe",
    "Signature": "signatures.signing.signature",
    "SimmergeError": "errors",
    "check": "merger",
    "merge": "publishing.verbs",
    "plan": "planning.plan",
    "plan_catalogue": "planning.catalogue",
    "plan_many": "planning.many",
    "push": "publishing.verbs",
    "resolve": "hub.resolve",
    "sign": "signatures.signing.signature",
}

__all__ = [
    "Arm",
    "CataloguePlan",
    "Checkpoint",
    "Features",
    "ManyPlan",
    "MergeReport",
    "ModelRef",
    "Objective",
    "Operator",
    "Plan",
    "Prediction",
    "Preflight",
    "Ranking",
    "Recipe",
    "Signature",
    "SimmergeError",
    "__version__",
    "check",
    "merge",
    "plan",
    "plan_catalogue",
    "plan_many",
    "push",
    "resolve",
    "sign",
]

if TYPE_CHECKING:
    from simmerge_hub.errors import SimmergeError
    from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
    from simmerge_hub.merger import MergeReport, Preflight, check
    from simmerge_hub.operators import Arm, Operator
    from simmerge_hub.planning.catalogue import CataloguePlan, plan_catalogue
    from simmerge_hub.planning.many import ManyPlan, plan_many
    from simmerge_hub.planning.objective import Objective
    from simmerge_hub.planning.plan import Plan, plan
    from simmerge_hub.publishing.verbs import merge, push
    from simmerge_hub.recipe import Recipe
    from simmerge_hub.selector.predictor.ranking import Prediction, Ranking
    from simmerge_hub.signatures.features.vector import Features
    from simmerge_hub.signatures.signing.signature import Signature, sign


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"simmerge_hub has no {name!r}")
    return getattr(import_module(f"simmerge_hub.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
