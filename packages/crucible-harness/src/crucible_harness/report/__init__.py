"""One report of a run, in five formats with identical numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opentelemetry import trace

from crucible_harness.files import replace_file

if TYPE_CHECKING:
    from crucible_harness.analysis import Analysis
    from crucible_harness.outcome import RunResult
    from crucible_harness.recorded import RecordedRun
    from crucible_harness.report.model import Report
    from crucible_harness.report.plain import Reportable
    from crucible_harness.report.values import Value

Format = Literal["markdown", "latex", "html", "jupyter", "json"]
FORMATS: tuple[Format, ...] = ("markdown", "latex", "html", "jupyter", "json")
FILES: Mapping[Format, str] = {
    "markdown": "report.md",
    "latex": "report.tex",
    "html": "report.html",
    "jupyter": "report.ipynb",
    "json": "report.json",
}


def report(
    source: "Path | str | RunResult | Reportable",
    *,
    formats: Sequence[Format] = ("markdown",),
    path: Path | None = None,
    fragment: bool = False,
) -> Mapping[Format, Path]:
    r"""Write the report of a run, derived from its journal alone, or of anything `Reportable`.

    Parameters
    ----------
    source : path of a run folder, RunResult, or an object with `to_report()`
        Such as a `MetaReport`, or an adapter's evaluation.
    formats : sequence of "markdown", "latex", "html", "jupyter", "json"
    path : folder to write into
        The run folder by default; needed where there is none. Figures go to `figures/` in it.
    fragment : bool
        LaTeX without preamble, for `\input`.

    Returns
    -------
    mapping of format to the file written

    Raises
    ------
    ValueError
        If a format is unknown, `path` is needed, or `to_report()` returns something else.
    HarnessError
        If `source` is not a readable run.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"`formats` must be among {', '.join(FORMATS)}; got {unknown[0]!r}")
    written, folder = _read(source, path)
    folder.mkdir(parents=True, exist_ok=True)
    if {"markdown", "latex"} & set(formats):
        _draw(written, folder / "figures", pdf="latex" in formats)
    files: dict[Format, Path] = {}
    for name in formats:
        files[name] = folder / FILES[name]
        with trace.get_tracer("crucible_harness").start_as_current_span(
            "crucible.harness.report", attributes={"crucible.harness.format": name}
        ) as span:
            replace_file(files[name], rendered(written, name, fragment=fragment))
            span.set_attribute("crucible.harness.bytes", files[name].stat().st_size)
    return files


def _read(source: object, path: Path | None) -> "tuple[Report, Path]":
    from crucible_harness.analysis import analyse_run
    from crucible_harness.outcome import RunResult
    from crucible_harness.recorded import load_run
    from crucible_harness.report.plain import read_report

    if isinstance(source, RunResult):
        source = source.path
    if isinstance(source, Path | str):
        run = load_run(source)
        folder = Path(path) if path is not None else run.path
        return written_report(run, analyse_run(run), beside=folder), folder
    to_report = getattr(source, "to_report", None)
    if to_report is None:
        raise ValueError(
            f"`source` must be a run folder, a result or have to_report(), got {source!r}"
        )
    if path is None:
        raise ValueError("`path` must be given for a report of something that is no run")
    return read_report(to_report()), Path(path)


def written_report(
    run: "RecordedRun", analysis: "Analysis", *, beside: Path | None = None
) -> "Report":
    """Return the report of a run that lies in the folder `beside`, by default the run's own."""
    from crucible_harness.report.build import build

    folder = run.path if beside is None else beside
    return build(run, analysis, traced=(folder / "trace.html").is_file())


def printed(value: "Value", format: Format) -> str:
    """Return a value as it stands in a file of this format."""
    from html import escape

    from crucible_harness.report import latex, markdown

    match format:
        case "markdown":
            return markdown.escape(value.text)
        case "latex":
            return latex.escape(value.text)
        case "html":
            return escape(value.text)
        case "jupyter":
            return _in_json(markdown.escape(value.text), ascii=False)
        case "json":
            return _in_json(value.text, ascii=True)


def _in_json(text: str, *, ascii: bool) -> str:
    import json

    return json.dumps(text, ensure_ascii=ascii)[1:-1]


def rendered(written: "Report", format: Format, *, fragment: bool = False) -> str:
    """Return a report in one format."""
    from crucible_harness.report import html, json, latex, markdown, notebook

    match format:
        case "markdown":
            return markdown.render(written)
        case "latex":
            return latex.render(written, fragment=fragment)
        case "html":
            return html.render(written)
        case "jupyter":
            return notebook.render(written)
        case "json":
            return json.render(written)


def _draw(written: "Report", folder: Path, *, pdf: bool) -> None:
    import vl_convert

    folder.mkdir(exist_ok=True)
    for chart in written.charts():
        spec = {**chart.spec, "background": "white"}
        replace_file(folder / f"{chart.id}.svg", vl_convert.vegalite_to_svg(spec))
        if pdf:
            (folder / f"{chart.id}.pdf").write_bytes(vl_convert.vegalite_to_pdf(spec))
