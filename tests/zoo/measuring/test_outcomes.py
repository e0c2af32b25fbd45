from pathlib import Path

import pytest
import torch

from simmerge_hub.operators import ARMS, arm
from simmerge_hub.selector.tables.outcomes import load_outcomes, save_outcomes
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.measuring.outcomes import measure_outcomes, merge_into, weights_of

MIDDLE = (arm("linear"), arm("linear", weights=(1.0, 0.0)), arm("linear", weights=(0.0, 1.0)))


def test_every_ordered_pair_has_a_row(tiny: Manifest, tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []
    outcomes = measure_outcomes(tiny.folder, progress=lambda *done: counts.append(done))
    names = list(tiny.specialists)
    assert {(r.expert, r.auxiliary) for r in outcomes.rows} == {
        (a, b) for a in names for b in names if a != b
    }
    assert counts == [(1, 3), (2, 3), (3, 3)]
    assert [a.label for a in outcomes.arms] == [a.label for a in ARMS]
    save_outcomes(outcomes, tmp_path / "one.jsonl")
    assert load_outcomes(tmp_path / "one.jsonl").digest == outcomes.digest
    assert measure_outcomes(tiny.folder).digest == outcomes.digest


def test_arms_that_keep_one_parent_give_its_utility(nano: Manifest) -> None:
    outcomes = measure_outcomes(nano.folder, arms=MIDDLE, models=["code", "math"])
    for row in outcomes.rows:
        assert row.utilities["linear(weights=1/0)"] == row.expert_utility
        assert row.utilities["linear(weights=0/1)"] == row.auxiliary_utility
        assert row.task == nano.tasks[row.expert]
        even, odd = row.halves["linear"]
        assert (even + odd) / 2 == pytest.approx(row.utilities["linear"], abs=1e-4)


def test_a_merge_holds_bfloat16_values(tiny: Manifest) -> None:
    scratch = load_model(tiny, "base")
    origin = weights_of(scratch)
    parents = {name: weights_of(load_model(tiny, name)) for name in ("code", "math")}
    merge_into(scratch, arm("task_arithmetic"), origin, parents)
    for name, weight in scratch.named_parameters():
        wanted = parents["code"][name] + parents["math"][name] - origin[name]
        assert weight.equal(weight.to(torch.bfloat16).float())
        assert torch.allclose(weight, wanted, rtol=1e-2, atol=1e-3)


def test_a_stopped_measurement_goes_on(tiny: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl.partial"
    whole = measure_outcomes(tiny.folder, arms=MIDDLE, resume=path)
    first, *lines = path.read_text().splitlines()
    assert len(lines) == 3
    changed = lines[0].replace('"regime": "tiny/base"', '"regime": "kept"')
    path.write_text("\n".join([first, changed, lines[1][:20]]))
    again = measure_outcomes(tiny.folder, arms=MIDDLE, resume=path)
    assert [row.regime for row in again.rows].count("kept") == 2
    kept = {row.key for row in again.rows if row.regime == "kept"}
    assert [r for r in again.rows if r.key not in kept] == [
        r for r in whole.rows if r.key not in kept
    ]


def test_random_numbers_belong_to_models_not_to_their_order(tiny: Manifest) -> None:
    scratch = load_model(tiny, "base")
    origin = weights_of(scratch)
    code, math = (weights_of(load_model(tiny, name)) for name in ("code", "math"))
    dare = arm("dare_ties", density=0.5)
    one = weights_of(merge_into(scratch, dare, origin, {"code": code, "math": math}))
    other = weights_of(merge_into(scratch, dare, origin, {"math": math, "code": code}))
    assert all(one[name].equal(other[name]) for name in one)


def test_token_accuracy_of_what_was_not_merged(nano: Manifest) -> None:
    (row, _) = measure_outcomes(nano.folder, arms=MIDDLE, models=["code", "math"]).rows
    assert row.unmerged["expert"] == nano.models[row.expert].scores["code"]["token_accuracy"]
    assert row.unmerged["expert"] > max(row.unmerged["auxiliary"], row.unmerged["base"])
