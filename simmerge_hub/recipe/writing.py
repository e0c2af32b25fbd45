"""A recipe as YAML text."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from simmerge_hub.recipe.recipe import Recipe, Slice, Source, Step

VERSION = 1
DEFAULTS = {"unmatched": "refuse", "custom_code": False, "output": "model", "rank": 0}
"""Fields that are written only where they say something."""


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML in the order given, one line per list of scalars."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2)


def plain(recipe: "Recipe", published: bool) -> dict[str, Any]:
    """The recipe as plain data; `published` leaves out where folders lie on this machine."""
    data: dict[str, Any] = {"simmerge": VERSION}
    if recipe.base:
        data["base"] = _source(recipe.base, published)
    data["models"] = [_source(m, published) for m in recipe.models]
    data |= {"steps": [_step(s) for s in recipe.steps]} if recipe.steps else {}
    data |= {"slices": [_slice(s) for s in recipe.slices]} if recipe.slices else {}
    data |= {"dtype": recipe.dtype} if recipe.dtype else {}
    data["tokenizer"] = recipe.tokenizer
    data |= {k: getattr(recipe, k) for k, v in DEFAULTS.items() if getattr(recipe, k) != v}
    return data | {"seed": recipe.seed, "shard_size": recipe.shard_size}


class _Dumper(yaml.SafeDumper):
    """Short lists and plain mappings of scalars on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow_list(dumper: yaml.SafeDumper, value: Any) -> yaml.Node:
    flat = all(not isinstance(v, dict | list | tuple) for v in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


for _kind in (list, tuple):
    _Dumper.add_representer(_kind, _flow_list)


def _source(wanted: "Source", published: bool) -> dict[str, str]:
    path = None if published or wanted.folder is None else str(wanted.folder)
    fields = {
        "model": wanted.repo,
        "commit": wanted.commit,
        "name": "" if wanted.name == wanted.repo else wanted.name,
        "folder": path,
        "digest": wanted.digest,
    }
    return {key: value for key, value in fields.items() if value}


def _slice(part: "Slice") -> dict[str, Any]:
    data: dict[str, Any] = {"layers": {name: list(span) for name, span in part.layers.items()}}
    return data | ({"steps": [_step(s) for s in part.steps]} if part.steps else {})


def _step(step: "Step") -> dict[str, Any]:
    parameters = {k: _plain_value(v) for k, v in step.parameters.items()}
    data: dict[str, Any] = {"operator": step.operator, "models": list(step.models)}
    data |= {"parameters": parameters} if parameters else {}
    return data | ({"name": step.name} if step.name else {})


def _plain_value(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain_value(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain_value(each) for key, each in value.items()}
    return value
