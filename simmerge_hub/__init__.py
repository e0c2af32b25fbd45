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
    "Catalogue": "planning.ask.options",
    "Checkpoint": "hub.resolve",
    "Features": "signatures.features.vector",
    "MergeReport": "merger",
    "ModelRef": "hub.resolve",
    "Objective": "planning.ask.objective",
    "Operator": "operators",
    "Plan": "planning.plan",
    "Prediction": "selector.predictor.ranking",
    "Preflight": "merger",
    "Ranking": "selector.predictor.ranking",
    "Recipe": "recipe",
    "Search": "planning.ask.options",
    "Signature": "signatures.signing.signature",
    "SimmergeError": "errors",
    "Sources": "planning.ask.options",
    "Tasks": "planning.ask.options",
    "check": "merger",
    "merge": "publishing.verbs",
    "plan": "planning.plan",
    "push": "publishing.verbs",
    "resolve": "hub.resolve",
    "sign": "signatures.signing.signature",
}

__all__ = [
    "Arm",
    "Catalogue",
    "Checkpoint",
    "Features",
    "MergeReport",
    "ModelRef",
    "Objective",
    "Operator",
    "Plan",
    "Prediction",
    "Preflight",
    "Ranking",
    "Recipe",
    "Search",
    "Signature",
    "SimmergeError",
    "Sources",
    "Tasks",
    "__version__",
    "check",
    "merge",
    "plan",
    "push",
    "resolve",
    "sign",
]

if TYPE_CHECKING:
    from simmerge_hub.errors import SimmergeError
    from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
    from simmerge_hub.merger import MergeReport, Preflight, check
    from simmerge_hub.operators import Arm, Operator
    from simmerge_hub.planning.ask.objective import Objective
    from simmerge_hub.planning.ask.options import Catalogue, Search, Sources, Tasks
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
