"""Diagrams in the real Mermaid, in a real browser: what a model said is shown, and is all there is."""

import importlib.util
import os
from pathlib import Path

import pytest

from crucible_causaltrace import Chain, Event, export_chain

KINDS = ("mermaid_flowchart", "mermaid_sequence", "mermaid_timeline", "mermaid_graph")
HOSTILE = [
    "<script>window.hacked = 1</script>", "</script>", '"><img src=x onerror="window.hacked = 2">',
    "javascript:alert(1)", "=cmd()", "{{7*7}}", "\u202etxt.exe", '"] --> n2["', "end", "`<u>`", "1. <ul>", "# h",
    "- a", "+ b", "a;b", "#35; #quot;", "%%{init: {}}%%", "a: b : c", "section x", "title y", "loop z",
    "__b__ **c**", "$$x$$", "\\n <br/>", "é…日本", "x" * 200, "1) a", "~~~", "!? /=", "fa:fa-car x", "===", "___",
    "graph TD", "two\nlines", "click n1 href", "note over n1: x", " ",
]  # fmt: skip


def hostile_chain():
    chain = Chain("t")
    for n, text in enumerate(HOSTILE):
        chain.add(
            Event(
                id=f"{n}", type=text, source=("self_report", "system_observed", "intervention")[n % 3],
                decision=text if n % 2 else None, stage=text if n % 5 == 0 else None,
                depends_on=[f"{n - 1}"] if n else [], parent="0" if n == 3 else None,
                contradicts=["1"] if n == 4 else [],
            )
        )  # fmt: skip
    return chain


@pytest.fixture(scope="module")
def mermaid(chromium):
    """The library, in a page; its absence is a failure in CI, else a skip."""
    found = importlib.util.find_spec("mermaidx")
    if found is None:
        reason = (
            "diagrams are tested in the Mermaid of the wheel `mermaidx`, which is not installed"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    page = chromium.new_page()
    page.add_script_tag(path=Path(found.origin).parent / "assets" / "mermaid.js")
    page.evaluate("mermaid.initialize({startOnLoad: false, securityLevel: 'strict'})")
    yield page
    page.close()


def shown(page, text):
    """Draw a diagram; return its texts without white space, and the names of its elements."""
    return page.evaluate(
        """async (text) => {
            const { svg } = await mermaid.render('drawn', text);
            const box = document.createElement('div');
            box.innerHTML = svg;
            document.body.append(box);
            for (const style of box.querySelectorAll('style')) style.remove();
            const lines = [...box.querySelectorAll('text, foreignObject')].map((x) => x.textContent);
            const names = [...new Set([...box.querySelectorAll('*')].map((x) => x.localName))];
            box.remove();
            return [lines.join('\\n').replace(/\\s/g, ''), names];
        }""",
        text,
    )


def label(event):
    said = event.type if event.decision is None else f"{event.type}: {event.decision}"
    said = " ".join(said.split())
    return "".join((said if len(said) <= 80 else said[:79] + "…").split())


@pytest.mark.parametrize("kind", KINDS)
def test_every_diagram_draws_and_shows_each_label_as_it_is(mermaid, kind):
    chain = hostile_chain()
    texts, names = shown(mermaid, export_chain(chain, kind))
    assert [event.id for event in chain if label(event) not in texts] == []
    assert not {"script", "img", "a", "u", "ul", "b", "iframe"} & set(names)
    assert mermaid.evaluate("window.hacked") is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_diagram_of_nothing_and_one_that_is_cut_still_draw(mermaid, kind):
    shown(mermaid, export_chain(Chain("t"), kind))
    texts, _ = shown(mermaid, export_chain(hostile_chain(), kind, limit=2))
    assert f"thefirst2of{len(HOSTILE)}events" in texts
    assert label(hostile_chain()["1"]) in texts
    assert "javascript" not in texts


def test_a_reader_sees_who_says_it(mermaid):
    chain = Chain("t")
    for n, source in enumerate(("self_report", "system_observed", "intervention")):
        chain.add(Event(id=f"e{n}", type="x", source=source))
    for kind in ("mermaid_flowchart", "mermaid_graph"):
        drawn = mermaid.evaluate(
            """async (text) => {
                const { svg } = await mermaid.render('drawn', text);
                const box = document.createElement('div');
                box.innerHTML = svg;
                document.body.append(box);
                const found = {};
                for (const node of box.querySelectorAll('.node')) {
                    const style = getComputedStyle(node.querySelector('rect, path'));
                    found[node.classList[2]] = [style.strokeDasharray, style.strokeWidth];
                }
                box.remove();
                return found;
            }""",
            export_chain(chain, kind),
        )
        dashed, plain, thick = (
            drawn[s] for s in ("self_report", "system_observed", "intervention")
        )
        assert dashed[0] != "none"
        assert (plain[0], thick[0]) == ("none", "none")
        assert thick[1] == "4px"
    sequence, _ = shown(mermaid, export_chain(chain, "mermaid_sequence"))
    assert all(word in sequence for word in ("self-report", "observed", "intervention"))


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_of_a_model_stands_in_any_syntax(kind):
    plain = Chain("t")
    for event in hostile_chain():
        plain.add(
            Event(id=event.id, type="x", source=event.source, parent=event.parent, stage="s" if event.stage else None,
                  decision="y" if event.decision else None, depends_on=event.depends_on, contradicts=event.contradicts)
        )  # fmt: skip
    hostile = export_chain(hostile_chain(), kind)
    assert not set(hostile) & set("'`\\&@*~\t\x00$^")
    count = len(export_chain(plain, kind).splitlines())
    # As many lines, whatever the labels say; a timeline has a section for each new stage.
    if kind != "mermaid_timeline":
        assert len(hostile.splitlines()) == count
