"""A comparison as an APA sentence and as tables; labels are untrusted and escaped."""

import html as _html
import re
from collections.abc import Sequence
from typing import Literal

from crucible_bench.drawing import interval_svg
from crucible_bench.results import Comparison, Interval

_NAMES = {
    "cohens_d": "d", "hedges_g": "g", "d_z": "d_z", "risk_difference": "RD",
    "prob_superiority": "P(T>C)", "rank_biserial": "r_rb", "matched_rank_biserial": "r_rb",
}  # fmt: skip
_BOUNDED = ("prob_superiority", "rank_biserial", "matched_rank_biserial")
_TESTS = {"mcnemar_midp": "McNemar mid-p", "mcnemar_exact": "McNemar exact p"}
_T_TESTS = ("welch_t", "student_t", "paired_t")


def apa(c: Comparison) -> str:
    """Return one sentence in APA style.

    Notes
    -----
    t tests end with the standardised effect and its interval, as APA has it. Other tests end with
    the difference in the score's unit, its interval and n.
    """
    parts = []
    if c.p_value is None:
        parts.append("p not defined: " + ("; ".join(c.warnings) or "no variation"))
    elif c.test in _TESTS:
        parts.append(f"{_TESTS[c.test]} {p_text(c.p_value).removeprefix('p ')}")
    else:
        parts.append(statistic_text(c) + p_text(c.p_value))
    if c.p_adjusted is not None:
        parts.append(f"corrected {p_text(c.p_adjusted)}")
    effect = c.effect_size
    if effect.value is not None and effect.name != "risk_difference":
        parts.append(f"{_NAMES.get(effect.name, effect.name)} = {_size(effect.name, effect.value)}")
        known = effect.interval is not None and c.p_value is not None
        if known and c.test in _T_TESTS and effect.name in ("cohens_d", "d_z"):
            assert effect.interval is not None
            low, high = effect.interval.low, effect.interval.high
            parts.append(f"{100 * effect.interval.level:g}% CI [{low:.2f}, {high:.2f}]")
            return ", ".join(parts)
    parts.append(f"difference = {c.difference:.3f}")
    if c.confidence_interval is not None:
        level = 100 * c.confidence_interval.level
        parts.append(f"{level:g} % CI {_interval(c.confidence_interval)}")
    parts.append(
        f"n = {c.n_pairs} pairs" if c.n_pairs else f"n = {c.control.n} and {c.treatment.n}"
    )
    if c.control.n_clusters is not None:
        both = c.n_pairs is not None
        counts = (
            f"{c.control.n_clusters}"
            if both
            else f"{c.control.n_clusters} and {c.treatment.n_clusters}"
        )
        parts[-1] += f" in {counts} clusters"
    return ", ".join(parts)


def statistic_text(c: Comparison) -> str:
    """Return "t(8) = 7.00, ", or nothing where there is no statistic."""
    if c.statistic is None:
        return ""
    df = "" if not c.df else f"({', '.join(_df(d) for d in c.df)})"
    return f"{c.statistic_name}{df} = {c.statistic:.2f}, "


def rows(c: Comparison) -> list[tuple[str, str]]:
    """Return what a table of the comparison says, as (name, text)."""
    said = [
        (_role(c.control.label, "control"), f"{c.control.mean:.3f}, n = {c.control.n}"),
        (_role(c.treatment.label, "treatment"), f"{c.treatment.mean:.3f}, n = {c.treatment.n}"),
        ("difference", f"{c.difference:.3f}"),
    ]
    if c.confidence_interval is not None:
        level = 100 * c.confidence_interval.level
        said.append((f"{level:g} % CI", _interval(c.confidence_interval)))
    said.append((f"p ({c.test})", "not defined" if c.p_value is None else f"{c.p_value:.4g}"))
    for effect in c.effect_sizes.values():
        text = effect.reason or "not defined" if effect.value is None else f"{effect.value:.3f}"
        if effect.interval is not None and effect.value is not None:
            text += f" {_interval(effect.interval)}"
        said.append((effect.name, text))
    if c.icc is not None:
        said.append(("ICC", f"{c.icc:.3f}"))
    for test in c.robustness:
        if test.p_value is not None:
            said.append((f"p ({test.name})", f"{test.p_value:.4g}"))
    if c.verdict is not None:
        said.append(("verdict", c.verdict.sentence))
    said += [("note", warning) for warning in c.warnings]
    return said


def _role(label: str, role: str) -> str:
    return role if label == role else f"{label} ({role})"


def markdown(c: Comparison) -> str:
    """Return a Markdown table."""
    lines = ["| | |", "|:--|:--|"]
    lines += [f"| {_md(name)} | {_md(text)} |" for name, text in rows(c)]
    return "\n".join(lines) + "\n"


def latex(c: Comparison) -> str:
    """Return a LaTeX table that needs booktabs."""
    body = [f"{_tex(name)} & {_tex(text)} \\\\" for name, text in rows(c)]
    return "\n".join(
        [r"\begin{tabular}{@{}ll@{}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}", ""]
    )


def _md(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", " ".join(text.split()))


def _tex(text: str) -> str:
    replace = {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}",
    }  # fmt: skip
    return "".join(replace.get(letter, letter) for letter in " ".join(text.split()))


def html(c: Comparison) -> str:
    """Return a drawing of the interval and a table, for notebooks."""
    body = "".join(
        f'<tr><th style="text-align:left">{_html.escape(name)}</th>'
        f'<td style="text-align:left">{_html.escape(text)}</td></tr>'
        for name, text in rows(c)
    )
    table = f"<table><caption>{_html.escape(apa(c))}</caption>{body}</table>"
    return f"<div>{interval_svg(c)}{table}</div>"


def results_table(
    results: Sequence[Comparison], *, format: Literal["markdown", "latex", "html"]
) -> str:
    """Return one row per comparison; labels are escaped for the format.

    Raises
    ------
    ValueError
        If `format` is unknown, or there is nothing to show.
    """
    if not results:
        raise ValueError("`results` must hold at least one comparison")
    head = ("control", "treatment", "difference", "interval", "p", "p corrected", "effect")
    body = [_row(c) for c in results]
    if format == "markdown":
        lines = [head, (":--",) * len(head), *(tuple(_md(t) for t in row) for row in body)]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)
    if format == "latex":
        rows_ = [" & ".join(_tex(t) for t in row) + r" \\" for row in (head, *body)]
        columns = "l" * len(head)
        lines_ = [
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", rows_[0], r"\midrule",
            *rows_[1:], r"\bottomrule", r"\end{tabular}", "",
        ]  # fmt: skip
        return "\n".join(lines_)
    if format == "html":
        cells = "".join(f"<th>{_html.escape(t)}</th>" for t in head)
        text = "".join(
            "<tr>" + "".join(f"<td>{_html.escape(t)}</td>" for t in row) + "</tr>" for row in body
        )
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{text}</tbody></table>"
    raise ValueError(f'`format` must be "markdown", "latex" or "html", got {format!r}')


def _row(c: Comparison) -> tuple[str, ...]:
    interval = c.confidence_interval
    effect = c.effect_size
    return (
        c.control.label,
        c.treatment.label,
        f"{c.difference:.3f}",
        "none" if interval is None else f"{_interval(interval)} ({100 * interval.level:.4g} %)",
        "not defined" if c.p_value is None else f"{c.p_value:.4g}",
        "-" if c.p_adjusted is None else f"{c.p_adjusted:.4g}",
        effect.reason or "not defined"
        if effect.value is None
        else f"{_NAMES.get(effect.name, effect.name)} = {_size(effect.name, effect.value)}",
    )


def p_text(p: float) -> str:
    """Return a p-value in APA style."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("= 0.", "= .")


def _size(name: str, value: float) -> str:
    """Return an effect size with two decimals; one that cannot exceed 1 has no leading zero."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if name in _BOUNDED and abs(value) < 0.995 else text


def _df(df: float) -> str:
    return f"{df:.0f}" if abs(df - round(df)) < 1e-9 else f"{df:.2f}"


def _interval(interval: Interval) -> str:
    low = "none" if interval.low is None else f"{interval.low:.3f}"
    high = "none" if interval.high is None else f"{interval.high:.3f}"
    return f"[{low}, {high}]"
