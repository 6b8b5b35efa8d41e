from pathlib import Path


def test_the_readme_does_what_it_says(run_markdown):
    run_markdown(Path(__file__).parent.parent / "README.md")
