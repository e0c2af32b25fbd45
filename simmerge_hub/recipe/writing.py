"""Data as YAML text; knows nothing of recipes."""

from collections.abc import Mapping
from typing import Any

import yaml

from simmerge_hub.documents import EXPONENT


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML in the order given, one line per list of scalars."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2)


def to_plain(value: Any) -> Any:
    """Sequences as lists and mappings as dicts, all the way down."""
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: to_plain(each) for key, each in value.items()}
    return value


class _Dumper(yaml.SafeDumper):
    """Short lists and plain mappings of scalars on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow_list(dumper: yaml.SafeDumper, value: Any) -> yaml.Node:
    flat = all(not isinstance(v, dict | list | tuple) for v in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


for _kind in (list, tuple):
    _Dumper.add_representer(_kind, _flow_list)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))
