"""The methods of mergekit 0.1.5: their parameters, what those are called here, their defaults.

Methods have the same names as our operators. Facts from its documentation and from running it;
docs/reference/operators-parity.md says how closely the answers agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["number", "whole", "flag"]
Base = Literal["ignored", "optional", "required", "first"]
RESCALE: Mapping[Any, Any] = {False: "none", True: "l1"}
"""What its `rescale` is called here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter: `name` is mergekit's, `ours` the operator's keyword.

    `default` None: it must be given. `per_model`: each model may have its own; others are the same
    for all, and are not looked for among a model's parameters. `words` are our values for its.
    `ours` "": the operator has no parameter for it alone.
    """

    name: str
    ours: str
    kind: Kind = "number"
    default: Any = None
    per_model: bool = False
    words: Mapping[Any, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One merge method. `base` says what it does with base_model:

    "ignored": one input like the others; "optional" and "required": what deltas are taken from;
    "first": one of the two that are merged, the one at t = 0.
    """

    base: Base
    parameters: tuple[Parameter, ...] = ()


def _flag(name: str, ours: str, default: bool) -> Parameter:
    return Parameter(name=name, ours=ours, kind="flag", default=default)


def _number(name: str, ours: str, default: float | None = None) -> Parameter:
    return Parameter(name=name, ours=ours, default=default)


def _per_model(name: str, ours: str, default: float | None = None) -> Parameter:
    return Parameter(name=name, ours=ours, default=default, per_model=True)


WEIGHT = _per_model("weight", "weights")
DENSITY = _per_model("density", "density", 1.0)
GAMMA = _per_model("gamma", "gamma", 0.01)
SPREAD = _per_model("epsilon", "epsilon", 0.15)
FLOOR = _number("epsilon", "floor", 1e-5)


def _from_deltas(*own: Parameter, normalize: bool, rescale: bool) -> Method:
    """Task arithmetic on deltas of which a part survives: all but `own` is common to these."""
    common = (WEIGHT, _flag("normalize", "normalize", normalize), _number("lambda", "scale", 1.0))
    words = Parameter(name="rescale", ours="rescale", kind="flag", default=rescale, words=RESCALE)
    return Method(base="required", parameters=(*common, *own, words))


METHODS: Mapping[str, Method] = {
    "linear": Method(base="ignored", parameters=(WEIGHT, _flag("normalize", "normalize", True))),
    "karcher": Method(
        base="ignored",
        parameters=(
            Parameter(name="max_iter", ours="steps", kind="whole", default=10),
            _number("tol", "tolerance", 1e-5),
        ),
    ),
    "passthrough": Method(base="ignored", parameters=(_per_model("scale", "scale", 1.0),)),
    "slerp": Method(base="first", parameters=(_number("t", "t"),)),
    "nuslerp": Method(
        base="optional",
        parameters=(
            _per_model("weight", ""),
            _flag("nuslerp_flatten", "", True),
            _flag("nuslerp_row_wise", "", False),
        ),
    ),
    "multislerp": Method(
        base="optional",
        parameters=(
            WEIGHT,
            _flag("normalize_weights", "normalize", True),
            _number("eps", "", 1e-8),
        ),
    ),
    "task_arithmetic": Method(
        base="required",
        parameters=(
            WEIGHT,
            _flag("normalize", "normalize", False),
            _number("lambda", "scale", 1.0),
        ),
    ),
    "ties": _from_deltas(DENSITY, normalize=True, rescale=False),
    "dare_linear": _from_deltas(DENSITY, normalize=False, rescale=True),
    "dare_ties": _from_deltas(DENSITY, normalize=False, rescale=True),
    "breadcrumbs": _from_deltas(DENSITY, GAMMA, normalize=False, rescale=False),
    "breadcrumbs_ties": _from_deltas(DENSITY, GAMMA, normalize=False, rescale=False),
    "della": _from_deltas(DENSITY, SPREAD, normalize=True, rescale=True),
    "della_linear": _from_deltas(DENSITY, SPREAD, normalize=False, rescale=True),
    "sce": Method(base="required", parameters=(_number("select_topk", "density", 1.0),)),
    "model_stock": Method(
        base="required", parameters=(_flag("filter_wise", "filter_wise", False),)
    ),
    "arcee_fusion": Method(base="required"),
    "nearswap": Method(base="required", parameters=(_number("t", "limit"),)),
    "ram": Method(base="required", parameters=(FLOOR,)),
    "ramplus_tl": Method(
        base="required",
        parameters=(_number("r", "boost", 0.1), _number("alpha", "ceiling", 0.2), FLOOR),
    ),
}

PARAMETER_NAMES = {p.name for method in METHODS.values() for p in method.parameters} | {"int8_mask"}
"""Every parameter of mergekit. One that the chosen method does not have changes nothing, there as
here; `int8_mask` is the dtype its masks are stored in, and changes nothing in any method."""
