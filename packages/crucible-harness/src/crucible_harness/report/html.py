"""The report as one self-contained, interactive HTML file under a strict content policy."""

import base64
import hashlib
import json
from importlib import resources

from crucible_harness.report.model import Finding, Interval, Report
from crucible_harness.report.values import MINUS, Value

# No address is allowed at all; scripts are named by their hashes, so that a script tag in a model's
# answer would not run even if escaping failed.
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def render(report: Report) -> str:
    """Return the report as HTML, without any reference to the network."""
    import vl_convert
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    assets = resources.files("crucible_harness.report") / "assets"
    script = (assets / "report.js").read_text(encoding="utf-8")
    vega = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub says otherwise
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scales = _scales(report)
    environment.filters["drawing"] = lambda drawn: _drawing(drawn, scales[drawn.estimate.unit])
    environment.filters["script_json"] = lambda data: Markup(_script_json(data))
    template = environment.from_string((assets / "report.html.j2").read_text(encoding="utf-8"))
    explorer = report.explorer
    page: str = template.render(
        report=report,
        explorer=None
        if explorer is None
        else {
            "conditions": explorer.conditions,
            "fields": explorer.fields,
            "items": explorer.items,
            "total": explorer.total,
            "left_out": explorer.left_out,
        },
        policy=_POLICY.format(scripts=" ".join(_source(code) for code in (vega, script))),
        style=Markup((assets / "report.css").read_text(encoding="utf-8")),
        vega=Markup(vega),
        script=Markup(script),
    )
    return page


def _scales(report: Report) -> dict[str, tuple[float, float]]:
    """Return start and width of the line on which all verdicts in a unit are drawn."""
    ends: dict[str, list[float]] = {}
    for section in report.sections:
        for block in section.blocks:
            if isinstance(block, Finding) and block.drawn is not None:
                drawn = block.drawn
                found = ends.setdefault(drawn.estimate.unit, [0.0])
                found += [-drawn.sesoi, drawn.sesoi, _number(drawn.low), _number(drawn.high)]
    return {
        unit: (min(found) - 0.12 * (max(found) - min(found)), 1.24 * (max(found) - min(found)))
        for unit, found in ends.items()
    }


def _drawing(interval: Interval, scale: tuple[float, float]) -> dict[str, object]:
    """Return where zero, the smallest effect and the interval lie on a line of 1,000 units."""
    start, width = scale
    low, estimate, high = map(_number, (interval.low, interval.estimate, interval.high))

    def at(number: float) -> int:
        return round(1000 * (number - start) / width)

    bands = {
        "greater": [(at(interval.sesoi), 1000)],
        "less": [(0, at(-interval.sesoi))],
        "two-sided": [(0, at(-interval.sesoi)), (at(interval.sesoi), 1000)],
        "both": [(at(-interval.sesoi), at(interval.sesoi))],
    }[interval.direction]
    return {
        "low": at(low), "estimate": at(estimate), "high": at(high), "zero": at(0.0),
        "edges": (at(-interval.sesoi), at(interval.sesoi)), "claimed": bands,
        "ticks": [
            {"at": at(number) / 10, "text": text.replace("-", MINUS), "side": side}
            for number, text, side in _ticks(interval)
        ],
    }  # fmt: skip


def _ticks(interval: Interval) -> list[tuple[float, str, str]]:
    """Return the two places that the claim is about; they are labelled away from each other."""
    sesoi = interval.sesoi
    above, below = (sesoi, f"+{sesoi:g}", "after"), (-sesoi, f"-{sesoi:g}", "before")
    if interval.direction == "greater":
        return [(0.0, "0", "before"), above]
    return [below, (0.0, "0", "after") if interval.direction == "less" else above]


def _number(value: Value) -> float:
    return 0.0 if value.number is None else value.number


def _source(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _script_json(data: object) -> str:
    """Return JSON that cannot end the script block it stands in."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
