import os
import shutil

import pytest
from hypothesis import settings

# How long an example takes depends on the machine; what it says does not.
settings.register_profile("causaltrace", deadline=None, max_examples=100)
settings.load_profile("causaltrace")

ODDITIES = """\
Plan. <!-- model: demo/one -->
<event type="Task Decomposition" id="t1"><decision>Split into parse &amp; render</decision>
<reasoning>if x < 3 and y > 2 use <code>one</code></reasoning><confidence>85%</confidence></event>
<EVENT note='n' TYPE='decision_made' id=d1 depends_on="t1"><decision>Use SQLite</decision>
<alternatives>PostgreSQL; DuckDB, embedded</alternatives>
<reasoning>One file <![CDATA[<b>not a tag</b>]]>
<confidence>0.9</confidence></event>
Prose </event> here. <event type="alternative_rejected"><decision>Redis</decision><confidence>85</confidence></event>
~~~python
<event type="decision_made"><decision>inside a fence</decision></event>
~~~
<event type="vendor:probe"/><event><decision>no type</decision><confidence>high</confidence></event>
<event type="made_up"><decision>odd</decision>
<event type="uncertainty_noted" parent="d1" depends_on="nope"><decision>Which encoding?</decision></event>
<code lang="python">
if a < b: print("</event>")
</code>
<event type="synthesis"><decision>Done</decision><reasoning>Because it is cut o"""


@pytest.fixture(scope="session")
def oddities() -> str:
    """The text of acceptance test 1 of the specification."""
    assert (len(ODDITIES), ODDITIES.count("\n") + 1) == (1052, 18)
    return ODDITIES


@pytest.fixture(scope="module")
def chromium():
    """A real browser; its absence is a failure in CI, else a skip."""
    path = shutil.which("chromium")
    if path is None:
        reason = "the viewer is tested in a real browser, and `chromium` is not on the path"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    # Not for the whole session: until it closes, an event loop runs in this thread.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
