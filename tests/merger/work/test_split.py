"""A split merge has the bytes of one on a single machine; nothing is believed that was not seen.

No cluster is needed: pieces of work are done here, in another order, as nodes would do them.
"""

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from simmerge_hub.errors import CheckpointError, OutputError, RecipeError, RequestError
from simmerge_hub.merger import check, merge, report
from simmerge_hub.merger.work import nodes, split
from simmerge_hub.merger.work.split import cut
from simmerge_hub.operators import OPERATORS
from simmerge_hub.operators.registry import operator
from simmerge_hub.recipe import Recipe, load
from simmerge_hub.weights.writing.shards import plan_shards
from simmerge_hub.workers.here import Lost, Needs, Workers
from tests import nano
from tests.merger.test_run import digests, recipe, step

LORA = "base_model.model.model.layers.0.self_attn.q_proj"


def map_backwards(
    work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
) -> Iterator[tuple[int, Any]]:
    """The last piece first; what travels is pickled, as it is on its way to a node."""
    for place in reversed(range(len(pieces))):
        there, piece = send((work, pieces[place]))
        yield place, send(there(piece))


def send(what: Any) -> Any:
    return pickle.loads(pickle.dumps(what))  # noqa: S301  what was pickled just now


def ask_two(work: Callable[[], Any]) -> list[tuple[str, Any]]:
    return [("10.0.0.1", work()), ("10.0.0.2", work())]


NODES = Workers(map=map_backwards, elsewhere=True, ask=ask_two)


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models that are cut into many parts, though they are small."""
    monkeypatch.setattr(split, "SMALLEST_PART", 2000)
    nano.family(tmp_path)
    return tmp_path


def merged_alike(what: Recipe, folder: Path) -> bool:
    said: list[str] = []
    merge(what, folder / "here")
    merge(what, folder / "there", workers=NODES, say=said.append)
    assert said[-1].endswith(" parts for 2 nodes") and int(said[-1].split()[0]) > 5
    names = [path.name for path in (folder / "there").iterdir()]
    assert not [name for name in names if name.startswith(".")]
    return digests(folder / "here") == digests(folder / "there")


@pytest.mark.parametrize(
    "steps",
    [
        (step("ties", density=0.5),),
        (step("ties", trim="model", density=0.3),),
        (step("della", name="mixed"), step("slerp", "mixed", "code")),
        (
            step("ties", name="mixed", trim="model"),
            step("ties", "mixed", "math", trim="model", density=0.4),
        ),
    ],
)
def test_the_bytes_are_those_of_one_machine(family: Path, steps: tuple[Any, ...]) -> None:
    assert merged_alike(recipe(family, *steps, shard_size=10_000), family)


def test_so_are_those_of_adapters_and_buffers(family: Path) -> None:
    for name in ("base", "code"):
        tensors = nano.load(family / name) | {"model.position_ids": torch.arange(7)}
        nano.save(family / name, tensors)
    tensors = {f"{LORA}.lora_A.weight": torch.ones(2, nano.WIDTH),
               f"{LORA}.lora_B.weight": torch.full((nano.WIDTH, 2), 0.5)}  # fmt: skip
    nano.lora(family / "math", tensors, base=str(family / "base"))
    (family / "math" / "model.safetensors").unlink()
    (family / "math" / "config.json").unlink()
    assert merged_alike(recipe(family), family)


def test_so_are_those_of_other_words(family: Path) -> None:
    nano.save(family / "math", nano.weights(2, vocabulary=nano.VOCABULARY + 3))
    assert merged_alike(recipe(family, tokenizer="union"), family)


def test_a_run_goes_on_here_or_there(family: Path) -> None:
    what = recipe(family, step("ties"), shard_size=10_000)
    merge(what, family / "whole")

    def interrupt(_name: str, done: int, _total: int) -> None:
        if done in (5, 12):
            raise KeyboardInterrupt

    for workers in (NODES, replace(NODES, elsewhere=False)):
        with pytest.raises(KeyboardInterrupt):
            merge(what, family / "out", workers=workers, threads=1, progress=interrupt)
    seen: list[str] = []
    merge(what, family / "out", workers=NODES, progress=lambda name, *_: seen.append(name))
    assert len(seen) == len(set(seen)) == len(nano.weights()) - 12
    assert digests(family / "out") == digests(family / "whole")


def test_a_killed_run_leaves_no_token_in_the_folder(family: Path) -> None:
    what = recipe(family)

    def die(_name: str, done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(what, family / "out", progress=die)
    (family / "out.partial" / ".token-0123").write_text("0123")  # as kill -9 leaves it
    merge(what, family / "out")
    assert not list((family / "out").glob(".*"))


def test_what_the_folder_does_not_show_is_not_recorded(family: Path) -> None:
    def damage(
        work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
    ) -> Iterator[tuple[int, Any]]:
        for place, result in map_backwards(work, pieces, needs):
            yield place, dict.fromkeys(result, "0" * 64) if place == 1 else result

    what = recipe(family)
    with pytest.raises(OutputError, match=r"is not what .*out\.partial shows here"):
        merge(what, family / "out", workers=replace(NODES, map=damage))
    entries = (family / "out.partial" / ".journal").read_text().splitlines()[1:]
    assert entries and not any("0" * 64 in entry for entry in entries)
    merge(what, family / "out", workers=NODES)
    merge(what, family / "here")
    assert digests(family / "out") == digests(family / "here")


def test_a_part_that_kills_whoever_tries_it_ends_the_merge(family: Path) -> None:
    def lose(*_: Any) -> Iterator[tuple[int, Any]]:
        yield 0, Lost(reason="the node is gone")

    with pytest.raises(OutputError, match="again and again: the node is gone"):
        merge(recipe(family), family / "out", workers=replace(NODES, map=lose))


def test_an_input_that_is_broken_on_one_node_costs_nothing_that_is_done(family: Path) -> None:
    def break_third(
        work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
    ) -> Iterator[tuple[int, Any]]:
        for done, result in enumerate(map_backwards(work, pieces, needs)):
            if done == 2:
                raise CheckpointError("model.safetensors is cut short")
            yield result

    what = recipe(family)
    with pytest.raises(CheckpointError, match="is cut short"):
        merge(what, family / "out", workers=replace(NODES, map=break_third))
    assert merge(what, family / "out", workers=NODES).taken_over >= 2
    merge(what, family / "here")
    assert digests(family / "out") == digests(family / "here")


def test_a_part_is_promised_the_memory_that_check_states_for_one_thread(family: Path) -> None:
    seen: list[Needs] = []

    def look(
        work: Callable[[Any], Any], pieces: Sequence[Any], needs: Needs
    ) -> Iterator[tuple[int, Any]]:
        seen.append(needs)
        return map_backwards(work, pieces, needs)

    what = recipe(family, step("ties", trim="model"))
    merge(what, family / "out", workers=replace(NODES, map=look))
    assert seen == [Needs(cpus=1, gpus=0, memory=check(what, threads=1).memory)] * 2


def test_a_node_that_cannot_do_its_part_is_named(
    family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(match: str, error: type[Exception], **other: Any) -> None:
        def ask(work: Callable[[], Any]) -> list[tuple[str, Any]]:
            return [("10.0.0.1", work()), ("10.0.0.2", replace(work(), **other))]

        with pytest.raises(error, match=match):
            merge(recipe(family), family / "out", workers=replace(NODES, ask=ask))
        assert (family / "out.partial").is_dir()

    refuse(r"the node 10\.0\.0\.2 does not see .*out\.partial", OutputError, answer="")
    refuse("does not see", OutputError, answer=".token-of-another-folder")
    refuse("on the node 10.0.0.2, /x is not there or not the same", RequestError, other=("/x",))
    here = report.describe_computing()
    old, plain = here | {"torch": "1.0"}, here | {"CPU": "x86_64 (torch's DEFAULT code)"}
    refuse(r"2 has torch 1\.0, and the machine", RequestError, computes_with=old)
    refuse(
        r"2 has a CPU of the kind x86_64 \(torch's DEFAULT code\), and",
        RequestError,
        computes_with=plain,
    )
    with pytest.raises(RequestError, match="no node of the cluster has a core"):
        merge(recipe(family), family / "out", workers=replace(NODES, ask=lambda work: []))


def test_a_node_says_which_code_torch_has_for_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    described: dict[str, str] = {}
    for capability in ("DEFAULT", "AVX2", "AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda c=capability: c)
        described[capability] = report.describe_computing()["CPU"]
    assert described["AVX2"] == described["AVX512"] != described["DEFAULT"]
    monkeypatch.setattr(report.platform, "machine", lambda: "aarch64")
    assert report.describe_computing()["CPU"].startswith("aarch64 ")
    here, there = ({"torch": "2", "CPU": kind} for kind in ("one", "another"))
    with pytest.raises(RequestError, match=r"of the kind another, and .* one:") as caught:
        nodes.check_computing("it", there, here)
    assert "one kind of CPU" in caught.value.hint
    with pytest.raises(RequestError, match=r"has torch 3, and .* torch 2:") as caught:
        nodes.check_computing("it", there | {"torch": "3"}, here)
    assert "the same versions" in caught.value.hint


def test_a_node_looks_for_the_token_and_compares_inputs(family: Path, tmp_path: Path) -> None:
    file = family / "code" / "model.safetensors"
    known = {str(file): nodes.fingerprint(file)}
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / ".token-ab").write_text("ab")
    node = nodes.describe_node(tmp_path / "shared", "ab", known)
    assert (tmp_path / "shared" / node.answer).read_text() == "ab" and node.other == ()
    assert nodes.describe_node(tmp_path / "unmounted", "ab", known).answer == ""
    nano.save(family / "code", nano.weights(7))  # of the same size
    assert nodes.describe_node(tmp_path / "shared", "ab", known).other == (str(file),)
    file.unlink()
    assert nodes.describe_node(tmp_path / "shared", "ab", known).other == (str(file),)


def test_who_belongs_to_a_run_that_is_over_writes_nothing(family: Path) -> None:
    (family / "out.partial").mkdir()
    shards = plan_shards({"a": ("F32", (2, 2))}, 100, {})
    (family / "out.partial" / shards[0].file).write_bytes(bytes(shards[0].size))
    late = split.Split(
        layout=None,  # type: ignore[arg-type]
        shards=shards, folder=family / "out.partial", token="of a run that was killed",
    )  # fmt: skip
    with pytest.raises(OutputError, match="is not seen by every node, or its run has ended"):
        split.write_part(late, ["a"])
    with pytest.raises(RequestError, match=r"a node that has joined the cluster has .*torch"):
        split.write_part(replace(late, computes_with={"torch": "1.0"}), ["a"])


def test_parts_are_of_one_file_each_and_of_about_one_size() -> None:
    entries = {f"t{i}": ("F32", (2**18,)) for i in range(100)} | {"large": ("F32", (2**24,))}
    shards = plan_shards(entries, 40 * 2**20, {})
    done = frozenset({"t0", "t99"})
    parts = cut(shards, done)
    assert [name for part in parts for name in part] == [n for n in entries if n not in done]
    home = {name: shard.file for shard in shards for name in shard.starts}
    assert all(len({home[name] for name in part}) == 1 for part in parts)
    assert {len(part) for part in parts} <= set(range(1, 9))
    assert ("large",) in parts
    assert cut(shards, frozenset(entries)) == []


def test_what_is_one_piece_of_work_is_refused_before_anything_is_read(
    family: Path, tmp_path: Path
) -> None:
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "w1 w2"}) + "\n")
    path = tmp_path / "recipe.yaml"
    text = "simmerge: 1\nbase: {folder: nowhere}\nmodels: [{folder: code}, {folder: math}]\n"
    prompts = "calibration:\n  prompts:\n    code: prompts.jsonl\n    math: prompts.jsonl\n"
    path.write_text(text + prompts + "steps: [{operator: regmean, models: [code, math]}]\n")
    with pytest.raises(RecipeError, match="takes one layer after another") as caught:
        merge(load(path)[0], tmp_path / "out", workers=NODES)
    assert "without --ray" in caught.value.hint
    path.write_text(text + "output: adapter\nsteps: [{operator: linear, models: [code, math]}]\n")
    with pytest.raises(RecipeError, match="an adapter is one small file"):
        merge(load(path)[0], tmp_path / "out", workers=NODES)


def test_an_operator_of_one_s_own_is_refused_before_anything_begins(family: Path) -> None:
    def larger_of(chunk: torch.Tensor, _: None = None) -> torch.Tensor:
        """Of every two weights the larger."""
        return chunk.max(0).values

    operator(space="weight", paper="ours")(larger_of)
    try:
        what = recipe(family, step("larger_of"))
        with pytest.raises(RecipeError, match="larger_of is of your own, and the nodes") as caught:
            merge(what, family / "out", workers=NODES)
        assert not list(family.glob("*out*"))
        assert "leave out --ray" in caught.value.hint
        merge(what, family / "out")
    finally:
        OPERATORS.pop("larger_of")
