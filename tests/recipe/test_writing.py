"""YAML that people read: order kept, short lists on one line."""

import yaml

from simmerge_hub.documents import read_yaml
from simmerge_hub.recipe.writing import dump_yaml, to_plain


def test_lists_of_scalars_are_on_one_line_and_others_are_not() -> None:
    data = {"b": (1, 2.5, None), "a": [{"x": [True, "é"]}, {"y": {"z": []}}]}
    text = dump_yaml(data)
    assert text == "b: [1, 2.5, null]\na:\n- x: [true, é]\n- y:\n    z: []\n"
    assert yaml.safe_load(text) == to_plain(data)


def test_what_is_there_twice_is_written_twice() -> None:
    span = [0, 4]
    assert dump_yaml({"one": span, "two": span}) == "one: [0, 4]\ntwo: [0, 4]\n"


def test_plain_values() -> None:
    value = to_plain({"filter": {"mlp": {"gradient": (0, (1, 2))}, "*": "x"}})
    assert value == {"filter": {"mlp": {"gradient": [0, [1, 2]]}, "*": "x"}}


def test_texts_that_would_be_read_as_numbers_are_quoted() -> None:
    data = {"name": "3e-05", "other": "1.5e3", "commit": "1e5", "rate": 3e-05}
    assert read_yaml(dump_yaml(data)) == data
