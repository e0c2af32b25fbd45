"""What is refused of signatures that somebody published, and what the spot check looks at."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.probing.dosing.response import Response
from simmerge_hub.signatures.published import belief
from simmerge_hub.signatures.published.belief import doubt, spot_check
from simmerge_hub.signatures.signing import cache
from simmerge_hub.signatures.signing.sample import choose_rows
from simmerge_hub.signatures.signing.signature import Request, Settings, Signature, sign
from simmerge_hub.weights import stream

NORM = "model.norm.weight"
TASK = "strings"


@pytest.fixture
def wanted(family: Any, assets: Any) -> Request:
    return Request(checkpoint=family.checkpoints["expert"], probe_sets=(family.probes,))


def change_sample(
    **changed: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[Signature], Signature]:
    """The signature with some sampled tensors changed, `norm` for NORM or `all`."""

    def change(signature: Signature) -> Signature:
        one = changed.get("norm", lambda t: t)
        every = changed.get("all", lambda t: t)
        tensors = {n: every(one(t) if n == NORM else t) for n, t in signature.sampled.items()}
        return replace(signature, sampled=tensors)

    return change


def change_sketch(**arrays: Any) -> Callable[[Signature], Signature]:
    """The signature with some parts of its sketch changed."""

    def change(signature: Signature) -> Signature:
        sketch = signature.sketches[TASK]
        values = {n: f(getattr(sketch, n)) if callable(f) else f for n, f in arrays.items()}
        return replace(signature, sketches={TASK: replace(sketch, **values)})

    return change


def keep_positions(positions: list[int]) -> Callable[[Signature], Signature]:
    """The signature with some positions of its sketch only."""

    def of(axis: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda a: np.take(a, np.array(positions, int), axis=axis)

    return change_sketch(logprobs=of(0), entropy=of(0), ends=of(0), hidden=of(1))


def test_the_models_own_signature_is_believed(family: Any, wanted: Request) -> None:
    assert doubt(family.expert, wanted) == ""
    assert doubt(family.expert, wanted, family.expert) == ""
    assert spot_check(family.expert, wanted, "c") == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: replace(s, digest="0" * 64), "it is of a model of other content"),
        (lambda s: replace(s, settings=Settings(entries=5)), "its settings are Settings(entries=5"),
        (lambda s: replace(s, kind="merge"), "its tensors are not those of the model"),
        (lambda s: replace(s, approximate=("x",)), "its tensors are not those of the model"),
        (lambda s: replace(s, shapes={}), "its tensors are not those of the model"),
        (lambda s: replace(s, sampled={}), "other tensors are sampled in it"),
        (change_sample(norm=torch.Tensor.double), f"{NORM} is torch.float64 (1, 32) in it"),
        (change_sample(norm=lambda t: t[:, :5]), f"{NORM} is torch.float32 (1, 5) in it"),
        (change_sketch(loss=lambda a: a[:3]), f"its sketch of {TASK} has loss of the wrong size"),
        (change_sketch(loss=lambda a: a.astype(np.float64)), "has loss of the wrong size or type"),
        (change_sketch(hidden=lambda a: a[:, :5]), "has hidden of the wrong size or type"),
        (change_sketch(hidden="text"), "has no array hidden"),
        (change_sketch(logprobs=lambda a: a[:, :5]), "has logprobs of the wrong size or type"),
        (change_sketch(attention=lambda a: a[0]), "has attention of the wrong size or type"),
        (change_sketch(vocabulary="many"), "has no tokens or vocabulary"),
        (change_sketch(tokens=None), "has no tokens or vocabulary"),
        (keep_positions([]), "has other positions than the prompts"),
        (keep_positions([3, 4]), "has other positions than the prompts"),
        (change_sketch(ends=lambda a: a & False), "has other positions than the prompts"),
        (change_sketch(ids=lambda _: np.ones((1, 9), np.int32)), "has ids of the wrong size"),
        (
            change_sketch(vocabulary=97, logprobs=lambda a: np.pad(a, ((0, 0), (0, 1)))),
            "has another vocabulary than the model",
        ),
        (change_sketch(logprobs=lambda a: a + 100), "has log-probabilities that are none"),
        (change_sketch(logprobs=lambda a: a * 9e36), "has log-probabilities that are none"),
        (change_sketch(logprobs=lambda a: a / 2), "has probabilities that do not sum to 1"),
        (change_sketch(entropy=lambda a: -a - 1), "has an entropy or a loss that is none"),
        (change_sketch(loss=lambda a: -a), "has an entropy or a loss that is none"),
        (change_sketch(hidden=lambda a: a * 0 + 1e38), "has hidden states that are none"),
        (change_sketch(hidden=lambda a: a[..., :0]), "has hidden states that are none"),
        (change_sketch(hidden=lambda a: a[:0], depths=lambda a: a[:0]), "has layers that the"),
        (change_sketch(depths=lambda a: a[::-1]), "has layers that the model has not"),
        (change_sketch(attention=lambda a: a[..., :0]), "has attention of the wrong size or type"),
        (change_sketch(attention=lambda a: -a), "has attention that is none"),
        (change_sketch(attention=lambda a: a * 0 + 1), "has attention that is none"),
        (change_sketch(attention=lambda a: a[:, :, :5]), "has attention that is none"),
    ],
)  # fmt: skip
def test_what_cannot_be(change: Any, reason: str, family: Any, wanted: Request) -> None:
    assert reason in doubt(change(family.expert), wanted)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (1, 1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("name", belief.SKETCH_ARRAYS)
def test_an_array_of_any_shape_is_a_reason_and_no_crash(
    name: str, shape: tuple[int, ...], family: Any, wanted: Request
) -> None:
    change = change_sketch(**{name: lambda a: np.zeros(shape, a.dtype)})
    assert doubt(change(family.expert), wanted).startswith(f"its sketch of {TASK} has ")


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (range(96), ""),
        (range(1, 97), "has tokens beyond its vocabulary"),
        (range(-1, 95), "has tokens beyond its vocabulary"),
        ([0, *range(95)], "has a token twice"),
    ],
    ids=["all", "too large", "negative", "twice"],
)
def test_kept_tokens(
    ids: Any, reason: str, family: Any, wanted: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(belief, "WHOLE_VOCABULARY", 95)
    monkeypatch.setattr(belief, "TOP_TOKENS", 96)
    count = len(family.expert.sketches[TASK].ends)
    change = change_sketch(
        ids=np.tile(np.array(ids, np.int32), (count, 1)), tail=np.full(count, -69, np.float32)
    )
    seen = doubt(change(family.expert), wanted)
    assert reason in seen
    assert bool(reason) == bool(seen)


@pytest.mark.parametrize("architecture", ["gemma3", "gpt2", "mixtral"])
def test_signatures_of_other_architectures_are_believed(
    architecture: str, tiny: Any, tmp_path: Any, assets: Any, probes: Any
) -> None:
    checkpoint = tiny.save(tiny.model_of(architecture), tmp_path / "model")
    request = Request(checkpoint=checkpoint, probe_sets=(probes,))
    assert doubt(sign(checkpoint, probe_sets=[probes]), request) == ""


def test_positions_that_others_left_out_are_missing_not_faked(family: Any, wanted: Request) -> None:
    ends = family.expert.sketches[TASK].ends
    some = keep_positions([i for i in range(len(ends)) if i != 1 - int(ends[1])])(family.expert)
    assert doubt(some, wanted) == ""  # who made it says that its prompts are that short
    values = features(some, family.auxiliary, family.base, TASK)
    assert np.isnan(values["js_mean"])
    assert np.isfinite(values["delta_cosine.all"])


def test_a_sketch_that_nobody_asked_for_is_not_looked_at(family: Any, wanted: Request) -> None:
    other = change_sketch(probes="else", loss=lambda a: a[:3])
    assert doubt(other(family.expert), wanted) == ""


def test_one_number_that_is_not_as_known(family: Any, wanted: Request) -> None:
    def bend(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor[0, 3] += 1e-6
        return tensor

    signature = change_sample(norm=bend)(family.expert)
    assert doubt(signature, wanted) == ""
    assert doubt(signature, wanted, family.expert) == f"rows of {NORM} are not those of the model"


def test_false_rows_are_found_out(family: Any, wanted: Request) -> None:
    signature = change_sample(all=lambda t: t * 1.001)(family.expert)
    assert doubt(signature, wanted) == ""
    assert "are not those of the model" in spot_check(signature, wanted, "c")


def test_the_spot_check_reads_a_few_rows(
    family: Any, wanted: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = stream.read_rows

    def counting(checkpoint: Any, rows: Any, base: Any) -> Any:
        read.extend(high - low for ranges in rows.values() for low, high in ranges)
        return real(checkpoint, rows, base)

    monkeypatch.setattr(stream, "read_rows", counting)
    spot_check(family.expert, wanted, "c")
    assert set(read) == {1}
    assert len(read) <= belief.ROWS_CHECKED


def test_which_rows_only_this_machine_knows(assets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = choose_rows({"a": (4000, 8), "b": (50, 8)}, entries=2000)
    first = belief._draw_places(ranges, "digest commit")
    assert belief._draw_places(ranges, "digest commit") == first
    assert belief._draw_places(ranges, "digest later") != first
    monkeypatch.setattr(cache, "secret", lambda: bytes(32))
    assert belief._draw_places(ranges, "digest commit") != first
    for name, places in first.items():
        rows = [row for low, high in ranges[name] for row in range(low, high)]
        assert [belief._row(ranges[name], place) for place in places] == [rows[p] for p in places]


def test_rows_of_an_adapter_may_differ_by_rounding() -> None:
    full, adapter = (
        SimpleNamespace(checkpoint=SimpleNamespace(kind=k)) for k in ("full", "adapter")
    )
    row = torch.tensor([[1.0, 2.0]])
    near: Any = row * (1 + 1e-6)
    assert not belief._is_same(near, row, full)  # type: ignore[arg-type]
    assert belief._is_same(near, row, adapter)  # type: ignore[arg-type]
    assert not belief._is_same(row * 1.001, row, adapter)  # type: ignore[arg-type]


def change_response(**arrays: Any) -> Callable[[Response], Response]:
    """The response with some parts changed."""
    return lambda told: replace(told, **{n: f(getattr(told, n)) for n, f in arrays.items()})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_response(), ""),
        (change_response(base=lambda _: "other"), ""),  # nobody asked for it, and it is not used
        (change_response(doses=lambda a: a + 1), "is to other doses"),
        (change_response(doses=lambda a: a[:3]), "has doses of the wrong size or type"),
        (change_response(kept=lambda a: a[:, :-1]), "has kept of the wrong size or type"),
        (change_response(logliks=lambda a: a.astype(np.float16)), "has logliks of the wrong size"),
        (change_response(logliks=lambda a: -a + 1), "has log-likelihoods that are none"),
        (change_response(lengths=lambda a: a + 1), "has answers of other lengths than it says"),
        (change_response(lengths=lambda a: a[:-1]), "has lengths of the wrong size or type"),
        (change_response(answers=lambda a: a + 10**6), "has tokens beyond any vocabulary"),
    ],
)
def test_a_response_that_cannot_be_is_refused(
    change: Callable[[Response], Response], reason: str, family: Any, wanted: Request
) -> None:
    base = family.checkpoints["base"]
    asked = replace(wanted, base=base, dosed=frozenset({TASK}))
    signature = sign(asked.checkpoint, base=base, probe_sets=[family.probes], dosed=[TASK])
    told = replace(signature, responses={TASK: change(signature.responses[TASK])})
    said = doubt(told, asked)
    assert said.startswith(f"its response to doses on {TASK} {reason}" if reason else "")
    assert bool(said) == bool(reason)
