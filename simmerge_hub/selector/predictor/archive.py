"""A predictor as one JSON file: written with sorted keys, and checked before it is believed."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from simmerge_hub.documents import explain, read_json
from simmerge_hub.errors import PredictorError, SimmergeError
from simmerge_hub.hub.assets import replace_file
from simmerge_hub.operators import Arm
from simmerge_hub.selector.models import conditioned, forest, multiway, network
from simmerge_hub.selector.models.conformal import Radii
from simmerge_hub.selector.models.linear import Linear
from simmerge_hub.selector.models.multiway import MultiwayModel
from simmerge_hub.selector.models.network import LAYERS, Networks
from simmerge_hub.selector.predictor import records
from simmerge_hub.selector.predictor.measured import pairs
from simmerge_hub.selector.predictor.novelty import KNOTS, Familiar, Limits
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.scorer import ConditionedForest
from simmerge_hub.selector.tables.availability import spellings
from simmerge_hub.selector.tables.features import LARGEST_NUMBER
from simmerge_hub.selector.tables.outcomes import arm_entry, arm_from, check_header
from simmerge_hub.signatures.merged import likeness
from simmerge_hub.signatures.merged.effects import EFFECTS

FORMAT = "simmerge-hub predictor"
SCHEMA = 4
LARGEST_FILE = 200 * 2**20
"""Bytes of the largest file that is read; the packaged one has 3 MB."""
MOST_NETWORKS = 16
ForestOf = Callable[[Any, int], str]
"""A forest as it stands in a file, and how many features it reads -> XGBoost's JSON."""


def save(predictor: Predictor, path: Path) -> None:
    """Write `predictor` to `path` in one step: the same predictor is the same bytes.

    Raises:
        OutputError: it cannot be written; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text(predictor).encode())


def load(path: Path, *, name: str = "", ours: bool = False) -> Predictor:
    """The predictor stored at `path`, called `name` in errors (by default its path).

    Args:
        path: the file.
        name: what errors call it.
        ours: it belongs to the package, like the code that reads it: what guards against hostile
            files, seconds of it, is left out.

    Raises:
        PredictorError: any part of it cannot be believed.
    """
    called = name or str(path)
    hint = (
        "download it again, or train one: simmerge-hub predictor train OUTCOMES --features FILE "
        "-o FILE"
    )
    try:
        data = path.read_bytes()
        text, forests = forest.take_out(data.decode()) if ours else ("", [])
        fields = json.loads(text) if ours else read_json(data, largest=LARGEST_FILE, finite=True)
    except (OSError, ValueError) as error:
        raise PredictorError(f"{called} is not a predictor: {explain(error)}", hint=hint) from error
    check_header(fields, FORMAT, SCHEMA, called)
    try:
        return _predictor(fields, (lambda place, _: forests[place]) if ours else forest.check)
    except (LookupError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
        raise PredictorError(f"{called} is damaged: {error!r}", hint=hint) from error
    except SimmergeError as error:
        raise PredictorError(f"{called} is damaged: {error}", hint=hint) from error


def text(predictor: Predictor) -> str:
    """The predictor as JSON, ending in a line break."""
    familiar = predictor.familiar
    fields = {
        "format": FORMAT,
        "schema": SCHEMA,
        "arms": [arm_entry(a) for a in predictor.arms],
        "features": {"schema": predictor.features, "names": list(predictor.names)},
        "line": {name: np.asarray(v).tolist() for name, v in asdict(predictor.line).items()},
        "heads": [json.loads(head) for head in predictor.heads],
        "conditioned": asdict(predictor.conditioned)
        | {"forest": json.loads(predictor.conditioned.forest)},
        "alpha": predictor.alpha,
        "radii": {pattern: asdict(radii) for pattern, radii in predictor.radii.items()},
        "familiar": {
            "knots": familiar.knots.tolist(),
            "references": _nulls(familiar.references),
            "limits": {pattern: asdict(limits) for pattern, limits in familiar.limits.items()},
            "parameters": familiar.parameters,
        },
        "means": predictor.means,
        "regimes": predictor.regimes,
        "training": predictor.training,
        "report": predictor.report,
        "record": records.plain(predictor.record),
        "beyond": asdict(predictor.beyond),
    }
    if predictor.many is not None:
        fields["many"] = asdict(predictor.many) | {
            "forest": json.loads(predictor.many.forest),
            "networks": _networks_entry(predictor.many.networks),
        }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def _networks_entry(given: Networks) -> dict[str, Any]:
    nets = [{layer: net[layer].tolist() for layer in LAYERS} for net in given.networks]
    return {"knots": given.knots.tolist(), "networks": nets}


def _predictor(fields: Mapping[str, Any], forest_of: ForestOf) -> Predictor:
    names = tuple(str(name) for name in fields["features"]["names"])
    arms = tuple(arm_from(entry) for entry in fields["arms"])
    trees = tuple(forest_of(head, len(names)) for head in fields["heads"])
    means = tuple(float(mean) for mean in fields["means"])
    _demand(len(set(names)) == len(names) > 0, "feature names repeat or are missing")
    _demand(len({a.label for a in arms}) == len(arms) > 0, "arms repeat or are missing")
    _demand(len(arms) == len(trees) == len(means), "there must be one head and mean per arm")
    _demand(0 < fields["alpha"] < 1, "alpha must lie between 0 and 1")
    return Predictor(
        arms=arms,
        names=names,
        features=int(fields["features"]["schema"]),
        line=_line(fields["line"], len(names), len(arms)),
        heads=trees,
        conditioned=_conditioned_forest(fields["conditioned"], arms, len(names), forest_of),
        alpha=float(fields["alpha"]),
        radii={p: _radii(entry, len(arms)) for p, entry in _patterns(fields["radii"])},
        familiar=_familiar(fields["familiar"], len(names)),
        means=means,
        regimes={str(name): int(rows) for name, rows in fields["regimes"].items()},
        training=str(fields["training"]),
        report=dict(fields["report"]),
        record=records.parse(fields["record"], arms),
        beyond=pairs.parse(fields["beyond"]),
        many=_multiway(fields["many"], fields, arms, forest_of) if "many" in fields else None,
    )


def _line(entry: Mapping[str, Any], features: int, arms: int) -> Linear:
    shapes: dict[str, tuple[int, ...]] = {
        "mean": (features,),
        "spread": (features,),
        "weights": (features, arms),
        "intercept": (arms,),
    }
    columns = {name: _numbers(entry[name], shape, name) for name, shape in shapes.items()}
    _demand(bool((columns["spread"] > 0).all()), "a spread is not positive")
    return Linear(**columns)


def _conditioned_forest(
    entry: Mapping[str, Any], arms: Sequence[Arm], features: int, forest_of: ForestOf
) -> ConditionedForest:
    effects = tuple(str(name) for name in entry["effects"])
    told = features + len(effects) + len(conditioned.STATIC) + len(conditioned.operators(arms))
    stored = ConditionedForest(
        forest=forest_of(entry["forest"], told),
        effects=effects,
        share=float(entry["share"]),
        unmeasured=float(entry["unmeasured"]),
    )
    _demand(set(effects) <= set(EFFECTS), "it reads unknown effects")
    _demand(0 <= stored.share <= 1, "the forest's share is no share")
    _demand(stored.unmeasured >= 0, "an interval is negative")
    return stored


def _multiway(
    entry: Mapping[str, Any], fields: Mapping[str, Any], arms: Sequence[Arm], forest_of: ForestOf
) -> MultiwayModel:
    features = len(fields["features"]["names"])
    effects = len(fields["conditioned"]["effects"])
    of_forest, of_networks = multiway.inputs(features, effects, conditioned.operators(arms))
    model = MultiwayModel(
        forest=forest_of(entry["forest"], of_forest),
        networks=_networks(entry["networks"], of_networks),
        likeness=tuple(str(name) for name in entry["likeness"]),
        unrun=float(entry["unrun"]),
        run=float(entry["run"]),
        merges=int(entry["merges"]),
        models=int(entry["models"]),
    )
    _demand(
        model.likeness == likeness.LIKENESS_NAMES, "it reads other numbers of merges that were run"
    )
    _demand(model.unrun >= 0 and model.run >= 0, "an interval is negative")
    return model


def _networks(entry: Mapping[str, Any], inputs: int) -> Networks:
    knots = _numbers(entry["knots"], (inputs, network.KNOTS), "the networks' quantiles")
    _demand(bool((np.diff(knots, axis=1) >= 0).all()), "the quantiles are not in order")
    shapes = network.shapes(inputs, 1)
    _demand(0 < len(entry["networks"]) <= MOST_NETWORKS, "there is no network, or far too many")
    nets = tuple(
        {name: _numbers(net[name], shape, f"layer {name}") for name, shape in shapes.items()}
        for net in entry["networks"]
    )
    return Networks(knots=knots, networks=nets)


def _numbers(given: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    numbers = np.array(given, dtype=np.float64)
    _demand(numbers.shape == shape, f"{name} has shape {numbers.shape}, not {shape}")
    _demand(
        bool((np.abs(numbers) <= LARGEST_NUMBER).all()), f"{name} holds no number, or a huge one"
    )
    return numbers


def _radii(entry: Mapping[str, Any], arms: int) -> Radii:
    radii = Radii(
        arms=tuple(float(width) for width in entry["arms"]),
        chosen=float(entry["chosen"]),
        rows=int(entry["rows"]),
    )
    _demand(len(radii.arms) == arms, "there must be one interval per arm")
    _demand(all(width >= 0 for width in (*radii.arms, radii.chosen)), "an interval is negative")
    return radii


def _familiar(entry: Mapping[str, Any], features: int) -> Familiar:
    knots = np.array(entry["knots"], dtype=np.float64)
    references = np.array(entry["references"], dtype=np.float64)
    _demand(knots.shape == (features, KNOTS), "the quantiles do not fit the features")
    _demand(bool((np.diff(knots, axis=1) >= 0).all()), "the quantiles are not in order")
    _demand(references.ndim == 2 and references.shape[1] == features, "references do not fit")
    _demand(not ((references < 0) | (references > 1)).any(), "a reference is no rank")
    limits = {
        p: Limits(distance=float(e["distance"]), outside=float(e["outside"]))
        for p, e in _patterns(entry["limits"])
    }
    sizes = None if entry["parameters"] is None else sorted(map(int, entry["parameters"]))
    _demand(sizes is None or (len(sizes) > 0 and sizes[0] > 0), "a size is no number of parameters")
    return Familiar(
        knots=knots,
        references=references,
        limits=limits,
        parameters=None if sizes is None else tuple(sizes),
    )


def _patterns(entries: Mapping[str, Any]) -> list[tuple[str, Any]]:
    unknown = set(entries) - spellings()
    _demand(not unknown, f"unknown patterns of missing features: {', '.join(sorted(unknown))}")
    return list(entries.items())


def _nulls(values: np.ndarray) -> list[list[float | None]]:
    return [[None if math.isnan(v) else v for v in row] for row in values.tolist()]


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
