"""Training against TRL's SFTTrainer, and what else crucible-lora promises about time.

    uv run --isolated --package crucible-lora --group test --with "trl==1.16.*" \
        python scripts/bench_lora.py

Ours and the peer train the same sequences from the same first weights, each round in a process of
its own, one after the other. CPU seconds count from behind the loading; one thread.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

ORDERS, BATCH, UPDATES, SEED = 320, 8, 4, 0
LEARNING_RATE, WARMUP, SCHEDULED = 1e-3, 1, 20


def main() -> None:
    """Run the rows that are asked for and print them beside their bars."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=["smollm2", "in-process", "tinker", "import"])
    parser.add_argument("--role", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    roles = {"ours": ours, "packed": packed, "trl": trl}
    if arguments.role:
        print(json.dumps(roles[arguments.role]()))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    rows = {
        "smollm2": lambda: smollm2(arguments.rounds),
        "in-process": in_process,
        "tinker": tinker,
        "import": imports,
    }
    for name, row in rows.items():
        if arguments.only in (None, name):
            row()


def smollm2(rounds: int) -> None:
    """SmolLM2-135M, LoRA r=16 on all linear layers, float32, batches of 8 orders."""
    found: dict[str, list[dict]] = {"ours": [], "packed": [], "trl": []}
    for _ in range(rounds):
        for role in found:
            found[role].append(_child(role))
    best = {role: min(runs, key=lambda r: r["cpu_s"]) for role, runs in found.items()}
    print(f"\nSmolLM2-135M, {UPDATES} updates of {BATCH} orders, 1 thread, best of {rounds}")
    print("                  tokens/CPU s   CPU s   wall s   peak RSS GB   losses")
    for role, run in best.items():
        speed, losses = run["tokens"] / run["cpu_s"], " ".join(f"{x:.4f}" for x in run["losses"])
        print(
            f"{role:16} {speed:13.1f} {run['cpu_s']:7.1f} {run['wall_s']:8.1f} "
            f"{run['rss_gb']:13.2f}   {losses}"
        )
    mine, peer = best["ours"], best["trl"]
    speed = peer["cpu_s"] / mine["cpu_s"] * mine["tokens"] / peer["tokens"]
    print(f"speed {speed:.2f} of TRL's (bar: at least 1.25)")
    print(f"memory {mine['rss_gb'] / peer['rss_gb']:.2f} of TRL's (bar: at most 0.92)")
    pairs = zip(mine["losses"], peer["losses"], strict=True)
    print(f"losses differ by {max(abs(a / b - 1) for a, b in pairs):.2%} at most (bar: 1 %)")
    print(f"packing: {best['ours']['cpu_s'] / best['packed']['cpu_s']:.2f} of the speed without")


def _child(role: str) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, __file__, "--role", role]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{role}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{role}: {found['tokens'] / found['cpu_s']:.1f} tokens/CPU s", file=sys.stderr)
    return found


class Clock:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def result(self, tokens: int, losses: list[float]) -> dict:
        """Return what a role reports."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "cpu_s": time.process_time() - self._cpu,
            "wall_s": time.perf_counter() - self._wall,
            "rss_gb": peak * 1024 / 1e9,
            "tokens": tokens,
            "losses": losses,
        }


def ours() -> dict:
    """Train with this package, one row per order."""
    return _ours(pack_to=None)


def packed() -> dict:
    """Train with this package, orders packed."""
    return _ours(pack_to=1024)


def _ours(*, pack_to: int | None) -> dict:
    import anyio

    async def work() -> dict:
        session, batches = await _prepared()
        clock, losses = Clock(), []
        for number, batch in enumerate(batches):
            step = await session.train_step(batch, update=_update(number, pack_to))
            losses.append(step.loss)
        return clock.result(sum(len(e.tokens) for b in batches for e in b), losses)

    return anyio.run(work)


def _config():
    from crucible_lora import LoraConfig

    return LoraConfig(base_model="smollm2-135m", learning_rate=LEARNING_RATE, weight_decay=0.0)


async def _prepared():
    from crucible_lora import PeftBackend
    from crucible_lora.batching import BatchPlan
    from crucible_lora.demo import ORDERS_SYSTEM, demo_orders
    from crucible_lora.formats import ChatFormat
    from crucible_lora.items import read_items
    from crucible_lora.masking import lay_out

    session = await PeftBackend(device="cpu", threads=1).create(_config(), seed=SEED)
    format = ChatFormat(system=ORDERS_SYSTEM)
    items = {item.id: format(item) for item in read_items(demo_orders(ORDERS))}
    plan = BatchPlan(ids=tuple(items), batch=BATCH, epochs=1, seed=SEED, max_steps=UPDATES)
    batches = [
        [lay_out(name, items[name], session.tokenizer) for name in plan.at(n)]
        for n in range(UPDATES)
    ]
    return session, batches


def _update(number: int, pack_to: int | None):
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


def trl() -> dict:
    """Train with TRL: the same sequences, order, first weights and learning rates."""
    import tempfile

    import anyio
    import peft
    import torch
    import transformers
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from crucible_lora.backends.adapting import draw_first_weights
    from crucible_lora.backends.gguf import as_folder, smollm2_file

    torch.set_num_threads(1)
    rows = []
    for example in (e for batch in _batches_alone(anyio) for e in batch):
        tokens, learned = example.tokens.tolist(), example.weights > 0
        labels = [t if w else -100 for t, w in zip(tokens, learned, strict=True)]
        rows.append({"input_ids": tokens, "labels": labels})
    folder, _ = as_folder(smollm2_file())
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, dataset=None):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def create_scheduler(self, num_training_steps, optimizer=None):
            rates = [_update(n, None).learning_rate / LEARNING_RATE for n in range(SCHEDULED)]
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda n: rates[min(n, SCHEDULED - 1)]
            )
            return self.lr_scheduler

    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        max_steps=UPDATES,
        learning_rate=LEARNING_RATE,
        weight_decay=0.0,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        packing=False,
        max_length=1024,
        bf16=False,
        fp16=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        optim="adamw_torch",
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
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
    draw_first_weights(trainer.model, SEED)
    clock = Clock()
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return clock.result(sum(len(row["input_ids"]) for row in rows), losses)


def _batches_alone(anyio) -> list:
    """Return the batches in a child, so that our session is no part of the peer's memory."""
    import pickle

    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bench_lora as b, anyio, pickle; sys.stdout.buffer.write(pickle.dumps(anyio.run(b._prepared)[1]))"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return pickle.loads(done.stdout)


def in_process() -> None:
    """The reference model: rank 16, batches of 16, 200 updates."""
    import tempfile

    from crucible_lora import create_experiment, train_sync
    from crucible_lora.demo import demo_findings

    with tempfile.TemporaryDirectory() as folder:
        experiment = create_experiment(
            "bench", {"base_model": "reference", "lr": 0.01}, directory=folder
        )
        clock = time.process_time()
        train_sync(experiment, demo_findings(400), epochs=8, batch_size=16, progress=False)
        spent = time.process_time() - clock
    print(f"\nin-process: 200 updates in {spent:.1f} CPU s (bar: at most 10)")


def tinker() -> None:
    """Updates through the SDK to a service on loopback: ours, and the SDK called directly."""
    import anyio
    import tinker as sdk

    from crucible_lora import LoraConfig
    from crucible_lora.backends.tinker import TinkerBackend
    from crucible_lora.backends.tinker_session import _datum
    from crucible_lora.loopback import LoopbackService
    from crucible_lora.masking import lay_out
    from crucible_lora.tokenizers import ByteTokenizer

    async def work(url: str) -> tuple[float, float]:
        from crucible_lora.formats import Conversation

        backend = TinkerBackend(base_url=url, api_key="tml-bench", tokenizer=ByteTokenizer())
        session = await backend.create(LoraConfig(base_model="org/model"), seed=0)
        talk = Conversation(messages=({"role": "user", "content": "say"},), completion="it" * 20)
        batch = [lay_out(str(i), talk, ByteTokenizer()) for i in range(8)]
        client = sdk.ServiceClient(base_url=url, api_key="tml-bench")
        create = client.create_lora_training_client
        training = await anyio.to_thread.run_sync(lambda: create("org/model").result())
        data = [_datum(e, e.target_weights()) for e in batch]
        best = [float("inf"), float("inf")]
        for _ in range(60):
            began = time.perf_counter()
            await session.train_step(batch, update=_update(1, None))
            best[0] = min(best[0], time.perf_counter() - began)
            began = time.perf_counter()
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
    print(
        f"\nTinker on loopback: {mine * 1e3:.1f} ms an update, {direct * 1e3:.1f} ms through the "
        f"SDK alone: {mine / direct:.2f} (bar: at most 1.1)"
    )


def imports() -> None:
    """Importing the package beside importing numpy."""
    best = {"numpy": float("inf"), "crucible_lora": float("inf")}
    for _ in range(7):
        for name in best:
            code = f"from time import perf_counter as t; b = t(); import {name}; print(t() - b)"
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            best[name] = min(best[name], float(done.stdout))
    ratio = best["crucible_lora"] / best["numpy"]
    print(
        f"\nimport: {best['crucible_lora'] * 1e3:.0f} ms, numpy {best['numpy'] * 1e3:.0f} ms: "
        f"{ratio:.2f} (bar: at most 2)"
    )


if __name__ == "__main__":
    main()
