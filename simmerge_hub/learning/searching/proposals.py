"""What a search tries next: Optuna's proposals, from nothing but what was tried and a seed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from simmerge_hub.learning.searching.attempts import Attempt
from simmerge_hub.learning.searching.space import RANGES, WEIGHT

STARTUP = 6
"""Merges before TPE has something to go by; those are drawn."""
NEAR_WEIGHT, NEAR = 0.05, 0.25
"""Of one operator, merges with weights that near, and other parameters within such a part of their
ranges, are not told apart by some hundred prompts: one of them is tried."""
ASKS = 20
"""How often a new point is asked for, before one is taken that is near another."""


def propose(attempts: Sequence[Attempt], models: int, seed: int) -> dict[str, Any]:
    """The next point: TPE on all attempts so far. It depends on them and on the seed alone.

    Args:
        attempts: what was tried; one that failed kept nothing.
        models: how many are merged.
        seed: of the search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, of what is experimental
        sampler = optuna.samplers.TPESampler(
            seed=seed * 10_000 + len(attempts),
            n_startup_trials=STARTUP,
            multivariate=True,  # weights, density and scale together,
            group=True,  # for each operator apart
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for each in attempts:
            study.add_trial(_frozen(each, models))
        params = _ask(study, models)
        for _ in range(ASKS - 1):
            if not any(_is_near(params, each.params) for each in attempts):
                break
            params = _ask(study, models)
    return params


def _ask(study: Any, models: int) -> dict[str, Any]:
    asked = study.ask()
    operator = asked.suggest_categorical("operator", list(RANGES))
    for name, (low, high) in _ranges(operator, models).items():
        asked.suggest_float(name, low, high)
    return _with_last_weight(asked.params, models)


def _is_near(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["operator"] != other["operator"]:
        return False
    shares = [_shares(point) for point in (one, other)]
    limits = {f"{one['operator']}.{n}": r for n, r in RANGES[one["operator"]].items()}
    return all(abs(a - b) <= NEAR_WEIGHT for a, b in zip(*shares, strict=True)) and all(
        abs(one[name] - other[name]) <= NEAR * (high - low) for name, (low, high) in limits.items()
    )


def _shares(point: Mapping[str, Any]) -> list[float]:
    weights = [float(w) for name, w in point.items() if name.startswith("weight.")]
    return [w / sum(weights) for w in weights]


def _with_last_weight(params: Mapping[str, Any], models: int) -> dict[str, Any]:
    """Of two models one weight says both: what counts is their ratio."""
    return dict(params) if models > 2 else {**params, "weight.1": 1.0 - params["weight.0"]}


def _without_last_weight(params: Mapping[str, Any], models: int) -> dict[str, Any]:
    if models > 2:
        return dict(params)
    share = min(max(_shares(params)[0], WEIGHT[0]), WEIGHT[1])
    return {k: share if k == "weight.0" else v for k, v in params.items() if k != "weight.1"}


def _ranges(operator: str, models: int) -> dict[str, tuple[float, float]]:
    weights = {f"weight.{i}": WEIGHT for i in range(models if models > 2 else 1)}
    return weights | {f"{operator}.{name}": limits for name, limits in RANGES[operator].items()}


def _frozen(attempt: Attempt, models: int) -> Any:
    """An attempt as Optuna knows it: one that failed kept nothing."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    known: Mapping[str, Any] = {
        name: FloatDistribution(low, high)
        for name, (low, high) in _ranges(attempt.params["operator"], models).items()
    }
    value = attempt.score if attempt.score is not None else attempt.few
    return optuna.trial.create_trial(
        params=_without_last_weight(attempt.params, models),
        distributions={"operator": CategoricalDistribution(list(RANGES)), **known},
        value=value if value is not None else 0.0,
    )
