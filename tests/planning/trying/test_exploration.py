"""A plan that a bandit has a say in: its arm is the recipe's, its chance and ids are told."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import BanditError, ObjectiveError
from simmerge_hub.operators import BALANCED, arm
from simmerge_hub.planning import pairs as candidates
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.plan import Plan, plan
from simmerge_hub.recipe import parse
from simmerge_hub.selector.bandit import representation, sharing
from simmerge_hub.selector.bandit.bandit import start
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.tables.rows import Rows
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, FEATURE_SCHEMA
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES as EFFECTS

CODE, MATH, BASE = (str(nano_folder() / name) for name in ("code", "math", "base"))
TASKS = Tasks(experts={"code": "code", "math": "math"})


def planned(bandit: str | None, base: str | None = BASE) -> Plan:
    sources = Sources(signals="structural", bandit=bandit)
    return plan(CODE, MATH, base=base, tasks=TASKS, sources=sources)


def outcomes(best: int) -> Rows:
    """Outcomes of 12 models on which one arm is always the best."""
    pairs = [(f"m{i}", f"m{j}") for i in range(12) for j in range(12) if i != j]
    random = np.random.default_rng(0)
    gains = 0.3 + 0.02 * random.normal(size=(len(pairs), len(BALANCED)))
    gains[:, best] += 0.5
    return Rows(
        experts=tuple(e for e, _ in pairs), auxiliaries=tuple(a for _, a in pairs),
        tasks=("t",) * len(pairs), regimes=("r",) * len(pairs), names=FEATURE_NAMES,
        schema=FEATURE_SCHEMA, arms=BALANCED,
        values=random.normal(size=(len(pairs), len(FEATURE_NAMES))), gains=gains,
        halves=np.full((*gains.shape, 2), np.nan), base_gains=np.zeros(len(pairs)),
        effect_names=EFFECTS,
        effects=random.normal(size=(*gains.shape, len(EFFECTS))), weights=np.ones(len(pairs)),
    )  # fmt: skip


@pytest.mark.parametrize(("best", "predicted"), [(0, False), (6, True)])
def test_the_bandit_chooses_and_says_so(
    best: int, predicted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {0: 0.5, 6: 1.0}  # linear halves the expert's delta, task arithmetic keeps it
    monkeypatch.setattr(representation, "TREES", 200)
    monkeypatch.setattr(candidates, "ARMS", BALANCED)  # what a plan alone chooses from, too
    state = sharing.init(str(tmp_path / "bandit"), start(outcomes(best)))
    made = planned(state)
    assert made.best.tree.arm == BALANCED[best]
    recipe, why = parse(made.to_yaml(), "the plan")
    assert why is not None
    assert recipe.operators == (BALANCED[best].operator,)
    assert why.choice == BALANCED[best].label
    assert "s000001 for code, s000002 for math" in why.reason
    assert made.decision.why.endswith("report the gain as s000001 (code), s000002 (math)")
    told = made.verdict.because
    assert told[0].startswith(f"The bandit bandit tries {BALANCED[best].label}: a chance of ")
    alone = planned(None).verdict
    assert (alone.choices[0].tree.arm == BALANCED[best]) == predicted
    said = (f"By prediction alone it would be {alone.best.label}",)
    assert told[3:] == (alone.because if predicted else said)
    found = sharing.look(state)
    first, second = found.history.pending
    assert (first.task, second.task) == ("code", "math")
    assert re.fullmatch("code@[0-9a-f]{8}", first.expert)
    assert re.fullmatch("math@[0-9a-f]{8}", second.expert)
    assert (second.auxiliary, first.auxiliary) == (first.expert, second.expert)
    assert made.to_dict()["suggested"] == {"code": "s000001", "math": "s000002"}
    told = [s.effects for s in found.history.pending]
    for each in told:
        share = EFFECTS.index("merge_share_expert")
        assert each[share] == pytest.approx(wanted[best], abs=0.02)
    first, second = (
        [each[EFFECTS.index(f"merge_norm_{side}")] for side in ("expert", "auxiliary")]
        for each in told
    )
    assert first == second[::-1] != second
    sharing.report(state, [("s000001", 0.9), ("s000002", 0.8)])


def test_a_predictor_that_reads_no_effects_is_given_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bandit reads them all the same."""
    monkeypatch.setattr(representation, "TREES", 200)
    state = sharing.init(str(tmp_path / "bandit"), start(outcomes(0)))
    predict, given = Predictor.predict, []

    def spied(self: Predictor, *args: Any, effects: Any, **rest: Any) -> Any:
        given.append(effects)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Predictor, "_arm_effects", lambda *_: np.full(len(EFFECTS), np.nan))
            return predict(self, *args, effects=effects, **rest)

    monkeypatch.setattr(Predictor, "reads_effects", lambda *_: False)
    monkeypatch.setattr(Predictor, "predict", spied)
    planned(state)
    assert given == [{}, {}]
    assert all(None not in s.effects for s in sharing.look(state).history.pending)


def test_an_added_arm_is_planned_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representation, "TREES", 200)
    state = sharing.init(str(tmp_path / "bandit"), start(outcomes(0)))
    strange = arm("sce", density=0.123)
    sharing.add(state, strange)
    made = planned(state)
    assert made.best.tree.arm == BALANCED[0]
    (found,) = [choice for choice in made.verdict.choices if choice.tree.arm == strange]
    for middle, low, high in found.spreads().values():
        assert low < middle < high
    assert strange.label in sharing.look(state).history.pending[0].chance


def test_only_arms_that_can_be_used_are_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a base no arm on deltas can be; the bandit's favourite is one."""
    monkeypatch.setattr(representation, "TREES", 200)
    best = BALANCED.index(arm("task_arithmetic", scale=0.7))
    state = sharing.init(str(tmp_path / "bandit"), start(outcomes(best)))
    made = planned(state, base=None)
    assert made.best.tree.arm is not None
    assert made.best.tree.arm.operator in ("linear", "slerp")
    (suggested, _) = sharing.look(state).history.pending
    assert suggested.arm == made.best.label
    assert suggested.chance[BALANCED[best].label] == 0


def test_a_bandit_without_a_usable_arm_notes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representation, "TREES", 200)
    state = sharing.init(str(tmp_path / "bandit"), start(outcomes(0)))
    asked = [
        sharing.Asked(
            task="t",
            expert="e",
            auxiliary="a",
            names=FEATURE_NAMES,
            schema=outcomes(0).schema,
            values=outcomes(0).values[0],
            effect_names=EFFECTS,
        )
    ]
    with pytest.raises(BanditError, match="none of the arms") as caught:
        sharing.suggest(state, asked, among={"arcee_fusion"})
    assert caught.value.hint == "plan without --bandit"
    assert not sharing.look(state).history.suggestions


@pytest.mark.parametrize(
    "objective",
    [Objective(worst=True), Objective(weights={"code": 2.0}), Objective(keep={"m": 0.8})],
)
def test_a_bandit_knows_no_objective_but_the_mean(objective: Objective) -> None:
    with pytest.raises(ObjectiveError, match="tries the best arm for the mean") as caught:
        plan(CODE, MATH, base=BASE, objective=objective, sources=Sources(bandit="org/bandit"))
    assert caught.value.hint == "leave out --bandit, or --objective, --weight and --keep"


def test_a_bandit_suggests_no_merge_that_has_no_prompts_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe would have had none, and could not be run."""
    monkeypatch.setattr(representation, "TREES", 200)
    fed = arm("regmean", alpha=0.5)
    state = sharing.init(str(tmp_path / "bandit"), start(outcomes(0)))
    sharing.add(state, fed)
    assert fed.label not in {choice.label for choice in planned(state).choices}
