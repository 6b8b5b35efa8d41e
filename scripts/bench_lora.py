"""Training against TRL's SFTTrainer, and what else crucible-lora promises about time.

    uv run --isolated --package crucible-lora --group test --with "trl==1.16.*" \
        python scripts/bench_lora.py [--only smollm2 --only import ...]

Ours and the peer train the same sequences from the same first weights, each round in a process of
its own, one after the other. CPU seconds count from behind the loading; one thread. On a GPU the
clock counts, behind two updates of warm-up. The summary at the end holds every row with its bar; a
bar that is missed is printed as MISSED and makes the exit status 1.
"""

import argparse
import json
import os
import pickle
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ORDERS, BATCH, UPDATES, SEEDS = 320, 8, 4, (0, 1, 2)
LEARNING_RATE, WARMUP, SCHEDULED = 1e-3, 1, 20
JUDGED, LEARNED_BY = 32, 6  # held-out orders, and updates before they are judged
WARM_UP, TIMED = 2, 10  # updates on a GPU
PACK_TO, PACK_MIXED = 2048, 448  # tokens in a row
HEAVY = ("torch", "transformers", "peft", "tinker", "scipy", "pandas", "pyarrow", "datasets", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one process trains."""

    who: str  # "ours", "trl" or "batches"
    seed: int = 0
    updates: int = UPDATES
    packed: bool = False
    device: str = "cpu"
    mixed: bool = False  # items of very different length
    save: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the summary; `met` is None where there is no bar."""

    what: str
    found: str
    bar: str = ""
    met: bool | None = None


def main() -> None:
    """Run the rows that are asked for and print them beside their bars."""
    rows: dict[str, Callable[[int], list[Row]]] = {
        "smollm2": smollm2,
        "packing": packing,
        "delta": eval_delta,
        "cuda": cuda,
        "in-process": in_process,
        "tinker": tinker,
        "import": imports,
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", action="append", choices=list(rows))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--judge", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work or arguments.judge:
        child(arguments.work, arguments.judge)
        return
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.ctime()}")
    found = [
        row
        for name, run in rows.items()
        if not arguments.only or name in arguments.only
        for row in run(arguments.rounds)
    ]
    words = {True: "met", False: "MISSED", None: ""}
    print("\n| measure | found | bar | |\n| --- | --- | --- | --- |")
    for row in found:
        print(f"| {row.what} | {row.found} | {row.bar} | {words[row.met]} |")
    missed = sum(row.met is False for row in found)
    print(f"\n{missed} bars missed, load {os.getloadavg()[0]:.1f}, {time.ctime()}")
    sys.exit(bool(missed))


def processor() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def smollm2(rounds: int) -> list[Row]:
    """SmolLM2-135M, LoRA r=16 on all linear layers, float32, batches of 8 orders."""
    work = {
        "ours": Work(who="ours"),
        "packed": Work(who="ours", packed=True),
        "trl": Work(who="trl"),
    }
    best = _best_of(rounds, work, by="cpu_s")
    print(f"\nSmolLM2-135M, {UPDATES} updates of {BATCH} orders, 1 thread, best of {rounds}")
    print("                  tokens/CPU s   CPU s   wall s   peak RSS GB   losses")
    for role, run in best.items():
        speed, losses = run["tokens"] / run["cpu_s"], " ".join(f"{x:.4f}" for x in run["losses"])
        print(
            f"{role:16} {speed:13.1f} {run['cpu_s']:7.1f} {run['wall_s']:8.1f} "
            f"{run['peak_gb']:13.2f}   {losses}"
        )
    mine, peer = best["ours"], best["trl"]
    speed = _speed(mine, "cpu_s") / _speed(peer, "cpu_s")
    memory = mine["peak_gb"] / peer["peak_gb"]
    pairs = zip(mine["losses"], peer["losses"], strict=True)
    apart = max(abs(a / b - 1) for a, b in pairs)
    gain = best["ours"]["cpu_s"] / best["packed"]["cpu_s"]
    return [
        Row(
            what="tokens per CPU second, SmolLM2-135M on a CPU",
            found=f"{_speed(mine, 'cpu_s'):.1f}, TRL {_speed(peer, 'cpu_s'):.1f}: {speed:.2f}",
            bar=">= 1.25",
            met=speed >= 1.25,
        ),
        Row(
            what="peak memory",
            found=f"{mine['peak_gb']:.2f} GB, TRL {peer['peak_gb']:.2f} GB: {memory:.2f}",
            bar="<= 0.92",
            met=memory <= 0.92,
        ),
        Row(
            what="losses of equal updates differ by at most",
            found=f"{apart:.2%}",
            bar="<= 1 %",
            met=apart <= 0.01,
        ),
        Row(
            what=f"packing into {PACK_TO}, items of equal length",
            found=f"{gain:.2f} of the speed without",
        ),
    ]


def packing(rounds: int) -> list[Row]:
    """Packing where it is for: one to eight orders an item, in batches of 8."""
    work = {
        name: Work(who="ours", mixed=True, packed=name == "packed", updates=2)
        for name in ("padded", "packed")
    }
    best = _best_of(rounds, work, by="cpu_s")
    gain = _speed(best["packed"], "cpu_s") / _speed(best["padded"], "cpu_s")
    pairs = zip(best["packed"]["losses"], best["padded"]["losses"], strict=True)
    apart = max(abs(a / b - 1) for a, b in pairs)
    return [
        Row(
            what=f"packing into {PACK_MIXED}, items of 70 to 430 tokens",
            found=f"{gain:.2f} of the speed without; losses differ by {apart:.0e}",
        )
    ]


def eval_delta(_: int) -> list[Row]:
    """What the adapters of three seeds changed on held-out orders, ours and TRL's."""
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, list[str]] = {"ours": [], "trl": []}
        for seed in SEEDS:
            for who, listed in places.items():
                place = Path(folder) / f"{who}-{seed}"
                place.mkdir()
                _child(Work(who=who, seed=seed, updates=LEARNED_BY, save=str(place)))
                listed.append(str(place))
        deltas = _run("--judge", *places["ours"], *places["trl"])
    from crucible_lora.seeds import mean_and_sd, t_interval

    rows = []
    print(f"\ntuned minus base on {JUDGED} held-out orders, {LEARNED_BY} updates, 3 seeds")
    for metric in deltas[0]:
        values = [found[metric] for found in deltas]
        mine, peer = values[: len(SEEDS)], values[len(SEEDS) :]
        print(f"{metric}: ours {_listed(mine)}, TRL {_listed(peer)}")
        shown, intervals = [], [t_interval(mine), t_interval(peer)]
        for part, (low, high) in zip((mine, peer), intervals, strict=True):
            reach = "no spread" if low is None else f"{low:+.4f} to {high:+.4f}"
            shown.append(f"{mean_and_sd(part)[0]:+.4f} ({reach})")
        rows.append(
            Row(
                what=f"eval delta, {metric}, mean over 3 seeds with 95 % t interval",
                found=f"{shown[0]}, TRL {shown[1]}",
                bar="overlap",
                met=_overlap(mine, peer, intervals),
            )
        )
    return rows


def _overlap(mine: list[float], peer: list[float], intervals: Sequence[Any]) -> bool:
    """Return whether two intervals share a value; without spread an interval is its mean."""
    (a, b), (c, d) = (
        (min(part), max(part)) if low is None else (low, high)
        for part, (low, high) in zip((mine, peer), intervals, strict=True)
    )
    return bool(a <= d and c <= b)


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.4f}" for value in values)


def cuda(rounds: int) -> list[Row]:
    """The same on one GPU: bfloat16, SDPA, lengths 512 to 1,024, packing off and on."""
    import torch

    if not torch.cuda.is_available():
        what = f"tokens/s and peak memory on CUDA, bfloat16, lengths 512 to 1,024, batch {BATCH}"
        return [Row(what=what, found="no CUDA device: not run", bar=">= 1.0, <= 1.0")]
    rows, speeds = [], {}
    for packed in (False, True):
        work = {
            who: Work(who=who, device="cuda", packed=packed, updates=WARM_UP + TIMED)
            for who in ("ours", "trl")
        }
        best = _best_of(rounds, work, by="wall_s")
        for who, run in best.items():
            losses = " ".join(f"{loss:.4f}" for loss in run["losses"])
            print(f"{torch.cuda.get_device_name()}, {who}, packed {packed}: losses {losses}")
        mine, peer = (_speed(best[who], "wall_s") for who in ("ours", "trl"))
        a, b = (best[who]["peak_gb"] for who in ("ours", "trl"))
        speeds[packed] = mine
        label = "packed" if packed else "one item a row"
        rows += [
            Row(
                what=f"tokens/s on CUDA, {label}",
                found=f"{mine:,.0f}, TRL {peer:,.0f}: {mine / peer:.2f}",
                bar=">= 1.0",
                met=mine >= peer,
            ),
            Row(
                what=f"peak memory on CUDA, {label}",
                found=f"{a:.2f} GB, TRL {b:.2f} GB: {a / b:.2f}",
                bar="<= 1.0",
                met=a <= b,
            ),
        ]
    gain = speeds[True] / speeds[False]
    return [*rows, Row(what="gain of packing on CUDA", found=f"{gain:.2f} of the speed without")]


def _speed(run: dict[str, Any], by: str) -> float:
    return float(run["tokens"] / run[by])


def _best_of(rounds: int, work: dict[str, Work], *, by: str) -> dict[str, dict[str, Any]]:
    """Train each in turn, so many times over, and keep the quickest of each."""
    found: dict[str, list[dict[str, Any]]] = {role: [] for role in work}
    for _ in range(rounds):
        for role, one in work.items():
            found[role].append(_child(one))
    return {role: min(runs, key=lambda run: float(run[by])) for role, runs in found.items()}


def _child(work: Work) -> dict[str, Any]:
    found = _run("--work", json.dumps(asdict(work)))
    speed = f"{_speed(found, 'cpu_s'):.1f} tokens/CPU s, {_speed(found, 'wall_s'):.1f} tokens/s"
    print(f"{work.who}, seed {work.seed}, packed {work.packed}: {speed}", file=sys.stderr)
    return found


def _run(*arguments: str) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def child(work: str | None, judged: list[str] | None) -> None:
    """Do the work of one process and print what came out as JSON."""
    if work is None:
        print(json.dumps(judge(judged or [])))
        return
    given = Work(**json.loads(work))
    print(json.dumps({"ours": ours, "trl": trl}[given.who](given)))


class Clock:
    """CPU and wall seconds since `start`, and the peak memory of the process or the GPU."""

    def __init__(self, device: str) -> None:
        self._device = device

    def start(self) -> None:
        """Begin to count."""
        self._wait()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def result(self, tokens: int, losses: list[float]) -> dict[str, Any]:
        """Return what a process reports."""
        self._wait()
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if self._device == "cuda":
            import torch

            peak = torch.cuda.max_memory_allocated()
        found = {"cpu_s": cpu, "wall_s": wall, "peak_gb": peak / 1e9}
        return {**found, "tokens": tokens, "losses": losses}

    def _wait(self) -> None:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()


def ours(work: Work) -> dict[str, Any]:
    """Train with this package."""
    import anyio

    async def run() -> dict[str, Any]:
        session, batches = await _prepared(work)
        clock, losses, skip = Clock(work.device), [], _untimed(work)
        for number, batch in enumerate(batches):
            if number == skip:
                clock.start()
            width = PACK_MIXED if work.mixed else PACK_TO
            how = _update(number, pack_to=width if work.packed else None)
            step = await session.train_step(batch, update=how)
            losses.append(step.loss)
        found = clock.result(_tokens(batches[skip:]), losses)
        if work.save is not None:
            await session.save(Path(work.save))
        return found

    return anyio.run(run)


def _untimed(work: Work) -> int:
    return WARM_UP if work.device == "cuda" else 0


def _tokens(batches: Sequence[Sequence[Any]]) -> int:
    return sum(len(example.tokens) for batch in batches for example in batch)


def _config() -> Any:
    from crucible_lora import LoraConfig

    return LoraConfig(base_model="smollm2-135m", learning_rate=LEARNING_RATE, weight_decay=0.0)


async def _prepared(work: Work) -> tuple[Any, list[list[Any]]]:
    """Return a session and the batches of a process's work."""
    from crucible_lora import PeftBackend
    from crucible_lora.batching import BatchPlan
    from crucible_lora.demo import ORDERS_SYSTEM, demo_orders
    from crucible_lora.formats import ChatFormat
    from crucible_lora.items import read_items
    from crucible_lora.masking import lay_out

    backend = PeftBackend(device=work.device, threads=1, attention="sdpa")
    session = await backend.create(_config(), seed=work.seed)
    format = ChatFormat(system=ORDERS_SYSTEM)
    given = demo_orders(ORDERS)
    if work.mixed or work.device == "cuda":
        given = joined_orders(range(1, 9) if work.mixed else range(12, 19))
    items = {item.id: format(item) for item in read_items(given)}
    plan = BatchPlan(
        ids=tuple(items), batch=BATCH, epochs=1, seed=work.seed, max_steps=work.updates
    )
    batches = [
        [lay_out(name, items[name], session.tokenizer) for name in plan.at(n)]
        for n in range(work.updates)
    ]
    if work.device == "cuda":
        lengths = [len(e.tokens) for batch in batches for e in batch]
        if not 512 <= min(lengths) <= max(lengths) <= 1024:
            raise SystemExit(f"items have {min(lengths)} to {max(lengths)} tokens")
    return session, batches


def joined_orders(sizes: Sequence[int]) -> list[dict[str, str]]:
    """Return items that are several orders at once, of as many as each size in turn says."""
    from crucible_lora.demo import demo_orders

    count, most = BATCH * (WARM_UP + TIMED), max(sizes)
    orders, items = demo_orders(count * most), []
    for number in range(count):
        start = number * most
        part = orders[start : start + sizes[number % len(sizes)]]
        asked, answered = (
            "\n".join(str(order[key]) for order in part) for key in ("input", "expected")
        )
        items.append({"id": f"joined-{number}", "input": asked, "expected": answered})
    return items


def _update(number: int, *, pack_to: int | None = None) -> Any:
    from crucible_lora.losses import CrossEntropy
    from crucible_lora.ports import Update
    from crucible_lora.schedule import learning_rate

    rate = learning_rate(number, total=SCHEDULED, warmup=WARMUP, peak=LEARNING_RATE)
    return Update(
        learning_rate=rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        max_grad_norm=1.0,
        loss=CrossEntropy(),
        micro_batch=BATCH,
        pack_to=pack_to,
    )


def trl(work: Work) -> dict[str, Any]:
    """Train with TRL: the same sequences, order, first weights and learning rates."""
    import peft
    import torch
    import transformers
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from crucible_lora.backends.adapting import draw_first_weights
    from crucible_lora.backends.gguf import as_folder, smollm2_file

    torch.set_num_threads(1)
    batches, rows = _batches_alone(work), []
    for example in (e for batch in batches for e in batch):
        tokens, learned = example.tokens.tolist(), example.weights > 0
        labels = [t if w else -100 for t, w in zip(tokens, learned, strict=True)]
        rows.append({"input_ids": tokens, "labels": labels})
    folder, _ = as_folder(smollm2_file())
    on_gpu = work.device == "cuda"
    dtype = "bfloat16" if on_gpu else "float32"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="sdpa"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    clock, skip, seen = Clock(work.device), _untimed(work), [0]

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, dataset=None):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def create_scheduler(self, num_training_steps, optimizer=None):
            updates = (_update(n) for n in range(SCHEDULED))
            rates = [update.learning_rate / LEARNING_RATE for update in updates]
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda n: rates[min(n, SCHEDULED - 1)]
            )
            return self.lr_scheduler

        def compute_loss(self, model, inputs, *arguments, **options):
            if self.state.global_step == skip and not seen[0]:
                clock.start()
            if self.state.global_step >= skip:  # what is read, without padding
                learned = inputs.get("attention_mask")
                ids = inputs["input_ids"]
                seen[0] += int(ids.numel() if learned is None else learned.sum())
            return super().compute_loss(model, inputs, *arguments, **options)

    # Packed rows are as long as ours, and hold about as many tokens an update.
    together = max(1, round(_tokens(batches) / len(batches) / PACK_TO)) if work.packed else BATCH
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=together,
        max_steps=work.updates,
        learning_rate=LEARNING_RATE,
        weight_decay=0.0,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        packing=work.packed,
        max_length=PACK_TO if work.packed else 1024,
        bf16=on_gpu,
        fp16=False,
        use_cpu=not on_gpu,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        optim="adamw_torch",
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": not work.packed},
    )
    trainer = InOrder(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=peft.LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    draw_first_weights(trainer.model, work.seed)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    found = clock.result(seen[0], losses)
    if work.save is not None:
        trainer.model.save_pretrained(work.save)
    return found


def _batches_alone(work: Work) -> list[list[Any]]:
    """Return the batches from a child, so that our session is no part of the peer's memory."""
    given = json.dumps(asdict(work))
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import anyio, json, pickle, bench_lora as b\n"
        f"work = b.Work(**json.loads({given!r}))\n"
        "sys.stdout.buffer.write(pickle.dumps(anyio.run(b._prepared, work)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return pickle.loads(done.stdout)


def judge(folders: Sequence[str]) -> list[dict[str, float]]:
    """Return tuned minus base for adapters in PEFT's layout, by metric, all judged alike."""
    import anyio

    async def run() -> list[dict[str, float]]:
        from safetensors.torch import save_file

        from crucible_lora import PeftBackend
        from crucible_lora.corpus import read_entries
        from crucible_lora.demo import ORDERS_SYSTEM, demo_orders, orders_schema
        from crucible_lora.estimates import compare
        from crucible_lora.formats import ChatFormat
        from crucible_lora.measure import measure
        from crucible_lora.schemas import JsonSchema
        from crucible_lora.scoring import Scoring

        backend, found = PeftBackend(device="cpu", threads=1), []
        format = ChatFormat(system=ORDERS_SYSTEM)
        entries = read_entries(demo_orders(JUDGED, held_out=True), format=format)
        how = {"scoring": Scoring(schema=JsonSchema(orders_schema())), "max_tokens": 48}
        first = await backend.create(_config(), seed=0)  # its adapter changes nothing yet
        base = await measure(first, None, entries, batch_size=JUDGED, **how)
        generator = Path(folders[0]) / "generator.safetensors"
        for folder in map(Path, folders):
            if not (folder / generator.name).exists():  # TRL's: what a session would have beside it
                (folder / generator.name).write_bytes(generator.read_bytes())
                save_file({}, folder / "optimizer.safetensors")
            session = await backend.resume(_config(), folder)
            tuned = await measure(session, folder, entries, batch_size=JUDGED, **how)
            found.append({name: d.difference for name, d in compare(tuned, base).items()})
            await session.close()
        return found

    return anyio.run(run)


def in_process(_: int) -> list[Row]:
    """The reference model: rank 16, batches of 16, 200 updates."""
    from crucible_lora import create_experiment, train_sync
    from crucible_lora.demo import demo_findings

    with tempfile.TemporaryDirectory() as folder:
        experiment = create_experiment(
            "bench", {"base_model": "reference", "lr": 0.01}, directory=folder
        )
        clock = time.process_time()
        report = train_sync(experiment, demo_findings(400), epochs=8, batch_size=16, progress=False)
        spent = time.process_time() - clock
    each = f"{spent / report.steps * 1e3:.1f} ms each"
    return [
        Row(
            what=f"in-process, rank 16, batch 16, {report.steps} updates",
            found=f"{spent:.1f} CPU s, {each}",
            bar="<= 10 s",
            met=spent <= 10,
        )
    ]


def tinker(_: int) -> list[Row]:
    """Updates through the SDK to a service on loopback: ours, and the SDK called directly."""
    import anyio
    import tinker as sdk

    from crucible_lora import LoraConfig
    from crucible_lora.backends.tinker import TinkerBackend
    from crucible_lora.backends.tinker_session import _datum
    from crucible_lora.formats import Conversation
    from crucible_lora.loopback import LoopbackService
    from crucible_lora.masking import lay_out
    from crucible_lora.tokenizers import ByteTokenizer

    async def work(url: str) -> tuple[float, float]:
        backend = TinkerBackend(base_url=url, api_key="tml-bench", tokenizer=ByteTokenizer())
        session = await backend.create(LoraConfig(base_model="org/model"), seed=0)
        talk = Conversation(messages=({"role": "user", "content": "say"},), completion="it" * 20)
        batch = [lay_out(str(i), talk, ByteTokenizer()) for i in range(8)]
        client = sdk.ServiceClient(base_url=url, api_key="tml-bench")
        create = client.create_lora_training_client
        training = await anyio.to_thread.run_sync(lambda: create("org/model").result())
        best = [float("inf"), float("inf")]
        for _ in range(150):
            began = time.perf_counter()
            await session.train_step(batch, update=_update(1))
            best[0] = min(best[0], time.perf_counter() - began)
            began = time.perf_counter()
            data = [_datum(e, e.target_weights()) for e in batch]
            one = training.forward_backward(data, "cross_entropy")
            two = training.optim_step(sdk.AdamParams(learning_rate=1e-3))
            await one
            await two
            best[1] = min(best[1], time.perf_counter() - began)
        await session.close()
        await client.close("success")
        return best[0], best[1]

    with LoopbackService() as service:
        mine, direct = anyio.run(work, service.url)
    return [
        Row(
            what="Tinker on loopback, forward_backward + optim_step",
            found=f"{mine * 1e3:.1f} ms, the SDK alone {direct * 1e3:.1f} ms: {mine / direct:.2f}",
            bar="<= 1.1",
            met=mine <= 1.1 * direct,
        )
    ]


def imports(_: int) -> list[Row]:
    """Importing the package beside importing numpy."""
    best = {"numpy": float("inf"), "crucible_lora": float("inf")}
    loaded = ""
    for _ in range(7):
        for name in best:
            code = (
                f"from time import perf_counter as t; b = t(); import {name}; e = t() - b\n"
                f"import sys; print(e, *(m for m in {HEAVY} if m in sys.modules))"
            )
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            spent, _, loaded = done.stdout.strip().partition(" ")
            best[name] = min(best[name], float(spent))
    ratio = best["crucible_lora"] / best["numpy"]
    return [
        Row(
            what="import",
            found=f"{best['crucible_lora'] * 1e3:.0f} ms, numpy {best['numpy'] * 1e3:.0f} ms: "
            f"{ratio:.2f}",
            bar="<= 2",
            met=ratio <= 2,
        ),
        Row(
            what="heavy modules that importing loads",
            found=loaded or "none",
            bar="none",
            met=not loaded,
        ),
    ]


if __name__ == "__main__":
    main()
