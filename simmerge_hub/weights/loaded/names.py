"""Tensors of one model under the names that another stores the same parameters under."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from simmerge_hub.hub.files.headers import Headers, TensorHeader
from simmerge_hub.weights.loaded.model import tie_groups
from simmerge_hub.weights.loaded.origins import find_origins

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECOMPUTED = re.compile(r"(.*\.)?(rotary_emb\.inv_freq|position_ids|masked_bias)")
"""Names of what follows from the config."""
FIXED = re.compile(r"(.*\.)?((attn|attention)\.bias|token_type_ids)")
"""Names of masks and zeros that models of old stored, and new ones make anew."""


class Part(NamedTuple):
    """A parameter, or what is stored of it under `pattern`: of expert number `expert`, or -1."""

    parameter: str
    pattern: str = ""
    expert: int = -1


def find_parts(model: PreTrainedModel, names: Iterable[str]) -> dict[str, Part]:
    """Stored tensor -> the part of the model it is loaded as; of tied parameters the main one."""
    mains = {name: group[0] for group in tie_groups(model) for name in group}
    parts: dict[str, Part] = {}
    for target, origin in find_origins(model, names).items():
        if target != origin.first:
            continue
        for name, pattern in origin.stored:
            if origin.converter is None:
                parts[name] = Part(mains.get(target, target))
            elif (expert := expert_number(name, pattern)) is not None:
                parts[name] = Part(target, pattern, expert)
    return parts


def is_spare(model: PreTrainedModel, name: str) -> bool:
    """Whether transformers passes over a stored tensor in silence: masks, extra heads."""
    patterns = model._keys_to_ignore_on_load_unexpected or ()
    return any(re.search(pattern, name) for pattern in patterns)


def is_made_anew(name: str) -> bool:
    """Whether transformers makes this buffer where none is stored.

    Args:
        name: of the stored tensor.
    """
    return bool(RECOMPUTED.fullmatch(name) or FIXED.fullmatch(name))


def rename_like(
    headers: Headers, parts: Mapping[str, Part], wanted: Mapping[str, Part]
) -> dict[str, TensorHeader]:
    """Tensors under the names that `wanted` has for the same parts; others keep theirs.

    A name that means another part there (of old the first norm is `norm0`, of today `norm1`) is
    given up, too, unless two tensors would then have one.
    """
    names: dict[Part, str] = {}
    for name, part in wanted.items():
        names.setdefault(part, name)
    new = {
        name: name
        if wanted.get(name) == parts.get(name)
        else names.get(parts.get(name, Part("")), name)
        for name in headers
    }
    while twice := {n for n, count in Counter(new.values()).items() if count > 1}:
        new |= {name: name for name, other in new.items() if other in twice}
    return {new[name]: header for name, header in headers.items()}


def expert_number(name: str, pattern: str) -> int | None:
    """The number that a stored name has where the pattern has a star; -1 without a star."""
    if "*" not in pattern:
        return -1
    place = re.search(re.escape(pattern).replace(r"\*", r"(\d{1,9})").replace(r"\\\.", r"\."), name)
    return int(place[1]) if place else None
