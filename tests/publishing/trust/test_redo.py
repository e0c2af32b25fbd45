"""A merge made again, beside the digests that the first recorded."""

from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.hub.files.checksums import CHECKSUMS_FILE, write_checksums
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.merger import MergeReport
from simmerge_hub.publishing.trust.redo import compare_redo, read_recorded
from simmerge_hub.publishing.trust.verify import verify
from simmerge_hub.publishing.verbs import merge, push
from simmerge_hub.recipe import Recipe, Step, source
from tests import nano


@pytest.fixture
def first(tmp_path: Path) -> MergeReport:
    """The mean of two folders."""
    models = []
    for seed, name in enumerate("ab"):
        nano.save(tmp_path / name, nano.weights(seed))
        models.append(source(resolve(str(tmp_path / name))))
    step = Step(operator="linear", models=("a", "b"), parameters={})
    return merge(Recipe(base=None, models=tuple(models), steps=(step,)), tmp_path / "first")


def test_the_same_bytes(first: MergeReport, org: str, tmp_path: Path) -> None:
    push(first.folder, f"{org}/merged")
    again = merge(first.recipe, tmp_path / "again")
    for reference in (first.folder, f"{org}/merged"):
        recorded = read_recorded(reference)
        assert recorded is not None
        assert recorded.versions == first.versions
        redo = compare_redo(recorded, again)
        assert redo.same
        assert redo.files.match == len(recorded.digests)
        assert redo.reasons == ()
        assert verify(again.folder, against=reference).holds


def test_the_picture_that_early_merges_listed_is_not_asked_of_a_redo(
    first: MergeReport, tmp_path: Path
) -> None:
    again = merge(first.recipe, tmp_path / "again")
    (first.folder / "plan.svg").write_text("<svg/>")
    write_checksums(first.folder)
    assert verify(first.folder).holds  # it is there, as listed
    recorded = read_recorded(first.folder)
    assert recorded is not None and "plan.svg" in recorded.digests
    assert compare_redo(recorded, again).same
    assert verify(again.folder, against=first.folder).holds
    (first.folder / "plan.svg").unlink()
    assert verify(first.folder).missing == ("plan.svg",)


def test_which_differ_and_why_they_may(first: MergeReport, tmp_path: Path) -> None:
    recorded = read_recorded(first.folder)
    assert recorded is not None
    slower = replace(first, versions={**first.versions, "torch": "0.0.1"})
    digests = {**recorded.digests, "model.safetensors": "0" * 64}
    redo = compare_redo(replace(recorded, digests=digests), slower)
    assert not redo.same
    assert redo.files.differ == ("model.safetensors",)
    assert any("torch" in each and "now with 0.0.1" in each for each in redo.reasons)
    assert any("processor" in each for each in redo.reasons)
    (first.folder / "config.json").write_text("{}")
    assert verify(first.folder, against=first.folder).differ == ("config.json",)


def test_only_a_merge_has_recorded_something(first: MergeReport, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(first.recipe.to_yaml())
    assert read_recorded(tmp_path / "plan.yaml") is None
    assert read_recorded(tmp_path / "a") is None
    (first.folder / CHECKSUMS_FILE).write_text("x")
    assert read_recorded(first.folder) is None
