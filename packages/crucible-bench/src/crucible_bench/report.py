"""A comparison as an APA sentence and as tables; labels are untrusted and escaped."""

import html as _html
import re

from crucible_bench.results import Comparison, Interval

_NAMES = {"cohens_d": "d", "hedges_g": "g", "d_z": "d_z", "risk_difference": "RD"}
_TESTS = {"mcnemar_midp": "McNemar mid-p", "mcnemar_exact": "McNemar exact p"}


def apa(c: Comparison) -> str:
    """Return one sentence in APA style."""
    parts = []
    if c.p_value is None:
        parts.append("p not defined: " + ("; ".join(c.warnings) or "no variation"))
    elif c.test in _TESTS:
        parts.append(f"{_TESTS[c.test]} {_p(c.p_value).removeprefix('p ')}")
    else:
        df = "" if not c.df else f"({', '.join(_df(d) for d in c.df)})"
        statistic = f"{c.statistic_name}{df} = {c.statistic:.2f}"
        parts += [statistic, _p(c.p_value)]
    if c.p_adjusted is not None:
        parts.append(f"corrected {_p(c.p_adjusted)}")
    if c.effect_size.value is not None and c.effect_size.name != "risk_difference":
        name = _NAMES.get(c.effect_size.name, c.effect_size.name)
        parts.append(f"{name} = {c.effect_size.value:.2f}")
    parts.append(f"difference = {c.difference:.3f}")
    if c.confidence_interval is not None:
        level = 100 * c.confidence_interval.level
        parts.append(f"{level:g} % CI {_interval(c.confidence_interval)}")
    parts.append(
        f"n = {c.n_pairs} pairs" if c.n_pairs else f"n = {c.control.n} and {c.treatment.n}"
    )
    return ", ".join(parts)


def rows(c: Comparison) -> list[tuple[str, str]]:
    """Return what a table of the comparison says, as (name, text)."""
    said = [
        (f"{c.control.label} (control)", f"{c.control.mean:.3f}, n = {c.control.n}"),
        (f"{c.treatment.label} (treatment)", f"{c.treatment.mean:.3f}, n = {c.treatment.n}"),
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
    for test in c.robustness:
        if test.p_value is not None:
            said.append((f"p ({test.name})", f"{test.p_value:.4g}"))
    if c.verdict is not None:
        said.append(("verdict", c.verdict.sentence))
    said += [("note", warning) for warning in c.warnings]
    return said


def markdown(c: Comparison) -> str:
    """Return a Markdown table."""

    def escape(text: str) -> str:
        return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", " ".join(text.split()))

    lines = ["| | |", "|:--|:--|"]
    lines += [f"| {escape(name)} | {escape(text)} |" for name, text in rows(c)]
    return "\n".join(lines) + "\n"


def latex(c: Comparison) -> str:
    """Return a LaTeX table that needs booktabs."""
    replace = {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}",
    }  # fmt: skip

    def escape(text: str) -> str:
        return "".join(replace.get(letter, letter) for letter in " ".join(text.split()))

    body = [f"{escape(name)} & {escape(text)} \\\\" for name, text in rows(c)]
    return "\n".join(
        [r"\begin{tabular}{@{}ll@{}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}", ""]
    )


def html(c: Comparison) -> str:
    """Return an HTML table for notebooks."""
    body = "".join(
        f'<tr><th style="text-align:left">{_html.escape(name)}</th>'
        f'<td style="text-align:left">{_html.escape(text)}</td></tr>'
        for name, text in rows(c)
    )
    return f"<table><caption>{_html.escape(apa(c))}</caption>{body}</table>"


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("= 0.", "= .")


def _df(df: float) -> str:
    return f"{df:.0f}" if abs(df - round(df)) < 1e-9 else f"{df:.2f}"


def _interval(interval: Interval) -> str:
    low = "none" if interval.low is None else f"{interval.low:.3f}"
    high = "none" if interval.high is None else f"{interval.high:.3f}"
    return f"[{low}, {high}]"
