from pathlib import Path

import pytest
import torch

from simmerge_hub.operators import ARMS, FED_ARMS, arm
from simmerge_hub.selector.tables.outcomes import load_outcomes, save_outcomes
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, merge_into, weights_of
from simmerge_hub.zoo.measuring.outcomes import measure_outcomes

MIDDLE = (arm("linear"), arm("linear", weights=(1.0, 0.0)), arm("linear", weights=(0.0, 1.0)))


def test_every_ordered_pair_has_a_row(tiny: Manifest, tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []
    outcomes = measure_outcomes(tiny.folder, progress=lambda *done: counts.append(done))
    names = list(tiny.specialists)
    assert {(r.expert, r.auxiliary) for r in outcomes.rows} == {
        (a, b) for a in names for b in names if a != b
    }
    assert counts == [(1, 3), (2, 3), (3, 3)]
    assert [a.label for a in outcomes.arms] == [a.label for a in (*ARMS, *FED_ARMS)]
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


def test_only_what_a_specialist_changes_is_merged(tiny: Manifest) -> None:
    scratch = load_model(tiny, "base")
    origin = weights_of(scratch)
    names = ("math", "math-lora")
    whole = {name: weights_of(load_model(tiny, name)) for name in names}
    moved = {name: changes(tiny, name, origin) for name in names}
    assert all(".mlp." in name for name in moved["math"])
    assert set(moved["math-lora"]) < set(origin)
    for chosen in ARMS:
        wanted = weights_of(merge_into(scratch, chosen, origin, whole))
        weights = weights_of(merge_into(scratch, chosen, origin, moved))
        for name, weight in wanted.items():
            # bfloat16 keeps 8 bits: folding in another order may move the last one
            torch.testing.assert_close(weights[name], weight, rtol=2**-7, atol=1e-6)


def test_what_was_measured_so_far_can_be_written(tiny: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl.partial"
    measure_outcomes(tiny.folder, arms=MIDDLE, resume=path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2]) + "\n")
    table = measure_outcomes(tiny.folder, arms=MIDDLE, resume=path, measure=False)
    assert len(table.rows) == 2
    assert table.provenance["unfinished"] == {"pairs": 1, "of": 3}
    assert path.read_text().splitlines() == lines[:2]
    whole = measure_outcomes(tiny.folder, arms=MIDDLE, resume=path)
    assert len(whole.rows) == 6
    assert "unfinished" not in whole.provenance


def test_likelihoods_of_merges_and_parents(nano: Manifest, tmp_path: Path) -> None:
    outcomes = measure_outcomes(nano.folder, arms=MIDDLE, models=["code", "math"])
    for row in outcomes.rows:
        alone = row.log_likelihood["linear(weights=1/0)"]
        wanted = row.unmerged_log_likelihood["expert"]
        assert sum(alone) / 2 == pytest.approx(wanted, abs=2e-4)
        assert row.unmerged_log_likelihood["base"] < row.unmerged_log_likelihood["expert"]
    save_outcomes(outcomes, tmp_path / "one.jsonl")
    assert load_outcomes(tmp_path / "one.jsonl").rows == outcomes.rows
