"""The artifact: what is kept of one model, so that pairs can be compared without any model.

And the file it is kept in. Knows nothing about where it comes from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.probing.dosing.response import Cross, Response
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import store
from simmerge_hub.signatures.signing.sample import SAMPLE_ENTRIES
from simmerge_hub.signatures.signing.store import Stored, pack
from simmerge_hub.weights.shapes import Shapes

if TYPE_CHECKING:
    from torch import Tensor

P = TypeVar("P", Sketch, Response, Cross)
PRECISION_FLOOR = {"float32": 1e-5, "bfloat16": 0.1, "float16": 0.01}
"""Compute dtype -> how far a model's sketch may be from itself on another path (whole or by layers,
batch size, device), as a share of the largest entry: the dtype's precision floor. A smaller
difference between two models says nothing. Set at 10 to 100 roundings; on a CPU, float32 differs by
4e-7. Attention, stored in float16, is never known better than to 1e-3."""
HEADER_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,), "commit": (str, NoneType), "digest": (str,), "kind": (str,),
    "settings": (dict,), "shapes": (dict,), "sketches": (dict,), "approximate": (list,),
}  # fmt: skip
SETTINGS_TYPES = {"entries": (int,), "dtype": (str,)}
SKETCH_TYPES = {"probes": (str,), "tokens": (str,), "vocabulary": (int,)}
"""What of a sketch is no array."""
RESPONSE_TYPES = {"probes": (str,), "base": (str,)}
"""What of a response is no array."""
ARRAY_DTYPES = ("F32", "F16", "I32", "BOOL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What signatures must share to be compared: entries sampled at most, compute dtype."""

    entries: int = SAMPLE_ENTRIES
    dtype: str = "float32"

    @property
    def floor(self) -> float:
        """The precision floor of sketches computed in this dtype, written into the file."""
        return PRECISION_FLOOR[self.dtype]


DEFAULT_SETTINGS = Settings()
"""What signatures that are published should have, so that most can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Signature:
    """One model in 10-100 MB: sampled weights, and a sketch of its behaviour per task.

    Args:
        name, commit: provenance, for people.
        digest: of the model's content (of an adapter's and its base's); for a merge of its inputs.
        kind: what was signed; `merge` if nothing was built.
        shapes: tensor name -> shape in the model.
        sampled: tensor name -> [sampled rows, cols], in the dtype it is stored in where that is
            exact, else float32.
        sketches: task -> sketch.
        responses: task -> the model's answers, and what parts of its delta make of them; empty
            where that was not asked for.
        approximate: what in it was not measured but derived, in words; empty for a real model.
    """

    name: str
    commit: str | None
    digest: str
    kind: Literal["full", "adapter", "merge"]
    settings: Settings
    shapes: Shapes = field(repr=False)
    sampled: Mapping[str, Tensor] = field(repr=False)
    sketches: Mapping[str, Sketch] = field(default_factory=dict, repr=False)
    responses: Mapping[str, Response] = field(default_factory=dict, repr=False)
    approximate: tuple[str, ...] = ()


class Samples(Mapping[str, "Tensor"]):
    """Samples as they were read from a file, each a tensor from when it is first asked for."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        self.stored, self._tensors = stored, dict[str, "Tensor"]()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            self._tensors[name] = self.stored[name].tensor()
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


def pack_samples(signature: Signature) -> Mapping[str, Stored]:
    """The sampled weights as a file holds them; no tensor is made of what was read from one."""
    if isinstance(signature.sampled, Samples):
        return signature.sampled.stored
    return {name: pack(sample) for name, sample in signature.sampled.items()}


def drop_tensors(signature: Signature, names: Collection[str]) -> Signature:
    """The signature without some tensors."""
    if not names:
        return signature
    return replace(
        signature,
        shapes={name: shape for name, shape in signature.shapes.items() if name not in names},
        sampled=Samples({n: v for n, v in pack_samples(signature).items() if n not in names}),
    )


def save(signature: Signature, path: Path) -> None:
    """Write a signature as one safetensors file."""
    sketches = {task: dump_part(sketch) for task, sketch in signature.sketches.items()}
    responses = {task: dump_part(response) for task, response in signature.responses.items()}
    header = {
        "name": signature.name, "commit": signature.commit, "digest": signature.digest,
        "kind": signature.kind, "settings": asdict(signature.settings),
        "floor": signature.settings.floor,
        "shapes": {name: list(shape) for name, shape in signature.shapes.items()},
        "sketches": {task: header for task, (header, _) in sketches.items()},
        "approximate": list(signature.approximate),
    }  # fmt: skip
    if responses:
        header["responses"] = {task: header for task, (header, _) in responses.items()}
    values: dict[str, Any] = {f"sampled/{n}": sample for n, sample in signature.sampled.items()}
    for kind, parts in (("sketch", sketches), ("response", responses)):
        for task, (_, arrays) in parts.items():
            values |= {f"{kind}/{task}/{name}": array for name, array in arrays.items()}
    store.write(path, header, values)


def load(path: Path) -> Signature:
    """Read a signature that anybody may have written.

    Raises:
        SignatureError: it must not be believed, or is no signature.
    """
    header, values = store.read(path)
    flaw = next(_header_flaws(header), "")
    if flaw:
        raise _refusal(path.name, flaw)
    return Signature(
        name=header["name"],
        commit=header["commit"],
        digest=header["digest"],
        kind=header["kind"],
        settings=Settings(**header["settings"]),
        shapes={name: tuple(shape) for name, shape in header["shapes"].items()},
        sampled=Samples(_strip_prefix("sampled/", values)),
        sketches={
            task: load_sketch(scalars, _strip_prefix(f"sketch/{task}/", values), path.name)
            for task, scalars in header["sketches"].items()
        },
        responses={
            task: load_response(scalars, _strip_prefix(f"response/{task}/", values), path.name)
            for task, scalars in header.get("responses", {}).items()
        },
        approximate=tuple(header["approximate"]),
    )


def dump_part(part: Sketch | Response | Cross) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A part of a signature as (header, arrays), which is how it is stored."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    arrays = {n: v for n, v in values.items() if isinstance(v, np.ndarray)}
    return {n: v for n, v in values.items() if n not in arrays}, arrays


def load_sketch(scalars: Mapping[str, Any], arrays: Mapping[str, Stored], file: str) -> Sketch:
    """The sketch that `dump_part` took apart; `file` is where it was read, for the error.

    Raises:
        SignatureError: something is missing, too much, or of another type.
    """
    return _load_part(Sketch, SKETCH_TYPES, scalars, arrays, file)


def load_response(scalars: Mapping[str, Any], arrays: Mapping[str, Stored], file: str) -> Response:
    """The response that `dump_part` took apart; as `load_sketch`."""
    return _load_part(Response, RESPONSE_TYPES, scalars, arrays, file)


def read_sketch(path: Path) -> Sketch:
    """The sketch in a file of its own; as `load_sketch`."""
    return load_sketch(*store.read(path), path.name)


def read_cross(path: Path) -> Cross:
    """What another model makes of a response, in a file of its own; as `load_sketch`."""
    return _load_part(Cross, {}, *store.read(path), path.name)


def _load_part(
    kind: type[P],
    types: Mapping[str, tuple[type, ...]],
    scalars: Mapping[str, Any],
    arrays: Mapping[str, Stored],
    file: str,
) -> P:
    flaw = next(_part_flaws(kind, types, scalars, arrays), "")
    if flaw:
        raise _refusal(file, flaw)
    values: dict[str, Any] = {name: each.array() for name, each in arrays.items()}
    return kind(**scalars, **values)


def _header_flaws(header: Mapping[str, Any]) -> Iterator[str]:
    """Why a header is not one that `save` wrote; of what lies deeper once the rest is right."""
    yield from _type_flaws(header, HEADER_TYPES)
    yield from _type_flaws(header["settings"], SETTINGS_TYPES)
    if header["settings"].keys() > SETTINGS_TYPES.keys():
        yield "its settings are more than entries and dtype"
    if not all(_is_shape(shape) for shape in header["shapes"].values()):
        yield "its shapes are no lists of sizes"
    if not all(isinstance(scalars, dict) for scalars in header["sketches"].values()):
        yield "its sketches have no headers"
    responses = header.get("responses", {})
    if not isinstance(responses, dict) or not all(isinstance(r, dict) for r in responses.values()):
        yield "its responses have no headers"
    if not all(isinstance(label, str) for label in header["approximate"]):
        yield "what is approximate in it is not said in words"


def _part_flaws(
    kind: type[Sketch] | type[Response] | type[Cross],
    types: Mapping[str, tuple[type, ...]],
    scalars: Mapping[str, Any],
    arrays: Mapping[str, Stored],
) -> Iterator[str]:
    what = kind.__name__.lower()
    yield from _type_flaws(scalars, types)
    wanted = {f.name for f in fields(kind)} - types.keys()
    missing = sorted(wanted - arrays.keys())
    if missing:
        yield f"it lacks {missing[0]!r} of a {what}"
    if scalars.keys() > types.keys() or arrays.keys() > wanted:
        yield f"it has a {what} with more than belongs into one"
    for name, array in arrays.items():
        if array.dtype not in ARRAY_DTYPES or not array.shape:
            yield f"{name} of a {what} is {array.kind} {array.shape}"


def _type_flaws(values: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> Iterator[str]:
    for name, allowed in types.items():
        if name not in values:
            yield f"it lacks {name!r}"
        elif type(values[name]) not in allowed:  # a bool is an int, and no size
            yield f"its {name} is of type {type(values[name]).__name__}"


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)


def _refusal(file: str, flaw: str) -> SignatureError:
    return SignatureError(f"{file} is no signature: {flaw}", hint="sign the model again")


def _strip_prefix(prefix: str, values: Mapping[str, Stored]) -> dict[str, Stored]:
    return {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
