"""Tables of the page on parity, from what peers answered: benchmarks/regmean_parity.json."""

import measured


def regmean_parity() -> str:
    """How far RegMean is from fusion_bench's and from a float64 reference."""
    groups: dict[tuple[str, float], list[dict[str, float]]] = {}
    for case in measured.read("regmean_parity")["cases"]:
        groups.setdefault((case["tokens"], case["alpha"]), []).append(case)
    rows = [
        (
            tokens,
            f"{alpha:g}",
            *(
                f"{max(case[column] for case in cases):.1g}"
                for column in ("ours_to_theirs", "ours_to_reference", "theirs_to_reference")
            ),
            f"{max(case['theirs_in_float32_to_reference'] for case in cases):.1g}",
        )
        for (tokens, alpha), cases in groups.items()
    ]
    heads = (
        "tokens", "`alpha`", "ours to fusion_bench's in float64", "ours to the reference",
        "fusion_bench's in float64 to the reference", "in float32",
    )  # fmt: skip
    return measured.table(heads, rows)


def regmean_defaults() -> str:
    """The same with nothing matched."""
    defaults = measured.read("regmean_parity")["defaults"]
    return (
        f"With nothing matched, `alpha` 0.9 and two models, the greatest difference is "
        f"{defaults['inputs_equally_large']:.1g} where both models' inputs are equally large: that "
        f"is the ridge. Where one's are three times as large it is "
        f"{defaults['inputs_of_one_3_times']:.1g}, for fusion_bench's merge leans to that model."
    )
