"""Tables of what models keep of their own answers at parts of their delta, and in a mean of two."""

from statistics import median

from measured import read, table


def dose_models() -> str:
    """What each nano specialist keeps of its own answers, and what that costs."""
    report = read("dose")
    doses = [f"{dose:g}" for dose in report["doses"]]
    rows = [
        (
            name,
            *(
                f"{kept:.2f} ({loglik:.2f})"
                for kept, loglik in zip(each["answers_kept"], each["loglik"], strict=True)
            ),
            f"{each['half_dose']:.2f}",
            f"{each['area']:.2f}",
            f"{each['dose_cpu_seconds']:.1f} s ({each['sketch_cpu_seconds']:.1f} s)",
        )
        for name, each in report["models"].items()
    ]
    heads = ("model", *(f"s = {dose}" for dose in doses), "half", "area", "cost (sketch)")
    return table(heads, rows)


def dose_pairs() -> str:
    """What the mean of two nano specialists keeps of the answers of one of them."""
    report = read("dose")
    half = report["doses"].index(0.5)
    rows = []
    for name, each in report["models"].items():
        crossed = [pair for pair in report["pairs"] if pair["model"] == name]
        kept = [pair["answers_kept"] for pair in crossed]
        rows.append(
            (
                name,
                f"{each['answers_kept'][half]:.2f}",
                f"{median(kept):.2f}",
                f"{min(kept):.2f} to {max(kept):.2f}",
                f"{median(pair['cpu_seconds'] for pair in crossed):.1f} s",
            )
        )
    heads = (
        "model", "kept at half of its delta", "kept by a mean with another: median",
        "least and most", "cost of a pair and a task",
    )  # fmt: skip
    return table(heads, rows)
