from pathlib import Path

from pytest_examples import find_examples

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_does_what_it_says(run_markdown):
    run_markdown(README)


def test_the_block_that_needs_official_files_does_what_it_says(
    benchmark_data, eval_example, tmp_path, monkeypatch
):
    (tmp_path / "grade_school_math").mkdir()
    (tmp_path / "grade_school_math" / "data").symlink_to(benchmark_data / "gsm8k")
    (tmp_path / "data").symlink_to(benchmark_data / "mmlu")
    (tmp_path / "mine.csv").write_text("question,answer\nHow much is 2 + 2?,4\n")
    monkeypatch.chdir(tmp_path)
    (block,) = (b for b in find_examples(README) if b.prefix_settings().get("test") == "no-run")
    eval_example.set_config(line_length=120)
    from crucible_datasets import load

    eval_example.run_print_check(block, module_globals={"load": load})
