"""What is read off a README, however it is written."""

import pytest

from simmerge_hub.localhub import cards


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        ("---\nlicense: mit\n---\n# Title", {"license": "mit"}),
        ("---\r\nlicense: mit\r\n---\r\n", {"license": "mit"}),
        ("\ufeff---\nlicense: mit\n---", {"license": "mit"}),
        ("---\n---\n", {}),
        ("", {}),
        ("# Title\n---\nlicense: mit\n---\n", {}),
        ("---\ndate: 2024-01-02\n---\n", {"date": "2024-01-02"}),
    ],
)
def test_front_matter(readme: str, expected: dict) -> None:
    assert cards.front_matter(readme) == expected


@pytest.mark.parametrize("readme", ["---\na: [\n---\n", "---\n- a\n---\n", "---\ntext\n---\n"])
def test_broken_front_matter_is_reported_but_hides_nothing(readme: str) -> None:
    assert len(cards.check(readme)) == 1
    assert cards.safe_front_matter(readme) == {}


def test_every_wrong_key_is_reported() -> None:
    problems = cards.check("---\ntags: x\nlicense: 3\nbase_model: org/x\nlibrary_name: null\n---\n")
    assert problems == [
        '"library_name" must be a text, not None',
        '"license" must be a text or a list, not 3',
        "\"tags\" must be a list, not 'x'",
    ]


@pytest.mark.parametrize(
    ("card", "files", "relation"),
    [
        ({"base_model": "org/a"}, [], "finetune"),
        ({"base_model": ["org/a", "org/b"]}, [], "merge"),
        ({"base_model": "org/a", "library_name": "peft"}, [], "adapter"),
        ({"base_model": "org/a"}, ["adapter_config.json"], "adapter"),
        ({"base_model": "org/a", "base_model_relation": "quantized"}, [], "quantized"),
    ],
)
def test_the_relation_to_the_base_model(card: dict, files: list[str], relation: str) -> None:
    assert f"base_model:{relation}:org/a" in cards.tags(card, files, {}, "models")


def test_datasets_have_no_model_tags() -> None:
    assert cards.tags({"tags": ["a", "a"]}, ["x.safetensors"], {"model_type": "m"}, "datasets") == [
        "a"
    ]
