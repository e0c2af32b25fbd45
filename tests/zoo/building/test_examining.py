"""Scores of a model, which exams it takes, and how far it is said to lie from its base."""

from dataclasses import replace

import pytest
import torch

from simmerge_hub.zoo.building.examining import exam_digest, examine, tasks_for
from simmerge_hub.zoo.catalogue import Catalogue, Pairs, load_catalogue
from simmerge_hub.zoo.evaluation import Exam, exam
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.real.codec import NANO
from tests.zoo.conftest import TINY


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(TINY)


@pytest.fixture
def exams(catalogue: Catalogue) -> dict[str, Exam]:
    return {name: exam(task, 16, codec=NANO) for name, task in catalogue.tasks.items()}


@pytest.mark.parametrize("name", ["base", "code", "math-lora"])
def test_an_examined_model_is_as_it_was_built(
    name: str, catalogue: Catalogue, exams: dict[str, Exam], tiny: Manifest
) -> None:
    blank = replace(tiny.models[name], scores={}, exam="", delta_ratio=0.0)
    assert examine(catalogue, tiny.with_entry(name, blank), name, exams) == tiny.models[name]


def test_the_distance_is_that_of_the_weights(tiny: Manifest) -> None:
    model, base = (load_model(tiny, name).state_dict() for name in ("code", "base"))
    names = set(dict(load_model(tiny, "base").named_parameters()))
    delta = torch.cat([(model[n] - base[n]).flatten() for n in names]).double().norm()
    whole = torch.cat([base[n].flatten() for n in names]).double().norm()
    assert tiny.models["code"].delta_ratio == pytest.approx(float(delta / whole), abs=1e-4)


def test_a_specialist_must_exceed_the_bar_and_a_base_need_not(
    catalogue: Catalogue, exams: dict[str, Exam], tiny: Manifest
) -> None:
    strict = replace(catalogue, keep_above=1.0)
    assert examine(strict, tiny, "base", exams).kept
    score = tiny.models["code"].scores["code"]["exact_match"]
    for bar, kept in ((score, False), (score - 0.01, True)):
        assert examine(replace(catalogue, keep_above=bar), tiny, "code", exams).kept == kept


def test_exams_are_those_of_partners_where_a_share_is_drawn(catalogue: Catalogue) -> None:
    assert tasks_for(catalogue, "code") == ["code", "math"]
    none = replace(catalogue, pairs=Pairs(seed=1, share={"base": 0.0}))
    assert tasks_for(none, "code") == ["code"]
    assert tasks_for(none, "base") == ["code", "math"]
    every = replace(catalogue, pairs=Pairs(seed=1, share={"base": 1.0}))
    assert tasks_for(every, "math") == ["code", "math"]
    other = replace(catalogue, pairs=Pairs(seed=1, share={"another": 0.0}))
    assert tasks_for(other, "code") == ["code", "math"]


def test_a_digest_changes_with_what_scores_follow_from(
    catalogue: Catalogue, tiny: Manifest
) -> None:
    asked = [
        (catalogue, tiny),
        (replace(catalogue, evaluation=8), tiny),
        (replace(catalogue, keep_above=0.5), tiny),
        (replace(catalogue, dtype="bfloat16"), tiny),
        (replace(catalogue, pairs=Pairs(seed=1, share={"base": 0.0})), tiny),
        (catalogue, replace(tiny, tasks={**tiny.tasks, "math": "math/next"})),
    ]
    assert len({exam_digest(*each, "code") for each in asked}) == len(asked)
    assert exam_digest(catalogue, tiny, "code") == tiny.models["code"].exam
