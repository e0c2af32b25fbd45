"""The common base: believed only where every model says so, and lies near it."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from simmerge_hub import localhub
from simmerge_hub.errors import BaseUnknown, OfflineWithoutCache, RepoNotFound
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.adapters import other_revision
from simmerge_hub.weights.alignment.align import align
from simmerge_hub.weights.alignment.lineage import base_notes, common_base, distance
from tests import nano

BASE = nano.weights()


def card(*parents: str) -> str:
    listed = "".join(f"- {p}\n" for p in parents)
    return f"---\nbase_model:\n{listed}---\n" if parents else ""


class Family:
    """Fine-tunes of one base in one namespace, with the parents their cards name."""

    def __init__(self, org: str, folder: Path) -> None:
        self.org, self.folder, self.count = org, folder, 0

    def add(self, name: str, *parents: str, base: bool = False, size: float = 0.1) -> Checkpoint:
        self.count += 1
        tensors = BASE if base else nano.tuned(BASE, self.count, size=size)
        stated = [p if "/" in p else f"{self.org}/{p}" for p in parents]
        nano.push(nano.save(self.folder / name, tensors, card=card(*stated)), f"{self.org}/{name}")
        return resolve(f"{self.org}/{name}")

    def lora(self, name: str, base: str, **config: Any) -> Checkpoint:
        stated = base if "/" in base else f"{self.org}/{base}"
        nano.push(nano.lora(self.folder / name, base=stated, **config), f"{self.org}/{name}")
        return resolve(f"{self.org}/{name}")


@pytest.fixture
def family(hub: localhub.Hub, org: str, tmp_path: Path) -> Family:
    return Family(org, tmp_path)


def name_of(checkpoint: Checkpoint | None) -> str:
    return checkpoint.name.rpartition("/")[2] if checkpoint else "none"


def test_the_base_all_cards_name(family: Family) -> None:
    base = family.add("base", base=True)
    models = [family.add("code", "base"), family.add("math", "base")]
    common = common_base(models)
    assert common is not None
    assert (common.name, common.commit) == (base.name, base.commit)


def test_the_nearest_shared_ancestor(family: Family) -> None:
    family.add("root", base=True)
    family.add("chat", "root")
    family.add("code", "chat")
    assert name_of(common_base([family.add("x", "code"), family.add("y", "chat")])) == "chat"
    assert name_of(common_base([family.add("z", "root"), family.add("w", "code")])) == "root"


def test_a_model_and_its_own_ancestor(family: Family) -> None:
    root = family.add("root", base=True)
    chat = family.add("chat", "root")
    assert name_of(common_base([chat, family.add("code", "chat")])) == "root"
    assert name_of(common_base([root, chat])) == "root"


def test_adapters_name_their_base(family: Family) -> None:
    family.add("base", base=True)
    models = [family.lora("one", "base"), family.lora("two", "base")]
    assert name_of(common_base(models)) == "base"
    assert name_of(common_base([models[0], family.add("code", "base")])) == "base"


def test_the_revision_that_adapters_name(family: Family) -> None:
    """The base has moved on since they were trained; PEFT loads what their configs say."""
    old = family.add("base", base=True)
    new = family.add("base")
    assert old.commit and new.commit and old.commit != new.commit
    one = family.lora("one", "base", revision=old.commit)
    for other in (family.lora("two", "base"), family.add("code", "base")):
        base = common_base([other, one])
        assert base is not None
        assert base.commit == old.commit
        assert other_revision(one, base) == []
    assert other_revision(one, new) == [
        f"{one.name} says its base is {new.name} at {old.commit}, and is added to it at "
        f"{new.commit[:8]}"
    ]
    assert align([one], new).notes == tuple(other_revision(one, new))


def test_other_revisions_of_one_base(family: Family) -> None:
    old = family.add("base", base=True)
    family.add("base")
    one, two = (
        family.lora("a", "base", revision=old.commit or ""),
        family.lora("b", "base", revision="main"),
    )
    with pytest.raises(BaseUnknown, match=r"different revisions of .*/base") as caught:
        common_base([one, two])
    assert f"--base {old.name}@{old.commit}" in str(caught.value.hint)
    gone = family.lora("gone", "base", revision="f" * 40)
    with pytest.raises(BaseUnknown, match="cannot be read"):
        common_base([gone])
    HfApi().create_tag(old.name, tag="v1", revision=old.commit)
    alike = family.lora("c", "base", revision="v1")
    base = common_base([alike, one])
    assert base is not None
    assert base.commit == old.commit
    assert other_revision(alike, base) == []


def test_a_revision_that_says_nothing(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder has none; a branch that nobody can look up may be the commit that is taken."""
    base = family.add("base", base=True)
    one, two = (family.lora(name, "base", revision="main") for name in ("on-main", "on-v9"))
    at = str(nano.model(tmp_path / "base"))
    folders = [
        resolve(str(nano.lora(tmp_path / name, base=at, revision=name))) for name in ("v1", "v2")
    ]
    assert name_of(common_base(folders)) == "base"

    def offline(ref: object) -> None:
        raise OfflineWithoutCache("offline mode is on", hint="")

    monkeypatch.setattr("simmerge_hub.weights.adapters.kinds.resolve_files", offline)
    assert other_revision(one, base) == other_revision(two, base) == []


def test_a_model_that_names_none_follows_the_others(family: Family) -> None:
    family.add("base", base=True)
    assert name_of(common_base([family.add("code", "base"), family.add("silent")])) == "base"


def test_nobody_names_a_base(family: Family) -> None:
    assert common_base([family.add("a"), family.add("b")]) is None


def test_a_merge_of_two_names_no_base(family: Family) -> None:
    family.add("base", base=True)
    family.add("other", base=True)
    assert common_base([family.add("merge", "base", "other"), family.add("b")]) is None


def test_different_bases(family: Family) -> None:
    family.add("one", base=True)
    family.add("two", base=True)
    models = [family.add("a", "one"), family.add("b", "two")]
    with pytest.raises(BaseUnknown) as caught:
        common_base(models)
    org = family.org
    assert str(caught.value) == (
        f"the models name different bases ({org}/a: {org}/one; {org}/b: {org}/two)"
    )
    assert caught.value.hint == (
        "merge models with one base; if these are copies of one model, name it with --base, or as "
        "`base:` of a recipe"
    )
    assert name_of(common_base(models, f"{org}/one")) == "one"


def test_an_adapter_that_disagrees(family: Family) -> None:
    family.add("one", base=True)
    nano.push(nano.save(family.folder / "other", nano.weights(5)), f"{family.org}/other")
    with pytest.raises(BaseUnknown, match="the models name different bases"):
        common_base([family.add("a", "one"), family.lora("b", "other")])


def test_base_contradicts_a_card_and_the_weights(family: Family) -> None:
    family.add("one", base=True)
    other = nano.push(nano.save(family.folder / "other", nano.weights(5)), f"{family.org}/other")
    assert other
    with pytest.raises(BaseUnknown) as caught:
        common_base([family.add("a", "one")], f"{family.org}/other")
    assert "/a is no fine-tune of " in str(caught.value)


def test_the_user_is_believed_against_a_card(family: Family) -> None:
    """Where the weights agree; and it is said."""
    family.add("one", base=True)
    close = {name: tensor * 1.01 for name, tensor in BASE.items()}
    nano.push(nano.save(family.folder / "copy", close), f"{family.org}/copy")
    model = family.add("a", "one")
    base = common_base([model], f"{family.org}/copy")
    assert name_of(base) == "copy"
    org = family.org
    assert base_notes([model], base) == [
        f"{org}/a says it was made from {org}/one; {org}/copy is taken as its base"
    ]


def test_an_adapter_of_what_is_not_here(family: Family) -> None:
    """A path of another machine: the base that is named is taken."""
    family.add("one", base=True)
    lora = family.lora("b", "/home/someone/models/base")
    with pytest.raises(BaseUnknown) as caught:
        common_base([lora])
    assert caught.value.hint.startswith(
        "name a copy of it (the original, if it is quantised) with --base"
    )
    assert name_of(common_base([lora], f"{family.org}/one")) == "one"


def test_an_adapter_of_another_model(family: Family) -> None:
    family.add("one", base=True)
    nano.push(nano.save(family.folder / "other", nano.weights(5)), f"{family.org}/other")
    with pytest.raises(BaseUnknown) as caught:
        common_base([family.lora("b", "one")], f"{family.org}/other")
    assert (
        caught.value.hint == f"use --base {family.org}/one, or `base: {family.org}/one` in a recipe"
    )


def test_a_quantised_copy_leads_to_its_original(family: Family) -> None:
    family.add("one", base=True)
    quantised = nano.save(
        family.folder / "bnb",
        BASE,
        config={**nano.CONFIG, "quantization_config": {"load_in_4bit": True}},
    )
    (quantised / "README.md").write_text(f"---\nbase_model: {family.org}/one\n---\n")
    nano.push(quantised, f"{family.org}/bnb")
    assert name_of(common_base([family.lora("b", "bnb")])) == "one"


def test_a_copy_of_the_base_may_be_named(family: Family) -> None:
    """A fork, or a folder: other name, equal content."""
    family.add("one", base=True)
    model = family.add("a", "one")
    nano.push(nano.save(family.folder / "fork", BASE), f"{family.org}/fork")
    assert name_of(common_base([model], f"{family.org}/fork")) == "fork"
    assert name_of(common_base([model], str(family.folder / "fork"))) == "fork"


def test_unrelated_weights_are_no_fine_tune(family: Family) -> None:
    nano.push(nano.save(family.folder / "base", nano.weights(7)), f"{family.org}/base")
    model = family.add("a", "base")
    with pytest.raises(BaseUnknown) as caught:
        common_base([model])
    assert str(caught.value).startswith(
        f"{family.org}/a is no fine-tune of {family.org}/base: its weights differ from it by 1.39 "
    )
    assert (
        caught.value.hint
        == "name the model it was trained from with --base, or as `base:` of a recipe"
    )


def test_a_far_base_named_by_the_user_is_refused_too(family: Family) -> None:
    nano.push(nano.save(family.folder / "base", nano.weights(7)), f"{family.org}/base")
    with pytest.raises(BaseUnknown, match="is no fine-tune of"):
        common_base([family.add("a")], f"{family.org}/base")


def test_cards_that_go_round_in_circles(family: Family) -> None:
    a, b = family.add("a", "b"), family.add("b", "a")
    with pytest.raises(BaseUnknown, match="the models name different bases"):
        common_base([a, b])
    assert common_base([family.add("self", "self"), family.add("c")]) is None


def test_a_parent_that_cannot_be_read(family: Family) -> None:
    """Two cards name a model that is gone: say so, and how to go on."""
    models = [family.add("a", "gone"), family.add("b", "gone")]
    with pytest.raises(BaseUnknown) as caught:
        common_base(models)
    assert str(caught.value) == (
        f"the models say they were made from {family.org}/gone, which cannot be read: there is no "
        f"model {family.org}/gone, or it is private and the token does not open it"
    )
    assert caught.value.hint == (
        "name a copy of it (the original, if it is quantised) with --base, or as `base:` of a "
        "recipe"
    )


def test_a_parent_that_is_a_folder_of_its_author(family: Family) -> None:
    models = [family.add("a", "/workspace/llama"), family.add("b", "/workspace/llama")]
    with pytest.raises(BaseUnknown, match="made from /workspace/llama, which cannot be read"):
        common_base(models)


def test_a_card_on_the_hub_never_names_a_folder_of_ours(family: Family) -> None:
    """A repository must not be able to pull a local model into a merge that is published."""
    private = nano.save(family.folder / "private", BASE)
    with pytest.raises(BaseUnknown, match="which cannot be read"):
        common_base([family.add("a", str(private)), family.add("b", str(private))])


def test_nor_is_a_folder_of_ours_looked_into_for_a_card_on_the_hub(family: Family) -> None:
    base, copy = family.add("base", base=True), nano.save(family.folder / "copy", BASE)
    model = family.add("a", str(copy))
    assert base_notes([model], base) == [
        f"{model.name} says it was made from {copy}; {base.name} is taken as its base"
    ]


def test_the_card_of_a_folder_may_name_a_folder(tmp_path: Path) -> None:
    base = nano.save(tmp_path / "base", BASE)
    tuned = nano.save(tmp_path / "a", nano.tuned(BASE, 1), card=card(str(base)))
    assert name_of(common_base([resolve(str(tuned))])) == "base"


def test_a_base_that_is_not_there(family: Family) -> None:
    with pytest.raises(RepoNotFound):
        common_base([family.add("a")], f"{family.org}/nothing")


@pytest.mark.parametrize(("size", "low", "high"), [(0.0, 0, 0), (0.1, 0.09, 0.11), (0.5, 0.4, 0.6)])
def test_distance(tmp_path: Path, size: float, low: float, high: float) -> None:
    base = resolve(str(nano.save(tmp_path / "base", BASE)))
    model = resolve(str(nano.save(tmp_path / "model", nano.tuned(BASE, 1, size=size))))
    assert low <= distance(base, model) <= high


def test_nothing_in_common_is_infinitely_far(tmp_path: Path) -> None:
    import torch

    base = resolve(str(nano.save(tmp_path / "a", {"x": torch.ones(2, 2)}, config={})))
    model = resolve(str(nano.save(tmp_path / "b", {"y": torch.ones(2, 2)}, config={})))
    assert distance(base, model) == float("inf")
