"""sign: sign models, say where each part came from, keep or publish what was made."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.cli import show
from simmerge_hub.errors import OutputError, ProbeError, SignatureError

if TYPE_CHECKING:
    from simmerge_hub.signatures.probing.probe import ProbeSet
    from simmerge_hub.signatures.signing.signature import Request, Signed


def run(
    *,
    models: Sequence[str],
    base: str | None,
    probes: Sequence[tuple[str, str]],
    signals: str,
    signatures: Sequence[str],
    output: str | None,
    push: bool,
    to: str | None,
    as_json: bool,
) -> None:
    """`simmerge-hub sign`; `--to` implies `--push`."""
    publishing = push or to is not None
    _check(models, signatures, output, publishing)
    probe_sets = _probe_sets(probes, signals)
    done = []
    for model in models:
        began = time.monotonic()
        request, made = _signed(model, base, probe_sets, signatures)
        row = _row(request, made, time.monotonic() - began)
        if output:
            _save(made, Path(output))
        if publishing:
            row["pushed"] = _push(request, made, to)
        done.append(row)
        if not as_json:
            _print(row, publishing)
    if as_json:
        show.data(done)


def _check(
    models: Sequence[str], signatures: Sequence[str], output: str | None, publishing: bool
) -> None:
    if output and len(models) > 1:
        raise OutputError(
            f"{output} is one file, and {len(models)} models are to be signed",
            hint="sign one model at a time, or leave -o out: signatures are cached anyway",
        )
    if output and not Path(output).parent.is_dir():
        raise OutputError(
            f"there is no folder {Path(output).parent} to write the signature in",
            hint=f"make it first: mkdir -p {Path(output).parent}",
        )
    if publishing and signatures:
        raise SignatureError(
            "what others published is not ours to publish: --push and --signatures exclude each "
            "other",
            hint="leave --signatures out; what is missing is then computed",
        )


def _probe_sets(probes: Sequence[tuple[str, str]], signals: str) -> "tuple[ProbeSet, ...]":
    from simmerge_hub.signatures.probing.probe import DOMAINS, probe_set

    if signals == "structural" and probes:
        task, source = probes[0]
        raise ProbeError(
            f"probes for {task} are given ({source}), and --signals structural runs none",
            hint="leave out --probes, or sign with --signals full",
        )
    if signals == "structural":
        return ()
    wanted = dict(probes) or dict.fromkeys(DOMAINS)
    return tuple(probe_set(task, source) for task, source in wanted.items())


def _signed(
    model: str, base: str | None, probe_sets: "tuple[ProbeSet, ...]", signatures: Sequence[str]
) -> "tuple[Request, Signed]":
    with show.status("signing") as say:
        from simmerge_hub.hub.resolve import resolve
        from simmerge_hub.signatures.published.shared import find_or_sign
        from simmerge_hub.signatures.signing.signature import Request
        from simmerge_hub.weights.alignment.lineage import common_base

        say(f"reading the headers of {model}")
        checkpoint = resolve(model)
        adapted = common_base([checkpoint], base) if checkpoint.kind == "adapter" else None
        request = Request(checkpoint=checkpoint, base=adapted, probe_sets=probe_sets)
        made = find_or_sign(
            request,
            third_parties=signatures,
            progress=lambda what, step, steps: say(f"{what} ({step}/{steps})"),
            note=show.note,
        )
    return request, made


def _row(request: "Request", made: "Signed", seconds: float) -> dict[str, Any]:
    from simmerge_hub.signatures.published.shared import size_of

    return {
        "model": request.checkpoint.name,
        "commit": request.checkpoint.commit,
        "digest": made.signature.digest,
        "bytes": size_of(made.signature),
        "seconds": round(seconds, 3),
        "parts": dict(made.origins),
    }


def _save(made: "Signed", file: Path) -> None:
    from simmerge_hub.signatures.signing.signature import save

    save(made.signature, file)


def _push(request: "Request", made: "Signed", to: str | None) -> dict[str, Any] | None:
    """The commit; None if all of it was published there before."""
    from simmerge_hub.signatures.published.shared import publish

    with show.status("publishing"):
        commit = publish(made.signature, request, to=to)
    return asdict(commit) if commit else None


def _print(row: dict[str, Any], publishing: bool) -> None:
    show.OUT.print(
        f"{row['model']}: {show.size(row['bytes'])} in {row['seconds']:.1f} s; "
        f"{show.origins(row['parts'])}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    if publishing and row["pushed"] is None:
        show.note("published there already: nothing was pushed")
    elif publishing:
        show.note(f"pushed in one commit, {row['pushed']['oid'][:12]}: {row['pushed']['url']}")
