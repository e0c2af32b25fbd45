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
    "AdapterMerge": "weights.lora",
    "AdapterReport": "weights.lora",
    "Arm": "operators",
    "Catalogue": "planning.ask.options",
    "Checkpoint": "hub.resolve",
    "Choice": "planning.choice",
    "Features": "signatures.features.vector",
    "MergeRecord": "publishing.trust.record",
    "MergeReport": "merger",
    "ModelMap": "signatures.map.similarities",
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
    "Target": "publishing.target",
    "Tasks": "planning.ask.options",
    "Verdict": "planning.verdict",
    "Verification": "publishing.trust.verify",
    "Why": "recipe",
    "arm": "operators",
    "check": "publishing.verbs",
    "combination": "weights.lora",
    "draw": "publishing.picture",
    "map": "signatures.map.similarities:map_models",
    "merge": "publishing.verbs",
    "merge_adapters": "weights.lora",
    "merge_to_hub": "publishing.verbs",
    "packaged_predictor": "selector.predictor.origin",
    "plan": "planning.plan",
    "push": "publishing.verbs",
    "resolve": "hub.resolve",
    "show": "publishing.trust.record",
    "sign": "signatures.signing.signature",
    "verify": "publishing.trust.verify",
    "write_adapter": "weights.lora",
}
"""Name -> the module it is in, with its name there if that is another."""
_MODULES = {
    "bandit": "selector.bandit.sharing",
    "errors": "errors",
    "localhub": "localhub",
    "mergekit": "recipe.mergekit",
}
"""Name -> the module that it is."""

__all__ = [
    "AdapterMerge",
    "AdapterReport",
    "Arm",
    "Catalogue",
    "Checkpoint",
    "Choice",
    "Features",
    "MergeRecord",
    "MergeReport",
    "ModelMap",
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
    "Target",
    "Tasks",
    "Verdict",
    "Verification",
    "Why",
    "__version__",
    "arm",
    "bandit",
    "check",
    "combination",
    "draw",
    "errors",
    "localhub",
    "map",
    "merge",
    "merge_adapters",
    "merge_to_hub",
    "mergekit",
    "packaged_predictor",
    "plan",
    "push",
    "resolve",
    "show",
    "sign",
    "verify",
    "write_adapter",
]

if TYPE_CHECKING:
    from simmerge_hub import errors, localhub
    from simmerge_hub.errors import SimmergeError
    from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
    from simmerge_hub.merger import MergeReport, Preflight
    from simmerge_hub.operators import Arm, Operator, arm
    from simmerge_hub.planning.ask.objective import Objective
    from simmerge_hub.planning.ask.options import Catalogue, Search, Sources, Tasks
    from simmerge_hub.planning.choice import Choice
    from simmerge_hub.planning.plan import Plan, plan
    from simmerge_hub.planning.verdict import Verdict
    from simmerge_hub.publishing.picture import draw
    from simmerge_hub.publishing.target import Target
    from simmerge_hub.publishing.trust.record import MergeRecord, show
    from simmerge_hub.publishing.trust.verify import Verification, verify
    from simmerge_hub.publishing.verbs import check, merge, merge_to_hub, push
    from simmerge_hub.recipe import Recipe, Why, mergekit
    from simmerge_hub.selector.bandit import sharing as bandit
    from simmerge_hub.selector.predictor.origin import packaged_predictor
    from simmerge_hub.selector.predictor.ranking import Prediction, Ranking
    from simmerge_hub.signatures.features.vector import Features
    from simmerge_hub.signatures.map.similarities import ModelMap
    from simmerge_hub.signatures.map.similarities import map_models as map
    from simmerge_hub.signatures.signing.signature import Signature, sign
    from simmerge_hub.weights.lora import (
        AdapterMerge,
        AdapterReport,
        combination,
        merge_adapters,
        write_adapter,
    )


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"simmerge_hub.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"simmerge_hub has no {name!r}")
    module, _, other = _HOMES[name].partition(":")
    return getattr(import_module(f"simmerge_hub.{module}"), other or name)


def __dir__() -> list[str]:
    return sorted(__all__)
