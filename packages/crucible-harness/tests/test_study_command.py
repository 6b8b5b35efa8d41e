"""`crucible studies` and `crucible study`, as processes: what they print, write, and exit with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli import crucible
from worlds import simulated, sums

from crucible_ensemble import Completion
from crucible_harness import run_sync
from crucible_harness.studies import STUDIES, reliability


def test_the_studies_are_listed():
    done = crucible("studies")
    assert done.returncode == 0
    for card in STUDIES.values():
        assert card.question in done.stdout
    listed = json.loads(crucible("studies", "--json").stdout)
    assert [card["id"] for card in listed] == ["h1", "h2", "h3", "h4", "h5", "h6", "rq6"]
    assert all(card["limits"] for card in listed)


def test_an_unknown_study_and_a_file_that_is_not_there_are_bad_input(tmp_path):
    done = crucible("study", "h7", "--directory", tmp_path)
    assert done.returncode == 2
    assert "`study` must be one of h1, h2, h3, h4, h5, h6, rq6, got 'h7'" in done.stderr
    done = crucible("study", tmp_path / "none.toml")
    assert done.returncode == 2
    assert "No such file" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_there_is_analysed_and_nobody_asked(options):
    models = {name: simulated(name, accuracy=p) for name, p in (("a", 0.8), ("b", 0.7))}
    experiment = reliability(models, dataset=sums(60), at_least=0.5)
    result = run_sync(experiment, options=replace(options, directory=options.directory))
    done = crucible("study", "h1", "--run", result.path, "--format", "md,json", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["study"] == "h1"
    assert found["plan"]["at_least"] == 0.5
    assert found["simulated"] is True
    assert set(found["reports"]) == {"markdown", "json"}
    text = Path(found["reports"]["markdown"]).read_text("utf-8")
    assert "SIMULATED" in text
    other = crucible("study", "h3", "--run", result.path)
    assert other.returncode == 2
    assert "`STUDY` of this run must be h1, got 'h3'" in other.stderr
    plain = crucible("study", "h1", "--run", result.path, "--format", "md")
    assert plain.stdout.startswith("SIMULATED")
    assert "gain:" in plain.stdout


def test_three_ways_of_asking_the_embedded_model_are_voters(tmp_path):
    done = crucible("study", "h3", "--items", "6", "--max-tokens", "8",
                    "--directory", tmp_path, "--format", "md", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["simulated"] is False
    assert found["n"] == 6
    voters = next(t for t in found["tables"] if t["title"] == "Shapley values")["rows"]
    assert [row[0] for row in voters] == [
        "local/smollm2 / plain", "local/smollm2 / brief", "local/smollm2 / form",
    ]  # fmt: skip


def test_pairs_of_the_embedded_model_are_made_and_too_few_decide_nothing(tmp_path):
    done = crucible("study", "h2", "--items", "4", "--pairs", "40", "--max-tokens", "1",
                    "--max-cost", "0.01", "--directory", tmp_path, "--format", "md", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcome"] == "inconclusive"
    assert "nothing is decided" in found["warnings"][0]
    (folder,) = tmp_path.iterdir()
    assert len((folder / "pairs.jsonl").read_text().splitlines()) == 40


def test_h2_that_may_be_dear_wants_a_yes_or_a_budget_before_it_sends_anything(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    done = crucible("study", "h2", "--models", "openai/gpt-5", "--directory", tmp_path)
    assert done.returncode == 2
    assert "h2 sends 16,000 calls to openai/gpt-5 that cost at most $" in done.stderr
    assert "--yes or --max-cost must be given" in done.stderr
    unknown = crucible("study", "h2", "--models", "openai/none", "--directory", tmp_path)
    assert unknown.returncode == 2
    assert "at an unknown cost" in unknown.stderr
    bounded = crucible("study", "h2", "--models", "openai/none", "--max-cost", "3",
                       "--directory", tmp_path)  # fmt: skip
    assert bounded.returncode == 2
    assert "the price of a call is not known" in bounded.stderr
    two = crucible("study", "h2", "--models", "local/smollm2,openai/gpt-4o-mini")
    assert two.returncode == 2
    assert "must name one model" in two.stderr
    assert not list(tmp_path.iterdir())


class Dime:
    """Answers at once, for ten dollars a million tokens in."""

    name = "own/dime"

    def fingerprint(self):
        return {"model": self.name, "price": [10.0, 0.0]}

    async def generate(self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()):
        usd = 10.0 * -(-len(prompt) // 3) / 1e6
        return Completion(text="1", model=self.name, cost_usd=usd, latency_s=0.1)


def test_h2_stops_at_its_budget_says_so_and_goes_on_with_more(tmp_path, monkeypatch, capsys):
    from crucible_harness.cli import studying
    from crucible_harness.cli.app import app

    monkeypatch.setattr(studying, "_open", lambda name, *, logprobs: Dime())
    words = ["study", "h2", "--models", "own/dime", "--items", "1", "--pairs", "200",
             "--directory", str(tmp_path), "--format", "json"]  # fmt: skip

    def run(usd):
        with pytest.raises(SystemExit) as ended:
            app([*words, "--max-cost", str(usd)])
        (folder,) = tmp_path.iterdir()
        made = (folder / "pairs.jsonl").read_text("utf-8").splitlines()
        pair = sum(json.loads(made[0])[f"{copy}_cost_usd"] for copy in ("primary", "backup"))
        return ended.value.code, len(made), pair, capsys.readouterr()

    code, made, pair, said = run(0.0007)
    assert code == 3  # too few to analyse, kept
    assert made == int(0.0007 / pair + 1e-9) < 20
    assert "does not fit --max-cost" in said.err
    code, made, _, said = run(100 * pair)
    assert code == 3
    assert made == 100
    assert "Stopped after 100 of 200 pairs" in said.err
    assert "100 of 200 planned pairs were made" in said.out
    code, made, _, said = run(1.0)
    assert code == 0
    assert made == 200
    assert "cost: 0" in said.out  # dollars a request: known, since each answer says its price


def test_a_study_that_could_not_be_analysed_is_refused_before_it_asks_anybody(tmp_path):
    def refused(*words):
        done = crucible("study", *words, "--directory", tmp_path / "runs")
        assert done.returncode == 2
        assert not (tmp_path / "runs").exists()
        return done.stderr

    assert "`items` must be >= 30 to fit weights of source 'logprobs', got 12" in refused(
        "h5", "--items", "12"
    )
    examples = Path(__file__).parents[3] / "examples"
    assert "got 20" in refused(examples / "studies" / "h5.toml", "--items", "20")
    assert "2 to compare on, got 1 and 1 of 2 items" in refused("h1", "--items", "2")
    own = (examples / "studies" / "h3.toml").read_text("utf-8").replace("crucible-study", "mine")
    (tmp_path / "own.toml").write_text(own, "utf-8")
    assert "must begin with 'crucible-study'" in refused(tmp_path / "own.toml")


@pytest.mark.parametrize(
    "words",
    [("h4", "--models", "local/smollm2"), ("rq6", "--items", "5"), ("h3", "--pairs", "50"),
     ("h1", "--source", "accuracy"), ("rq6", "--max-cost", "3"), ("h6", "--yes"),
     ("h1", "--run", "runs/x", "--items", "3")],
)  # fmt: skip
def test_an_option_that_a_study_does_not_use_is_refused(tmp_path, words, capsys):
    from crucible_harness.cli.app import app

    with pytest.raises(SystemExit) as ended:
        app(["study", *words, "--directory", str(tmp_path)])
    assert ended.value.code == 2
    assert f"`{words[-2] if words[-1] != '--yes' else '--yes'}` must not be given" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_a_simulation_runs_from_its_file(tmp_path):
    file = tmp_path / "rq6.toml"
    file.write_text('study = "rq6"\nruns = 20\n')
    done = crucible("study", file, "--directory", tmp_path, "--format", "md", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["study"] == "rq6"
    assert found["outcome"] is None
    assert (tmp_path / "study-rq6" / "report.md").is_file()


def test_the_protocol_and_its_list_are_written_and_claim_nothing(tmp_path):
    done = crucible("study", "h6", "--directory", tmp_path, "--format", "md")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("protocol only: needs people and an ethics board.")
    listed = (tmp_path / "study-h6" / "randomisation.csv").read_text().splitlines()
    assert len(listed) == 1 + 40 * 48
    assert "ethics board" in (tmp_path / "study-h6" / "report.md").read_text("utf-8")


@pytest.mark.parametrize("study", ["h1", "h3", "h5"])
def test_a_study_of_a_provider_without_a_yes_is_refused_before_a_call(tmp_path, study):
    names = "openai/gpt-5,anthropic/claude-opus-4-8"
    source = ("--source", "accuracy") if study == "h5" else ()
    done = crucible("study", study, "--models", names, "--items", "150", *source,
                    "--directory", tmp_path)  # fmt: skip
    assert done.returncode in (2, 6)
    assert "crucible: " in done.stderr
    assert not list(tmp_path.glob("*/journal.sqlite"))
