"""Tables of what peers answer beside ours: benchmarks/regmean_parity.json and adapters.json."""

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


def adapters_peft() -> str:
    """How far merged adapters are from PEFT's, and how much larger PEFT's rsLoRA merges are."""
    found = measured.read("adapters")
    ours = {
        "`cat`": "weights",
        "`svd`": "weights, `rank=r`",
        "`ties_svd`, equal weights": "`ties` with `scale:` the weight",
        "`ties_svd`, weights 0.7 and 0.3": "none: PEFT elects signs before it applies weights",
        "`linear`": "none: `linear` is the sum of weighted deltas",
    }
    rows = [
        (
            kind,
            ours[kind],
            f"{apart:.1g}",
            f"{found['rslora'][kind]:.2f} times" if kind in found["rslora"] else "",
        )
        for kind, apart in found["difference"].items()
    ]
    return measured.table(
        (
            f"`combination_type` of PEFT {found['peft']}",
            "here",
            "difference, relative",
            "rsLoRA: PEFT's is larger",
        ),
        rows,
    )


def adapters_cost() -> str:
    """What a cut leaves out, and the memory of merges, in sentences."""
    found = measured.read("adapters")
    cut, peak = found["cut"], found["peak_mb"]
    return (
        "Three random adapters of rank 16 on matrices of 4096 and 11008, merged with TIES (density "
        f"0.2), leave out {cut['ties(density=0.2)']:.0%} of the delta at rank {cut['rank']}; their "
        "weighted sum leaves out nothing. An operator needs the dense deltas of one module: three "
        f"adapters on 11008 × 4096 take {peak['ties'] / 1000:.1f} GB with TIES. A weighted sum "
        f"never forms them: 96 such modules take {peak['weights'] / 1000:.2f} GB, of which "
        f"{peak['nothing'] / 1000:.2f} GB is Python with what it imports."
    )
