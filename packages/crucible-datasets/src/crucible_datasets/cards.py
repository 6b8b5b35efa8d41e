"""The benchmarks that this package knows: counts, digests, licences and sources as published."""

from collections.abc import Mapping

from crucible_datasets.loaders import demo, fever, gsm8k, humaneval, mmlu, scifact
from crucible_datasets.registry import BenchmarkCard, Loader, Registry, SplitCard

_GSM8K = "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data"
_HUMANEVAL = "https://raw.githubusercontent.com/openai/human-eval/master/data/HumanEval.jsonl.gz"
_MMLU = "https://people.eecs.berkeley.edu/~hendrycks/data.tar"
_SCIFACT = "https://scifact.s3-us-west-2.amazonaws.com/release/latest/data.tar.gz"
_FEVER = "https://fever.ai/download/fever"

GSM8K = BenchmarkCard(
    name="gsm8k", title="GSM8K: grade school math word problems",
    description="Word problems that take 2 to 8 steps of arithmetic; the answer is a number.",
    task="math", domain="mathematics", default_split="test",
    splits={
        "train": SplitCard(
            n_items=7473, files=("train.jsonl",), url=f"{_GSM8K}/train.jsonl",
            sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
            hub_files=("main/train-*.parquet",),
        ),
        "test": SplitCard(
            n_items=1319, files=("test.jsonl",), url=f"{_GSM8K}/test.jsonl",
            sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            hub_files=("main/test-*.parquet",),
        ),
    },
    license="MIT", homepage="https://github.com/openai/grade-school-math", hub_id="openai/gsm8k",
    citation="K. Cobbe et al., Training Verifiers to Solve Math Word Problems, "
    "arXiv:2110.14168, 2021",
)  # fmt: skip

HUMANEVAL = BenchmarkCard(
    name="humaneval", title="HumanEval: functions to complete",
    description="164 Python functions with docstrings to complete, scored by their tests.",
    task="code", domain="programming", default_split="test",
    splits={
        "test": SplitCard(
            n_items=164, files=("HumanEval.jsonl.gz",), url=_HUMANEVAL,
            sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
            hub_files=("openai_humaneval/test-*.parquet",),
        ),
    },
    license="MIT", homepage="https://github.com/openai/human-eval",
    hub_id="openai/openai_humaneval", default_metrics=("pass@1",),
    citation="M. Chen et al., Evaluating Large Language Models Trained on Code, "
    "arXiv:2107.03374, 2021",
)  # fmt: skip

SCIFACT = BenchmarkCard(
    name="scifact", title="SciFact: scientific claims",
    description="Claims by experts, to be verified against cited abstracts, with rationales.",
    task="claim", domain="science", default_split="dev",
    splits={
        split: SplitCard(
            n_items=n, files=(f"claims_{split}.jsonl", "corpus.jsonl"), url=_SCIFACT,
            has_labels=split != "test",
        )
        for split, n in (("train", 809), ("dev", 300), ("test", 300))
    },
    license="CC BY 4.0 (claims), ODC-By 1.0 (abstracts)", hub_id="allenai/scifact",
    homepage="https://github.com/allenai/scifact",
    citation="D. Wadden et al., Fact or Fiction: Verifying Scientific Claims, EMNLP 2020",
    notes="The test split has no labels. Contradiction is spelled CONTRADICT in the official "
    "release and REFUTE in some copies; both are read. Files on the hub need their path: "
    "download the official archive, or pass `path`.",
)  # fmt: skip

FEVER = BenchmarkCard(
    name="fever", title="FEVER: fact extraction and verification",
    description="Claims to be verified against Wikipedia, with sets of evidence lines.",
    task="claim", domain="general knowledge", default_split="paper_dev",
    splits={
        split: SplitCard(
            n_items=n, files=(f"{split}.jsonl",), url=f"{_FEVER}/{split}.jsonl"
        )
        for split, n in (
            ("train", 145449), ("shared_task_dev", 19998), ("paper_dev", 9999),
            ("paper_test", 9999),
        )
    },
    license="CC BY-SA 3.0", homepage="https://fever.ai/dataset/fever.html", hub_id="fever/fever",
    default_metrics=("exact_match", "label_accuracy"),
    citation="J. Thorne et al., FEVER: a Large-scale Dataset for Fact Extraction and "
    "VERification, NAACL 2018",
)  # fmt: skip

_MMLU_COUNTS: Mapping[str, tuple[int | None, int | None, int | None]] = {
    # test (published), validation and dev; dev has five questions of each subject
    "mmlu": (14042, 1531, 285),
    "mmlu_stem": (3018, None, 5 * 18),
    "mmlu_humanities": (4705, None, 5 * 13),
    "mmlu_social_sciences": (3077, None, 5 * 12),
    "mmlu_other": (3242, None, 5 * 14),
}


def _mmlu(name: str) -> tuple[BenchmarkCard, Loader]:
    group = name.removeprefix("mmlu").removeprefix("_")
    subjects = mmlu.GROUPS[group] if group else mmlu.SUBJECTS
    splits = {
        split: SplitCard(
            n_items=n, files=tuple(mmlu.file_of(s, split) for s in subjects), url=_MMLU,
            hub_files=(f"all/{split}-*.parquet",),
        )
        for split, n in zip(("test", "validation", "dev"), _MMLU_COUNTS[name], strict=True)
    }  # fmt: skip
    card = BenchmarkCard(
        name=name, title="MMLU" if not group else f"MMLU, {group.replace('_', ' ')}",
        description=f"Multiple choice questions of {len(subjects)} subjects, four choices each.",
        task="multiple_choice", domain="general knowledge" if group != "stem" else "science",
        default_split="test", splits=splits, license="MIT", subsets=subjects,
        homepage="https://github.com/hendrycks/test", hub_id="cais/mmlu",
        citation="D. Hendrycks et al., Measuring Massive Multitask Language Understanding, "
        "ICLR 2021",
        notes=(
            "STEM is Hendrycks' list of 18 subjects; lm-eval counts anatomy too (19 subjects, "
            "3,153 questions)." if group == "stem" else
            "The paper's total is 15,908; the published files hold 15,858." if not group else ""
        ),
    )  # fmt: skip
    return card, mmlu.Mmlu(subjects)


def _demo(
    name: str, title: str, description: str, task: str, n: int, metrics: tuple[str, ...]
) -> tuple[BenchmarkCard, Loader]:
    card = BenchmarkCard(
        name=name, title=title, description=description, task=task,  # type: ignore[arg-type]
        domain="demo", default_split=None, splits={"": SplitCard(n_items=n)}, license="MIT",
        citation=None, homepage=None, default_metrics=metrics,
        notes="Made for this package, to try things out without a download.",
    )  # fmt: skip
    return card, demo.Demo(name)


_EXACT = ("exact_match",)
DEFAULT_REGISTRY = Registry(
    {
        "demo-arithmetic": _demo("demo-arithmetic", "Sums and differences",
            "Generated: one-digit sums and differences.", "math", 162, _EXACT),
        "demo-choice": _demo("demo-choice", "Easy multiple choice",
            "Hand-written questions with four choices.", "multiple_choice", 20, _EXACT),
        "demo-claims": _demo("demo-claims", "Claims with evidence",
            "Hand-written claims to be verified against their context.", "claim", 12, _EXACT),
        "demo-code": _demo("demo-code", "Small functions",
            "Hand-written Python functions to complete, with tests.", "code", 8, ("pass@1",)),
        "gsm8k": (GSM8K, gsm8k.Gsm8k()),
        "humaneval": (HUMANEVAL, humaneval.HumanEval()),
        "scifact": (SCIFACT, scifact.SciFact()),
        "fever": (FEVER, fever.Fever()),
        **{name: _mmlu(name) for name in _MMLU_COUNTS},
    },
    plugins=True,
)  # fmt: skip
