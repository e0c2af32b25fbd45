from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.errors import RecipeError
from simmerge_hub.zoo.catalogue import Draw, draw_specialists, load_catalogue
from simmerge_hub.zoo.tasks import DOMAINS

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = Path(__file__).with_name("tiny.yaml")


@pytest.mark.parametrize("name", ["zoo.yaml", "zoo-more.yaml", "zoo-demo.yaml"])
def test_recipes_are_read(name: str) -> None:
    catalogue = load_catalogue(RECIPES / name)
    assert {task.domain for task in catalogue.tasks.values()} == set(DOMAINS)
    assert all(spec.base in catalogue.bases for spec in catalogue.specialists.values())


def test_the_zoo_spreads_over_domains_modes_and_replay() -> None:
    catalogue = load_catalogue(RECIPES / "zoo.yaml")
    specs = catalogue.specialists.values()
    domains = Counter(catalogue.tasks[spec.task].domain for spec in specs)
    assert len(domains) == 5
    assert min(domains.values()) >= 3
    assert len(Counter(spec.mode for spec in specs)) == 4
    assert 0.3 <= sum(spec.replay for spec in specs) / len(specs) <= 0.7


def _draw(count: int) -> Draw:
    return Draw(
        base="base", count=count, seed=1, learning_rate=(1e-4, 1e-3), steps=(30, 240), effort=0.02
    )


def test_more_specialists_change_none_of_the_former() -> None:
    tasks = load_catalogue(TINY).tasks
    few, many = draw_specialists(_draw(5), tasks), draw_specialists(_draw(50), tasks)
    assert len(many) == 50
    assert few.items() <= many.items()


def test_draws_keep_their_ranges() -> None:
    for spec in draw_specialists(_draw(100), load_catalogue(TINY).tasks).values():
        rate = spec.learning_rate / (1 if spec.mode == "full" else 2)
        assert 0.99e-4 <= rate <= 1.01e-3
        assert 30 <= spec.steps <= 240
        assert rate * spec.steps >= 0.0199


def test_the_real_zoo_is_as_wide_as_it_says() -> None:
    catalogue = load_catalogue(RECIPES / "zoo-real.yaml")
    specs = catalogue.specialists.values()
    variants = Counter(task.domain for task in catalogue.tasks.values())
    assert len(variants) == 5
    assert min(variants.values()) >= 3
    assert len(specs) >= 36
    assert {spec.task for spec in specs} == set(catalogue.tasks)
    assert {spec.mode for spec in specs} == {"full", "mlp", "attention", "lora"}
    loras = [spec for spec in specs if spec.mode == "lora"]
    assert len({spec.rank for spec in loras}) >= 3
    assert {spec.targets for spec in loras} == {"attention", "mlp", "all"}
    assert catalogue.evaluation >= 96


def test_the_zoo_of_another_family_is_taught_as_the_real_zoo_was() -> None:
    real, other = (load_catalogue(RECIPES / f"zoo-{name}.yaml") for name in ("real", "smollm"))
    assert list(other.specialists) == list(real.specialists)[: len(other.specialists)]
    for name, spec in other.specialists.items():
        assert replace(spec, base="gemma-3-270m") == real.specialists[name]
    assert (other.tasks, other.evaluation, other.keep_above) == (
        real.tasks, real.evaluation, real.keep_above,
    )  # fmt: skip


TEXT = Path(__file__).with_name("real") / "tiny.yaml"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rank: 4, ", "", "sum-lora: it needs a rank and targets"),
        ("mode: mlp", "mode: mlp, rank: 4", "json: rank and targets are for mode lora"),
        ("seed: 1,", "seed: 1, replay: true,", "sum: replay is for bases that are trained here"),
        ("dtype: bfloat16", "dtype: float8", "no dtype 'float8', only float32, bfloat16"),
        ("rank: 4,", "rank: four,", "sum-lora: rank is 'four', which is no number of its kind"),
        ("seed: 1,", "seed: 1.5,", "seed is 1.5, which is no number of its kind"),
        ("rate: 0.002", "rate: .inf", "learning_rate is inf, which is no number of its kind"),
    ],
)
def test_mistakes_in_a_zoo_of_a_packaged_base_are_named(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    path = tmp_path / "zoo.yaml"
    path.write_text(TEXT.read_text().replace(old, new, 1))
    with pytest.raises(RecipeError, match=says):
        load_catalogue(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version: 1", "version: 9", "this version reads version 1"),
        ("task: code,", "task: cod,", "no task 'cod', only code, math"),
        ("mode: mlp", "mode: half", "no mode 'half', only full, mlp, attention, lora"),
        ("code/rotate-previous", "code/nothing", "no task code/nothing"),
        ("probes: 8", "probs: 8", "probs"),
        ("probes: 8", "probes: eight", "the zoo: probes is 'eight', which is no number of its"),
        ("mode: mlp", "mode: lora, rank: 4", "math: rank and targets are for bases from a package"),
        ("bases:", "bases: [", "is not a zoo"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "zoo.yaml"
    path.write_text(TINY.read_text().replace(old, new, 1))
    with pytest.raises(RecipeError, match=says) as raised:
        load_catalogue(path)
    assert raised.value.hint
