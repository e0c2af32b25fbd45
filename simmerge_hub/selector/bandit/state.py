"""A bandit as files: `bandit.json` and `bandit.safetensors`, checked before they are believed.

The JSON names the arms, features and settings, holds the forest, and says the sha256 of the
tensors; the tensors are ties and offline outcomes. Nothing in them is run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from simmerge_hub.documents import read_json
from simmerge_hub.errors import BanditError, PredictorError, SimmergeError
from simmerge_hub.selector.bandit.bandit import Bandit, Settings
from simmerge_hub.selector.bandit.representation import Representation
from simmerge_hub.selector.models import conditioned, forest
from simmerge_hub.selector.tables.outcomes import arm_entry, arm_from, check_header

FORMAT = "simmerge-hub bandit"
SCHEMA = 3
JSON, TENSORS = "bandit.json", "bandit.safetensors"


def files(bandit: Bandit) -> dict[str, bytes]:
    """The two files: the same bandit is the same bytes."""
    tensors = save_tensors(_tensors(bandit))
    represent = bandit.represent
    fields = {
        "format": FORMAT,
        "schema": SCHEMA,
        "arms": [arm_entry(a) for a in bandit.arms],
        "features": {"schema": bandit.schema, "names": list(bandit.names)},
        "effects": list(bandit.effect_names),
        "operators": list(represent.operators),
        "settings": asdict(bandit.settings),
        "forest": json.loads(represent.forest),
        "tensors": hashlib.sha256(tensors).hexdigest(),
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return {JSON: text.encode() + b"\n", TENSORS: tensors}


def load(written: Path, tensors: Path, *, name: str) -> Bandit:
    """The bandit in these two files, called `name` in errors.

    Raises:
        BanditError: any part of it cannot be believed.
    """
    hint = (
        "restore both files from one commit, or start another: simmerge-hub bandit init STATE "
        "OUTCOMES --features FILE"
    )
    try:
        fields = read_json(written.read_bytes(), finite=True)
        _check_version(fields, f"{JSON} of {name}")
        data = tensors.read_bytes()
        if hashlib.sha256(data).hexdigest() != fields["tensors"]:
            raise BanditError(f"{TENSORS} of {name} is not the one {JSON} names", hint=hint)
        return _bandit(fields, load_tensors(data))
    except BanditError:
        raise
    except (
        OSError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError,
        RecursionError, SafetensorError,
    ) as error:  # fmt: skip
        raise BanditError(f"the bandit of {name} is damaged: {error!r}", hint=hint) from error
    except SimmergeError as error:
        raise BanditError(f"the bandit of {name} is damaged: {error}", hint=hint) from error


def _check_version(fields: Any, name: str) -> None:
    try:
        check_header(fields, FORMAT, SCHEMA, name)
    except PredictorError as error:
        raise BanditError(
            str(error),
            hint="use the version that wrote it, or start another: simmerge-hub bandit init STATE "
            "OUTCOMES --features FILE",
        ) from error


def _tensors(bandit: Bandit) -> dict[str, np.ndarray]:
    tensors = {
        "ties": bandit.ties,
        "offline.values": bandit.values,
        "offline.effects": bandit.effects,
        "offline.gains": bandit.gains,
    }
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _bandit(fields: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Bandit:
    arms = tuple(arm_from(entry) for entry in fields["arms"])
    names = tuple(str(name) for name in fields["features"]["names"])
    effect_names = tuple(str(name) for name in fields["effects"])
    operators = tuple(str(name) for name in fields["operators"])
    if len({a.label for a in arms}) != len(arms) or len(arms) < 2:
        raise ValueError("arms repeat, or are fewer than two")
    if any(len(set(each)) != len(each) for each in (names, effect_names, operators)) or not names:
        raise ValueError("names repeat or are missing")
    values = _tensor(tensors, "offline.values", (-1, len(names)), missing=True)
    gains = _tensor(tensors, "offline.gains", (len(values), len(arms)))
    shape = (len(values), len(arms), len(effect_names))
    inputs = conditioned.size(len(names), len(effect_names), operators)
    return Bandit(
        arms=arms,
        names=names,
        schema=int(fields["features"]["schema"]),
        effect_names=effect_names,
        represent=Representation(
            operators=operators, forest=forest.check(fields["forest"], inputs)
        ),
        ties=_tensor(tensors, "ties", (len(arms), len(arms))),
        values=values,
        effects=_tensor(tensors, "offline.effects", shape, missing=True),
        gains=gains,
        settings=Settings(**fields["settings"]),
    )


def _tensor(
    tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], *, missing: bool = False
) -> np.ndarray:
    """A float64 tensor of this shape (-1: any), finite, or NaN where that means missing."""
    tensor = tensors[name]
    fits = len(tensor.shape) == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != np.float64 or not fits:
        raise ValueError(f"{name} is {tensor.dtype} {tensor.shape}, not float64 {shape}")
    if np.isinf(tensor).any() or (np.isnan(tensor).any() and not missing):
        raise ValueError(f"{name} is not finite")
    return tensor
