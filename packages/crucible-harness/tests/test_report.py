"""One report, five formats: equal numbers, harmless text, and programs that accept the files."""

import json
import re
import subprocess
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from programs import require
from worlds import Replay, sums

from crucible_harness import Condition, Experiment, Hypothesis, report, run_sync
from crucible_harness.options import ErrorPolicy
from crucible_harness.report import FORMATS

HOSTILE = [
    '</script><script>document.title="x"</script>',
    '<img src=x onerror=document.title="x">',
    r"\input{x} 50% a_b #1 é 漢 😀 $x^2$ ~ & {",
    "[link](http://example.org) | `code` **bold** <b>tag</b>",
    "=cmd|'/c calc'!A1",
]


@pytest.fixture
def hostile(options):
    """Return the folder of a run in which names, questions and answers try to break out."""
    answers = {item.input: "1" for item in sums(5)}

    class Hostile(Replay):
        async def generate(self, prompt, /, **options):
            from crucible_ensemble import Completion

            n = int(re.findall(r"\d+", prompt[-1]["content"])[0])
            return Completion(text=HOSTILE[n % 5], model=self.name, cost_usd=0.0, latency_s=0.1)

    data = sums(5)
    items = [replace(i, metadata={"kind": HOSTILE[n]}) for n, i in enumerate(data)]
    experiment = Experiment(
        HOSTILE[0],
        description=HOSTILE[2],
        dataset=data.derive(items, "hostile"),
        conditions=[
            Condition(name=HOSTILE[1], model=Hostile("a", answers)),
            Condition(name=HOSTILE[3], model=Replay("b", answers)),
        ],
        seed=1,
    )
    return run_sync(experiment, options=options).path


def values(node: object) -> list[str]:
    """Return the printed text of every value in a report's JSON, in order."""
    if isinstance(node, dict):
        if set(node) == {"id", "number", "unit", "text"}:
            return [node["text"]]
        return [text for key, value in node.items() if key != "spec" for text in values(value)]
    if isinstance(node, list):
        return [text for value in node for text in values(value)]
    return []


def test_every_number_is_printed_alike_in_every_format(finished):
    from crucible_harness.report import latex, markdown

    files = report(finished, formats=FORMATS)
    assert set(files) == set(FORMATS)
    text = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    printed = values(json.loads(text["json"]))
    assert len(printed) > 100
    cells = [
        c["source"] for c in json.loads(text["jupyter"])["cells"] if c["cell_type"] == "markdown"
    ]
    notebook = "".join("".join(lines) for lines in cells)
    in_page = re.findall(r'<span class="value"[^>]*>([^<]*)</span>', text["html"])
    assert sorted(in_page) == sorted(p.replace("<", "&lt;").replace(">", "&gt;") for p in printed)
    for value in set(printed):
        assert markdown.escape(value) in text["markdown"], value
        assert markdown.escape(value) in notebook, value
        assert latex.escape(value) in text["latex"], value


def test_the_report_says_what_was_found_and_nothing_more(finished):
    text = report(finished)["markdown"].read_text(encoding="utf-8")
    assert "Failures depend" not in text
    assert re.search(r"\*\*hb: (supported|inconclusive|not supported)\.\*\*", text)
    assert "Not preregistered" in text
    assert "ModelTimeoutError 3" in text  # the missing table
    assert "odds ratio" in text
    assert "p corrected" in text
    assert "80 % power" in text


def test_a_sequential_run_shows_where_it_stopped_and_by_what_evidence(replayed, options):
    # harness specification, acceptance 8: e-value 14.4375 after 6 pairs, 26.8125 after 7
    from crucible_harness.stopping import AlwaysValid

    claim = Hypothesis(
        id="h1", metric="accuracy", treatment="treatment", control="control", sesoi=0.05
    )
    experiment = replayed(
        {"treatment": "1" * 30, "control": "0" * 30},
        hypotheses=[claim],
        stopping=AlwaysValid(hypothesis="h1", look_every=1),
    )
    path = run_sync(experiment, options=replace(options, concurrency=1)).path
    files = report(path, formats=("markdown", "html"))
    text = files["markdown"].read_text()
    assert "Decided after item 7" in text
    assert "14.4375" in text
    assert "26.8125" in text
    assert "stopping-path.svg" in text
    assert "threshold 20" in files["html"].read_text()


@pytest.mark.parametrize("format", ["markdown", "latex", "html", "json"])
def test_one_broken_number_in_one_format_is_noticed(finished, format):
    # What the test of equal numbers rests on: a number that is lost in a rendering is missed.
    from crucible_harness.analysis import analyse_run
    from crucible_harness.recorded import load_run
    from crucible_harness.report import printed, rendered, written_report

    run = load_run(finished)
    whole = written_report(run, analyse_run(run))
    page = rendered(whole, format)
    value = next(v for v in whole.values() if v.id == "hb.difference")
    assert printed(value, format) in page
    broken = page.replace(printed(value, format), printed(replace(value, text="0.999"), format))
    missing = [v for v in whole.values() if printed(v, format) not in broken]
    assert value in missing


def test_markdown_of_hostile_text_has_no_markup_of_its_own(hostile):
    text = report(hostile)["markdown"].read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").enable(["table"]).parse(text)
    flat = [t for token in tokens for t in (token, *(token.children or ()))]
    assert not [t for t in flat if t.type in ("html_block", "html_inline", "link_open")]
    images = [t.attrs["src"] for t in flat if t.type == "image"]
    assert all(re.fullmatch(r"figures/[a-z-]+\.svg", source) for source in images)


@pytest.mark.parametrize("which", ["finished", "hostile"])
def test_latex_compiles(which, request, tmp_path):
    pdflatex = require("pdflatex")
    out = tmp_path / "tex"
    report(request.getfixturevalue(which), formats=("latex",), path=out)
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
        cwd=out, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (out / "report.pdf").stat().st_size > 20_000


def test_fragments_compile_inside_a_paper(finished, tmp_path):
    pdflatex = require("pdflatex")
    report(finished, formats=("latex",), path=tmp_path, fragment=True)
    assert "documentclass" not in (tmp_path / "report.tex").read_text()
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}"
        r"\begin{document}\input{report}\end{document}"
    )
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_models_that_err_together_are_drawn(options):
    from worlds import simulated

    models = [simulated(name, accuracy=0.6) for name in ("m", "k")]
    experiment = Experiment(
        "pair", dataset=sums(30), conditions=[Condition(m.name, m) for m in models], seed=3
    )
    files = report(run_sync(experiment, options=options).path, formats=("markdown", "jupyter"))
    text = files["markdown"].read_text()
    assert "Errors go together most between" in text
    assert "member-correlation.svg" in text
    cells = json.loads(files["jupyter"].read_text())["cells"]
    assert "Simulated" in "".join(cells[0]["source"])  # banners come before any number


def open_report(page, path):
    page.goto(path.as_uri())
    page.wait_for_selector("#item-count:not(:empty)")
    assert page.trouble[1:] == [], "only the file itself is loaded, and nothing complains"


def test_the_page_needs_no_network_and_draws_its_charts(page, finished):
    path = report(finished, formats=("html",))["html"]
    open_report(page, path)
    charts = page.locator(".chart svg")
    charts.first.wait_for()
    assert charts.count() == page.locator("figure").count() >= 3
    assert page.locator("#item-count").inner_text() == "30 of 30 items"


def test_the_charts_need_the_interpreter_that_the_policy_allows(page, finished):
    path = report(finished, formats=("html",))["html"]
    page_text = path.read_text(encoding="utf-8")
    broken = page_text.replace("ast: true", "ast: false")
    assert broken != page_text
    path.with_name("broken.html").write_text(broken, encoding="utf-8")
    page.goto(path.with_name("broken.html").as_uri())
    page.wait_for_timeout(500)
    assert page.locator(".chart svg").count() == 0


def test_filters_find_what_they_name(page, finished):
    open_report(page, report(finished, formats=("html",))["html"])
    count = page.locator("#item-count")
    page.select_option("#filter-outcome", "failed")
    assert count.inner_text() == "3 of 30 items"  # a timed out once in each block of ten
    page.select_option("#filter-condition", "b")
    assert count.inner_text() == "0 of 30 items"
    page.select_option("#filter-outcome", "wrong")
    assert count.inner_text() == "3 of 30 items"
    page.select_option("#filter-outcome", "")
    page.select_option("#filter-condition", "")
    page.check("#filter-disagree")
    # columns 1 to 10 of a, b, c; they agree in 2, 4, 5 (111) and 7 (000)
    assert count.inner_text() == "18 of 30 items"
    page.uncheck("#filter-disagree")
    page.fill("#filter-text", "What is 7 +")
    assert count.inner_text() == "1 of 30 items"
    page.locator("#item-list button").click()
    assert "Prompt as sent" in page.locator(".detail").inner_text()


def test_each_verdict_is_drawn_against_the_smallest_effect(page, finished):
    open_report(page, report(finished, formats=("html",))["html"])
    drawn = page.locator(".finding svg.drawn")
    assert drawn.count() == page.locator(".finding").count() == 2
    band, zero = drawn.first.locator("rect.small"), drawn.first.locator("line.zero")
    left, width = float(band.get_attribute("x")), float(band.get_attribute("width"))
    assert left < float(zero.get_attribute("x1")) < left + width  # zero lies inside the band
    assert zero.evaluate("line => Math.abs(line.x1.baseVal.value - %f) <= 1" % (left + width / 2))
    claimed = drawn.first.locator("rect.claimed")  # "greater": from the band's right edge on
    assert float(claimed.get_attribute("x")) == left + width
    label = drawn.first.get_attribute("aria-label")
    assert label.startswith("+0.400, from ")  # b is right on 27 of 30 items, a on 15


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_does_not_scroll_sideways(browser, finished, scheme):
    path = report(finished, formats=("html",))["html"]
    narrow = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    narrow.goto(path.as_uri())
    narrow.locator(".chart svg").last.wait_for()
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390
    assert narrow.locator("html").get_attribute("data-theme") == scheme
    narrow.close()


def test_verdicts_in_one_unit_are_drawn_on_one_line(page, finished):
    open_report(page, report(finished, formats=("html",))["html"])
    zeros = [z.get_attribute("x1") for z in page.locator(".finding svg.drawn line.zero").all()]
    assert len(zeros) == 2
    assert len(set(zeros)) == 1
    assert page.locator(".ticks").first.locator("span").all_inner_texts() == ["0", "+0.05"]


def test_on_paper_nothing_is_cut_off_at_the_right(page, finished):
    open_report(page, report(finished, formats=("html",))["html"])
    page.locator(".chart svg").last.wait_for()
    page.set_viewport_size({"width": 680, "height": 900})  # A4 between its margins
    page.emulate_media(media="print")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main svg, main table, main pre")]
            .filter((e) => e.getBoundingClientRect().width > 0)
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => e.outerHTML.slice(0, 60))"""
    )
    assert wide == []
    assert not page.locator("#explorer").is_visible()


def test_above_20_megabytes_discordant_and_failed_items_come_first_and_it_says_so(
    page, tmp_path, options
):
    from crucible_datasets import Item
    from crucible_harness.report.explorer import EXPLORER_BYTES

    data = sums(300)
    long = data.derive(
        [
            Item(id=item.id, input=f"{item.input} {'x' * 40_000}", expected=item.expected)
            for item in data
        ],
        "long",
    )
    # Under b every tenth item is wrong, every twentieth late.
    outcomes = {"a": "1" * 300, "b": "!1111111110111111111" * 15}
    experiment = Experiment(
        "long", dataset=long, seed=1,
        conditions=[
            Condition(name, Replay(name, {i.input: o for i, o in zip(long, row, strict=True)}))
            for name, row in outcomes.items()
        ],
    )  # fmt: skip
    result = run_sync(experiment, options=replace(options, errors=ErrorPolicy(max_failure_rate=1)))
    path = report(result.path, formats=("html",))["html"]
    # The bundle that draws the charts is a megabyte, the rest of the page less.
    assert EXPLORER_BYTES * 0.95 < path.stat().st_size < EXPLORER_BYTES * 1.1
    open_report(page, path)
    said = page.locator("#item-count").inner_text()
    kept, left_out = re.fullmatch(
        r"(\d+) of 300 items; (\d+) items are not in this page, see the results file", said
    ).groups()
    assert int(kept) + int(left_out) == 300
    assert 240 < int(kept) < 250  # 80 kB each: the question, and the prompt as sent
    page.check("#filter-disagree")
    assert page.locator("#item-count").inner_text().startswith("30 of 300 items")
    page.select_option("#filter-outcome", "failed")
    assert page.locator("#item-count").inner_text().startswith("15 of 300 items")


def test_hostile_text_stays_text(page, hostile):
    path = report(hostile, formats=("html",))["html"]
    open_report(page, path)
    for row in page.locator("#item-list button.row").all():
        row.click()
    assert page.locator(".detail").count() == 5
    assert page.title() == HOSTILE[0]
    assert page.locator("img").count() == 0
    assert page.trouble[1:] == []
    body = page.locator("body").inner_text()
    for text in HOSTILE:
        assert text in body


def test_the_keyboard_reaches_search_theme_and_items(page, finished):
    open_report(page, report(finished, formats=("html",))["html"])
    theme = page.locator("html").get_attribute("data-theme")
    page.keyboard.press("t")
    assert page.locator("html").get_attribute("data-theme") != theme
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter-text"
    page.locator("#item-list button").first.focus()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    assert page.locator("#item-list li:nth-child(2) .detail").count() == 1


def test_an_item_links_to_its_decisions_where_they_were_drawn(page, replayed, options):
    traced = replace(options, telemetry=True, trace=True)
    folder = run_sync(replayed({"a": "101", "b": "011"}), options=traced).path
    open_report(page, report(folder, formats=("html",))["html"])
    page.locator("#item-list button.row", has_text="sum/1").click()
    page.locator(".detail a").click()
    page.wait_for_selector("[role=option]")
    assert page.url.startswith((folder / "trace.html").as_uri())
    assert page.locator("[role=option]").count() > 0
    assert "sum/0" not in page.locator("[role=listbox]").inner_text()


def test_a_formula_in_an_answer_is_text_in_the_table(options):
    from crucible_ensemble import FunctionModel

    model = FunctionModel(lambda prompt: "=1+1", name="formula")
    model.fingerprint = lambda: {"model": "formula"}
    data = sums(2)
    text = data.derive(list(data), "text")
    text.task = "text"
    experiment = Experiment(
        "formula", dataset=text, conditions=[Condition(name="a", model=model)], seed=1
    )
    result = run_sync(experiment, options=options)
    assert "'=1+1" in (result.path / "results.csv").read_text()


def test_an_unknown_format_names_the_known_ones(finished):
    with pytest.raises(ValueError, match="markdown, latex, html, jupyter, json"):
        report(finished, formats=("pdf",))
