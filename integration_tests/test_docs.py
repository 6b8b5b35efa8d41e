"""Every Python block in the guides runs, and prints what the guide says it prints."""

from pathlib import Path

import pytest

GUIDES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_guide_does_what_it_says(guide, run_markdown):
    run_markdown(guide)
