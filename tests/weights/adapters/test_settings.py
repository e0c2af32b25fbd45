"""Settings of a LoRA: what PEFT would not read is refused; patterns mean what PEFT's mean."""

import dataclasses
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from peft.utils.other import get_pattern_key

from simmerge_hub.errors import CheckpointError
from simmerge_hub.weights.adapters.settings import (
    KINDS,
    KNOWN,
    check_settings,
    match_pattern,
    unknown_settings,
)

ODD: dict[str, list[Any]] = {
    "lora_alpha": [None, "16", True, float("inf"), float("nan"), [16], 10**400, {}],
    "r": [None, 0, -1, 2.0, "2", True, 10**12],
    "alpha_pattern": [["q_proj"], "q_proj", {"q": "3"}, {"q": None}, {"q": float("inf")}, 3],
    "rank_pattern": ["x", ["x"], {"q": 0}, {"q": 1.5}, {"q": "2"}],
    "bias": [None, "", "some", 3],
    "target_modules": [3, [3], {"q": 1}],
    "exclude_modules": [3, [None]],
    "layers_pattern": [3, [3]],
    "modules_to_save": ["lm_head", 3, [3]],
    "layers_to_transform": ["3", [1.5], True],
    "base_model_name_or_path": [["./base"], 3],
    "revision": [["main"], 3],
    "task_type": [3, ["x"]],
    "init_lora_weights": [["pissa"], 3],
    "use_rslora": ["yes", 1],
    "use_dora": ["no", 0],
    "fan_in_fan_out": [1],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in ODD.items() for v in vs])
def test_odd_values_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"config.json of l cannot be believed: {key} is"):
        check_settings("l", {"peft_type": "LORA", key: value})


def test_every_kind_is_tried() -> None:
    assert ODD.keys() == KINDS.keys()


def test_what_peft_writes_is_believed() -> None:
    written = LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj"], alpha_pattern={r"layers\.\d+\.q_proj": 3},
        rank_pattern={"^model.k_proj": 2}, modules_to_save=["lm_head"], layers_to_transform=[0, 1],
    ).to_dict()  # fmt: skip
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in written.items()}
    check_settings("l", plain | {"task_type": None, "lora_alpha": 0.5})
    assert unknown_settings(plain) == []


def test_the_settings_known_are_those_of_peft() -> None:
    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    assert fields == KNOWN, "look at what is new: does it change what an adapter does?"
    assert unknown_settings({"r": 2, "quasar": {"a": 1}, "off": False, "none": None}) == ["quasar"]


@pytest.mark.parametrize(
    "pattern",
    [
        "*q_proj", "(", "a)", "[", r"(?=q)", r"(a)\1", "a{,3}", "[[:alpha:]]", r"\pL", "é",
        "a" * 1001, "((a{1000}){1000}){1000}", r"\Qa", "(?P<x", "a{99999999999999999999}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["alpha_pattern", "rank_pattern"])
def test_patterns_that_are_refused(pattern: str, key: str) -> None:
    with pytest.raises(CheckpointError, match=f"{key} has"):
        check_settings("l", {key: {pattern: 3}})


def test_too_many_patterns() -> None:
    with pytest.raises(CheckpointError, match="alpha_pattern is"):
        check_settings("l", {"alpha_pattern": {f"m{i}": 1 for i in range(10_001)}})


@pytest.mark.parametrize(
    "pattern", ["(a+)+x", "(a|a)*x", "(.*)*x", "(a*)*b", "(.+.+)+y", "(a?){30}a{30}"]
)
def test_no_pattern_takes_long(pattern: str) -> None:
    began = time.perf_counter()
    for length in (30, 300, 3000):
        assert match_pattern({pattern: 3.0}, f"{'a' * length}.q_proj", 1.0) == 1.0
    assert time.perf_counter() - began < 1


def test_a_name_that_the_engines_see_differently() -> None:
    with pytest.raises(CheckpointError, match="not ASCII"):
        match_pattern({r"\w+": 3.0}, "größe", 1.0)
    assert match_pattern({}, "größe", 1.0) == 1.0


@pytest.mark.parametrize(
    ("module", "value"),
    [
        ("layers.0.q_proj", 3.0),
        ("layers.0.k_proj", 3.0),
        ("k_proj", 3.0),
        ("layers.0.xk_proj", 1.0),
    ],
)
def test_alternatives_are_names_alike(module: str, value: float) -> None:
    """Each of them may stand after a dot, and after nothing else."""
    assert match_pattern({"q_proj|k_proj": 3.0}, module, 1.0) == value


PIECES = st.sampled_from(
    ["q_proj", "layers", r"\.", ".", r"\d+", r"\w*", "[0-9]", "[^.]+", "^", "$", "(q|k)", "model",
     "|", "?", "1", "(?:a)", "x{1,2}", ".*", r"\b", "(?i)"]
)  # fmt: skip
NAMES = st.lists(
    st.sampled_from(["model", "layers", "0", "11", "q_proj", "k", "xx", "a", "Q_PROJ"]), min_size=1
).map(".".join)


@given(pattern=st.lists(PIECES, max_size=6).map("".join), name=NAMES)
def test_the_same_key_as_peft_or_a_refusal(pattern: str, name: str) -> None:
    try:
        check_settings("l", {"alpha_pattern": {pattern: 3}})
    except CheckpointError:
        return
    try:
        theirs = get_pattern_key([pattern], name)
    except re.error:  # what `re` does not take in the middle
        return
    assert match_pattern({pattern: 3.0}, name, 1.0) == (
        3.0
        if theirs == pattern and (pattern != name or re.match(rf"(.*\.)?({pattern})$", name))
        else 1.0
    )
