"""`check` answers from headers: what fits, what not, and what it would cost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from simmerge_hub import localhub
from simmerge_hub.cli.main import main
from simmerge_hub.errors import RecipeError, RepoNotFound
from simmerge_hub.merger import check, compute, merge
from simmerge_hub.merger import preflight as preflight_room
from simmerge_hub.merger.work import tensors as work
from simmerge_hub.merger.work.crew import work_through
from simmerge_hub.operators.regression.deltas import SOLVES_AT_ONCE, solve_bytes
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.weights.loaded.memory import MEMORY_SHARE
from simmerge_hub.weights.stream import Rows
from tests import nano


def recipe(folder: Path, *names: str, operator: str = "ties", **how: object) -> Recipe:
    return Recipe(
        base=Source(name="base", folder=folder / "base"),
        models=tuple(Source(name=n, folder=folder / n) for n in names),
        steps=(Step(operator=operator, models=names, parameters={}),),
        **how,  # type: ignore[arg-type]
    )


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of a base and two models, of which no weight may be read."""
    nano.family(tmp_path)
    monkeypatch.setattr(work, "open_tensors", lambda *_, **__: pytest.fail("weights were opened"))
    return tmp_path


def test_a_merge_that_fits(family: Path) -> None:
    preflight = check(recipe(family, "code", "math"), threads=2)
    whole = (family / "code" / "model.safetensors").stat().st_size
    assert not preflight.rejected
    assert [n.name for n in preflight.needs] == ["base", "code", "math"]
    assert all(n.size == whole and n.download == 0 for n in preflight.needs)
    assert preflight.output == sum(t.numel() * 4 for t in nano.weights().values())
    assert preflight.disk == preflight.disk_evicting == preflight.output
    assert 2e8 < preflight.memory < 6e8
    assert 0 < preflight.seconds < 60


def test_steps_that_solve_take_memory_each(family: Path) -> None:
    """What mixes a tensor's rows is held by every step of a chain until the tensor is written."""
    one = recipe(family, "code", "math", operator="delta_regmean")
    first = Step(operator="delta_regmean", models=("code", "math"), parameters={}, name="half")
    second = Step(operator="delta_regmean", models=("half", "code"), parameters={})
    shapes = [tensor.shape for tensor in nano.weights().values()]
    held, solve = (max(sizes) for sizes in zip(*(solve_bytes(s, 2) for s in shapes), strict=True))
    alone, chain = (
        check(each, threads=3).memory for each in (one, replace(one, steps=(first, second)))
    )
    assert chain - alone == 3 * held > 0
    ties = check(recipe(family, "code", "math"), threads=3).memory
    assert alone - ties == 3 * held + SOLVES_AT_ONCE * solve


def test_threads_are_as_many_as_memory_allows(
    family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default; who asks for more gets them."""
    wanted = recipe(family, "code", "math", operator="delta_regmean")
    monkeypatch.setattr(preflight_room, "cores", lambda: 8)
    plenty, three = (check(wanted, threads=n).memory for n in (8, 3))
    monkeypatch.setattr(preflight_room, "free_memory", lambda: plenty / MEMORY_SHARE)
    assert check(wanted).threads == 8
    monkeypatch.setattr(preflight_room, "free_memory", lambda: (three + 1) / MEMORY_SHARE)
    assert (check(wanted).threads, check(wanted).memory) == (3, three)
    assert check(wanted, threads=8).threads == 8
    monkeypatch.setattr(preflight_room, "free_memory", lambda: 0)
    assert check(wanted).threads == 1


def test_a_merge_takes_no_more_threads_than_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nano.family(tmp_path)
    counts = list[int | None]()

    def note(items: Any, do: Any, threads: int | None = None) -> None:
        counts.append(threads)
        work_through(items, do, threads)

    monkeypatch.setattr(work, "work_through", note)
    monkeypatch.setattr(preflight_room, "cores", lambda: 8)
    monkeypatch.setattr(preflight_room, "free_memory", lambda: 0)
    wanted = recipe(tmp_path, "code", "math", operator="delta_regmean")
    merge(wanted, tmp_path / "one")
    merge(wanted, tmp_path / "five", threads=5)
    assert counts == [1, 5]


def test_time_is_that_of_one_thread(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = list[int]()

    def note(job: preflight_room.Job) -> Rows:
        counts.append(torch.get_num_threads())
        return compute.merge_rows(job)

    monkeypatch.setattr(preflight_room, "merge_rows", note)
    before = torch.get_num_threads()
    check(recipe(family, "code", "math"), threads=4)
    assert set(counts) == {1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("operator", "at_once"), [("ties", 8), ("delta_regmean", SOLVES_AT_ONCE)])
def test_few_threads_solve_at_a_time(
    operator: str, at_once: int, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_room, "_seconds_per_entry", lambda *_: 1e-3)
    alone, eight = (
        check(recipe(family, "code", "math", operator=operator), threads=n).seconds for n in (1, 8)
    )
    assert alone / eight == pytest.approx(at_once)


def test_only_what_is_read_counts(family: Path) -> None:
    """Linear reads no base."""
    preflight = check(recipe(family, "code", "math", operator="linear"))
    assert {n.name: n.size > 0 for n in preflight.needs} == {
        "base": False,
        "code": True,
        "math": True,
    }


def test_what_does_not_fit_is_listed_whole(family: Path) -> None:
    other = nano.weights(3) | {"model.norm.weight": torch.ones(3), "more": torch.ones(2)}
    nano.save(family / "other", other)
    preflight = check(recipe(family, "code", "other"))
    assert {(r.model, r.name) for r in preflight.rejected} == {
        ("other", "model.norm.weight"),
        ("other", "more"),
    }


def test_downloads_are_counted_until_they_are_here(
    hub: localhub.Hub, org: str, tmp_path: Path
) -> None:
    for folder in nano.family(tmp_path):
        nano.push(folder, f"{org}/{folder.name}")
    remote = Recipe(
        base=Source(name="base", repo=f"{org}/base"),
        models=(Source(name="code", repo=f"{org}/code"), Source(name="math", repo=f"{org}/math")),
        steps=(Step(operator="ties", models=("code", "math"), parameters={}),),
    )
    size = (tmp_path / "code" / "model.safetensors").stat().st_size
    preflight = check(remote)
    assert preflight.download == 3 * size
    assert preflight.disk == preflight.output + 3 * size
    merge(remote, tmp_path / "out")
    assert check(remote).download == 0


def test_errors_of_a_merge_are_errors_of_its_check(family: Path) -> None:
    with pytest.raises(RepoNotFound, match="there is no folder"):
        check(recipe(family, "code", "nowhere"))
    with pytest.raises(RecipeError, match="tokenizer is 'x'"):
        check(recipe(family, "code", "math", tokenizer="x"))


class TestCommand:
    def test_prints_what_a_person_needs(
        self, family: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = family / "recipe.yaml"
        path.write_text(recipe(family, "code", "math").to_yaml())
        assert main(["check", str(path)]) == 0
        said = capsys.readouterr().out
        for part in ("ties, to float32", "code", "to download", "output", "memory", "time"):
            assert part in said

    def test_says_what_does_not_fit_and_fails(
        self, family: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        nano.save(family / "other", nano.weights(3) | {"more": torch.ones(2)})
        path = family / "recipe.yaml"
        path.write_text(recipe(family, "code", "other").to_yaml())
        assert main(["check", str(path)]) == 1
        said = capsys.readouterr()
        assert "does not fit: other: more is not in base" in said.out
        assert "error: other does not fit: more is not in base" in said.err

    def test_as_json(self, family: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = family / "recipe.yaml"
        path.write_text(recipe(family, "code", "math").to_yaml())
        assert main(["check", str(path), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["fits"] is True
        assert answer["tensors"] == len(nano.weights())
        assert answer["download"] == 0
