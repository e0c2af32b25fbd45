"""Tables of what it is worth to make merges and look at them before one is chosen."""

from typing import Any

from measured import read, table


def trying_nano() -> str:
    """Every way to choose on nano pairs, with 95 % intervals and shares of the headroom."""
    report = read("trying")["nano"]
    said = (
        f"{report['pairs']} pairs of {report['models']} nano models, "
        f"{report['lines']:,} merges on one task each:"
    )
    return f"{said}\n\n{_choices(report)}"


def trying_real() -> str:
    """The same on pairs of a real language model that the lines never saw, with and without
    merges that see activations."""
    whole, parts = read("trying"), []
    for key, what in (
        ("real, lines from nano", "all arms"),
        ("real, weights alone", "arms that look at weights alone"),
    ):
        report = whole[key]
        parts.append(f"{report['pairs']} pairs, {what}:")
        parts.append(_choices(report))
        parts.append(
            f"Intervals of 90 %, as wide as real pairs of other models ask for, hold "
            f"{report['coverage']:.1%} of the outcomes there."
        )
    return "\n\n".join(parts)


def trying_sets() -> str:
    """Three and four models merged in one step, judged by the lines of pairs."""
    report, parts = read("trying"), []
    for size, word in ((3, "three"), (4, "four")):
        each = report[f"{size} nano models at once, lines from pairs"]
        shares = each["share of the experts' exact match"]
        rows = [(name, f"{gain:.3f}", "") for name, gain in each["gap closed"].items()]
        rows += [
            (f"`{label}`", f"{gain:.3f}", f"{shares[label]:.3f}")
            for label, gain in each["arms"].items()
        ]
        parts.append(
            f"{each['sets']} sets of {word}; correlation with the true gap closed "
            f"{each['correlation with true gain']:.3f}, 90 % intervals hold {each['coverage']:.1%}:"
        )
        parts.append(table(("chosen by", "gap closed", "share of the experts"), rows))
    return "\n\n".join(parts)


def trying_trees() -> str:
    """Trees of three and four models: what reading answers adds to seeing how a merge behaves."""
    report, rows = read("trying_trees"), []
    for size, each in sorted(report.items()):
        shares = each["share of the experts"]
        reached = (f"{shares[by]:.3f}" for by in (
            "by prediction", "by likeness", "by answers too", "best of those tried",
        ) if by in shares)  # fmt: skip
        added = f"{each['answers add']:+.3f} ± {each['standard error']:.3f}"
        rows.append((size, each["sets"], *reached, added))
    heads = ("models", "sets", "predicted", "by behaviour", "by answers too", "best of the tried",
             "answers add")  # fmt: skip
    return table(heads, rows)


def trying_correlation() -> str:
    """How what is kept goes with what is closed, by zoo."""
    report = read("trying")
    columns = {"nano": report["nano"]["correlation with true gain"]}
    real = report.get("real, lines from nano")
    if real is not None:
        columns["real"] = real["correlation with true gain"]
        columns["real, inside a pair"] = real["correlation inside a pair"]
    measures = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [
        (MEASURES[name], *(f"{c[name]:.3f}" if name in c else "" for c in columns.values()))
        for name in measures
    ]
    return table(("what", *columns), rows)


MEASURES = {
    "answers": "answers kept whole",
    "tokens": "tokens kept",
    "regained": "log-likelihood, from base to expert",
    "weighted": "answers kept whole, by the expert's confidence",
    "probability": "probability of the answers, as a share of the expert's",
    "predicted": "what was predicted without making the merge",
    "joined": "all of it joined, models left out",
}


def _choices(report: dict[str, Any]) -> str:
    shares = report.get("share of headroom", {})
    rows = [
        (
            name,
            f"{gain['mean']:.3f} ({gain['low']:.3f} to {gain['high']:.3f})",
            *([f"{shares[name]:.0%}" if name in shares else ""] if shares else []),
        )
        for name, gain in report["gap closed"].items()
    ]
    heads = ("chosen by", "gap closed (95 %)", *(["of the headroom"] if shares else []))
    return table(heads, rows)
