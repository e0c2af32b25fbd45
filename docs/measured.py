"""Tables on pages, from the JSON that scripts in benchmarks/ wrote: no number is typed twice."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def signature_cost() -> str:
    """What signing, comparing and planning cost, beside what they should."""
    cost = read("signature_cost")
    remote, local, memory = (cost[part] for part in ("remote", "local", "memory"))
    plan, pairs = cost["planning"], cost["pairs"]
    whole = memory["model"]["offloaded"]
    rows = [
        (
            "sign 1.1 B by byte ranges",
            f"{remote['sent_by_the_server_mb']} MB of {remote['checkpoint_mb']:,} MB sent by the "
            f"server ({_share(remote['share_of_checkpoint'])}), {remote['signing_seconds']} s",
            "≤ 1 % of the bytes",
        ),
        ("sign 1.1 B in a folder", f"{_whole_seconds(local)} s", ""),
        (
            "run the probes of one task, by layers",
            f"{whole['seconds']} s, at most {_share(whole['share'])} of the checkpoint's size in "
            "memory",
            "≤ 35 %",
        ),
        (
            "run them with the model in memory",
            f"{memory['model']['resident']['seconds']} s, "
            f"{_share(memory['model']['resident']['share'])}",
            "",
        ),
        ("features of a pair, nano", _milliseconds(pairs["nano"]), "≤ 5 ms"),
        ("features of a pair, 7 B", _milliseconds(pairs["7B"]), "≤ 1 s"),
        ("a signature of 7 B shape", f"{pairs['7B']['signature_mb']} MB", "≤ 100 MB"),
        (
            f"plan {plan['models']} signed nano models",
            f"{plan['pairs']} pairs for {plan['tasks']} tasks in {plan['planning_seconds']} s: "
            f"{plan['pairs_per_second']} pairs a second",
            "",
        ),
    ]
    return table(("what", "measured", "goal"), rows)


def signature_peers() -> str:
    """Loading both models whole, as a multiple of comparing signatures."""
    found = read("signature_cost")["peers"]
    rows = [
        (
            size,
            f"{1000 * each['signatures']['pair_seconds']:.0f} ms",
            f"{each['whole_models_float32_cosine']['seconds']} s",
            f"{each['times_slower_than_signed']:g}",
            f"{each['times_slower_than_signing_and_comparing']:g}",
            _lens(each),
        )
        for size, each in found.items()
    ]
    heads = (
        "models", "structural features of a signed pair", "both loaded in float32, one cosine",
        "times slower", "times slower, signing included", "mergelens, one cosine",
    )  # fmt: skip
    return table(heads, rows)


def signature_decisions() -> str:
    """How often a sample leads to the same arm as every entry."""
    found = read("signature_accuracy")
    rows = [
        _decided(
            f"nano, {float(share):.0%} of the entries",
            each["rows_of_a_matrix"],
            each[signals],
            signals,
        )
        for share, each in found["nano"]["shares"].items()
        for signals in ("full", "structural")
    ]
    large = found["synthetic_1.1B"]
    name = f"1.1 B, {_share(large['share_sampled'])} of the entries (the default)"
    rows.append(_decided(name, large["rows_of_a_matrix"], large["structural"], "structural"))
    heads = (
        "models",
        "rows of a matrix",
        "signals",
        "ordered pairs",
        "same arm",
        "within a tie",
        "gain lost",
    )
    return table(heads, rows)


def signature_errors() -> str:
    """Errors of sampled features, by family."""
    found = read("signature_accuracy")
    nano = found["nano"]["shares"]["0.01"]["features"]["structural"]
    large = found["synthetic_1.1B"]["features"]["structural"]
    rows = [(f"`{name}`", *_errors(large[name]), *_errors(nano[name])) for name in large]
    heads = ("family", "1.1 B: error", "of spread", "nano at 1 %: error", "of spread")
    return table(heads, rows)


def signature_merges() -> str:
    """Errors of merged signatures, by operator."""
    found = read("signature_merging")
    large = found["synthetic_1.1B"]["operators"]
    rows = [
        (
            f"`{name}`",
            "exact" if each["exact_on_samples"] else "an estimate",
            _worst(each["whole"]["structural"]),
            _worst(each["sampled"]["structural"]),
            f"{large[name]['median_error']:.2g}",
            _median(each["whole"]["functional"]),
        )
        for name, each in found["nano"]["operators"].items()
    ]
    heads = (
        "operator", "on a sample", "weights, whole tensors: worst family",
        "weights, a tenth of the entries: worst family", "1.1 B: error of the sampled rows",
        "behaviour, first order: median family",
    )  # fmt: skip
    return table(heads, rows)


def signature_families() -> str:
    """Errors of merged signatures, by family: TIES, as the example of an estimate, and linear."""
    operators = read("signature_merging")["nano"]["operators"]
    ties, linear = operators["ties"], operators["linear"]
    rows = [
        (f"`{name}`", *_errors(each), *_errors(linear["sampled"]["structural"][name]))
        for name, each in ties["sampled"]["structural"].items()
    ]
    rows += [
        (f"`{name}`", *_errors(each), *_errors(linear["whole"]["functional"][name]))
        for name, each in ties["whole"]["functional"].items()
    ]
    return table(("family", "TIES: error", "of spread", "linear: error", "of spread"), rows)


def bandit_regret() -> str:
    """Regret of every policy on the streams: median and 90 % band over seeds; luck and headroom."""
    measured = read("bandit")
    found, settings = measured["policies"], measured["settings"]
    ordered = sorted(found.items(), key=lambda item: item[1]["regret"]["median"])
    rows = [
        (
            name,
            _band(each["regret"], ".1f"),
            _band(each["of_best_fixed"], ".0%"),
            _band(each["of_cold"], ".0%"),
            _band(each["last_100_of_headroom"], ".0%"),
            _band(each["last_100_over_full_of_headroom"], ".0%"),
        )
        for name, each in ordered
    ]
    heads = (
        "policy", "regret", "of the best fixed arm's", "of cold LinTS's",
        "last 100 rounds, of the headroom", "the same, over full feedback",
    )  # fmt: skip
    luck = (
        f"The headroom, what the best fixed arm loses, is {settings['headroom_per_round']:.3f} a "
        "round. The arm that is best on one half of the prompts loses "
        f"{settings['luck_of_50_prompts']:.3f} on the other half."
    )
    over = found["bandit"]["over_offline_of_best_fixed"]
    paired = (
        f"Stream by stream, the bandit's regret is {100 * over['mean']:+.1f} points of the best "
        f"fixed arm's from the offline predictor's (± {100 * over['standard_error']:.1f}; streams "
        f"share pairs, so that is too narrow), and lower in {over['better']:.0%} of streams."
    )
    return f"{table(heads, rows)}\n\n{luck} {paired}"


def bandit_scenarios() -> str:
    """Operators that arrive, a domain that arrives, outcomes that were wrong."""
    found = read("bandit")["scenarios"]
    operators = [
        (
            name, _band(one["better_share"], ".0%"), _band(one["pulls_60"], ".0f"),
            _band(one["pulls"], ".0f"), _band(one["pulls_last_100"], ".0f"),
            _band(one["regret"], ".3f"), _band(one["regret_without"], ".3f"),
        )
        for name, one in found.items()
        if name.startswith("new operator")
    ]  # fmt: skip
    heads = (
        "after 150 rounds", "better than all others", "pulls in 60 rounds", "in 350",
        "in the last 100", "regret", "regret if not added",
    )  # fmt: skip
    domain, wrong = found["new domain"], found["wrong warm start"]
    others = [
        ("a domain never seen: the 50 rounds before", _band(domain["before"], ".3f")),
        ("its first 20 rounds", _band(domain["first_20"], ".3f")),
        ("rounds 21 to 60", _band(domain["21_to_60"], ".3f")),
        ("after 60", _band(domain["after_60"], ".3f")),
        ("offline outcomes permuted: first 100 rounds", _band(wrong["wrong_first_100"], ".3f")),
        ("last 100 of 500", _band(wrong["wrong_last_100"], ".3f")),
        ("cold LinTS, explore 0.3, last 100 of 500", _band(wrong["cold_last_100"], ".3f")),
        ("best fixed arm, last 100 of 500", _band(wrong["best_fixed_last_100"], ".3f")),
        ("right outcomes, last 100 of 500", _band(wrong["right_last_100"], ".3f")),
        ("permuted outcomes less that cold LinTS, all 500", _band(wrong["wrong_less_cold"], ".3f")),
        ("the same, last 100 of 500", _band(wrong["wrong_less_cold_last_100"], ".3f")),
    ]
    return table(heads, operators) + "\n\n" + table(("what", "regret a round"), others)


def bandit_curve() -> str:
    """What more offline outcomes are worth to the forecast alone."""
    rows = [
        (f"{each['share_of_models']:.0%}", each["rows"], _band(each["of_best_fixed"], ".0%"))
        for each in read("bandit")["curve"]
    ]
    return table(("models known offline", "outcomes", "regret, of the best fixed arm's"), rows)


def bandit_peer() -> str:
    """Our cold LinTS beside a published one."""
    found = read("bandit_peer")
    rows = [
        ("ours", f"{found['regret_ours']}"),
        (found["library"], f"{found['regret_theirs']}"),
        ("difference ± standard error", f"{found['difference']} ± {found['standard_error']}"),
    ]
    return table(("cold LinTS", "mean regret"), rows)


def _band(found: dict[str, float], form: str) -> str:
    middle, low, high = (format(found[k], form) for k in ("median", "low", "high"))
    return f"{middle} ({low} – {high})"


def read(name: str) -> dict[str, Any]:
    return json.loads((BENCHMARKS / f"{name}.json").read_text("utf-8"))


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _whole_seconds(signed: dict[str, Any]) -> float:
    return round(signed["resolving_seconds"] + signed["signing_seconds"], 2)


def _milliseconds(found: dict[str, Any]) -> str:
    return (
        f"{found['median_ms']:g} ms (median; mean {found['mean_ms']:g}), "
        f"{found['first_ms']:,.0f} ms where both models and the base are met first"
    )


def _lens(each: dict[str, Any]) -> str:
    return f"{each['mergelens']['cosine_seconds']} s" if "mergelens" in each else "not run"


def _decided(name: str, rows: float, found: dict[str, Any], signals: str) -> Sequence[Any]:
    return (
        name, f"{rows:g}", signals, found["pairs"], _share(found["argmax_identical"]),
        _share(found["within_a_tie"]), f"{found['utility_lost']:.4f}",
    )  # fmt: skip


def _errors(row: dict[str, float]) -> tuple[str, str]:
    if "error" not in row:
        return "missing", "–"
    return f"{row['error']:.2g}", _share(row["of_spread"]) if "of_spread" in row else "–"


def _worst(rows: dict[str, dict[str, float]]) -> str:
    name = max(rows, key=lambda family: rows[family].get("of_spread", 0.0))
    value = rows[name].get("of_spread", 0.0)
    return f"{_share(value)} of spread (`{name}`)" if value > 1e-6 else "0"


def _median(rows: dict[str, dict[str, float]]) -> str:
    values = sorted(row["of_spread"] for row in rows.values() if "of_spread" in row)
    return f"{_share(values[len(values) // 2])} of spread"
