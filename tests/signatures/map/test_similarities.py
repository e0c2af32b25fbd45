"""Maps of many models: what they hold, what they cost, what is refused."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import AlignmentError, RequestError, SignatureError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.localhub import Hub
from simmerge_hub.signatures.map.similarities import ModelMap, compare_models, map_models
from simmerge_hub.signatures.signing.signature import Settings, Signature, sign
from tests import nano

NAME = "model.layers.0.mlp.up_proj.weight"


def signature(name: str, values: list[float], **how) -> Signature:
    """A model of one matrix with one row."""
    tensor = torch.tensor([values])
    stated = {"commit": "c0ffee", "digest": name, "kind": "full", "settings": Settings()}
    shapes = {NAME: tuple(tensor.shape), "model.norm.weight": (3,)}
    return Signature(
        name=name, shapes=shapes, sampled={NAME: tensor}, **(stated | how)
    )  # fmt: skip


BASE = signature("base", [1.0, 0.0, 0.0])
EAST, WEST, NORTH = (
    signature("east", [1.0, 1.0, 0.0]),
    signature("west", [1.0, -2.0, 0.0]),
    signature("north", [1.0, 1.0, 1.0]),
)


def test_a_map_by_hand():
    model_map = compare_models([EAST, WEST, NORTH], BASE, notes=["a note"])
    half = np.sqrt(0.5)
    wanted = np.array([[1, -1, half], [-1, 1, -half], [half, -half, 1]])
    assert model_map.measure == "delta_cosine"
    assert model_map.pairs["delta_cosine"] == pytest.approx(wanted)
    assert model_map.norms == pytest.approx([1, 2, np.sqrt(2)])
    assert model_map.norm_profile == pytest.approx(model_map.norms[:, None])
    assert [pair.models for pair in model_map.rank_pairs()] == [(0, 2), (1, 2), (0, 1)]
    assert [pair.models for pair in model_map.rank_pairs("sign_conflict")] == [
        (0, 1),
        (1, 2),
        (0, 2),
    ]
    assert model_map.tree.order in {(1, 2, 0), (1, 0, 2), (0, 2, 1), (2, 0, 1)}
    heights = [merge.height for merge in model_map.tree.joins]
    assert heights == pytest.approx([1 - half, 1 + (1 + half) / 2])
    assert (model_map.layers, model_map.left_out, model_map.notes) == (1, (), ("a note",))


def test_matrices_are_symmetric():
    generator = np.random.default_rng(0)
    models = [signature(str(i), list(map(float, generator.standard_normal(50)))) for i in range(9)]
    for base in (None, signature("base", [0.1] * 50)):
        model_map = compare_models(models, base)
        for values in (*model_map.pairs.values(), *model_map.profiles.values()):
            assert np.array_equal(values, np.swapaxes(values, -1, -2))
            assert np.abs(values).max() < 1 + 1e-6


def test_a_map_as_plain_data():
    data = json.loads(json.dumps(compare_models([EAST, WEST, NORTH], BASE).to_dict()))
    assert data["base"] == "base"
    assert (data["nearest"], data["farthest"]) == (["east", "north"], ["east", "west"])
    assert sorted(data["order"]) == ["east", "north", "west"]
    assert data["models"][1] == {
        "name": "west", "commit": "c0ffee", "delta_norm": 2.0, "layers": {"delta_norm": [2.0]},
    }  # fmt: skip
    assert data["pairs"][0] == {
        "models": ["east", "north"],
        "delta_cosine": 0.707107,
        "sign_conflict": 0.0,
        "weight_cosine": round(2 / np.sqrt(6), 6),
        "layers": {
            "delta_cosine": [0.707107],
            "sign_conflict": [0.0],
            "weight_cosine": [round(2 / np.sqrt(6), 6)],
        },
    }
    assert data["tree"][0]["models"] in (["east", "north"], ["north", "east"])


def test_a_model_that_did_not_move_is_missing_not_faked():
    model_map = compare_models([EAST, replace(BASE, name="copy"), WEST], BASE)
    assert [np.isnan(pair.value) for pair in model_map.rank_pairs()] == [False, True, True]
    data = model_map.to_dict()
    assert (data["nearest"], data["farthest"]) == (["east", "west"], ["east", "west"])
    assert [pair["delta_cosine"] for pair in data["pairs"]] == [-1.0, None, None]
    copies = [replace(BASE, name=name) for name in ("one", "two")]
    assert compare_models(copies, BASE).to_dict()["nearest"] is None


def test_without_a_base():
    model_map = compare_models([EAST, WEST])
    assert (model_map.base, model_map.measure) == (None, "weight_cosine")
    assert set(model_map.pairs) == {"weight_cosine"}
    assert model_map.pairs["weight_cosine"][0, 1] == pytest.approx(-1 / np.sqrt(10))
    data = model_map.to_dict()
    assert (data["models"][0]["delta_norm"], data["models"][0]["layers"]) == (None, {})


def test_what_cannot_be_compared():
    other = replace(EAST, name="other", settings=Settings(entries=7))
    with pytest.raises(SignatureError, match="different settings"):
        compare_models([EAST, other], BASE)
    with pytest.raises(AlignmentError, match="east and wide have no matrix in common"):
        compare_models([EAST, signature("wide", [1.0] * 4)])


def test_forty_signed_models_take_seconds():
    base = sign(resolve(str(nano_folder() / "base")))
    models = []
    for number in range(40):
        generator = torch.Generator().manual_seed(number)
        noise = {n: torch.randn(t.shape, generator=generator) for n, t in base.sampled.items()}
        sampled = {n: t.float() + 0.01 * noise[n] for n, t in base.sampled.items()}
        models.append(replace(base, name=f"model-{number}", sampled=sampled))
    before = time.process_time()  # not the clock on the wall: other tests may run beside this one
    model_map = compare_models(models, base)
    assert time.process_time() - before < 10
    assert len(model_map.rank_pairs()) == 780
    assert model_map.profiles["delta_cosine"].shape == (4, 40, 40)
    assert np.abs(model_map.pairs["delta_cosine"] - np.eye(40)).max() < 0.05
    assert model_map.pairs["sign_conflict"][0, 1] == pytest.approx(0.5, abs=0.01)


# from references


def family(folder: Path, *, models: int = 2) -> list[str]:
    """References of a base and some fine-tunes of it."""
    base = nano.weights()
    nano.save(folder / "base", base)
    for number in range(models):
        nano.save(folder / f"m{number}", nano.tuned(base, number, size=0.1 + 0.1 * number))
    return [str(folder / name) for name in ("base", *(f"m{n}" for n in range(models)))]


@pytest.fixture
def folders(tmp_path: Path, assets: Path) -> list[str]:
    return family(tmp_path, models=3)


def test_folders_with_their_base(folders: list[str]) -> None:
    said: list[str] = []
    model_map = map_models(*folders[1:], base=folders[0], progress=said.append)
    assert (model_map.names, model_map.base) == (("m0", "m1", "m2"), "base")
    assert model_map.norms == pytest.approx([0.1, 0.2, 0.3], rel=0.05)
    assert np.abs(model_map.pairs["delta_cosine"] - np.eye(3)).max() < 0.1
    assert {"reading headers", "signing m0", "signing base", "comparing"} <= set(said)


def test_a_second_map_reads_no_weights(folders: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = map_models(*folders[1:], base=folders[0])
    monkeypatch.setattr("simmerge_hub.signatures.signing.signature.read_sample", None)
    again = map_models(*folders[1:], base=folders[0])
    assert again.to_dict() == first.to_dict()


def test_no_base_named_anywhere(folders: list[str]) -> None:
    model_map = map_models(*folders[1:])
    assert model_map.measure == "weight_cosine"
    assert model_map.notes == (
        "weights are compared, not deltas: no card names a base, nor does --base",
    )


def test_cards_that_disagree_leave_weights(folders: list[str]) -> None:
    for folder in folders[1:3]:
        card = f"---\nbase_model: org/{Path(folder).name}-base\n---\n"
        Path(folder, "README.md").write_text(card)
    model_map = map_models(*folders[1:])
    assert model_map.base is None
    assert model_map.notes[0].startswith(
        "weights are compared, not deltas: the models name different"
    )
    told = map_models(*folders[1:], base=folders[0])
    assert told.base == "base"
    assert told.notes[0] == "m0 says it was made from org/m0-base; base is taken as its base"


def test_an_adapter_among_models(folders: list[str], tmp_path: Path) -> None:
    adapter = str(nano.lora(tmp_path / "lora"))
    model_map = map_models(folders[1], adapter, base=folders[0])
    assert model_map.names == ("m0", "lora")
    assert model_map.norm_profile[1, 1] == 0 < model_map.norm_profile[1, 0]
    with pytest.raises(AlignmentError, match="base"):
        map_models(folders[1], adapter)


def test_vocabularies_of_other_sizes_are_left_out(tmp_path: Path, assets: Path) -> None:
    base = nano.weights()
    grown = {
        n: torch.cat([t, t[:3]]) if n in ("model.embed_tokens.weight", "lm_head.weight") else t
        for n, t in nano.tuned(base, 7).items()
    }
    paths = [
        nano.save(tmp_path / "base", base),
        nano.save(tmp_path / "code", nano.tuned(base, 1)),
        nano.save(tmp_path / "chat", grown),
    ]
    model_map = map_models(str(paths[1]), str(paths[2]), base=str(paths[0]))
    assert set(model_map.left_out) == {"model.embed_tokens.weight", "lm_head.weight"}
    assert abs(model_map.pairs["delta_cosine"][0, 1]) < 0.1


def test_behaviour_of_real_models(assets: Path) -> None:
    names = ("code", "math", "instruct")
    paths = [str(nano_folder() / name) for name in names]
    model_map = map_models(*paths, base=str(nano_folder() / "base"), signals="full")
    tasks = {m.removeprefix("js.") for m in model_map.pairs if m.startswith("js.")}
    assert tasks == {"code", "math", "multilingual", "rag", "instruct"}
    assert (model_map.pairs["js"][np.triu_indices(3, 1)] > 0.001).all()


def test_the_base_is_found_on_the_cards(hub: Hub, assets: Path) -> None:
    from simmerge_hub.zoo.publish import publish

    publish(nano_folder(), "nano")
    model_map = map_models("nano/code", "nano/math", "nano/rag-lora")
    assert (model_map.base, model_map.notes) == ("nano/base", ())
    assert all(model_map.commits)
    with pytest.raises(RequestError, match="nano/base is the base of the others"):
        map_models("nano/code", "nano/base")


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_models(count: int) -> None:
    with pytest.raises(RequestError) as stop:
        map_models(*["org/a"] * count)
    assert str(stop.value) == f"a map takes two models or more, and {count} is given"
    assert stop.value.hint == "name other fine-tunes of the same base"


def test_one_model_twice(folders: list[str]) -> None:
    with pytest.raises(RequestError, match="m1 is given twice"):
        map_models(*folders[1:], folders[2])


def test_two_models_of_one_name(folders: list[str], tmp_path: Path) -> None:
    other = tmp_path / "copies" / "m0"
    shutil.copytree(folders[2], other)
    with pytest.raises(AlignmentError, match="m0 are both called m0"):
        map_models(*folders[1:], str(other), base=folders[0])


def test_models_that_do_not_match(folders: list[str]) -> None:
    with pytest.raises(AlignmentError) as stop:
        map_models(folders[1], str(nano_folder() / "code"))
    assert str(stop.value).startswith("code does not fit: ")
    assert stop.value.hint == "map models of one architecture and size; leave out code"


def test_the_result_says_little_of_itself() -> None:
    assert len(repr(compare_models([EAST, WEST], BASE))) < 300
    assert isinstance(compare_models([EAST, WEST], BASE), ModelMap)
