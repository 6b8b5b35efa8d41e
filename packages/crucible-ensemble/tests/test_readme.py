from pathlib import Path


def test_the_readme_does_what_it_says(run_markdown, benchmark_data, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_TEST_DATA", str(benchmark_data))
    run_markdown(Path(__file__).parent.parent / "README.md")
