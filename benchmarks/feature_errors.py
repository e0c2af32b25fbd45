"""How far features are from what they should be, family by family, and what decisions become."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simmerge_hub.operators import Arm
from simmerge_hub.selector.models import heads, mixture
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.ranking import Ranking
from simmerge_hub.signatures.features.context import SIDES
from simmerge_hub.signatures.features.registry import REGISTRY
from simmerge_hub.signatures.features.vector import FEATURE_FAMILIES, FEATURE_NAMES, Features


def family(name: str) -> str:
    """`delta_norm_expert.mlp` -> `delta_norm`: the function that computes it."""
    function = name.partition(".")[0]
    for side in SIDES:
        function = function.removesuffix(f"_{side}")
    return function


def errors(exact: Sequence[Features], found: Sequence[Features]) -> dict[str, Any]:
    """Errors of `found` against `exact`, by family of features: structural and functional ones.

    `error` is the median absolute difference over pairs and the features of a family, `q90` its
    90 % quantile; `of_spread` is the median of a difference over the standard deviation of that
    feature over the pairs, the size of what a predictor could learn from; `missing` the share of
    values that are known exactly and missing here. A feature without any exact value is left out.
    """
    one, other = (np.array([f.values for f in each]) for each in (exact, found))
    table: dict[str, Any] = {kind: {} for kind in FEATURE_FAMILIES}
    for name in dict.fromkeys(map(family, FEATURE_NAMES)):
        columns = [i for i, n in enumerate(FEATURE_NAMES) if family(n) == name]
        row = _row(one[:, columns], other[:, columns])
        if row:
            table[REGISTRY[FEATURE_NAMES[columns[0]]].family][name] = row
    return {kind: rows for kind, rows in table.items() if rows}


def _row(exact: np.ndarray, found: np.ndarray) -> dict[str, float]:
    known = np.isfinite(exact)
    if not known.any():
        return {}
    both = known & np.isfinite(found)
    lost = {"missing": round(1 - float(both.sum() / known.sum()), 4)}
    if not both.any():
        return lost
    spread = np.array(
        [np.nanstd(c) if k.any() else np.nan for c, k in zip(exact.T, known.T, strict=True)]
    )
    gap = np.abs(found - exact)
    told = {
        "error": float(np.median(gap[both])),
        "q90": float(np.quantile(gap[both], 0.9)),
        "of_spread": float(np.median((gap / np.where(spread > 0, spread, np.nan))[both])),
    }
    return {key: _short(value) for key, value in told.items() if np.isfinite(value)} | lost


def _short(value: float) -> float:
    return float(f"{value:.3g}")


Seen = tuple[Features, np.ndarray]
"""The features of a pair, and what each of the predictor's arms does to it: [arms, effects]."""


def utilities(trained: Predictor, seen: Sequence[Seen]) -> np.ndarray:
    """[pairs, arms]: what the predictor would say whatever it thinks of the pairs."""
    both = mixture.Mixture(
        arms=trained.arms,
        line=trained.line,
        heads=tuple(heads.booster(head) for head in trained.heads),
        forest=heads.booster(trained.conditioned.forest),
        share=trained.conditioned.share,
    )
    values, moved = (np.array(part) for part in zip(*((f.values, m) for f, m in seen), strict=True))
    return mixture.predict(both, values, moved)


def best(trained: Predictor, seen: Seen, arms: Sequence[Arm], parameters: int) -> Ranking:
    """What the predictor says of a pair."""
    found, moved = seen
    told = {a.label: each for a, each in zip(trained.arms, moved, strict=True)}
    return trained.predict(found, task="any", arms=arms, effects=told, parameters=parameters)


def decisions(
    trained: Predictor,
    exact: Sequence[Seen],
    found: Sequence[Seen],
    arms: Sequence[Arm],
    parameters: int,
) -> dict[str, Any]:
    """How often the choice is the same, and what is lost by the predictor's own account.

    `argmax` is the arm with the highest predicted utility, whatever the predictor thinks of the
    pair; `plan` is what a ranking keeps first, abstentions included. `within_a_tie` counts an arm
    as the same if exact features predict no more than 0.02 less for it.
    """
    columns = [i for i, a in enumerate(trained.arms) if a in arms]
    first, second = (utilities(trained, seen)[:, columns] for seen in (exact, found))
    chosen, other = first.argmax(1), second.argmax(1)
    lost = first.max(1) - first[np.arange(len(first)), other]
    plans = [[best(trained, seen, arms, parameters) for seen in e] for e in (exact, found)]
    alike = [a.best.arm == b.best.arm for a, b in zip(*plans, strict=True)]
    return {
        "pairs": len(exact),
        "arms": len(arms),
        "argmax_identical": _short(float((chosen == other).mean())),
        "within_a_tie": _short(float((lost <= 0.02).mean())),
        "plan_identical": _short(float(np.mean(alike))),
        "abstained": [_short(float(np.mean([r.status == "abstained" for r in e]))) for e in plans],
        "utility_lost": _short(float(lost.mean())),
        "utility_error": _short(float(np.abs(first - second).mean())),
        "lead_of_the_best": _short(float(np.median(np.diff(np.sort(first, axis=1))[:, -1]))),
    }
