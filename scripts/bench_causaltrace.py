"""Print how quickly traces are read, compared and drawn, and how the peers do.

    python scripts/bench_causaltrace.py            # all of it, some minutes
    python scripts/bench_causaltrace.py --quick    # a tenth of the events
    python scripts/bench_causaltrace.py --model    # only: how many answers of SmolLM2 can be read

Peers (BeautifulSoup, the bare html.parser, networkx) run interleaved in the same process; times
are minima. The browser is the `chromium` on the path; without one its lines are left out.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

from crucible_causaltrace import Chain, Event, EventParser, diff, parse, render_html
from crucible_causaltrace.scanner import Scanner
from crucible_causaltrace.tagged import write_tagged

TEXT = (
    "the store keeps each chain as one file because a crash must leave the old or the new and "
    "never half of it which a rename gives for nothing while a database would need a server"
)
WORDS = TEXT.split()
TYPES = ("task_decomposed", "hypothesis_formed", "decision_made", "uncertainty_noted", "synthesis")
ADVERSARIES = (
    "<", "<!--", "```a\n", "<event ", '<event type="', "<code>", "<event><reasoning><![CDATA[",
    "<event><decision>",
)  # fmt: skip


def said(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def realistic(n, *, words=(8, 60), seed=0):
    """Return events as models tag them: about 520 characters each with 60 words of reasoning."""
    rng = random.Random(seed)
    return [
        Event(
            id=f"n{i}",
            type=TYPES[i % 5],
            source="self_report",
            decision=said(rng, words[0]),
            reasoning=said(rng, words[1]),
            alternatives=(said(rng, 2), said(rng, 2)) if i % 3 == 0 else (),
            confidence=rng.randrange(100) / 100 if i % 2 else None,
            depends_on=(f"n{rng.randrange(i)}",) if i else (),
            order=i,
        )
        for i in range(n)
    ]


def chain_of(events):
    chain = Chain("bench", id="bench")
    chain.extend(events)
    return chain


def best(calls, *, repeat=5):
    """Return the least seconds of each call, all of them taking turns."""
    times = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    return {name: min(each) for name, each in times.items()}


def parsing(n):
    from bs4 import BeautifulSoup

    text = write_tagged(realistic(n))
    assert len(parse(text).events) == n
    took = best(
        {
            "parse": lambda: parse(text),
            "BeautifulSoup(html.parser)": lambda: BeautifulSoup(text, "html.parser"),
            "bare html.parser feed": lambda: HTMLParser().feed(text),
        }
    )
    print(f"\nParse {n:,} events, {len(text) / 1e6:.1f} MB")
    for name, seconds in took.items():
        ratio = seconds / took["parse"]
        print(f"  {name:28} {len(text) / 1e6 / seconds:6.2f} MB/s   we are {ratio:4.2f} x as fast")
    print("  bars: >= 2 x BeautifulSoup, >= 0.4 x html.parser")


def adversaries():
    print("\nAdversarial strings: 100 kB against 200 kB (bar 2.6), characters examined (bar 12)")
    for unit in ADVERSARIES:
        texts = [unit * (size // len(unit)) for size in (100_000, 200_000)]
        took = best({size: lambda text=text: parse(text) for size, text in enumerate(texts)})
        scanner = Scanner()
        scanner.read(texts[1], start=0, base=0, final=True)
        examined = scanner.examined / len(texts[1])
        print(f"  {unit!r:34} {took[1] * 1e3:7.1f} ms  x {took[1] / took[0]:4.2f}  {examined:5.2f}")


def streaming():
    text = write_tagged(realistic(2_000))[:1_000_000]
    reports = []

    def chunks():
        parser = EventParser()
        for at in range(0, len(text), 7):
            parser.feed(text[at : at + 7])
        reports.append(parser.close())

    took = best({"one": lambda: reports.append(parse(text)), "seven": chunks}, repeat=3)
    same = all(report == reports[0] for report in reports)
    ratio = took["seven"] / took["one"]
    print(
        f"\nStream {len(text) / 1e6:.1f} MB in 7-character chunks: {ratio:.2f} x one shot (bar 3), "
        + ("the same report" if same else "ANOTHER REPORT")
    )


def graphs(n):
    import networkx

    events = realistic(n, words=(6, 20))

    def ours():
        chain = chain_of(events)
        chain.statistics()
        chain.topological()

    def theirs():
        graph = networkx.DiGraph()
        graph.add_nodes_from(event.id for event in events)
        graph.add_edges_from((on, event.id) for event in events for on in event.depends_on)

    took = best({"ours": ours, "networkx": theirs}, repeat=3)
    tracemalloc.start()
    kept = chain_of(realistic(n, words=(6, 20)))
    kept.statistics()
    kept.topological()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"\nChain of {n:,} events: extend, statistics, topological {took['ours']:.2f} s (bar 5); "
        f"networkx, graph alone {took['networkx']:.2f} s; peak {peak / 1e6:.0f} MB (bar 400)"
    )
    return kept


def comparing(n):
    old = realistic(n)
    rng = random.Random(1)
    changed = set(rng.sample(range(n), n // 100))
    new = [
        Event(**(e.to_dict() | {"decision": e.decision + " now"})) if i in changed else e
        for i, e in enumerate(old)
    ]
    chains = chain_of(old), chain_of(new)
    for match in ("structure", "id"):
        found = diff(*chains, match=match)
        took = best({"diff": lambda match=match: diff(*chains, match=match)}, repeat=2)["diff"]
        print(f"Diff of two chains of {n:,} events, 1 % changed, by {match}: {took:.2f} s (bar 5), "
              f"{len(found.modified)} modified, similarity {found.similarity:.4f}")  # fmt: skip


def drawing(chain):
    began = time.perf_counter()
    page = render_html(chain)
    took = time.perf_counter() - began
    print(
        f"\nrender_html of {len(chain):,} events: {took:.1f} s (bar 12), {len(page) / 1e6:.1f} MB, "
        f"{len(page) / len(chain):.0f} bytes an event (bar 100)"
    )
    path = shutil.which("chromium")
    if path is None:
        print("no chromium on the path")
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder) / "trace.html"
        place.write_text(page, "utf-8")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        rows = {"open to first rows": [], "text filter": [], "jump to the last event": []}
        for _ in range(3):
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            began = time.perf_counter()
            tab.goto(place.as_uri())
            tab.wait_for_selector(".row")
            rows["open to first rows"].append(time.perf_counter() - began)
            for name, act in (("jump to the last event", _JUMP), ("text filter", _FILTER)):
                rows[name].append(tab.evaluate(act) / 1e3)
            elements = tab.evaluate("document.querySelectorAll('*').length")
            heap = tab.evaluate("performance.memory.usedJSHeapSize")
            tab.close()
        browser.close()
    for (name, seconds), bar in zip(rows.items(), ("2 s", "300 ms", "100 ms"), strict=True):
        print(f"  {name:24} {min(seconds) * 1e3:6.0f} ms (bar {bar})")
    print(f"  elements {elements} (bar 600), heap {heap / 1e6:.0f} MB (bar 300)")


# From the act to the frame in which it shows, measured in the page.
_AFTER = "await new Promise((r) => requestAnimationFrame(() => setTimeout(r)))"
_JUMP = f"""async () => {{
    const began = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", {{ key: "End", bubbles: true }}));
    {_AFTER};
    return performance.now() - began;
}}"""
_FILTER = f"""async () => {{
    const q = document.getElementById("q"), count = document.getElementById("count");
    const before = count.textContent, began = performance.now();
    q.value = "a rename gives";
    q.dispatchEvent(new Event("input"));
    while (count.textContent === before) await new Promise((r) => setTimeout(r, 1));
    {_AFTER};
    return performance.now() - began;
}}"""


def importing():
    used = "crucible_causaltrace as c; [getattr(c, name) for name in c.__all__]"
    took = []
    for what in ("crucible_causaltrace", used):
        program = (
            f"import time; t = time.perf_counter(); import {what}\nprint(time.perf_counter() - t)"
        )
        runs = (
            subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
            for _ in range(7)
        )
        took.append(min(float(run.stdout) for run in runs))
    print(f"\nImport: {took[0] * 1e3:.0f} ms (bar 60), with every name used {took[1] * 1e3:.0f} ms")


EXAMPLE = """\
<event type="assumption_made" id="a1">
<decision>The shop sells whole boxes only</decision>
<reasoning>The question asks for boxes</reasoning>
</event>
<event type="decision_made" id="d1" depends_on="a1">
<decision>Round 29 / 8 up to 4 boxes</decision>
<reasoning>3 boxes hold 24 eggs, which is not enough</reasoning>
<confidence>0.9</confidence>
</event>
Answer: 4"""


def reading():
    """Ask SmolLM2-135M 20 questions, with and without a worked example before each."""
    import anyio

    from crucible_causaltrace import build_causal_prompt
    from crucible_ensemble import LlamaCppModel

    questions = [
        f"{who} has {n} {what}, gives away {n // 3} and buys {n // 2}. How many {what} are left?"
        for who, n in zip(("Ann", "Ben", "Eva", "Tom"), (12, 18, 24, 30), strict=True)
        for what in ("apples", "books", "coins", "eggs", "pens")
    ]
    types = ("assumption_made", "decision_made")

    def bare(question):
        return build_causal_prompt(question, types=types)

    def worked(question):
        first = build_causal_prompt(
            "A box holds 8 eggs. How many boxes do 29 eggs need?", types=types, example=False
        )
        said = ("user", first), ("assistant", EXAMPLE), ("user", f"Task: {question}")
        return [{"role": role, "content": content} for role, content in said]

    async def ask():
        model = LlamaCppModel()
        for name, prompt in (("the prompt alone", bare), ("after a worked example", worked)):
            reports = []
            for question in questions:
                answer = await model.generate(
                    prompt(question), temperature=0.0, max_tokens=120, seed=1, stop=()
                )
                report = parse(answer.text)
                pieces = (answer.text[span.start : span.end] for span in report.spans)
                assert "".join(pieces) == answer.text
                reports.append(report)
            any_event = sum(bool(report.events) for report in reports)
            whole = sum(bool(report.events) and report.ok for report in reports)
            print(
                f"SmolLM2-135M, {name}: of {len(reports)} answers {any_event} hold an event, "
                f"{whole} without an error; every character is accounted for in all of them"
            )
        await model.aclose()

    anyio.run(ask)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--quick", action="store_true", help="a tenth of the events")
    options.add_argument("--model", action="store_true", help="ask the embedded model instead")
    chosen = options.parse_args()
    if chosen.model:
        reading()
        return
    scale = 10 if chosen.quick else 1
    parsing(5_000 // scale)
    adversaries()
    streaming()
    importing()
    comparing(5_000 // scale)
    drawing(graphs(100_000 // scale))


if __name__ == "__main__":
    main()
