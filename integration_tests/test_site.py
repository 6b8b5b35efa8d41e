"""The site: built without a warning, read and searched in a browser without a network."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = sorted(path.name.removeprefix("crucible-") for path in (ROOT / "packages").iterdir())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site; CI has built it already and says where."""
    if given := os.environ.get("CRUCIBLE_SITE"):
        return ROOT / given
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", ".", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page that fails the test when it asks the network for anything or raises an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    wrong: list[str] = []
    found.on("request", lambda r: None if r.url.startswith("file:") else wrong.append(r.url))
    found.on("pageerror", lambda error: wrong.append(str(error)))
    yield found
    context.close()
    assert wrong == []


class Links(HTMLParser):
    """Collects the links, anchors and sources of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.anchors.add(str(found["id"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        source = found.get("href") if tag == "link" else found.get("src")
        if source and found.get("rel") != "canonical":
            self.loads.append(source)


def test_every_link_leads_to_a_page_and_an_anchor_and_nothing_is_loaded_from_elsewhere(site):
    read: dict[Path, Links] = {}
    for file in site.rglob("*.html"):
        read[file] = Links()
        read[file].feed(file.read_text(encoding="utf-8"))
    assert len(read) > 60
    broken = []
    for file, found in read.items():
        for link in [*found.links, *found.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in found.loads and not link.startswith("data:"):
                    broken.append(f"{file.relative_to(site)} loads {link}")
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.exists():
                broken.append(f"{file.relative_to(site)}: {link}")
            elif parts.fragment and target in read:
                known = unquote(parts.fragment) in read[target].anchors
                broken += [] if known else [f"{file.relative_to(site)}: {link} (no such anchor)"]
    assert broken == []


def test_every_page_can_be_reached_from_the_front_page_by_the_navigation(site):
    front = Links()
    front.feed((site / "docs" / "index.html").read_text(encoding="utf-8"))
    linked = {(site / "docs" / urlsplit(link).path).resolve() for link in front.links}
    for source in set(DOCS.rglob("*.md")) - {DOCS / "index.md"}:
        built = site / source.relative_to(ROOT).with_suffix(".html")
        assert built.is_file(), source
        assert built.resolve() in linked, f"{source.name} is not in the navigation"


def test_a_guide_that_the_front_page_does_not_name_stands_last(tmp_path):
    navigation = _part_of_the_site("navigation")
    for name in ("index", "named", "new"):
        (tmp_path / f"{name}.md").touch()
    app = SimpleNamespace(
        config=SimpleNamespace(root_doc="docs/index"),
        env=SimpleNamespace(doc2path=lambda docname: tmp_path / "index.md"),
    )
    source = ["Short title <named>\n(every other guide)\n"]
    navigation.add_others(app, "docs/index", source)
    assert source == ["Short title <named>\nnew\n"]


def test_docstrings_become_clean_restructuredtext():
    docstrings = _part_of_the_site("docstrings")
    cited = ["a rule [1]_", "", ".. [1] A. Author, A long title,", "       1927.", "    .. [2] B."]
    assert docstrings.numbers(cited) == [
        "a rule \\[1]",
        "",
        "* \\[1] A. Author, A long title,",
        "  1927.",
        "    * \\[2] B.",
    ]
    assert docstrings.bars(["|d| > 0"]) == ["\\|d\\| > 0"]
    tree = docstrings.trees(["Errors.", "", "Root", "    Leaf  a call failed"])
    assert tree[2:] == [".. code-block:: text", "", "   Root", "       Leaf  a call failed", ""]
    plain = "(a: ~typing.~P, b: list = <factory>)"
    assert docstrings.readable(*[None] * 5, plain, "int") == ("(a: P, b: list = ...)", "int")


def _part_of_the_site(name: str) -> ModuleType:
    return _module(DOCS / "_site" / f"{name}.py")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"read_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PACKAGES)
def test_the_reference_has_every_public_name_of_a_package_with_its_text(site, name):
    package = __import__(f"crucible_{name}")
    found = Links()
    html = (site / "docs" / "reference" / f"{name}.html").read_text(encoding="utf-8")
    found.feed(html)
    missing = {f"crucible_{name}.{public}" for public in package.__all__} - found.anchors
    assert missing == set()
    assert not re.search(r"\[\d+\]_|~(typing|collections|crucible_)|(?<!\w)0x[0-9a-f]{8}", html)


def test_the_list_of_the_reference_leads_to_every_name_at_a_root(site):
    found = Links()
    found.feed((site / "docs" / "reference" / "index.html").read_text(encoding="utf-8"))
    names = {
        f"{name}.html#crucible_{name}.{public}"
        for name in PACKAGES
        for public in __import__(f"crucible_{name}").__all__
    }
    assert names <= set(found.links)


def test_a_reader_follows_the_navigation_from_the_front_page(site, page):
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/docs/index.html")
    page.locator(".sidebar-tree").get_by_role("link", name="Compare two prompts").click()
    page.locator(
        "h1", has_text="Compare two prompts"
    ).wait_for()  # of the next page, not of this one
    page.locator(".sidebar-tree").get_by_role("link", name="API reference").click()
    page.locator("article").get_by_role("link", name="crucible_bench", exact=True).click()
    page.locator("h1", has_text="crucible_bench").wait_for()  # of the next page, not of this one
    page.locator(".related-pages .next-page").click()
    page.locator("h1", has_text="crucible_ensemble").wait_for()  # of the next page, not of this one


@pytest.mark.parametrize(
    ("words", "expected"),
    [("preregister", "Publish a result"), ("compare_paired", "crucible_bench.compare_paired")],
)
def test_search_finds_pages_and_names_without_a_network(site, page, words, expected):
    page.goto((site / "docs" / "start.html").as_uri())
    page.locator(".sidebar-search").fill(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html*")
    result = page.locator("#search-results a", has_text=expected).first
    result.wait_for()
    result.click()
    page.wait_for_url(lambda url: "search.html" not in url)
    page.locator("h1").first.wait_for(state="visible")


def test_a_block_that_is_a_file_says_its_name(site, page):
    page.goto((site / "docs" / "how-to" / "ci.html").as_uri())
    captions = page.locator(".code-block-caption").all_inner_texts()
    assert [caption.strip() for caption in captions] == ["gate.toml", "gate.py", "recorded.toml"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_pictures_are_accessible_in_both_themes(site, browser, theme):
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(color_scheme=theme, reduced_motion="reduce")
    for name in ("index", "concepts/item", "how-to/ci", "reference/lora"):
        page.goto((site / "docs" / f"{name}.html").as_uri())
        only = {"runOnly": ["color-contrast", "image-alt", "link-name", "heading-order"]}
        found = Axe().run(page, context="article", options=only)
        assert found.violations_count == 0, f"{name}, {theme}: {found.generate_report()}"
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_screen(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    for source in [*DOCS.rglob("*.md"), DOCS / "reference" / "harness.rst"]:
        page.goto((site / source.relative_to(ROOT).with_suffix(".html")).as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{source.name} is {wide} px wider than a screen of {width}"
    page.close()


SHOWN = {
    **{f"concepts/{page.stem}": page.stem for page in (DOCS / "concepts").glob("*.md")},
    "start": "report",
    "tracing": "trace",
    "../packages/crucible-causaltrace/README": "trace",
}


@pytest.mark.parametrize(("theme", "other"), [("light", "dark"), ("dark", "light")])
def test_a_page_shows_the_picture_of_the_theme(site, browser, theme, other):
    page = browser.new_page(color_scheme=theme)
    for name, picture in SHOWN.items():
        page.goto((site / "docs" / f"{name}.html").resolve().as_uri())
        shown = page.locator(f'img[src*="{picture}-{theme}."]')
        assert shown.count() == 1, name
        assert shown.is_visible()
        assert shown.evaluate("image => image.naturalWidth") > 300
        assert shown.get_attribute("alt")
        assert not page.locator(f'img[src*="{picture}-{other}."]').is_visible()
    page.close()


def test_every_picture_is_made_by_a_script_and_shown_on_a_page():
    made = {
        f"{name}-{theme}.{kind}"
        for script, kind in (("draw_concepts", "svg"), ("draw_pages", "png"))
        for name in _module(ROOT / "scripts" / f"{script}.py").PICTURES
        for theme in ("light", "dark")
    }
    assert {path.name for path in (DOCS / "images").iterdir()} == made
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("packages/*/README.md")]
    named = {
        Path(found).name
        for page in pages
        for found in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert named == {name for name in made if "-light." in name}


def test_the_pictures_are_what_the_script_draws(tmp_path):
    script = ROOT / "scripts" / "draw_concepts.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    drawn = sorted(tmp_path.iterdir())
    assert len(drawn) == 2 * len(list((DOCS / "concepts").glob("*.md")))
    for picture in drawn:
        kept = DOCS / "images" / picture.name
        assert kept.read_bytes() == picture.read_bytes(), f"{picture.name}: run {script.name}"


def test_the_citation_file_names_the_version_of_the_harness():
    import tomllib

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= citation.keys()
    harness = tomllib.loads((ROOT / "packages/crucible-harness/pyproject.toml").read_text())
    assert citation["version"] == harness["project"]["version"]
