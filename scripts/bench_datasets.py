"""Print how fast benchmarks load and score, beside the tools that people use for it.

    python scripts/bench_datasets.py                # all of it, some minutes
    python scripts/bench_datasets.py --only squad   # parts whose name holds a word

Peers run in the same process, in turns, and the minimum counts; the ratio is what travels between
machines. Counts and values are asserted. Real files come from CRUCIBLE_TEST_DATA, by default
../shared/data. The peer `datasketch` is left out where it is not installed (`uv run --with
datasketch`); the reference harness of HumanEval is rebuilt here as it works: for each problem a
process, started by `multiprocessing`, and a manager for its result.
"""

import argparse
import contextlib
import gc
import http.server
import importlib.util
import io
import json
import multiprocessing
import os
import re
import resource
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crucible_datasets import SubprocessSandbox, duplicates, evaluate, load, run_code_sync, sample
from crucible_datasets.loaders.tabular import FieldMap, stream_items
from crucible_datasets.metrics.squad import overlap, tokens
from crucible_datasets.sampling import order

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("CRUCIBLE_TEST_DATA", ROOT.parent / "shared" / "data"))
HEAVY = [
    "numpy", "scipy", "pandas", "pyarrow", "datasets", "httpx", "filelock", "sacrebleu", "nltk",
    "tree_sitter",
]  # fmt: skip


def against(ours, peers, rounds=5):
    """Return the best time of each, taken in turns."""
    best = [float("inf")] * (1 + len(peers))
    for _ in range(rounds):
        for n, work in enumerate((ours, *peers)):
            gc.collect()
            started = time.perf_counter()
            work()
            best[n] = min(best[n], time.perf_counter() - started)
    return best


def verdict(name, ratio, bar, unit="x"):
    ok = ratio <= bar
    print(f"  {'ok  ' if ok else 'MISS'} {name}: {ratio:.2f}{unit}, bar {bar}{unit}")


def bench_import():
    def start(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    print("import, in a fresh interpreter")
    bare, ours, floor = against(
        start("pass"),
        [start("import crucible_datasets"), start("import anyio, opentelemetry.trace")],
        rounds=9,
    )
    print(
        f"  bare {bare * 1e3:.0f} ms, ours +{(ours - bare) * 1e3:.0f}, "
        f"anyio and opentelemetry +{(floor - bare) * 1e3:.0f}"
    )
    verdict("import", max(0.0, ours - bare) / (floor - bare), 2)
    code = f"import sys, crucible_datasets; assert not set({HEAVY!r}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def bench_load():
    print("load GSM8K train: digest verified, 7,473 items")
    path = DATA / "gsm8k" / "train.jsonl"

    def floor():
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def ours():
        assert len(load("gsm8k", split="train", path=path)) == 7473

    mine, theirs = against(ours, [floor], rounds=15)
    print(f"  ours {mine * 1e3:.1f} ms, json.loads alone {theirs * 1e3:.1f} ms")
    verdict("against json.loads", mine / theirs, 3)
    if importlib.util.find_spec("datasets"):
        cold = float("inf")
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                code = (
                    "import time, datasets; datasets.disable_progress_bars(); s = time.perf_counter()\n"  # noqa: E501
                    f"d = datasets.load_dataset('json', data_files={str(path)!r}, split='train', cache_dir={folder!r})\n"  # noqa: E501
                    "rows = list(d); print(time.perf_counter() - s)"
                )
                env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": folder}
                done = subprocess.run(
                    [sys.executable, "-c", code],
                    env=env,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                cold = min(cold, float(done.stdout))
        print(f"  datasets.load_dataset, cold, import not counted: {cold * 1e3:.0f} ms")
        verdict("against datasets", mine / cold, 0.5)


def official_normalize(text):
    def remove_articles(text):
        return re.sub(r"\b(a|an|the)\b", " ", text)

    def remove_punctuation(text):
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    return " ".join(remove_articles(remove_punctuation(text.lower())).split())


def official_f1(prediction, reference):
    said, gold = official_normalize(prediction).split(), official_normalize(reference).split()
    same = sum((Counter(said) & Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(said), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def bench_squad():
    print("SQuAD F1 and exact match on 7,473 pairs of GSM8K answers")
    lines = (DATA / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    pairs = list(zip(answers, answers[1:] + answers[:1], strict=True))
    found = {}

    def ours():
        rows = []
        for said, gold in pairs:
            a, b = tokens(said), tokens(gold)
            rows.append((overlap(a, b)[2], a == b))
        found["ours"] = rows

    def theirs():
        found["theirs"] = [
            (official_f1(s, g), official_normalize(s) == official_normalize(g)) for s, g in pairs
        ]

    mine, other = against(ours, [theirs], rounds=3)
    assert found["ours"] == found["theirs"]
    print(f"  ours {mine:.2f} s, the official functions {other:.2f} s, equal values")
    verdict("against the official script", mine / other, 0.6)


def reference_harness(problems, workers):
    """Score programs as openai's human-eval does: a manager and a process for each."""

    def check(program):
        manager = multiprocessing.Manager()
        result = manager.list()
        process = multiprocessing.Process(target=execute, args=(program, 3.0, result))
        process.start()
        process.join(timeout=4.0)
        if process.is_alive():
            process.kill()
        passed = list(result) == ["passed"]
        manager.shutdown()
        return passed

    with ThreadPoolExecutor(max_workers=workers) as executor:
        return sum(executor.map(check, problems))


def execute(program, timeout, result):
    import signal

    signal.setitimer(signal.ITIMER_REAL, timeout)
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            exec(program, {})
            result.append("passed")
        except BaseException as error:  # noqa: BLE001 - as the original does
            result.append(f"failed: {error}")
        os.chdir("/")


def bench_humaneval():
    print("164 canonical solutions of HumanEval, 2 workers")
    problems = load("humaneval", path=DATA / "humaneval")
    right = {item.id: item.expected for item in problems}
    programs = [
        f"{i.input}{i.expected}\n{i.metadata['test']}\ncheck({i.metadata['entry_point']})"
        for i in problems
    ]

    def ours():
        done = run_code_sync(
            problems, right, sandbox=SubprocessSandbox(), allow_execution=True, concurrency=2
        )
        assert evaluate(right, problems, executions=done).accuracy == 1.0

    def theirs():
        assert reference_harness(programs, 2) == 164

    def starts():
        with ThreadPoolExecutor(max_workers=2) as executor:
            list(
                executor.map(
                    lambda _: subprocess.run(
                        [sys.executable, "-I", "-S", "-c", "pass"], check=True
                    ),
                    range(164),
                )
            )

    mine, other, limit = against(ours, [theirs, starts], rounds=3)
    print(
        f"  ours {164 / mine:.0f} problems/s, reference {164 / other:.0f}, bare interpreters {164 / limit:.0f} starts/s"  # noqa: E501
    )
    verdict("time against the reference harness", mine / other, 0.5)
    wrong = {item.id: "    return None\n" for item in problems}
    failed = run_code_sync(problems, wrong, sandbox=SubprocessSandbox(), allow_execution=True)
    print(
        f"  bodies replaced by `return None`: {sum(e.outcome == 'passed' for e in failed)} of 164 pass"  # noqa: E501
    )


def bench_duplicates():
    print("near duplicates of 8,792 GSM8K questions")
    questions = load("gsm8k", path=DATA / "gsm8k").concat(
        load("gsm8k", split="train", path=DATA / "gsm8k")
    )
    texts = [
        set(zip(*(re.findall(r"\w+", i.input.lower())[k:] for k in range(5)), strict=False))
        for i in questions
    ]
    texts = [[" ".join(gram).encode() for gram in grams] for grams in texts]
    assert len(duplicates(questions, threshold=0.5)) == 5
    if not importlib.util.find_spec("datasketch"):
        started = time.perf_counter()
        duplicates(questions)
        print(f"  exact join {time.perf_counter() - started:.2f} s; datasketch is not installed")
        return
    import datasketch
    import rensa

    def theirs():
        index = datasketch.MinHashLSH(threshold=0.8, num_perm=128)
        for n, grams in enumerate(texts):
            minhash = datasketch.MinHash(num_perm=128)
            minhash.update_batch(grams)
            index.query(minhash)
            index.insert(str(n), minhash)

    def their_signatures():
        for grams in texts:
            datasketch.MinHash(num_perm=128).update_batch(grams)

    words = [[gram.decode() for gram in grams] for grams in texts]

    def our_signatures():
        for grams in words:
            minhash = rensa.RMinHash(num_perm=128, seed=0)
            minhash.update(grams)
            minhash.digest()

    mine, other = against(lambda: duplicates(questions), [theirs], rounds=2)
    print(f"  exact join {mine:.2f} s, datasketch MinHash and LSH {other:.2f} s")
    verdict("exact join", mine / other, 0.6)
    mine, other = against(our_signatures, [their_signatures], rounds=2)
    verdict("MinHash signatures", mine / other, 0.1)


def bench_order():
    print("order 1,000,000 ids")
    code = (
        "import resource, time\nfrom crucible_datasets.sampling import order\n"
        "ids = [f'big/train/{n}' for n in range(1_000_000)]\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "s = time.perf_counter(); c = time.process_time(); order(ids, seed=7)\n"
        "print(time.perf_counter() - s, time.process_time() - c, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"  # noqa: E501
    )
    best = [float("inf")] * 3
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        best = [min(a, float(b)) for a, b in zip(best, done.stdout.split(), strict=True)]
    print(f"  wall {best[0]:.2f} s, CPU {best[1]:.2f} s, peak {best[2]:.0f} MB")
    verdict("order, wall", best[0], 4, " s")
    verdict("order, whole process", best[2], 400, " MB")
    demo = load("demo-arithmetic")
    assert set(sample(demo, 50).ids) <= set(sample(demo, 100).ids)
    assert order(demo.ids, seed=1) == order(demo.ids, seed=1)


def bench_stream():
    print("stream 1,000,000 JSON lines")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.jsonl"
        with path.open("w") as file:
            for n in range(1_000_000):
                file.write(f'{{"q": "what is {n} + 1?", "a": "{n + 1}"}}\n')
        stream = stream_items(path, fields=FieldMap(input="q", expected="a"))
        for _ in range(1000):
            next(stream)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        count = 1000 + sum(1 for _ in stream)
        took = time.perf_counter() - started
        assert count == 1_000_000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"  {took:.1f} s, {1e6 / took:,.0f} rows/s")
    verdict("growth of memory", grown, 30, " MB")


def bench_processes():
    print("8 processes, cold cache, one server")
    asked = []
    body = (DATA / "gsm8k" / "test.jsonl").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    code = (
        "from crucible_datasets import load\n"
        "from crucible_datasets.loaders.tabular import FieldMap\n"
        f"d = load('mine', url='http://127.0.0.1:{server.server_port}/m.jsonl', fields=FieldMap(input='question', expected='answer'))\n"  # noqa: E501
        "assert len(d) == 1319"
    )
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "CRUCIBLE_DATASETS_CACHE": folder}
        workers = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in range(8)]
        assert [worker.wait() for worker in workers] == [0] * 8
    server.shutdown()
    thread.join()
    server.server_close()
    assert asked == ["/m.jsonl"], asked
    print("  ok   1 GET")


def bench_bleu():
    print("corpus BLEU and its signature")
    import sacrebleu

    train = load("gsm8k", split="train", path=DATA / "gsm8k")[:500]
    items = [i.metadata["rationale"] for i in train]
    data = load("demo-arithmetic")[:0].from_items(
        "bleu",
        [type(train[0])(id=str(n), input="?", expected=text) for n, text in enumerate(items)],
        task="text",
    )
    said = {str(n): text for n, text in enumerate(items[1:] + items[:1])}
    found = evaluate(said, data, metrics=["bleu"]).metrics["bleu"]
    expected = sacrebleu.metrics.BLEU()
    score = expected.corpus_score(list(said.values()), [items]).score
    assert (found.value, found.signature) == (score, str(expected.get_signature()))
    print(f"  ok   {found.value:.4f} both, {found.signature}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="parts whose name holds this word")
    word = parser.parse_args().only
    # Streaming first: peak memory never falls again.
    for part in (bench_stream, bench_import, bench_load, bench_squad, bench_bleu, bench_humaneval,
                 bench_duplicates, bench_order, bench_processes):  # fmt: skip
        if word in part.__name__:
            part()


if __name__ == "__main__":
    main()
