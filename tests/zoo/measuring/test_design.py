from dataclasses import replace

from simmerge_hub.zoo.manifest import Manifest
from simmerge_hub.zoo.measuring.design import families, pairs_of


def _scored(nano: Manifest, most: int) -> Manifest:
    return replace(nano, pairs={"seed": 1, "most": {"base": most}})


def test_without_a_limit_all_pairs_of_one_base(nano: Manifest) -> None:
    by_base = families(nano, list(nano.specialists))
    assert list(by_base) == ["base"]
    assert len(pairs_of(nano, "base", by_base["base"])) == 10


def test_a_limit_takes_the_same_pairs_and_a_higher_one_more(nano: Manifest) -> None:
    members = list(nano.specialists)
    few, many = (pairs_of(_scored(nano, most), "base", members) for most in (3, 6))
    assert (len(few), len(many)) == (3, 6)
    assert set(few) < set(many)
    assert few == pairs_of(_scored(nano, 3), "base", members)
    other = replace(nano, pairs={"seed": 2, "most": {"base": 3}})
    assert pairs_of(other, "base", members) != few


def test_pairs_without_a_gap_are_left_out_of_a_draw(nano: Manifest) -> None:
    code = nano.models["code"]
    twins = replace(
        nano, models={**nano.models, "twin": code}, pairs={"seed": 1, "most": {"base": 99}}
    )
    pairs = pairs_of(twins, "base", ["code", "twin", "math"])
    assert pairs == [("code", "math"), ("twin", "math")]


def test_a_share_takes_no_pair_away_when_the_zoo_grows(nano: Manifest) -> None:
    names = list(nano.specialists)
    some = {
        share: pairs_of(replace(nano, pairs={"seed": 1, "share": {"base": share}}), "base", names)
        for share in (0.0, 0.3, 0.7, 1.0)
    }
    assert [len(some[share]) for share in (0.0, 1.0)] == [0, 10]
    assert 0 < len(some[0.3]) < len(some[0.7]) < 10
    assert some[0.3] == some[0.7][: len(some[0.3])]
    shared = replace(nano, pairs={"seed": 1, "share": {"base": 0.7}})
    fewer = pairs_of(shared, "base", names[:3])
    assert fewer == [pair for pair in some[0.7] if set(pair) <= set(names[:3])]
    assert pairs_of(shared, "base", names[::-1]) == some[0.7]
