"""How mergekit names models, and what the sources are called here."""

from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.errors import RecipeError, RepoNotFound
from simmerge_hub.hub.reference import local_folder
from simmerge_hub.recipe import Source
from simmerge_hub.recipe.mergekit.references import Place, Reference, parse_reference, sources
from simmerge_hub.recipe.mergekit.refusals import Refusals


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [
        ("org/a", Reference(Place("org/a")), "org/a"),
        ("org/a@v1", Reference(Place("org/a", "v1")), "org/a@v1"),
        ("org/a@v1+org/l@v2", Reference(Place("org/a", "v1"), Place("org/l", "v2")),
         "org/a@v1+org/l@v2"),
        ({"model": "org/a", "lora": {"path": "org/l", "revision": "v2"}},
         Reference(Place("org/a"), Place("org/l", "v2")), "org/a+org/l@v2"),
        ({"model": {"path": "org/a"}}, Reference(Place("org/a")), "org/a"),
    ],
)  # fmt: skip
def test_what_a_reference_names(value: Any, expected: Reference, text: str) -> None:
    refusals = Refusals("no")
    assert parse_reference(value, "models[0].model", refusals, "m.yml") == expected
    assert str(expected) == text
    assert not refusals.advice


@pytest.mark.parametrize(
    "value",
    [None, 3, "", "org/a+", "+org/l", "org/a+org/l+org/m", "org/a@v1@v2", "@v1", ["org/a"], {},
     {"model": "org/a", "adapter": "org/l"}, {"model": {"path": ""}},
     {"model": {"path": "org/a", "revision": 3}}],
)  # fmt: skip
def test_what_is_none(value: Any) -> None:
    with pytest.raises(RecipeError, match=r"m\.yml: models\[0\]\.model is "):
        parse_reference(value, "models[0].model", Refusals("no"), "m.yml")


def test_another_architecture_is_refused_with_the_rest() -> None:
    refusals = Refusals("no")
    value = {"model": "org/a", "override_architecture": "LlamaForCausalLM"}
    assert parse_reference(value, "base_model", refusals, "m.yml") == Reference(Place("org/a"))
    assert list(refusals.advice) == ["base_model.override_architecture"]


def test_sources_have_names_that_differ() -> None:
    """Two folders called x, then one adapter on each of two bases, which is two inputs."""
    references = [
        Reference(Place("./one/x")),
        Reference(Place("./two/x")),
        Reference(Place("./one/x")),
        Reference(Place("org/a", "v1")),
        Reference(Place("org/a"), Place("org/l")),
    ]
    by_reference = sources(references, reserved=["x"])
    assert [source.name for source in by_reference.values()] == ["x (2)", "x (3)", "org/a", "org/l"]
    assert by_reference[references[0]] == Source(name="x (2)", folder=Path("one/x"))
    assert by_reference[references[3]] == Source(name="org/a", repo="org/a", commit="v1")
    assert by_reference[references[4]] == Source(name="org/l", repo="org/l")


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("org/name", None),
        ("org/there", Path("org/there")),
        ("there", Path("there")),
        ("./x", Path("x")),
        ("/x", Path("/x")),
        ("~/x", Path.home() / "x"),
    ],
)
def test_a_folder_is_what_it_is_elsewhere(
    text: str, folder: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "there").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    (source,) = sources([Reference(Place(text))], ()).values()
    assert source.folder == folder == local_folder(text)
    assert source.repo == ("" if folder else text)


def test_the_home_of_a_user_there_is_not_is_an_error_of_ours() -> None:
    with pytest.raises(RepoNotFound, match="neither a folder here nor a repository name"):
        sources([Reference(Place("~nobody-of-this-name/x"))], ())


def test_a_folder_has_no_revision() -> None:
    reference = Reference(Place("./x", "v1"))
    assert sources([reference], ())[reference] == Source(name="x", folder=Path("x"))
