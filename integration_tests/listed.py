"""Blocks and commands of the pages that no test executes as they stand, each with its reason."""

# Blocks that no test executes, by page and first line, and why.
LISTED = {
    ("README.md", "condition  accuracy         95 % CI     p50     p95     p99  calls   cost"): (
        "printed by the whole quickstart; scripts/draw_pages.py puts it there"
    ),
    ("docs/lora.md", "the process ended with -9 behind update 5"): (
        "printed by scripts/demo_lora.py, minutes of a core"
    ),
    ("docs/lora.md", "seed-0: 14 of 16 orders right"): (
        "printed by scripts/demo_lora.py, minutes of a core"
    ),
    ("docs/tracing.md", '<event type="decision_made" id="d1" depends_on="d1">'): (
        "what the model wrote on one machine; test_shown.py reads it again"
    ),
    ("docs/tracing.md", "plain [(1, 'self_reference')]"): (
        "what was read in it; another machine's model may write something else"
    ),
    ("docs/tracing.md", "similarity 0.924: 0 added, 0 removed, 1 modified, 0 moved, 0 unchanged"): (
        "what was read in it; another machine's model may write something else"
    ),
    ("docs/tracing.md", "Own answer: '256'. 12 samples per arm."): (
        "what was read in it; another machine's model may write something else"
    ),
    ("packages/crucible-hedging/README.md", "delay s   extra    P95 s (95 % interval)"): (
        "printed by scripts/bench_hedging.py --server, times of one machine"
    ),
    # Shown Python; test_shown.py checks that its names and arguments exist.
    ("docs/datasets.md", "class DockerSandbox:  # needs a Docker daemon, so this block is shown only"): (
        "needs a Docker daemon"
    ),
    ("docs/ensembles.md", "from crucible_ensemble.models.transformers import TransformersModel"): (
        "fetches weights from a model hub"
    ),
    ("docs/lora.md", "from crucible_lora import Gate, LoraConfig, PeftBackend, create_experiment, evaluate_sync, train_sync"): (
        "minutes of a core; integration_tests/test_lora_smollm2.py does it with a bar"
    ),
    ("packages/crucible-lora/README.md", "from crucible_lora import LoraConfig, PeftBackend, create_experiment"): (
        "reads weights for half a minute"
    ),
    ("packages/crucible-ensemble/README.md", "from crucible_ensemble import predict_sync"): (
        "needs the keys of three providers"
    ),
}  # fmt: skip
# Commands that no test executes as they stand, and why.
LISTED_COMMANDS = {
    "crucible study h1 --models openai/gpt-4o-mini,gemini/gemini-2.5-flash --dataset gsm8k "
    "--data test.jsonl --items 400": "needs the keys of two providers",
    "crucible study h3 --models local/smollm2": (
        "minutes; test_study_command.py runs it with 6 items"
    ),
    "crucible study examples/studies/h3.toml": (
        "minutes; test_studies.py reads the file, test_study_command.py runs one"
    ),
    "crucible study h3 --run runs/h3-ensemble-size-8ab4b849": (
        "the run of the line above; test_study_command.py analyses one again"
    ),
    "crucible run examples/gsm8k.toml": "minutes; test_real_model.py runs it with 4 items",
    ".ci/run": "it runs this test",
    "python scripts/release.py crucible-bench --publish": "uploads; test_published.py executes its refusal",
    "python scripts/draw_concepts.py": "executed by test_site.py",
    "python scripts/draw_pages.py": "minutes; test_published.py checks its options",
    "python scripts/simulate_studies.py --write": "half an hour; test_published.py checks its options",
    "python scripts/bench_calibration.py --write": "minutes; test_published.py checks its options",
    "pytest packages/crucible-bench/tests/test_compare.py": "a part of the test suite",
}
# Shown Python that a test of its own executes.
ELSEWHERE = {
    ("packages/crucible-datasets/README.md", "from crucible_datasets.loaders.tabular import FieldMap"): (
        "packages/crucible-datasets/tests/test_readme.py"
    ),
    ("docs/telemetry.md", 'start_experiment(name="lab", store="postgresql://user:password@host:5432/experiments")'): (
        "integration_tests/test_shown.py, on a real server"
    ),
    ("packages/crucible-telemetry/README.md", 'with start_experiment(name="lab", store="postgresql://user:password@host/experiments") as experiment:'): (
        "integration_tests/test_shown.py, on a real server"
    ),
}  # fmt: skip
