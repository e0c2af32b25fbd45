"""What `@feature` makes of a function: names, swaps, needs and words."""

import pytest

from simmerge_hub.signatures.features import registry
from simmerge_hub.signatures.features.context import Pair
from simmerge_hub.signatures.features.registry import Feature, feature


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> dict[str, Feature]:
    """An empty registry."""
    fresh: dict[str, Feature] = {}
    monkeypatch.setattr(registry, "REGISTRY", fresh)
    return fresh


def test_sides_and_groups_are_features_each(entries: dict[str, Feature]) -> None:
    @feature("base", sides=True, groups=("all", "late"))
    def delta_norm(pair: Pair, side: str, group: str) -> float:
        """The norm.

        More is said below.
        """
        return {"expert": 1.0, "auxiliary": 2.0}[side] * {"all": 1, "late": 10}[group]

    assert {name: one.swap for name, one in entries.items()} == {
        "delta_norm_expert.all": "delta_norm_auxiliary.all",
        "delta_norm_expert.late": "delta_norm_auxiliary.late",
        "delta_norm_auxiliary.all": "delta_norm_expert.all",
        "delta_norm_auxiliary.late": "delta_norm_expert.late",
    }
    assert [one.compute(None) for one in entries.values()] == [1, 10, 2, 20]  # type: ignore[arg-type]
    last = entries["delta_norm_auxiliary.late"]
    assert (last.summary, last.needs, last.family) == ("The norm.", {"base"}, "test_registry")
    assert last.says.startswith("the other model's delta in the late layers is ")


def test_optional_features_stand_apart(
    entries: dict[str, Feature], monkeypatch: pytest.MonkeyPatch
) -> None:
    optional: dict[str, Feature] = {}
    monkeypatch.setattr(registry, "OPTIONAL", optional)

    @feature("dose", optional=True)
    def dose_area(pair: Pair) -> float:
        """An area."""
        return 0.5

    assert entries == {}
    assert [(name, one.needs) for name, one in optional.items()] == [("dose_area", {"dose"})]


def test_one_number_keeps_its_name_and_its_swap(entries: dict[str, Feature]) -> None:
    @feature("behaviour", swap="negated")
    def loss_difference(pair: Pair) -> float:
        """A difference."""
        return -3.0

    (name, one), *others = entries.items()
    assert (name, one.swap, others) == ("loss_difference", "negated", [])
    assert one.compute(None) == -3.0  # type: ignore[arg-type]


def test_without_words_it_cannot_be_registered(entries: dict[str, Feature]) -> None:
    with pytest.raises(KeyError, match="unsaid"):

        @feature()
        def unsaid(pair: Pair) -> float:
            """Nobody could be told what it says."""
            return 0.0

    assert entries == {}
