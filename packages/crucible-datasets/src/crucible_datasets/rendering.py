"""Results as Markdown, CSV, JSON Lines and HTML. Model output is untrusted in all of them."""

import csv
import io
import json
from collections.abc import Sequence
from html import escape

from crucible_datasets.results import EvaluationResult, MetricValue


def markdown(result: EvaluationResult) -> str:
    """Return a table of the metrics, and below it what was counted."""
    lines = ["| metric | value | interval | n |", "|---|---|---|---|"]
    lines += [
        f"| {cell(name)} | {number(value)} | {interval(value.interval)} | {value.n} |"
        for name, value in result.metrics.items()
    ]
    lines += ["", cell(counts(result))]
    return "\n".join(lines) + "\n"


def comparison(results: Sequence[EvaluationResult]) -> str:
    """Return a table with one line per model."""
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    head = ["model", "n", "missing", "unextracted", *names]
    lines = [f"| {' | '.join(map(cell, head))} |", "|" + "---|" * len(head)]
    for r in results:
        values = [number(r.metrics[n]) if n in r.metrics else "" for n in names]
        row = [cell(r.model or ""), str(r.n_items), str(r.n_missing), str(r.n_unextracted), *values]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def number(value: MetricValue) -> str:
    """Return a metric's value, or why there is none."""
    if value.value is None:
        return f"undefined ({cell(value.reason or 'no value')})"
    return f"{value.value:.2f}" if value.unit == "0-100" else f"{value.value:.4f}"


def interval(limits: tuple[float, float] | None) -> str:
    """Return an interval, or nothing."""
    return "" if limits is None else f"{limits[0]:.4f} to {limits[1]:.4f}"


def counts(r: EvaluationResult) -> str:
    """Return what was counted, in a sentence."""
    who = "" if r.model is None else f" by {r.model}"
    where = r.dataset if r.split is None else f"{r.dataset} ({r.split})"
    return (
        f"{r.n_predictions} predictions{who} for {r.n_items} items of {where}: {r.n_missing} items "
        f"without one, {r.n_failed} failed, {r.n_unextracted} without an answer that could be read "
        f"({r.n_ambiguous} ambiguous)."
    )


def cell(text: str) -> str:
    """Make text harmless in a cell of a Markdown table."""
    safe = escape(text, quote=False).replace("\\", "\\\\")
    for sign in "`*_[]|":
        safe = safe.replace(sign, "\\" + sign)
    return " ".join(safe.split())


def csv_text(result: EvaluationResult, *, raw: bool) -> str:
    """Return one line per answer."""
    names = list(dict.fromkeys(name for item in result.items for name in item.scores))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["item_id", "sample", "output", "extracted", "method", *names])
    for item in result.items:
        texts = [
            item.item_id,
            str(item.sample),
            item.output or "",
            item.extracted or "",
            item.method,
        ]
        values = ["" if (v := item.scores.get(name)) is None else repr(v) for name in names]
        writer.writerow([*(t if raw else defused(t) for t in texts), *values])
    return out.getvalue()


def defused(text: str) -> str:
    """Return a cell that no spreadsheet runs as a formula."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def jsonl(result: EvaluationResult) -> str:
    """Return one JSON object per answer."""
    return "".join(json.dumps(item.to_dict(), sort_keys=True) + "\n" for item in result.items)


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #999;padding:.3em .6em;text-align:left;"
    "vertical-align:top}td.o{white-space:pre-wrap;overflow-wrap:anywhere;max-width:40em}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}}"
)


def html(result: EvaluationResult) -> str:
    """Return a page of its own: no script, nothing loaded, everything escaped."""
    names = list(dict.fromkeys(name for item in result.items for name in item.scores))
    title = escape(f"{result.dataset}: {result.model or 'predictions'}")
    metrics = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(number(value))}</td>"
        f"<td>{interval(value.interval)}</td><td>{value.n}</td></tr>"
        for name, value in result.metrics.items()
    )
    rows = "".join(
        f"<tr><td>{escape(item.item_id)}</td><td>{item.sample}</td>"
        f'<td class="o">{escape(item.output or "")}</td><td>{escape(item.extracted or "")}</td>'
        f"<td>{escape(item.method)}</td>"
        + "".join(f"<td>{_score(item.scores.get(name))}</td>" for name in names)
        + "</tr>"
        for item in result.items
    )
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{escape(counts(result))}</p>"
        "<table><thead><tr><th scope='col'>metric</th><th scope='col'>value</th>"
        f"<th scope='col'>interval</th><th scope='col'>n</th></tr></thead><tbody>{metrics}</tbody>"
        "</table><h2>Answers</h2><table><thead><tr><th scope='col'>item</th><th scope='col'>sample"
        "</th><th scope='col'>output</th><th scope='col'>read as</th><th scope='col'>by</th>"
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></body></html>\n"
    )


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
