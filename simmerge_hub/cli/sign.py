"""sign: sign models, say where each part came from, keep or publish what was made."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.errors import BaseUnknown, RequestError
from simmerge_hub.units import spell_bytes

if TYPE_CHECKING:
    from simmerge_hub.hub.resolve import Checkpoint
    from simmerge_hub.signatures.probing.probe import ProbeSet
    from simmerge_hub.signatures.signing.signature import Request, Signed


def options(commands: Any) -> None:
    """Add `simmerge-hub sign`."""
    command = arguments.command(
        commands, "sign", run, "sign models once, so that plans need not run them; publish it"
    )
    command.add_argument("models", nargs="+", metavar="MODEL", help=arguments.REFERENCE)
    command.add_argument("--base", help="what it was trained from, if it does not say")
    command.add_argument(
        "--probes", action=arguments.Once, type=arguments.pair, default=[], metavar="TASK=SOURCE",
        help="prompts of a task: org/dataset[:split[:column]] or a file (repeat); default: ours",
    )  # fmt: skip
    command.add_argument(
        "--signals", choices=["full", "structural"], default="full",
        help="structural: sample the weights by a few byte ranges, run and download no model; "
             "default: full",
    )  # fmt: skip
    arguments.dose(command)
    arguments.signatures(command)
    command.add_argument("-o", "--output", metavar="FILE", help="write the signature as a file")
    command.add_argument(
        "--push", action="store_true",
        help="publish it in the model's repository; a pull request where you may not write",
    )  # fmt: skip
    command.add_argument(
        "--to", metavar="ORG/DATASET", help="publish it in a dataset of yours instead"
    )
    arguments.yes(command)
    arguments.json(command)


def run(
    *,
    models: Sequence[str],
    base: str | None,
    probes: Sequence[tuple[str, str]],
    signals: str,
    dose: bool,
    signatures: Sequence[str],
    output: str | None,
    push: bool,
    to: str | None,
    as_json: bool,
    yes: bool = False,
) -> None:
    """`simmerge-hub sign`; `--to` implies `--push`."""
    publishing = push or to is not None
    _check(models, signatures, output, publishing)
    probe_sets = _probe_sets(probes, signals)
    rows = []
    for model in models:
        began = time.monotonic()
        with show.asking(yes=yes):
            request, signed = _sign(model, base, probe_sets, signatures, dose=dose)
        row = _row(request, signed, time.monotonic() - began)
        if output:
            _save(signed, Path(output))
        if publishing:
            row["pushed"] = _push(request, signed, to)
        rows.append(row)
        if not as_json:
            _print(row, publishing)
    if as_json:
        show.data(rows)


def _check(
    models: Sequence[str], signatures: Sequence[str], output: str | None, publishing: bool
) -> None:
    if output and len(models) > 1:
        raise RequestError(
            f"{output} is one file, and {len(models)} models are to be signed",
            hint="sign one model at a time, or leave -o out: signatures are cached anyway",
        )
    arguments.check_output(output, "signature", file="signature.safetensors")
    if publishing and signatures:
        raise RequestError(
            "what others published is not ours to publish: --push and --signatures exclude each "
            "other",
            hint="leave --signatures out; what is missing is then computed",
        )


def _probe_sets(probes: Sequence[tuple[str, str]], signals: str) -> "tuple[ProbeSet, ...]":
    from simmerge_hub.signatures.probing.probe import PROBE_DOMAINS, probe_set

    if signals == "structural" and probes:
        task, source = probes[0]
        raise RequestError(
            f"probes for {task} are given ({source}), and --signals structural runs none",
            hint="leave out --probes, or sign with --signals full",
        )
    if signals == "structural":
        return ()
    wanted = dict(probes) or dict.fromkeys(PROBE_DOMAINS)
    return tuple(probe_set(task, source) for task, source in wanted.items())


def _sign(
    model: str,
    base: str | None,
    probe_sets: "tuple[ProbeSet, ...]",
    signatures: Sequence[str],
    *,
    dose: bool,
) -> "tuple[Request, Signed]":
    with show.status("signing") as say:
        from simmerge_hub.hub.resolve import resolve
        from simmerge_hub.signatures.published.shared import find_or_sign
        from simmerge_hub.signatures.signing.signature import Request
        from simmerge_hub.weights.alignment.lineage import base_notes, common_base
        from simmerge_hub.weights.loaded.conform import conform

        say(f"reading the headers of {model}")
        checkpoint = resolve(model)
        if checkpoint.kind == "adapter":
            origin = common_base([checkpoint], base)
        else:
            origin = _delta_origin(checkpoint, base) if dose and probe_sets else None
        alike = conform([checkpoint], origin)
        for sentence in (*base_notes([checkpoint], origin), *alike.notes):
            show.note(sentence)
        request = Request(
            checkpoint=alike.models[0],
            base=alike.base,
            probe_sets=probe_sets,
            dosed=frozenset(p.task for p in probe_sets if dose),
        )
        signed = find_or_sign(
            request,
            third_parties=signatures,
            progress=lambda what, step, steps: say(f"{what} ({step}/{steps})"),
            note=show.note,
        )
    return request, signed


def _delta_origin(checkpoint: "Checkpoint", named: str | None) -> "Checkpoint | None":
    """What a full model was trained from, so that parts of its delta can be run; None if unknown.

    A base that nobody named need not be had: the model is then signed without it.
    """
    from simmerge_hub.weights.alignment.lineage import common_base

    try:
        base, why = common_base([checkpoint], named), "its base is not known"
    except BaseUnknown as error:
        if named:
            raise
        base, why = None, str(error)
    if base is None:
        show.note(f"{checkpoint.name}: no part of its delta is run: {why}")
    return base


def _row(request: "Request", signed: "Signed", seconds: float) -> dict[str, Any]:
    from simmerge_hub.signatures.published.shared import size_of

    return {
        "model": request.checkpoint.name,
        "commit": request.checkpoint.commit,
        "digest": signed.signature.digest,
        "bytes": size_of(signed.signature),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(signed.speed, 1) if signed.speed else None,
        "parts": dict(signed.origins),
    }


def _save(signed: "Signed", file: Path) -> None:
    from simmerge_hub.signatures.signing.signature import save

    save(signed.signature, file)


def _push(request: "Request", signed: "Signed", to: str | None) -> dict[str, Any] | None:
    """The commit; None if all of it was published there before."""
    from simmerge_hub.signatures.published.shared import publish

    with show.status("publishing"):
        commit = publish(signed.signature, request, to=to)
    return asdict(commit) if commit else None


def _print(row: dict[str, Any], publishing: bool) -> None:
    from simmerge_hub.hub.upload.publish import Commit

    speed = row["tokens_per_second"]
    show.line(
        f"{row['model']}: {spell_bytes(row['bytes'])} in {row['seconds']:.1f} s; "
        f"{show.origins(row['parts'])}"
        + (f"; {speed:,.0f} tokens of probes a second" if speed else "")
    )
    if publishing and row["pushed"] is None:
        show.note("published there already: nothing was pushed")
    elif publishing:
        show.commit(Commit(**row["pushed"]))
