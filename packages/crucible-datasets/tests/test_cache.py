"""Downloads, cache and lock: real sockets, real processes, real file systems."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from crucible_datasets import load
from crucible_datasets.cache import Cache
from crucible_datasets.cards import GSM8K
from crucible_datasets.errors import (
    CacheError,
    DatasetUnavailableError,
    IntegrityError,
    LockFrozenError,
    LockMismatchError,
    ParseError,
)
from crucible_datasets.loaders.gsm8k import Gsm8k
from crucible_datasets.loaders.tabular import FieldMap
from crucible_datasets.lock import update_lock
from crucible_datasets.registry import BenchmarkCard, Registry, SplitCard

FIELDS = FieldMap(input="q", expected="a")
DATA = b"".join(json.dumps({"q": f"{n}+1?", "a": str(n + 1)}).encode() + b"\n" for n in range(50))


def mine(site, **options):
    return load("mine", url=site.url("/mine.jsonl"), fields=FIELDS, task="math", **options)


def blobs(cache):
    return [p for p in (cache.path / "blobs").rglob("*") if p.is_file()]


def test_a_url_is_asked_once_and_then_read_from_the_cache(site):
    site.pages["/mine.jsonl"] = DATA
    first, second = mine(site), mine(site)
    assert site.asked == ["/mine.jsonl"]
    assert len(first) == 50
    assert first.fingerprint() == second.fingerprint()
    assert first.provenance.files[0].sha256 == hashlib.sha256(DATA).hexdigest()
    assert (first.provenance.kind, first.provenance.location) == ("url", site.url("/mine.jsonl"))
    assert mine(site, download=False).ids == first.ids


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_damaged_blob_is_fetched_again_once_or_refused_offline(site, harm):
    site.pages["/mine.jsonl"] = DATA
    good = mine(site)
    (blob,) = blobs(Cache())
    data = bytearray(blob.read_bytes())
    if harm == "flip":
        data[100] ^= 1
    blob.unlink()
    if harm != "remove":
        blob.write_bytes(data if harm == "flip" else data[:-10])
    assert Cache().verify() == {"mine/": ("mine.jsonl",)}
    with pytest.raises(IntegrityError, match="cached files of mine are damaged"):
        mine(site, download=False)
    assert mine(site).fingerprint() == good.fingerprint()
    assert len(site.asked) == 2
    assert Cache().verify() == {}


def test_busy_servers_are_tried_three_times(site):
    site.pages["/mine.jsonl"] = lambda n: (429, {"retry-after": "1"}, b"") if n < 3 else DATA
    assert len(mine(site)) == 50
    assert len(site.asked) == 3


@pytest.mark.parametrize("page", [(503, {}, b"x"), (200, {"x-cut": "1"}, DATA)])
def test_broken_servers_are_named_after_three_tries(site, page):
    site.pages["/mine.jsonl"] = lambda n: (page[0], dict(page[1]), page[2])
    with pytest.raises(DatasetUnavailableError) as caught:
        mine(site)
    assert len(site.asked) == 3
    assert caught.value.attempts[0][0] == site.url("/mine.jsonl")
    assert blobs(Cache()) == []


def test_what_is_not_there_is_not_tried_again(site):
    with pytest.raises(DatasetUnavailableError, match="HTTP 404 from 127.0.0.1"):
        mine(site)
    assert len(site.asked) == 1


def test_five_redirects_are_followed_and_no_more(site):
    for n in range(9):
        site.pages[f"/r{n}.jsonl"] = (302, {"location": f"/r{n + 1}.jsonl"}, b"")
    site.pages["/r9.jsonl"] = (302, {"location": "/mine.jsonl"}, b"")
    site.pages["/mine.jsonl"] = DATA
    assert len(load("five", url=site.url("/r5.jsonl"), fields=FIELDS)) == 50
    with pytest.raises(DatasetUnavailableError, match="redirect"):
        load("other", url=site.url("/r0.jsonl"), fields=FIELDS)
    site.pages["/away"] = (302, {"location": "file:///etc/passwd"}, b"")
    with pytest.raises(DatasetUnavailableError):
        load("away", url=site.url("/away"), fields=FIELDS)


def test_downloads_have_a_limit(site, monkeypatch):
    monkeypatch.setattr("crucible_datasets.sources.MAX_DOWNLOAD", 1000)
    site.pages["/mine.jsonl"] = DATA
    with pytest.raises(DatasetUnavailableError, match="more than the limit of 1000"):
        mine(site)


def archive(members, kind="w:gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=kind) as tar:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data) if info.size == 0 else info.size
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def small(site, name="test.jsonl", path="/data.tar.gz", **options):
    card = BenchmarkCard(
        name="small", title="", description="", task="math", domain="x", default_split="test",
        splits={"test": SplitCard(n_items=1, files=(name,), url=site.url(path), **options)},
        license="MIT", citation="c", homepage="https://example.org",
    )  # fmt: skip
    return load("small", registry=Registry().with_(card, Gsm8k()))


GSM = b'{"question": "1+1?", "answer": "#### 2"}\n'


def test_files_are_taken_out_of_archives(site):
    site.pages["/data.tar.gz"] = archive([("data/readme", b"x"), ("data/test.jsonl", GSM)])
    assert small(site)[0].expected == "2"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        zipped.writestr("a/test.jsonl", GSM)
    site.pages["/data.zip"] = out.getvalue()
    assert small(site, path="/data.zip")[0].expected == "2"


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def huge():
    info = tarfile.TarInfo("data/test.jsonl")
    info.size = 5 * 2**30
    return info.tobuf()  # the header alone: nobody reads on


@pytest.mark.parametrize(
    ("body", "reason"),
    [(archive([("data/test.jsonl", GSM), ("../x", b"y")]), "members inside the archive"),
     (archive([("data/test.jsonl", GSM), ("/etc/x", b"y")]), "members inside the archive"),
     (archive([(link("data/test.jsonl", "/etc/passwd", tarfile.SYMTYPE), b"")]), "without links"),
     (archive([(link("data/test.jsonl", "/etc/passwd", tarfile.LNKTYPE), b"")]), "without links"),
     (gzip.compress(huge() + bytes(1024)), "at most 4294967296 bytes unfolded"),
     (archive([("data/other", b"")]), "an archive with test.jsonl"), (b"no archive", "a readable archive")],
    ids=["up", "absolute", "symlink", "hardlink", "5 GiB", "lacking", "damaged"],
)  # fmt: skip
def test_hostile_archives_are_refused(site, body, reason):
    site.pages["/data.tar.gz"] = body  # acceptance 21
    with pytest.raises(IntegrityError, match=reason):
        small(site)
    assert Cache().list() == ()


def test_a_file_with_another_digest_is_not_the_published_one(site):
    site.pages["/test.jsonl"] = GSM
    with pytest.raises(IntegrityError, match="is not the published file"):
        small(site, path="/test.jsonl", sha256="0" * 64)
    assert Cache().list() == ()


# The hub: a local fake of the API that names a commit, and of the resolve endpoint.

COMMIT = "a" * 40


def hub(site, files, repo="me/sums"):
    listed = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
    info = (200, {"content-type": "application/json"}, json.dumps(listed).encode())
    for path in (
        f"/api/datasets/{repo}",
        f"/api/datasets/{repo}/revision/main",
        f"/api/datasets/{repo}/revision/v1",
    ):
        site.pages[path] = info
    for name, data in files.items():
        site.pages[f"/datasets/{repo}/resolve/{COMMIT}/{name}"] = data


def test_the_hub_is_read_at_a_commit_and_never_asked_again(site, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", site.address)
    hub(site, {"README.md": b"", "data/train.jsonl": DATA[:60], "data/test.jsonl": DATA})
    found = load("sums", hub="me/sums", split="test", fields=FIELDS)
    assert (len(found), found.provenance.revision, found.provenance.kind) == (50, COMMIT, "hub")
    asked = len(site.asked)
    assert load("sums", hub="me/sums", split="test", fields=FIELDS).provenance.revision == COMMIT
    assert len(site.asked) == asked
    assert (
        load("sums", hub="me/sums", split="test", revision="v1", fields=FIELDS).provenance.revision
        == COMMIT
    )


def test_a_benchmark_falls_back_to_the_hub(site, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setenv("HF_ENDPOINT", site.address)
    rows = [{"question": f"{n}?", "answer": f"x\n#### {n}"} for n in range(1319)]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    hub(site, {"main/test-00000-of-00001.parquet": out.getvalue()}, "openai/gsm8k")
    card = BenchmarkCard(**{
        **{n: getattr(GSM8K, n) for n in GSM8K.__dataclass_fields__},
        "splits": {"test": SplitCard(n_items=1319, files=("test.jsonl",), url=site.url("/gone.jsonl"), hub_files=("main/test-*.parquet",))},
    })  # fmt: skip
    found = load("gsm8k", registry=Registry().with_(card, Gsm8k()))
    assert (len(found), found.provenance.location) == (1319, "openai/gsm8k")


def test_the_hub_says_what_it_has_where_nothing_fits(site, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", site.address)
    hub(site, {"a/test.jsonl": DATA, "b/test.jsonl": DATA})
    with pytest.raises(DatasetUnavailableError, match="several subsets, pass `subset`: a, b"):
        load("sums", hub="me/sums", split="test", fields=FIELDS)
    assert len(load("sums", hub="me/sums", split="test", subset="b", fields=FIELDS)) == 50
    with pytest.raises(DatasetUnavailableError, match="no data file for split 'dev'"):
        load("sums", hub="me/sums", split="dev", fields=FIELDS)


# Several processes.


FORKS = """
import hashlib, os, random, signal, sys
import crucible_datasets.cache as cache, crucible_datasets.sources as sources
import filelock, httpx, platformdirs, stamina  # once, before the processes are made
from crucible_datasets import load
from crucible_datasets.loaders.tabular import FieldMap

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return pid

def read():
    assert len(load("mine", url=sys.argv[1], fields=FieldMap(input="q", expected="a"))) == 50
"""
EIGHT = (
    FORKS
    + """
for pid in [child(read) for _ in range(8)]:
    assert os.waitpid(pid, 0)[1] == 0
"""
)
KILLED = (
    FORKS
    + """
def read_up_to(limit):
    steps = 0

    def count(frame, event, argument):
        nonlocal steps
        if event == "call" and frame.f_code.co_filename in (cache.__file__, sources.__file__):
            steps += 1
            if steps == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    read()

killed = 0
for limit in sorted(random.Random(18).sample(range(1, 110), 20)):
    status = os.waitpid(child(lambda: read_up_to(limit)), 0)[1]
    found = cache.Cache()
    for blob in (found.path / "blobs").rglob("*"):
        if blob.is_file() and not blob.name.startswith(".partial-"):
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert found.verify() == {}
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    killed += status != 0
    found.remove("mine")
print(killed)
"""
)


def forked(script, url):
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_eight_processes_with_a_cold_cache_download_once(site):
    site.pages["/mine.jsonl"] = DATA
    forked(EIGHT, site.url("/mine.jsonl"))
    assert site.asked == ["/mine.jsonl"]


def test_a_process_killed_anywhere_leaves_no_wrong_blob_and_no_lock(site):
    # acceptance 18: the n-th call into cache or download is the last, for 20 random n
    site.pages["/mine.jsonl"] = DATA
    assert int(forked(KILLED, site.url("/mine.jsonl"))) >= 10  # the way has about 100 calls
    assert len(mine(site)) == 50


# Folders that cannot be written: mounted in a namespace of their own.

MOUNTED = """
import ctypes, os, sys
from crucible_datasets import load
from crucible_datasets.loaders.tabular import FieldMap
from crucible_datasets.errors import CacheError
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.getuid(), os.getgid()
assert libc.unshare(0x10020000) == 0
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"0 {uid} 1")
open("/proc/self/gid_map", "w").write(f"0 {gid} 1")
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0
folder, how, url = sys.argv[1:4]
os.environ["CRUCIBLE_DATASETS_CACHE"] = folder
if how == "full":
    assert libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=16m") == 0
    open(folder + "/filler", "wb").write(bytes(16 * 2**20 - 65536))
else:
    assert libc.mount(folder.encode(), folder.encode(), None, 4096, None) == 0
    assert libc.mount(None, folder.encode(), None, 4096 | 32 | 1, None) == 0
try:
    print(len(load("mine", url=url, fields=FieldMap(input="q", expected="a"))))
except CacheError as error:
    print(error)
"""


def in_namespace(folder, how, url):
    done = subprocess.run(
        [sys.executable, "-c", MOUNTED, str(folder), how, url], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_full_disk_is_said_clearly_and_leaves_nothing(site, tmp_path):
    site.pages["/mine.jsonl"] = DATA * 200  # 300 kB where 64 kB are left
    said = in_namespace(tmp_path, "full", site.url("/mine.jsonl"))
    assert "No space left on device" in said
    assert "set CRUCIBLE_DATASETS_CACHE" in said


def test_a_read_only_cache_is_read_and_its_limits_are_said(site, tmp_path):
    site.pages["/mine.jsonl"] = DATA
    said = in_namespace(tmp_path, "read-only", site.url("/mine.jsonl"))
    assert "Read-only file system" in said
    mine(site, cache=Cache(tmp_path))
    assert in_namespace(tmp_path, "read-only", site.url("/mine.jsonl")) == "50"


def test_the_cache_is_listed_pruned_and_emptied_by_name(site):
    cache = Cache()
    for name in ("a", "b"):
        site.pages[f"/{name}.jsonl"] = DATA + b"\n" * len(name) * (name == "b")
        load(name, url=site.url(f"/{name}.jsonl"), fields=FIELDS)
    assert [ref.name for ref in cache.list()] == ["a", "b"]
    assert cache.prune(max_age_days=1) == 0
    old = next(
        p for p in (cache.path / "refs").iterdir() if json.loads(p.read_text())["name"] == "a"
    )
    os.utime(old, (1, 1))
    assert cache.prune(max_age_days=1) == len(DATA)
    assert [ref.name for ref in cache.list()] == ["b"]
    assert cache.remove("b") == len(DATA) + 1
    assert blobs(cache) == []
    tight = Cache(cache.path, max_bytes=len(DATA))
    load("a", url=site.url("/a.jsonl"), fields=FIELDS, cache=tight)
    load("b", url=site.url("/b.jsonl"), fields=FIELDS, cache=tight)
    assert [ref.name for ref in cache.list()] == ["b"]
    with pytest.raises(ValueError, match="`max_bytes` must be >= 1"):
        Cache(max_bytes=0)


# The lock file.


def test_a_lock_file_pins_bytes_and_items(site, tmp_path):
    site.pages["/mine.jsonl"] = DATA
    lock = tmp_path / "data.lock"
    found = mine(site, lock=lock)
    text = lock.read_text()
    entry = json.loads(text)["datasets"]["mine//"]
    assert (entry["fingerprint"], entry["n_items"]) == (found.fingerprint(), 50)
    assert entry["files"][0]["sha256"] == hashlib.sha256(DATA).hexdigest()
    mine(site, lock=lock)
    assert lock.read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["data.lock"]


def test_one_changed_byte_is_a_mismatch_until_the_lock_is_let_go(tmp_path):
    file, lock = tmp_path / "mine.jsonl", tmp_path / "data.lock"
    file.write_bytes(DATA)
    load("mine", path=file, fields=FIELDS, lock=lock, sample_size=5)
    file.write_bytes(DATA.replace(b'"1+1?"', b'"1+2?"', 1))  # acceptance 19
    with pytest.raises(LockMismatchError, match="`files` differs") as caught:
        load("mine", path=file, fields=FIELDS, lock=lock)
    assert caught.value.field == "files"
    assert update_lock(lock, "mine") == ("mine//",)
    load("mine", path=file, fields=FIELDS, lock=lock)
    with pytest.raises(ValueError, match="must be in the lock file"):
        update_lock(lock, "other")


def test_a_frozen_lock_is_never_written(tmp_path, monkeypatch):
    file, lock = tmp_path / "mine.jsonl", tmp_path / "data.lock"
    file.write_bytes(DATA)
    load("mine", path=file, fields=FIELDS, lock=lock)
    before = lock.read_bytes()
    monkeypatch.setenv("CRUCIBLE_DATASETS_FROZEN", "1")
    load("mine", path=file, fields=FIELDS, lock=lock)
    for call in (
        lambda: load("new", path=file, fields=FIELDS, lock=lock),
        lambda: update_lock(lock, "mine"),
    ):
        with pytest.raises(LockFrozenError):
            call()
    assert lock.read_bytes() == before


def test_what_is_no_lock_file_is_refused(tmp_path):
    file, lock = tmp_path / "mine.jsonl", tmp_path / "data.lock"
    file.write_bytes(DATA)
    for text in ("{", "[]", '{"schema": "other"}'):
        lock.write_text(text)
        with pytest.raises(ParseError, match="not a lock file"):
            load("mine", path=file, fields=FIELDS, lock=lock)
        assert lock.read_text() == text
    lock.unlink()
    with pytest.raises(CacheError, match="full") as caught:
        raise CacheError("p", "full")
    assert caught.value.reason == "full"


# What is told about it.


def test_loading_and_scoring_are_traced_without_their_texts(site, tmp_path):
    code = f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
from crucible_datasets import duplicates, evaluate, load
from crucible_datasets.loaders.tabular import FieldMap
data = load("mine", url={site.url("/mine.jsonl")!r}, fields=FieldMap(input="q", expected="a"), task="math")
evaluate({{data[0].id: "the secret output"}}, data)
duplicates(data)
import json
print(json.dumps([[s.name, dict(s.attributes)] for s in exporter.get_finished_spans()]))
"""
    site.pages["/mine.jsonl"] = DATA
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    spans = dict(json.loads(done.stdout))
    assert list(spans) == [
        f"crucible.datasets.{n}" for n in ("download", "load", "evaluate", "duplicates")
    ]
    load_span = spans["crucible.datasets.load"]
    assert load_span["crucible.datasets.n_items"] == 50
    assert load_span["crucible.datasets.source_kind"] == "url"
    assert load_span["crucible.datasets.cache_hit"] is False
    assert load_span["crucible.datasets.bytes"] == len(DATA)
    assert spans["crucible.datasets.download"]["http.response.status_code"] == 200
    assert spans["crucible.datasets.download"]["server.address"] == "127.0.0.1"
    assert spans["crucible.datasets.evaluate"]["crucible.datasets.metric.exact_match"] == 0
    assert "secret" not in done.stdout
    assert "+1?" not in done.stdout


def test_importing_the_package_loads_nothing_heavy():
    heavy = {
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "datasets",
        "httpx",
        "filelock",
        "sacrebleu",
        "nltk",
        "tree_sitter",
    }
    code = (
        f"import sys, crucible_datasets; print(sorted(set({sorted(heavy)!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = (
        "import sys, crucible_datasets as c; [getattr(c, n) for n in c.__all__]; c.load('demo-choice'); "
        + code.partition("; ")[2]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
