"""What forecasts merges of many, on made-up merges whose rule is known."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import arm
from simmerge_hub.selector.models import conditioned, heads, multiway
from simmerge_hub.selector.predictor import archive, origin
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.tables.availability import hide
from simmerge_hub.selector.tables.features import FeatureTable
from simmerge_hub.selector.tables.merges import Merges, load_merges
from simmerge_hub.selector.tables.outcomes import Outcomes
from simmerge_hub.selector.tables.rows import Rows, join
from simmerge_hub.selector.training.train import train
from simmerge_hub.signatures.merged import likeness
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES as EFFECTS

ARMS = (arm("linear"), arm("ties", density=0.5), arm("karcher"))
SHARE = EFFECTS.index("merge_share_expert")


@pytest.fixture(scope="module", autouse=True)
def quick() -> "object":
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiway, "STEPS", 150)
        patch.setattr(multiway, "TREES", 60)
        yield


@pytest.fixture(scope="module")
def rows(known: tuple[Outcomes, FeatureTable], predictor: Predictor) -> Rows:
    found = join(*known, predictor.arms)
    effects = np.zeros((*found.gains.shape, len(EFFECTS)))
    return replace(found, effect_names=EFFECTS, effects=effects)


@pytest.fixture(scope="module")
def merges(rows: Rows) -> Merges:
    """A merge is as good as its share of the expert; if it was run, its agreement says the rest."""
    random = np.random.default_rng(0)
    sets = [tuple(f"m{3 * i + k}" for k in range(3)) for i in range(12)]
    models = tuple(s for s in sets for _ in range(20))
    effects = np.zeros((len(models), len(EFFECTS)))
    effects[:, SHARE] = random.uniform(0, 1, len(models))
    seen = np.zeros((len(models), len(likeness.LIKENESS_NAMES)))
    seen[:, 0] = random.normal(0, 0.3, len(models))
    return Merges(
        models=models,
        tasks=tuple("code/f" for _ in models),
        arms=tuple(ARMS[i % 3] for i in range(len(models))),
        names=rows.names,
        effect_names=EFFECTS,
        values=np.zeros((len(models), len(rows.names))),
        effects=effects,
        likeness=seen,
        gains=np.clip(effects[:, SHARE] + seen[:, 0], -1, 1.5),
    )


def test_a_merge_that_was_run_is_known_better(rows: Rows, merges: Merges) -> None:
    unrun, run = multiway.half_widths(rows, merges, seed=0, alpha=0.1)
    assert 0 < run < 0.7 * unrun < 1


def test_where_sets_tie_all_models_some_are_held_out(rows: Rows, merges: Merges) -> None:
    sets = list(dict.fromkeys(merges.models))
    following = dict(zip(sets, [*sets[1:], sets[0]], strict=True))
    tied = replace(merges, models=tuple((m[0], m[1], following[m][0]) for m in merges.models))
    assert len(multiway.groups(tied.models)) == 1
    unrun, run = multiway.half_widths(rows, tied, seed=0, alpha=0.1)
    assert 0 < run < unrun < 1


def test_what_it_says_follows_the_rule_on_models_it_never_saw(rows: Rows, merges: Merges) -> None:
    last = np.array([m == merges.models[-1] for m in merges.models])
    fitted = multiway.fit(rows, merges.take(np.flatnonzero(~last)), seed=0)
    test = merges.take(np.flatnonzero(last))
    found = multiway.predict(*fitted, test, conditioned.operators(rows.arms))
    assert np.corrcoef(found, test.gains)[0, 1] > 0.9


def test_the_same_merges_give_the_same_networks(rows: Rows, merges: Merges) -> None:
    (forest, one), (again, other) = (multiway.fit(rows, merges, seed=0) for _ in range(2))
    assert heads.text(forest) == heads.text(again)
    for net, same in zip(one.networks, other.networks, strict=True):
        assert all(np.array_equal(net[layer], same[layer]) for layer in net)


def test_what_is_missing_does_not_mislead(rows: Rows, merges: Merges) -> None:
    """One feature says much. Without its family the forecast is less exact, but not shifted."""
    values = merges.values.copy()
    column = rows.names.index("drift_kl_expert")
    values[:, column] = np.random.default_rng(1).choice([-0.2, 0.2], len(values))
    told = replace(merges, values=values, gains=merges.gains + values[:, column])
    forest, networks = multiway.fit(rows, told, seed=0)
    trained = conditioned.operators(rows.arms)
    hidden = replace(told, values=hide(values, rows.names, ("base",)))
    assert np.isnan(hidden.values[:, column]).all()
    full, without = (multiway.predict(forest, networks, m, trained) for m in (told, hidden))
    errors, blind = full - told.gains, without - told.gains
    assert np.square(errors).mean() < 0.7 * np.square(blind).mean()
    assert abs(blind.mean()) < 0.05


def test_no_merge_is_in_two_groups(merges: Merges) -> None:
    assert multiway.groups([("a", "b"), ("c", "d"), ("e", "f"), ("b", "c")]) == [
        frozenset("abcd"),
        frozenset("ef"),
    ]
    assert len(multiway.groups(merges.models)) == 12


def test_what_was_learned_says_from_how_much(rows: Rows, merges: Merges) -> None:
    found = multiway.learn(rows, merges, seed=0, alpha=0.1)
    assert (found.merges, found.models, found.likeness) == (len(merges), 3, likeness.LIKENESS_NAMES)
    assert (found.unrun, found.run) == multiway.half_widths(rows, merges, seed=0, alpha=0.1)


def test_merges_of_other_features_are_refused(
    known: tuple[Outcomes, FeatureTable], merges: Merges, predictor: Predictor
) -> None:
    other = replace(merges, names=("other", *merges.names[1:]))
    with pytest.raises(PredictorError, match="other features than that of pairs"):
        train([known], merges=other, arms=predictor.arms)


def test_the_packaged_one_learned_from_the_whole_table() -> None:
    packaged = origin.find(None).predictor.many
    table = Path(__file__).parents[3] / "recipes/outcomes/zoo-v2-merges.jsonl.gz"
    assert packaged is not None
    assert packaged.merges == len(load_merges(table))


def test_it_comes_back_from_the_file_of_its_predictor(tmp_path: Path) -> None:
    packaged = origin.find(None).predictor
    assert packaged.many is not None
    archive.save(packaged, tmp_path / "same.json")
    again = archive.load(tmp_path / "same.json")
    assert archive.text(again) == archive.text(packaged)


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        ({"likeness": ["other"]}, "reads other numbers of merges that were run"),
        ({"unrun": -0.1}, "an interval is negative"),
        ({"run": "x"}, "could not convert string to float: 'x'"),
        ({"forest": {"learner": {}}}, "gradient_booster"),
        ({"networks": {"knots": [], "networks": []}}, "the networks' quantiles has shape"),
        ({"networks": {"networks": []}}, "knots"),
    ],
)
def test_a_damaged_one_is_refused(damage: dict[str, object], seen: str, tmp_path: Path) -> None:
    fields = json.loads(archive.text(origin.find(None).predictor))
    fields["many"] |= damage
    (tmp_path / "damaged.json").write_text(json.dumps(fields))
    with pytest.raises(PredictorError) as caught:
        archive.load(tmp_path / "damaged.json")
    assert "damaged" in str(caught.value)
    assert seen in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda nets: {"networks": []}, "there is no network, or far too many"),
        (lambda nets: {"networks": nets["networks"] * 20}, "there is no network, or far too many"),
        (lambda nets: {"knots": [row[::-1] for row in nets["knots"]]}, "are not in order"),
        (lambda nets: _layer(nets, [0.0]), r"layer b1 has shape \(1,\), not \(32,\)"),
        (lambda nets: _layer(nets, [None] * 32), "layer b1 holds no number, or a huge one"),
        (lambda nets: _layer(nets, ["inf"] * 32), "layer b1 holds no number, or a huge one"),
        (lambda nets: _layer(nets, [1e308] * 32), "layer b1 holds no number, or a huge one"),
        (lambda nets: _layer(nets, [[0.0], 1.0]), "inhomogeneous"),
    ],
)
def test_damaged_networks_are_refused(
    damage: Callable[[dict[str, Any]], dict[str, Any]], seen: str, tmp_path: Path
) -> None:
    fields = json.loads(archive.text(origin.find(None).predictor))
    nets = fields["many"]["networks"]
    fields["many"]["networks"] = nets | damage(nets)
    (tmp_path / "damaged.json").write_text(json.dumps(fields))
    with pytest.raises(PredictorError, match=seen):
        archive.load(tmp_path / "damaged.json")


def _layer(nets: dict[str, Any], biases: list[Any]) -> dict[str, Any]:
    return {"networks": [nets["networks"][0] | {"b1": biases}]}


def test_without_such_networks_a_merge_is_seen_as_a_pair(
    merges: Merges, predictor: Predictor
) -> None:
    found, widths = predictor.of_many(merges)
    assert found.shape == widths.shape == (len(merges),)
    assert set(widths) == {predictor.conditioned.unmeasured}
