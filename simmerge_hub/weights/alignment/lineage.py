"""The common base of a set of models: named by the user, by cards or by adapter configs.

The nearest ancestor all models share is taken; a candidate is believed only if every model really
lies near it, which a few rows of each show, read once for each pair of contents. Models that name
different bases are refused.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

from simmerge_hub.errors import (
    BaseUnknown,
    CheckpointError,
    HubError,
    OfflineWithoutCache,
    RepoNotFound,
    RevisionNotFound,
)
from simmerge_hub.hub.assets import assets_folder
from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, quantised_origin, resolve
from simmerge_hub.weights.adapters import base_revision
from simmerge_hub.weights.loaded.conform import conform
from simmerge_hub.weights.shapes import matrix_shape, shapes

T = TypeVar("T")
GENERATIONS_FOLLOWED = 8
"""How many generations of cards are followed."""
DISTANCE_LIMIT = 0.9
"""‖w − w₀‖/‖w₀‖ from which a model is no fine-tune of w₀; unrelated models are near √2."""
COPY_LIMIT = 0.3
"""‖w − w₀‖/‖w₀‖ up to which one base may stand for another: a copy in few bits, a fine-tune."""
CHECKED_TENSORS, CHECKED_ROWS = 8, 16


def common_base(models: Sequence[Checkpoint], named: str | None = None) -> Checkpoint | None:
    """The base of these models, pinned; None if none is named anywhere.

    Args:
        models: the models to merge.
        named: what the user says it is: believed against cards and adapter configs, if the
            weights agree; `base_notes` says so.

    Raises:
        BaseUnknown: cards or adapter configs name different bases and the user none, or the deltas
            are too large, or what an adapter names can be read and is another model.
    """
    lines = [_ancestors(model) for model in models]
    if named is None:
        shared = _nearest_in_all(models, lines)
        sayers = [m for m, line in zip(models, lines, strict=True) if shared in line]
        base = _resolve_stated(shared, sayers, _revision(shared, models)) if shared else None
    else:
        base = resolve(named)
        _check_named(base, models, lines)
    if base is not None:
        _check_distance(base, models)
    return base


def card_mismatch(model: Checkpoint, base: Checkpoint) -> str:
    """Why a model is no fine-tune of a base by what it says, in words; or "". Headers only."""
    if model.parents == (base.name,):
        return ""
    line = _ancestors(model)
    if not line or _is_on(line, model, base):
        return ""
    return f"was made from another base, {line[0]}"


def weight_mismatch(model: Checkpoint, base: Checkpoint) -> str:
    """Why a model is no fine-tune of a base by its weights, in words; or ""."""
    try:
        _check_distance(base, [model])
    except BaseUnknown as error:
        return str(error)
    return ""


def _ancestors(model: Checkpoint) -> list[str]:
    """Names of the bases of a model, nearest first; a parent that cannot be read ends the line."""
    line: list[str] = []
    current: Checkpoint | None = model
    while current is not None and len(current.parents) == 1 and len(line) < GENERATIONS_FOLLOWED:
        (parent,), local = current.parents, not current.location.repo
        if parent in (*line, model.name):
            break
        origin = _try(quantised_origin, parent, local=local)
        line += [origin] if origin and origin not in line else [parent]
        current = _try(resolve, line[-1], local=local)
    return line


def _try(read: Callable[[ModelRef], T], name: str, *, local: bool) -> T | None:
    """What can be read of a name; what is on the Hub cannot name a folder on this machine."""
    try:
        return read(_reference(name, local=local))
    except (HubError, CheckpointError):
        return None


def _reference(name: str, *, local: bool) -> ModelRef:
    ref = ModelRef.parse(name)
    if ref.folder is not None and not local:
        raise RepoNotFound("it is a folder on this machine, and a model on the Hub names it")
    return ref


def _revision(name: str, models: Sequence[Checkpoint]) -> str:
    """The revision of a base at which adapters were trained, as far as any says it; or "".

    Raises:
        BaseUnknown: two state different ones, whose contents differ.
    """
    stated = {
        model.name: revision
        for model in models
        for base, revision in [base_revision(model)]
        if base == name and revision and ModelRef.parse(name).repo
    }
    revisions = list(dict.fromkeys(stated.values()))
    bases = [_try(resolve, f"{name}@{r}", local=False) for r in revisions if revisions[1:]]
    if len({digest(base) if base else base for base in bases}) > 1 or None in bases:
        seen = "; ".join(f"{model}: {revision}" for model, revision in stated.items())
        raise BaseUnknown(
            f"the adapters were trained on different revisions of {name} ({seen})",
            hint="merge adapters of one revision; if they are alike, say which to take: "
            f"--base {name}@{revisions[0]}, or `base: {name}@{revisions[0]}` in a recipe",
        )
    return next(iter(revisions), "")


def _resolve_stated(name: str, models: Sequence[Checkpoint], revision: str) -> Checkpoint:
    """The base that cards name, or an error that says what to do where it cannot be had."""
    try:
        ref = _reference(name, local=not all(m.location.repo for m in models))
        return resolve(replace(ref, revision=revision) if ref.repo and revision else ref)
    except (RepoNotFound, RevisionNotFound, CheckpointError, OfflineWithoutCache) as error:
        raise BaseUnknown(
            f"the models say they were made from {name}, which cannot be read: {error}",
            hint="name a copy of it (the original, if it is quantised) with --base, or as `base:` "
            "of a recipe",
        ) from error


def _nearest_in_all(models: Sequence[Checkpoint], lines: list[list[str]]) -> str | None:
    """The nearest name on every line that has one; None if no model names a base."""
    stated = [line for line in lines if line]
    if not stated:
        return None
    for name in stated[0]:
        if all(name in line for line in stated):
            return name
    seen = "; ".join(f"{m.name}: {line[0]}" for m, line in zip(models, lines, strict=True) if line)
    raise BaseUnknown(
        f"the models name different bases ({seen})",
        hint="merge models with one base; if these are copies of one model, name it with --base, "
        "or as `base:` of a recipe",
    )


def base_notes(models: Sequence[Checkpoint], base: Checkpoint | None) -> list[str]:
    """Sentences about models that name another base than the one that is taken; headers only."""
    if base is None:
        return []
    lines = [(model, _ancestors(model)) for model in models]
    return [
        f"{model.name} says it was made from {model.parents[0]}; {base.name} is taken as its base"
        for model, line in lines
        if model.parents
        and base.name not in model.parents
        and not (line and _is_on(line, model, base))
    ]


def _check_named(base: Checkpoint, models: Sequence[Checkpoint], lines: list[list[str]]) -> None:
    """An adapter's own base, if it can be read, must be the one that the user names, about."""
    for model, line in zip(models, lines, strict=True):
        if model.kind == "full" or not line or _is_on(line, model, base):
            continue
        other = _try(resolve, line[0], local=not model.location.repo)
        if other is None or other.kind != "full":
            continue
        apart = _cached_distance(base, other)
        if apart > COPY_LIMIT:
            raise BaseUnknown(
                f"the base is said to be {base.name}, but {model.name} was trained on {line[0]}, "
                f"whose weights differ from it by {apart:.2f} of their norm",
                hint=f"use --base {line[0]}, or `base: {line[0]}` in a recipe",
            )


def _is_on(line: list[str], model: Checkpoint, base: Checkpoint) -> bool:
    """Whether a model's ancestors have the base among them, or a copy (a fork) of its content."""
    if base.name in line:
        return True
    others = (_try(resolve, name, local=not model.location.repo) for name in line)
    return any(other is not None and digest(other) == digest(base) for other in others)


def _check_distance(base: Checkpoint, models: Sequence[Checkpoint]) -> None:
    for model in models:
        if model.kind == "full" and model.location != base.location:
            apart = _cached_distance(base, model)
            if apart > DISTANCE_LIMIT:
                raise BaseUnknown(
                    f"{model.name} is no fine-tune of {base.name}: its weights differ from it by "
                    f"{apart:.2f} of their norm",
                    hint="name the model it was trained from with --base, or as `base:` of a "
                    "recipe",
                )


def _cached_distance(base: Checkpoint, model: Checkpoint) -> float:
    """`distance`, measured once for each pair of contents: a second plan reads no weights."""
    contents = hashlib.sha256(f"{digest(base)} {digest(model)}".encode()).hexdigest()
    note = assets_folder("distance", contents) / "distance"
    try:
        known = float(note.read_text())
    except (OSError, ValueError):
        known = math.nan
    if known >= 0:
        return known
    measured = distance(base, model)
    part = note.with_name(f".{uuid4().hex}")
    part.write_text(repr(measured))
    part.replace(note)
    return measured


def distance(base: Checkpoint, model: Checkpoint) -> float:
    """‖w − w₀‖/‖w₀‖ over the first rows of a few matrices spread over the model's depth."""
    from simmerge_hub.weights.stream import read_rows

    (model,) = conform([model], base).models
    of_model = shapes(model)
    matrices = [n for n, s in shapes(base).items() if len(s) == 2 and of_model.get(n) == s]
    if not matrices:
        return math.inf
    step = max(1, len(matrices) // CHECKED_TENSORS)
    wanted = {n: [(0, min(CHECKED_ROWS, matrix_shape(of_model[n])[0]))] for n in matrices[::step]}
    ours, theirs = read_rows(base, wanted), read_rows(model, wanted)
    delta = sum(float((theirs[n] - ours[n]).square().sum()) for n in wanted)
    size = sum(float(ours[n].square().sum()) for n in wanted)
    return math.sqrt(delta / size) if size else math.inf
