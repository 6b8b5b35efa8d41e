import base64
import gzip
import hashlib
import html
import itertools
import json
import re
import stat
import webbrowser

import pytest

from crucible_causaltrace import (
    Chain,
    Event,
    chain_from_events,
    merge,
    open_visualization,
    parse_llm_output,
    render_html,
    seal,
)
from crucible_causaltrace.viewer.highlight import tokens_of

HOSTILE = [
    "<script>window.hacked = 1</script>", "</script><script>window.hacked = 2</script>",
    '"><img src="http://x.test/a.png" onerror="window.hacked = 3">', "javascript:window.hacked=4",
    "=cmd()", "{{7*7}}", "{{script}}", "\u202etxt.exe", "a" * 10_000, "<style>*{display:none}</style>",
    "<!--", "]]>", "\x00\x0b\ud800", "<b id=named>x</b>", "${window.hacked = 5}", "&lt;i&gt;", "</title>",
]  # fmt: skip


def hostile_chain():
    everything = "".join(HOSTILE)
    chain = Chain(
        everything, id="h", metadata={everything: {"__proto__": everything}}, text=everything
    )
    previous = None
    for n, text in enumerate((*HOSTILE, everything)):
        previous = chain.add(
            Event(
                id=f"{n}{text}", type=text, source=("self_report", "system_observed", "intervention")[n % 3],
                decision=text, reasoning=text, alternatives=[text], code=text, code_language=text[:50],
                spec_reference=text, stage=text, outcome=text, experiment_id=text, confidence=0.5,
                time_s=1.0 + n, duration_s=0.5, parent=None if previous is None else previous.id,
                metadata={"counts": {text: 2, "other": 1}, "model": text, "attributes": {text: text}},
            )
        )  # fmt: skip
    return chain


def realistic_chain(cells=6):
    """Cells with a vote of five samples each, and what the first call said."""
    spans, chat = [], {"gen_ai.operation.name": "chat"}

    def span(name, id, parent, start, took, **more):
        attributes = more.pop("attributes", {})
        spans.append(
            {"name": name, "span_id": id, "parent_span_id": parent, "trace_id": "t", "outcome": "ok",
             "start_ns": 1_765_000_000_000_000_000 + round(start * 1e9), "duration_s": took,
             "attributes": attributes} | more
        )  # fmt: skip

    for c in range(cells):
        t = c * 3.0
        span("crucible.harness.cell", f"c{c}", None, t, 2, item_id=f"item-{c}", attributes={
            "crucible.condition": "vote-5" if c % 2 else "greedy", "crucible.repeat": 0})  # fmt: skip
        span("crucible.ensemble.predict", f"p{c}", f"c{c}", t, 2)
        for s in range(5):
            trace = {"crucible.trace.id": "said"} if c == s == 0 else {}
            span("crucible.ensemble.member", f"m{c}{s}", f"p{c}", t + 0.1, 1)
            span("crucible.ensemble.generate", f"g{c}{s}", f"m{c}{s}", t + 0.1, 0.5 + s / 10,
                 model="local/small", input_tokens=50, output_tokens=s, attributes=chat | trace,
                 outcome="error" if s == 3 else "ok")  # fmt: skip
        votes = json.dumps({str(c): 3, "other answer": 1})
        span("crucible.ensemble.vote", f"v{c}", f"p{c}", t + 1.9, 0.01, attributes={
            "crucible.answer": str(c), "crucible.ensemble.votes": votes})  # fmt: skip
    said = parse_llm_output(
        '<event type="assumption_made" id="a"><decision>Prices are per Dozen</decision></event>'
        '<event type="decision_made" id="d" depends_on="a"><decision>Sell nine</decision>'
        "<alternatives>Sell all; Sell a dozen</alternatives><reasoning>Nine are left</reasoning>"
        '<confidence>0.9</confidence><code_section lang="python">\nx = 1  # nine\n</code_section></event>'
        '<event type="uncertainty_noted" parent="d" contradicts="a"><confidence>0.4</confidence></event>',
        "item 0",
        id="said",
    )
    return merge(chain_from_events(spans, task="Does a vote beat one answer?"), said)


class Watched:
    """A page, with all that went wrong or out."""

    def __init__(self, browser, tmp_path, chain, *, width=1280, height=800, scheme="light", **more):
        self.path = open_visualization(chain, path=tmp_path / "trace.html", browser=False, **more)
        self.errors, self.requests, self.dialogs = [], [], []
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss())
        )
        self.open()

    def open(self, fragment=""):
        self.page.goto(self.path.as_uri() + fragment)
        self.page.wait_for_selector("body[data-ready]")

    def rows(self):
        self.page.evaluate("new Promise(requestAnimationFrame)")
        return self.page.locator(".row .say").all_inner_texts()

    def selected(self):
        return self.page.locator(".row[aria-selected=true] .at").all_inner_texts()

    def count(self):
        return int(self.page.locator("#count").inner_text().split()[0].replace(",", ""))


@pytest.fixture
def watch(chromium, tmp_path):
    opened = []

    def make(chain, **more):
        opened.append(Watched(chromium, tmp_path, chain, **more))
        return opened[-1]

    yield make
    for watched in opened:
        watched.page.context.close()
        assert watched.errors == []


def payload(page):
    content = re.search(r'id="data">([A-Za-z0-9+/=]+)</script>', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(content)))


# Without a browser


def test_the_same_chain_gives_the_same_page():
    chain = realistic_chain()
    again = Chain.from_dict(json.loads(json.dumps(chain.to_dict())))
    assert render_html(chain) == render_html(again)


def test_the_page_has_no_address_to_ask():
    page = render_html(realistic_chain())
    fixed = page.replace(re.search(r'id="data">(.*?)</script>', page)[1], "")
    # The SVG namespace is a name; nobody asks for it.
    assert set(re.findall(r"https?://[^\"' ]+", fixed)) <= {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in fixed
    assert " style=" not in fixed
    assert not re.search(r"\son[a-z]+=", fixed)


def test_only_the_page_s_own_script_and_style_may_run():
    page = render_html(hostile_chain())
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])

    def sha256(tag):
        content = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(content) == 1
        return base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()

    assert policy.split("; ") == [
        "default-src 'none'", f"script-src 'sha256-{sha256('script')}'",
        f"style-src 'sha256-{sha256('style')}'", "base-uri 'none'", "form-action 'none'",
        "require-trusted-types-for 'script'", "trusted-types 'none'",
    ]  # fmt: skip
    # The policy can only rule what comes after it.
    assert page.index("Content-Security-Policy") < min(page.index("<title>"), page.index("<style>"))


def test_a_title_that_looks_like_a_placeholder_stays_one():
    page = render_html(Chain("{{payload}} {{nothing}}"))
    assert "<title>{{payload}} {{nothing}}</title>" in page


def test_columns_in_which_nothing_is_known_are_left_out():
    chain = Chain("t", id="c")
    chain.add(Event(id="a", type="x", source="self_report"))
    data = payload(render_html(chain))
    assert "confidence" not in data
    assert "alternatives" not in data
    assert (data["n"], data["id"], data["parent"]) == (1, ["a"], [-1])


def test_a_theme_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="`theme`"):
        render_html(Chain("t"), theme="sepia")


def test_without_a_path_the_page_lies_where_only_the_user_can_read(monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    first, second = open_visualization(Chain("t")), open_visualization(Chain("t"))
    assert first != second
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_a_machine_without_a_browser_still_gets_the_file(tmp_path, monkeypatch):
    def nothing(url):
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", nothing)
    path = open_visualization(Chain("t\ud800"), path=tmp_path / "new" / "x.html")
    assert "<title>t\ufffd</title>" in path.read_text("utf-8")


def test_tokens_cover_the_code_or_are_left_out():
    code = 'def f(x):\n\treturn "é\U0001f600"  # why\r\n'
    assert tokens_of("a = 1", None) is None
    assert tokens_of("a = 1", "no such language") is None
    assert tokens_of("a" * 20_001, "python") is None
    runs = tokens_of("x = 'é\U0001f600'", "python")
    # UTF-16 units: 7 characters, one of them outside the basic plane.
    assert sum(runs[1::2]) == 9
    assert 2 in runs[0::2]
    lossy = tokens_of(code, "python")
    assert lossy is None or sum(lossy[1::2]) == len(code) + 1


# In a real browser


def test_hostile_text_stays_text(watch):
    watched = watch(hostile_chain())
    page = watched.page
    named = "document.querySelectorAll('script, img, style, b#named, iframe, a, i#i').length"
    elements = page.evaluate(named)
    for _ in (*HOSTILE, "all of it"):
        page.keyboard.press("j")
        page.locator("details.more summary").click()
        page.locator("details.more pre").wait_for()
        page.locator("#list").focus()
    page.locator("#types-menu summary").click()
    page.locator("#overview-button").click()
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(named) == elements
    assert watched.requests == [watched.path.as_uri()]
    assert watched.dialogs == []
    assert page.locator("#title").text_content().replace("\x00", "") == "".join(HOSTILE).replace(
        "\x00", ""
    )


def test_nothing_can_be_injected_or_fetched(watch):
    watched = watch(realistic_chain())
    page = watched.page
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'done' } catch (e) { return e.name } }"
    )
    assert refused == "TypeError"
    assert page.evaluate("fetch('https://x.test').then(() => 'done', (e) => e.name)") == "TypeError"
    page.evaluate(
        "() => { const b = document.createElement('button'); b.id = 'b';"
        " try { b.setAttribute('onclick', 'window.hacked = 1') } catch { } document.body.append(b); b.click() }"
    )
    assert page.evaluate("window.hacked") is None
    assert page.locator("h1").inner_text() == "Does a vote beat one answer?"
    assert watched.requests == [watched.path.as_uri()]
    watched.errors.clear()  # the refusals above, as the browser reports them


def test_the_header_says_what_a_self_report_is(watch, oddities):
    page = watch(parse_llm_output(oddities, "Choose a store")).page
    head = page.locator("header").inner_text()
    assert "Reasons marked self-report are what the model said, not proof of why." in head
    assert "8 events 8 self-report" in " ".join(head.split())
    page.get_by_role("button", name="9 parse issues").click()
    assert page.locator("#issues li").count() == 9
    page.locator("#issues li", has_text="unknown_reference").get_by_role("button").click()
    assert page.locator("#detail h2").inner_text() == "Which encoding?"


def test_each_filter_counts_what_find_finds(watch):
    chain = realistic_chain()
    watched = watch(chain)
    page = watched.page

    def shows(expected):
        page.get_by_text(f"{len(expected)} of {len(chain)} events", exact=True).wait_for()
        page.locator("#clear").click()
        assert watched.count() == len(chain)

    page.locator("#q").fill("DOZEN")
    shows(chain.find(text="dozen"))
    page.locator("#sources button").nth(1).click()
    shows(chain.find(sources=["self_report"]))
    page.locator("#types-menu summary").click()
    page.get_by_role("button", name="None").click()
    page.locator("#types label", has_text="decision_made").click()
    page.locator("#types label", has_text="system:cell").click()
    page.keyboard.press("Escape")
    shows(chain.find(types=["decision_made", "system:cell"]))
    page.locator("#confidence-menu summary").click()
    page.locator("#low").fill("0.5")
    page.locator("#unstated").uncheck()
    page.keyboard.press("Escape")
    shows(chain.find(min_confidence=0.5))
    page.locator("#confidence-menu summary").click()
    page.locator("#high").fill("0.5")
    page.locator("#unstated").uncheck()
    page.keyboard.press("Escape")
    shows(chain.find(max_confidence=0.5))
    page.locator("#stage").select_option("vote-5")
    shows(chain.find(stage="vote-5"))
    page.locator("#q").fill("item-3")
    page.locator("#everywhere").check()
    shows([chain["c3"]])


def drag(page, start, end):
    """Drag over the timeline, from one share of its width to another."""
    box = page.locator("#strip").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=3)
    page.mouse.up()


def test_a_drag_over_the_timeline_shows_what_find_finds_in_that_time(watch):
    chain = realistic_chain()
    watched = watch(chain)
    page = watched.page
    drag(page, 0.25, 0.6)
    fragment = dict(part.split("=") for part in page.evaluate("location.hash")[1:].split("&"))
    found = chain.find(since_s=float(fragment["from"]), until_s=float(fragment["to"]))
    assert 0 < len(found) < len(chain)
    assert watched.count() == len(found)
    # The whole strip is 17 s: from the first start to the last end.
    low, high = (float(fragment[end]) - 1_765_000_000 for end in ("from", "to"))
    assert (low, high) == pytest.approx((0.25 * 17, 0.6 * 17), abs=0.05)
    assert "6 s" not in page.locator("#strip-low").inner_text()
    box = page.locator("#strip").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    assert watched.count() == len(chain)


def test_the_time_menu_takes_numbers_and_is_the_timeline_in_a_table(watch):
    chain = realistic_chain()
    watched = watch(chain)
    page = watched.page
    page.locator("#span-menu summary").click()
    page.locator("#from").fill("3")
    page.locator("#to").fill("6.5")
    expected = chain.find(since_s=1_765_000_003.0, until_s=1_765_000_006.5)
    page.get_by_text(f"{len(expected)} of {len(chain)} events", exact=True).wait_for()
    assert page.locator("#strip-range").inner_text() == "+3.00 s to +6.50 s"
    rows = page.locator("#density tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    timed = [event for event in chain if event.time_s is not None]
    assert sum(int(row[1]) for row in rows) == len(timed)
    assert sum(int(row[2]) for row in rows) == len(expected)
    page.locator("#density button").first.click()
    page.keyboard.press("Escape")
    assert watched.count() == int(rows[0][1])
    label = page.locator("#strip").get_attribute("aria-label")
    assert label.startswith(f"Events over time: {watched.count()} of {len(chain)} shown.")


def test_without_times_the_timeline_is_one_of_places(watch, oddities):
    chain = parse_llm_output(oddities, "t")
    watched = watch(chain)
    page = watched.page
    page.locator("#span-menu summary").click()
    page.locator("#from").fill("3")
    page.locator("#to").fill("5")
    page.get_by_text("3 of 8 events", exact=True).wait_for()
    assert sorted(map(int, page.locator(".row .at").all_inner_texts())) == [3, 4, 5]
    page.locator("#density button", has_text="8 to 8").click()
    assert watched.count() == 1
    page.keyboard.press("Escape")
    drag(page, 0.0, 1.0)
    assert watched.count() == 8
    fragment = page.evaluate("location.hash")
    page.goto("about:blank")
    watched.open(fragment)
    assert page.locator("#strip-range").inner_text() == "event 1 to event 8"


def test_the_timeline_draws_what_is_shown_in_the_colour_of_its_source(watch):
    watched = watch(realistic_chain())
    page = watched.page
    inks = """() => {
        const canvas = document.getElementById('strip'), { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(`rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`);
        return [...found];
    }"""
    observed = page.locator(".facts .src.s1").evaluate("e => getComputedStyle(e).color")
    light = page.evaluate(inks)
    assert observed in light
    page.emulate_media(color_scheme="dark")
    dark = page.locator(".facts .src.s1").evaluate("e => getComputedStyle(e).color")
    assert dark != observed
    page.wait_for_function(f"() => ({inks})().includes('{dark}')")
    page.locator("#sources button").nth(1).click()  # the observed ones alone have a time
    assert dark not in page.evaluate(inks)


@pytest.mark.parametrize(
    ("key", "touch", "state", "says"),
    [
        (None, False, "valid", "was valid when this page was made"),
        (None, True, "broken", "event 1 is not what was sealed"),
        (b"k", False, "keyed", "not checked by this page"),
    ],
)
def test_the_page_says_what_is_known_of_the_seal(watch, key, touch, state, says):
    chain = realistic_chain()
    made = seal(chain, key=key)
    if touch:
        chain.link(chain.events[0].id, contradicts=chain.events[1].id)
    page = watch(chain, seal=made).page
    assert says in page.locator(f".facts .seal.{state}").inner_text()
    assert made.head in page.locator("#detail").inner_text()
    assert page.locator(".facts").inner_text().count("Seal") == 1


def test_events_with_issues_can_be_shown_alone(watch, oddities):
    chain = parse_llm_output(oddities, "t")
    watched = watch(chain)
    watched.page.locator("#flawed").check()
    assert watched.count() == len({i.event_id for i in chain.parse_report.issues if i.event_id})


def test_no_match_says_so_and_offers_a_way_out(watch):
    watched = watch(realistic_chain())
    watched.page.locator("#q").fill("item-3")
    watched.page.get_by_role("button", name="Search all fields").click()
    assert watched.count() == 1
    watched.page.locator("#q").fill("no such thing")
    watched.page.get_by_role("button", name="Clear filters").click()
    assert watched.count() > 1


def test_the_address_keeps_the_view(watch):
    watched = watch(realistic_chain())
    watched.page.locator("#q").fill("nine")
    watched.page.wait_for_selector("#clear:visible")
    watched.page.locator("#types-menu summary").click()
    watched.page.get_by_role("button", name="None").click()
    watched.page.locator("#types label", has_text="decision_made").click()
    watched.page.locator(".row").first.click()
    fragment = watched.page.evaluate("location.hash")
    assert fragment == "#e=d&q=nine&t=decision_made"
    watched.page.goto("about:blank")
    watched.open(fragment)
    assert watched.count() == 1
    assert watched.page.locator("#detail h2").inner_text() == "Sell nine"
    assert watched.page.locator("#q").input_value() == "nine"


def test_a_whole_tour_by_keyboard(watch):
    watched = watch(realistic_chain())
    page, press = watched.page, watched.page.keyboard.press
    press("j")
    assert watched.selected() == ["1"]
    press("ArrowDown")
    press("j")
    press("k")
    assert page.locator("#detail .badges .type").inner_text() == "system:span"
    press("p")
    assert watched.selected() == ["1"]
    press("c")
    assert page.locator("#list").get_attribute("aria-activedescendant") == page.locator(
        ".row[aria-selected=true]"
    ).get_attribute("id")
    press("End")
    press("PageUp")
    press("PageDown")
    press("Home")
    assert watched.selected() == ["1"]
    press("/")
    page.keyboard.type("sell nine")
    page.wait_for_selector("#clear:visible")
    press("Enter")
    press("j")
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    assert page.locator("#detail h2").inner_text() == "Sell nine"
    press("g")
    press("ArrowLeft")
    press("Enter")
    assert page.locator("#detail h2").inner_text() == "Prices are per Dozen"
    press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    press("Escape")
    assert page.locator("#detail h2").inner_text() == "Overview"
    press("t")
    assert page.locator("html").get_attribute("data-theme") == "light"
    press("?")
    assert page.locator("#help").is_visible()
    press("Escape")
    assert not page.locator("#help").is_visible()


def test_a_vote_shows_its_count_and_what_it_rests_on(watch):
    watched = watch(realistic_chain())
    page = watched.page
    page.evaluate("location.hash = '#e=v5'")
    detail = page.locator("#detail")
    assert detail.locator(".bars .bar").all_inner_texts()[0].split("\n") == ["5", "3"]
    assert "Agreement is not a probability of being right." in detail.inner_text()
    assert "confidence" not in detail.inner_text().lower()
    assert detail.locator(".graph .node").count() == 13  # cell, predict, 5 members, 5 calls, vote
    assert detail.locator(".graph path.depends_on").get_attribute("d").count("M") == 5


def test_of_a_large_graph_three_hundred_are_laid_out_and_those_in_sight_exist(watch):
    chain = Chain("hub")
    hub = Event(id="hub", type="task_decomposed", source="self_report", decision="Split it")
    parts = [
        Event(id=f"n{n}", type="decision_made", source="self_report", decision=f"part {n}", parent="hub")
        for n in range(400)
    ]  # fmt: skip
    chain.extend([hub, *parts])
    watched = watch(chain)
    page = watched.page
    page.evaluate("location.hash = '#e=hub'")
    graph = page.get_by_role("group", name="Graph of 300 related events")
    graph.wait_for()
    assert "101 more events are not drawn." in page.locator(".graph-key").inner_text()
    elements = "document.querySelectorAll('*').length"
    assert page.evaluate(elements) <= 600
    page.keyboard.press("g")
    for key in ("ArrowRight", *["ArrowDown"] * 299):
        page.keyboard.press(key)
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused) == "decision made: part 298"  # the last that is drawn
    assert page.evaluate(elements) <= 600
    # No two boxes overlap, and what has the focus is in sight.
    boxes = page.locator(".graph .node:not(.here) rect").evaluate_all(
        "all => all.map(r => r.y.baseVal.value)"
    )
    heights = sorted(boxes)
    assert all(b - a >= 38 for a, b in itertools.pairwise(heights))
    assert page.evaluate(
        """(() => { const box = document.activeElement.getBoundingClientRect(),
        pane = document.querySelector(".graph").getBoundingClientRect();
        return box.top >= pane.top - 1 && box.bottom <= pane.bottom + 1; })()"""
    )


def test_nested_order_puts_an_event_under_its_parent(watch):
    watched = watch(realistic_chain())
    page = watched.page
    numbers = page.locator(".row .at")
    watched.rows()
    by_place = "els => els.map(e => [+e.closest('.row').getAttribute('aria-posinset'), +e.textContent]).sort((a, b) => a[0] - b[0]).map(x => x[1])"
    nested = numbers.evaluate_all(by_place)
    # cell, predict, the first member, its call
    assert nested[:4] == [1, 2, 8, 3]
    assert nested != sorted(nested)
    page.locator("#nesting").select_option("")
    watched.rows()
    flat = numbers.evaluate_all(by_place)
    assert flat == sorted(flat)


def test_only_the_rows_in_sight_exist(watch):
    chain = Chain("long")
    chain.extend(
        [Event(id=f"n{n}", type="decision_made", source="self_report", decision=f"choice {n}") for n in range(5_000)]
    )  # fmt: skip
    watched = watch(chain)
    assert watched.count() == 5_000
    watched.page.keyboard.press("End")
    assert watched.selected() == ["5000"]
    last = watched.page.locator(".row[aria-selected=true]")
    assert (last.get_attribute("aria-posinset"), last.get_attribute("aria-setsize")) == (
        "5000",
        "5000",
    )
    assert watched.page.evaluate("document.querySelectorAll('*').length") <= 600
    assert watched.page.evaluate("document.querySelectorAll('.row').length") < 60


def test_a_hundred_thousand_events_stay_within_bounds(watch):
    # How quick it is, scripts/bench_causaltrace.py measures; how much there is, is counted here.
    chain = Chain("long")
    kinds = ("system:model_call", "decision_made", "uncertainty_noted")
    chain.extend(
        [
            Event(id=f"n{n}", type=kinds[n % 3], source="self_report", decision=f"choice {n % 1000} of many",
                  reasoning=f"because of reason number {n}", confidence=(n % 100) / 100,
                  parent=f"n{n - n % 20}" if n % 20 else None)
            for n in range(100_000)
        ]
    )  # fmt: skip
    page_text = render_html(chain)
    assert len(page_text) <= 100 * len(chain)
    watched = watch(chain)
    page = watched.page
    assert watched.count() == 100_000
    page.keyboard.press("End")
    assert page.locator(".row[aria-selected=true]").get_attribute("aria-posinset") == "100000"
    page.locator("#q").fill("choice 77 ")
    page.get_by_text("100 of 100,000 events", exact=True).wait_for()
    assert len(chain.find(text="choice 77 ")) == 100
    assert page.evaluate("document.querySelectorAll('*').length") <= 600
    assert page.evaluate("performance.memory.usedJSHeapSize") <= 300e6


def test_the_page_follows_the_system_and_the_reader(watch):
    watched = watch(realistic_chain())
    page = watched.page
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(background)
    assert light != dark
    page.get_by_role("button", name="Theme").click()
    assert page.evaluate(background) == light
    page.get_by_role("button", name="Theme").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) == dark


def test_it_can_be_used_at_360_pixels(watch):
    watched = watch(realistic_chain(), width=360, height=740)
    page = watched.page
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == 360
    assert page.locator(".row").first.is_visible()
    assert not page.locator("#detail").is_visible()
    page.locator("#types-menu summary").click()
    box = page.locator("#types").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    page.keyboard.press("Escape")
    page.locator(".row", has_text="decision made").first.click()
    assert page.locator("#detail h2").is_visible()
    assert page.evaluate(wide) == 360
    page.get_by_role("button", name="Back to the list").click()
    assert not page.locator("#detail").is_visible()


def test_a_chain_without_events_can_be_looked_at(watch):
    watched = watch(parse_llm_output("Only words.", "t"))
    assert watched.page.locator("#empty").inner_text().startswith("This chain has no events.")
    assert "Only words." in watched.page.locator("#detail").inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_axe_finds_nothing_to_complain_about(watch, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    watched = watch(realistic_chain(), width=width, scheme=scheme)
    page = watched.page

    def violations():
        # axe itself is put into the page by the test, which the page's own policy would refuse.
        return [
            (v["id"], [node["html"][:200] for node in v["nodes"]])
            for v in Axe().run(page).response["violations"]
        ]

    assert violations() == []
    page.locator("#span-menu summary").click()
    page.locator("#density tbody tr").nth(11).wait_for()
    assert violations() == []
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.locator(".row", has_text="decision made").first.click()
    assert violations() == []
    page.locator("#detail").evaluate("e => e.scrollTop = 400")
    page.evaluate("location.hash = '#e=d&s=0'")
    page.wait_for_selector(".quote", state="attached")
    assert violations() == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert violations() == []
