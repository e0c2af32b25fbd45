"""A merge on this machine, pushed as who asks for it; nothing is left behind."""

from collections.abc import Callable
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from simmerge_hub.hub.upload.publish import Commit
from simmerge_hub.publishing.verbs import merge
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.space import fields, merges
from simmerge_hub.space.merges import Merges, remove
from tests import nano
from tests.pages import stand_in


@pytest.fixture
def page() -> Merges:
    return Merges(stand_in(fields.Do))


def token(text: str) -> gr.OAuthToken:
    return gr.OAuthToken(token=text, scope="", expires_at=0)


def test_a_push_on_a_space_is_by_who_is_signed_in_and_nobody_else(
    page: Merges, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple] = []

    def push(folder: Path, repo: str, **how: object) -> Commit:
        given.append((folder, repo, how))
        return Commit(repo=repo, oid="0" * 40, url="x", outcome="pull request")

    monkeypatch.setattr(merges, "push", push)
    refused = page.push_signed_in("/folder", "org/name", True, False, None, None)
    assert "you are not signed in" in refused[page.done.pushed]
    assert not given
    done = page.push_signed_in("/folder", " org/name ", True, False, "mit ", token("theirs"))
    assert "Proposed in a pull request" in done[page.done.pushed]
    asked = {"create_pr": True, "private": False, "license": "mit", "token": "theirs"}
    assert given == [(Path("/folder/merged"), "org/name", asked)]


def test_without_a_plan_or_a_merge_there_is_nothing_to_do(page: Merges) -> None:
    visitor = SimpleNamespace(session_hash="x")
    (said,) = page.merge(visitor, None, "")  # pyright: ignore[reportArgumentType]
    assert "there is no plan yet" in said[page.done.status]
    assert (
        "nothing is merged yet" in page.push("", "org/name", False, False, None)[page.done.pushed]
    )


def test_a_merge_that_was_stopped_leaves_the_next_one_alone(
    page: Merges, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_made: object, _place: Path, say: Callable[[str], None]) -> None:
        while True:
            say("working")
            sleep(0.01)

    monkeypatch.setattr(merges, "_merge", work)
    visitor: Any = SimpleNamespace(session_hash="x")
    made: Any = object()
    first, second = page.merge(visitor, made, ""), page.merge(visitor, made, "")
    next(first)
    next(first)  # it runs
    page.stop(visitor)
    next(second)
    assert list(first) == []
    next(second)
    assert "working" in next(second)[page.done.status]
    assert "Stopped" not in str(page.say_stopped(visitor))
    page.stop(visitor)
    assert "Stopped" in page.say_stopped(visitor)[page.done.status]
    assert list(second) == []


def test_a_folder_is_removed_and_no_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "merge").mkdir()
    remove(str(tmp_path / "merge"))
    remove("")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_names_no_path(page: Merges, tmp_path: Path) -> None:
    error = OSError(28, "No space left on device", str(tmp_path))
    assert str(tmp_path) not in str(merges._ours(error))


def test_a_conflict_of_licences_is_settled_on_the_page(
    page: Merges, tmp_path: Path, org: str
) -> None:
    for seed, (name, licence) in enumerate((("a", "gpl-2.0"), ("b", "apache-2.0"))):
        nano.save(tmp_path / name, nano.weights(seed))
        (tmp_path / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    models = tuple(Source(name=name, folder=tmp_path / name) for name in "ab")
    steps = (Step(operator="linear", models=("a", "b"), parameters={}),)
    merge(Recipe(base=None, models=models, steps=steps), tmp_path / "merged")
    where = (str(tmp_path), f"{org}/merged", False, False)
    refused = page.push(*where, None)[page.done.pushed]
    assert "no licence fits all parents" in refused
    assert "choose one under Licence" in refused
    assert "--license" not in refused
    assert "Pushed in one commit" in page.push(*where, "gpl-2.0")[page.done.pushed]


def test_nothing_is_left_when_the_page_is_closed() -> None:
    places = [merges.make_folder() for _ in range(2)]
    (places[0] / "merged").mkdir()
    remove(str(places[1]))
    merges.clear()
    assert not any(place.exists() for place in places)
