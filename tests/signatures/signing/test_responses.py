"""Responses to doses: cached, taken from others, asked for where there is a delta."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.signatures.probing.dosing import dose
from simmerge_hub.signatures.probing.dosing.dose import measure_responses
from simmerge_hub.signatures.probing.dosing.response import DOSES
from simmerge_hub.signatures.signing import responses
from simmerge_hub.signatures.signing.signature import Hit, Request, load, obtain, save, sign

TASK = "strings"
ARRAYS = ("doses", "answers", "lengths", "kept", "logliks")


@pytest.fixture
def wanted(family, assets) -> Request:
    return Request(
        checkpoint=family.checkpoints["expert"], base=family.checkpoints["base"],
        probe_sets=(family.probes,), dosed=frozenset({TASK}),
    )  # fmt: skip


@pytest.fixture
def runs(monkeypatch) -> list[str]:
    """The models whose responses are measured."""
    names = []

    def counting(checkpoint, *arguments, **how):
        names.append(checkpoint.name)
        return measure_responses(checkpoint, *arguments, **how)

    monkeypatch.setattr(dose, "measure_responses", counting)
    return names


def test_measured_once_then_from_the_cache(family, wanted, runs, tmp_path):
    first, second = obtain(wanted), obtain(wanted)
    assert runs == ["expert"]
    assert first.origins == dict.fromkeys(("weights", TASK, f"dose of {TASK}"), "computed")
    assert set(second.origins.values()) == {"cache"}
    assert first.speed > 0 and second.speed is None
    told = second.signature.responses[TASK]
    assert (told.base, told.probes) == (family.base.digest, family.probes.digest)
    save(first.signature, tmp_path / "file")
    for other in (told, load(tmp_path / "file").responses[TASK]):
        for name in ARRAYS:
            own = getattr(first.signature.responses[TASK], name)
            assert np.array_equal(getattr(other, name), own), name
            assert getattr(other, name).dtype == own.dtype, name


def test_another_base_is_another_response(family, wanted, runs):
    obtain(wanted)
    other = obtain(replace(wanted, base=family.checkpoints["auxiliary"])).signature
    assert runs == ["expert", "expert"]
    assert other.responses[TASK].base == family.auxiliary.digest


def test_other_end_tokens_are_another_response(family, wanted, runs, tmp_path):
    """Corrected in generation_config.json, as often on the Hub: weights and config are the same."""
    here = family.checkpoints["expert"].location.folder
    told = obtain(wanted).signature.responses[TASK]
    folder = shutil.copytree(here, tmp_path / "corrected")
    first = {"eos_token_id": [int(told.answers[0])]}
    (folder / "generation_config.json").write_text(json.dumps(first))
    other = obtain(replace(wanted, checkpoint=resolve(str(folder)))).signature
    assert runs == ["expert", "corrected"]
    assert other.responses[TASK].lengths[0] == 1 < told.lengths[0]


def test_published_answers_that_go_on_after_an_end_token_are_asked_for_anew(
    family, wanted, runs, tmp_path
):
    """The digest of a model does not tell that its end tokens were corrected since."""
    here = family.checkpoints["expert"].location.folder
    published = obtain(wanted).signature
    folder = shutil.copytree(here, tmp_path / "corrected")
    end = int(published.responses[TASK].answers[0])
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}))
    corrected = replace(wanted, checkpoint=resolve(str(folder)))
    found = [lambda request, known: Hit(signature=published, place="org/expert")]
    anew = obtain(corrected, lookups=found).signature
    assert anew.responses[TASK].lengths[0] == 1
    assert runs == ["expert", "corrected"]
    kept = [responses.drop_outdated(corrected, each).responses for each in (published, anew)]
    assert [list(each) for each in kept] == [[], [TASK]]


def test_unasked_or_without_a_delta_there_is_none(family, wanted, runs):
    base = family.checkpoints["base"]
    for request in (
        replace(wanted, dosed=frozenset()), replace(wanted, base=None),
        replace(wanted, checkpoint=base), replace(wanted, dosed=frozenset({"other"})),
    ):  # fmt: skip
        signed = obtain(request)
        assert signed.signature.responses == {}
        assert signed.origins.keys() == {"weights", TASK}
    assert runs == []
    assert sign(wanted.checkpoint, base=base, probe_sets=[family.probes]).responses == {}


def test_a_model_of_other_tensors_has_none_and_a_note_says_why(
    tiny, tmp_path, wanted, family, runs
):
    notes = []
    tied = tiny.save(tiny.model_of("llama-tied"), tmp_path / "tied")
    request = replace(wanted, checkpoint=tied)
    assert obtain(request, note=notes.append).signature.responses == {}
    assert notes == [
        "tied: no part of its delta can be run: lm_head.weight is not of one shape in base and tied"
    ]


def test_what_others_published_is_taken_if_it_is_from_the_same_base(family, wanted, runs, tmp_path):
    published = obtain(wanted).signature
    runs.clear()
    for base, count in ((family.base.digest, 0), ("other", 1)):
        told = replace(published.responses[TASK], base=base)
        theirs = replace(published, responses={TASK: told})
        forget(wanted)
        signed = obtain(wanted, lookups=[lambda *_, s=theirs: Hit(signature=s, place="org/model")])
        assert len(runs) == count
        origin = signed.origins[f"dose of {TASK}"]
        assert origin == ("computed" if count else "org/model")


def forget(request: Request) -> None:
    """Delete the cached response."""
    (path,) = (responses._path(request, request.identity, p) for p in request.probe_sets)
    path.unlink(missing_ok=True)


def test_numbers_that_are_none_are_refused(wanted, monkeypatch):
    def broken(*arguments, **how):
        told = measure_responses(*arguments, **how)[TASK]
        return {TASK: replace(told, logliks=np.full_like(told.logliks, np.nan))}

    monkeypatch.setattr(dose, "measure_responses", broken)
    with pytest.raises(CheckpointError, match="gives NaN or infinity on its answers") as caught:
        obtain(wanted)
    assert "--no-dose" in caught.value.hint


def test_the_mean_of_two_models_is_run_and_cached(family, wanted, tiny, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    told = obtain(wanted).signature.responses[TASK]
    partner = replace(wanted, checkpoint=family.checkpoints["auxiliary"])
    cross = responses.cross(wanted, partner, TASK, told)
    both = [
        AutoModelForCausalLM.from_pretrained(family.checkpoints[n].location.folder).state_dict()
        for n in ("expert", "auxiliary")
    ]
    merge = tiny.model_of("llama")
    merge.load_state_dict({n: (t + both[1][n]) / 2 for n, t in both[0].items()})
    merged = tiny.save(merge, tmp_path / "merge")
    assert cross.logliks.shape == told.answers.shape
    assert cross.logliks.mean() < told.logliks[DOSES.index(1.0)].mean()
    itself = dose.score_mean((merged, None), (merged, None), family.probes, told)
    assert cross.logliks == pytest.approx(itself.logliks, abs=1e-3)
    monkeypatch.setattr(dose, "score_mean", None)
    again = responses.cross(wanted, partner, TASK, told)
    assert np.array_equal(again.logliks, cross.logliks) and np.array_equal(again.kept, cross.kept)
    with pytest.raises(TypeError):  # what it makes of other answers is not known
        responses.cross(wanted, partner, TASK, replace(told, answers=told.answers[::-1].copy()))
