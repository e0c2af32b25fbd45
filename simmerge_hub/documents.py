"""JSON and YAML that others wrote -> plain data, within bounds; anything else is an error.

Texts are bounded in size, depth and in how many values they unfold into (aliases and merge keys of
YAML count as often as they are used), so that none takes more than a moment or more memory than a
multiple of its size. A key twice in one mapping is an error: readers differ on which one counts.
Knows nothing about what the data means, and imports nothing of ours.
"""

import json
import re
from collections.abc import Hashable, Mapping
from math import isfinite
from typing import Any

import yaml
from yaml.composer import ComposerError

LARGEST_JSON = 100_000_000
"""Bytes: the longest header the safetensors format allows; a large tokenizer has 30 MB."""
LARGEST_YAML = 2**19
"""Characters; PyYAML reads some hundred thousand a second."""
DEEPEST = 100
"""Levels of lists and mappings."""
MOST_VALUES = 200_000
"""Values a YAML text may unfold into."""
LONGEST_NUMBER = 100
"""Characters of a number in YAML; `1:1:1:…` would be multiplied out."""
LARGEST_WHOLE = 2**64
EXPONENT = re.compile(r"[-+]?(?:[0-9]+[eE][-+][0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)[eE][0-9]+)$")
"""Numbers of JSON and YAML 1.2 that are texts in YAML 1.1, which PyYAML reads: `3e-05`, `1.5e3`.
`1e5` stays a text: so may a commit begin."""
FRONT_MATTER = re.compile(
    r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
"""What half of a surrogate pair is written as in JSON; whole pairs are too."""


class DocumentError(ValueError):
    """What is wrong with a text, for a sentence that begins with its name."""


def explain(error: Exception) -> str:
    """What is wrong with a file, for a sentence that has its name: `No such file or directory`."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


class SeveralDocuments(DocumentError):
    """A YAML text of more than one document."""


def read_json(
    text: bytes | str, *, largest: int = LARGEST_JSON, finite: bool = False, unique: bool = True
) -> Any:
    """The value a JSON text is.

    Args:
        text: as bytes (UTF-8, a byte order mark may be there) or decoded.
        largest: bytes it may have.
        finite: refuse NaN and infinities, which configs may have.
        unique: refuse a key that is there twice; else the last counts, as in Python's json.

    Raises:
        DocumentError: it is no JSON, too large or too deep, has a key twice, or a text that is not
            Unicode.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > largest:
        raise DocumentError(f"it has {len(data):,} bytes, more than {largest:,}")
    try:
        hooks: dict[str, Any] = (
            {"parse_constant": _finite, "parse_float": _finite} if finite else {}
        )
        if unique:
            hooks["object_pairs_hook"] = _unique
        value = json.loads(data.decode("utf-8-sig"), **hooks)
        _check_depth(value)
        if HALF_PAIR.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except DocumentError:
        raise
    except UnicodeError:
        raise DocumentError("it holds what is no Unicode text") from None
    except RecursionError:
        raise DocumentError(f"it is deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise DocumentError(f"it is not JSON: {_first_line(error)}") from None
    return value


def read_json_object(
    text: bytes | str, *, largest: int = LARGEST_JSON, finite: bool = False
) -> dict[str, Any]:
    """`read_json` of an object; DocumentError for any other value."""
    value = read_json(text, largest=largest, finite=finite)
    if not isinstance(value, dict):
        raise DocumentError("it is not a JSON object")
    return value


def read_yaml(text: str) -> Any:
    """The value of a YAML text of one document; None of an empty one. Dates stay texts, and `3e-05`
    is a number, as in JSON.

    Raises:
        DocumentError: it is no YAML, too large, too deep, unfolds into too much, has a key twice,
            refers to itself, or has a tag whose value is none of its kind.
    """
    if len(text) > LARGEST_YAML:
        raise DocumentError(f"it has {len(text):,} characters, more than {LARGEST_YAML:,}")
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except DocumentError:
        raise
    except ComposerError as error:
        several = "single document" in str(error.context)
        raise (SeveralDocuments if several else DocumentError)(_explain(error)) from None
    except yaml.YAMLError as error:
        raise DocumentError(_explain(error)) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DocumentError(f"a value is not of the kind its tag says: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def split_card(card: str) -> tuple[str, str]:
    """The YAML between the two lines of `---` that a card begins with, "" if none; and the rest."""
    match = FRONT_MATTER.match(card)
    return (match[1], card[match.end() :]) if match else ("", card)


def anchored_keys(text: str) -> set[str]:
    """Keys at the top of a YAML text whose values have anchors: there to be referred to.

    `text` is one that `read_yaml` took.
    """
    keys: set[str] = set()
    depth, key, waiting = 0, "", True
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if depth == 1 and waiting and isinstance(event, yaml.ScalarEvent):
            key, waiting = event.value, False
            continue
        if depth and getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            keys.add(key)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth == 1:
            waiting = True  # the whole has begun, or a value has ended
    return keys


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise DocumentError(f"{_short(twice)} is there twice")
    return values


def _finite(written: str) -> float:
    number = float(written)
    if not isfinite(number):
        raise DocumentError(f"{_short(written)} is not a finite number")
    return number


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise DocumentError(f"it is deeper than {DEEPEST} levels")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which counts what it makes."""

    # Dates stay texts: nothing here computes with them, and 2024-13-01 is not worth an error.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # of nodes that are complete: how many values they are
        self._kept: list[yaml.Node] = []  # so that no other gets the same id

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise DocumentError(f"it is deeper than {DEEPEST} levels")
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise DocumentError("it refers to itself")
        if node is not None and not alias:
            self._measure(node)
        return node

    def _measure(self, node: yaml.Node) -> None:
        """Note how many values a complete node unfolds into, and refuse what is too much."""
        if isinstance(node, yaml.ScalarNode):
            node.value.encode()  # half a surrogate pair is no text
            inner: list[yaml.Node] = []
        elif isinstance(node, yaml.MappingNode):
            _refuse_twice(self, node)
            inner = [each for pair in node.value for each in pair]
        else:
            inner = node.value
        size = 1 + sum(self._sizes[id(each)] for each in inner)
        if size > MOST_VALUES:
            raise DocumentError(f"it unfolds into more than {MOST_VALUES:,} values")
        self._sizes[id(node)] = size
        self._kept.append(node)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number of a sane length and size."""
        whole = node.tag == "tag:yaml.org,2002:int"
        if len(node.value) > LONGEST_NUMBER:
            raise DocumentError(f"a number has {len(node.value):,} characters")
        number = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        if whole and abs(number) > LARGEST_WHOLE:
            raise DocumentError(f"a whole number is {_short(node.value)}")
        return number


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def _refuse_twice(loader: _Loader, mapping: yaml.MappingNode) -> None:
    """A key twice, and keys that are no plain values. What `<<` brings may be overridden."""
    keys: dict[Hashable, None] = {}
    for node, _ in mapping.value:
        if not isinstance(node, yaml.ScalarNode):
            raise DocumentError(f"a key in line {node.start_mark.line + 1} is a list or a mapping")
        merged = node.tag == "tag:yaml.org,2002:merge"
        key = (node.tag,) if merged else loader.construct_object(node)
        if key in keys:
            where = f"line {node.start_mark.line + 1}"
            raise DocumentError(f"{_short(node.value)} is there twice (again in {where})")
        keys[key] = None


def _explain(error: yaml.YAMLError) -> str:
    """What PyYAML says in one line, without a copy of the text."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or _first_line(error)
    return f"{said} in line {mark.line + 1}" if mark else str(said)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _short(text: str) -> str:
    """For messages."""
    return ascii(text if len(text) <= 60 else f"{text[:57]}…")


def plain(value: Any) -> Any:
    """A value of `read_yaml` as JSON has it: keys are texts, numbers finite, or null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)
