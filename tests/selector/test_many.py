"""The forest for merges of many, on made-up merges whose rule is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import arm
from simmerge_hub.selector import archive, conditioned, many, origin
from simmerge_hub.selector.many import Merges, load_merges
from simmerge_hub.selector.outcomes import Outcomes
from simmerge_hub.selector.predictor import Predictor
from simmerge_hub.selector.rows import Rows, join
from simmerge_hub.selector.table import FeatureTable
from simmerge_hub.signatures import likeness
from simmerge_hub.signatures.effects import NAMES as EFFECTS

ARMS = (arm("linear"), arm("ties", density=0.5), arm("karcher"))
SHARE = EFFECTS.index("merge_share_expert")


@pytest.fixture(scope="module", autouse=True)
def few_trees() -> "object":
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many, "TREES", 60)
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
    seen = np.zeros((len(models), len(likeness.NAMES)))
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
    unrun, run = many.half_widths(rows, merges, seed=0, alpha=0.1)
    assert 0 < run < 0.7 * unrun < 1


def test_what_it_says_follows_the_rule_on_models_it_never_saw(rows: Rows, merges: Merges) -> None:
    last = np.array([m == merges.models[-1] for m in merges.models])
    forest = many.fit(rows, merges.take(np.flatnonzero(~last)), seed=0)
    test = merges.take(np.flatnonzero(last))
    found = many.predict(forest, test, conditioned.operators(rows.arms))
    assert np.corrcoef(found, test.gains)[0, 1] > 0.9


def test_no_merge_is_in_two_groups(merges: Merges) -> None:
    assert many.groups([("a", "b"), ("c", "d"), ("e", "f"), ("b", "c")]) == [
        frozenset("abcd"),
        frozenset("ef"),
    ]
    assert len(many.groups(merges.models)) == 12


def test_what_was_learned_says_from_how_much(rows: Rows, merges: Merges) -> None:
    found = many.learn(rows, merges, seed=0, alpha=0.1)
    assert (found.merges, found.models, found.likeness) == (len(merges), 3, likeness.NAMES)
    assert (found.unrun, found.run) == many.half_widths(rows, merges, seed=0, alpha=0.1)


def test_merges_of_other_features_are_refused(rows: Rows, merges: Merges) -> None:
    other = replace(merges, names=("other", *merges.names[1:]))
    with pytest.raises(PredictorError, match="other features than that of pairs"):
        many.learn(rows, other, seed=0, alpha=0.1)


def test_it_comes_back_from_the_file_of_its_predictor(tmp_path: Path) -> None:
    packaged = origin.find(None).predictor
    assert packaged.many is not None
    archive.save(packaged, tmp_path / "same.json")
    assert archive.load(tmp_path / "same.json").many == packaged.many


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        ({"likeness": ["other"]}, "reads other numbers of merges that were run"),
        ({"unrun": -0.1}, "an interval is negative"),
        ({"run": "x"}, "could not convert string to float: 'x'"),
        ({"forest": {"learner": {}}}, "gradient_booster"),
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


def test_without_such_a_forest_a_merge_is_seen_as_a_pair(
    merges: Merges, predictor: Predictor
) -> None:
    found, widths = predictor.of_many(merges)
    assert found.shape == widths.shape == (len(merges),)
    assert set(widths) == {predictor.conditioned.unmeasured}


def line(**changed: object) -> dict[str, object]:
    one = many.entry(arm("linear"), 0.6, np.array([0.5]), np.full(len(likeness.NAMES), np.nan))
    return {"models": ["a", "b", "c"], "task": "t", "level": 0.2, "values": [None, 1.0],
            "merges": [one], **changed}  # fmt: skip


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    lines = [many.header(("x", "y"), ("e",)), line(), line(level=0.97)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = load_merges(tmp_path / "t.jsonl")
    assert found.models == (("a", "b", "c"),)  # of the second there is no gap to close
    assert found.gains == pytest.approx([0.5])
    assert np.isnan(found.values[0, 0])
    assert np.isnan(found.likeness).all()


@pytest.mark.parametrize(
    "bad", [line(values=[1.0]), line(level="x"), {"models": []}, line(merges=[{}]), line(level=1.0)]
)
def test_a_table_that_is_none_is_refused(bad: dict[str, object], tmp_path: Path) -> None:
    lines = [many.header(("x", "y"), ("e",)), bad]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(PredictorError, match=r"t\.jsonl is not a table of merges"):
        load_merges(tmp_path / "t.jsonl")
