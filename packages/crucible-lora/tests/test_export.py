import json
import warnings

import numpy as np
import peft
import pytest
import torch
import transformers

from crucible_lora import LoraConfig, PeftBackend, create_experiment, train_sync
from crucible_lora.backends import exporting
from crucible_lora.backends.bases import load_base
from crucible_lora.backends.inprocess import InProcessBackend
from crucible_lora.demo import demo_findings
from crucible_lora.errors import ExportMismatchError, UnsupportedOptionError
from crucible_lora.export import export_adapter
from crucible_lora.formats import Conversation
from crucible_lora.masking import lay_out
from crucible_lora.tensors import read_tensors

TINY = {"base_model": "tiny", "modules_to_save": ["lm_head"], "lr": 1e-2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    experiment = create_experiment(
        "tiny", TINY, backend=PeftBackend(threads=1, device="cpu"), directory=tmp_path_factory.mktemp("x")
    )  # fmt: skip
    train_sync(experiment, demo_findings(64), epochs=1)
    return experiment


def example():
    message = {"role": "user", "content": "[3] Study proved that zinc reduces fever.\n"}
    talk = Conversation(messages=(message,), completion='{"verdict": "SUPPORTS"}')
    return lay_out("x", talk, tokenizer=load("tiny").tokenizer)


def load(name):
    return load_base(
        LoraConfig(base_model=name), device=torch.device("cpu"), dtype=torch.float32, attention="sdpa"
    )  # fmt: skip


def likelihoods(model, example):
    with torch.inference_mode():
        logits = model(torch.from_numpy(example.tokens)[None]).logits[0].double()
    at = example.targets()
    return torch.log_softmax(logits, -1)[at - 1, example.tokens[at]].numpy()


async def live(experiment, examples):
    session = await experiment.backend.resume(
        experiment.config, experiment.checkpoints().get("best").path
    )
    return await session.forward(examples)


@pytest.mark.anyio
async def test_the_adapter_loads_in_plain_peft_and_gives_equal_logits(trained, tmp_path):
    report = export_adapter(trained, path=tmp_path / "adapter")
    assert report.files == ("adapter_config.json", "adapter_model.safetensors")
    assert report.difference <= 1e-6 * report.largest_logit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.PeftModel.from_pretrained(load("tiny").model, str(tmp_path / "adapter"))
    (ours,) = await live(trained, [example()])
    np.testing.assert_allclose(likelihoods(model, example()), ours, atol=1e-5)


@pytest.mark.anyio
async def test_the_merged_model_needs_neither_peft_nor_the_base(trained, tmp_path):
    report = export_adapter(trained, path=tmp_path / "merged", format="merged")
    assert "model.safetensors" in report.files
    assert report.difference <= 1e-4 * report.largest_logit
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="float32")
    assert not any("lora" in name for name, _ in model.named_parameters())
    (ours,) = await live(trained, [example()])
    np.testing.assert_allclose(likelihoods(model, example()), ours, atol=1e-3)
    (base,) = [likelihoods(load("tiny").model, example())]
    assert abs(base - ours).max() > 0.1


@pytest.mark.parametrize("format", ["adapter", "merged"])
def test_numbers_can_be_written_in_a_narrower_type(trained, tmp_path, format):
    report = export_adapter(trained, path=tmp_path / "x", format=format, dtype="bfloat16")
    assert report.rounded
    file = "adapter_model.safetensors" if format == "adapter" else "model.safetensors"
    from safetensors.torch import load_file

    kinds = {t.dtype for t in load_file(tmp_path / "x" / file).values()}
    assert kinds == {torch.bfloat16}


@pytest.mark.parametrize("format", ["adapter", "merged"])
def test_an_export_that_computes_something_else_is_refused_and_taken_away(
    trained, tmp_path, monkeypatch, format
):
    real = exporting._adapted

    def wrong(base, adapter):
        model = real(base, adapter)
        next(p for n, p in model.named_parameters() if "lora_B" in n).data.add_(0.05)
        return model

    monkeypatch.setattr(exporting, "_adapted", wrong)
    with pytest.raises(ExportMismatchError, match="logits of the export differ") as caught:
        export_adapter(trained, path=tmp_path / "x", format=format)
    assert caught.value.difference > 1e-4 * caught.value.largest_logit
    assert list((tmp_path / "x").iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(trained, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="`path` must be an empty folder"):
        export_adapter(trained, path=tmp_path)
    with pytest.raises(FileExistsError):
        export_adapter(trained, path=tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"
    with pytest.raises(ValueError, match="`format` must be one of adapter, merged, got 'gguf'"):
        export_adapter(trained, path=tmp_path / "new", format="gguf")
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        export_adapter(trained, path=tmp_path / "new", dtype="int8")


def test_the_reference_model_is_exported_as_arrays(tmp_path):
    experiment = create_experiment("r", {"base_model": "reference", "lr": 1e-2}, directory=tmp_path)
    train_sync(experiment, demo_findings(64), epochs=1)
    report = export_adapter(experiment, path=tmp_path / "adapter")
    arrays, _ = read_tensors(tmp_path / "adapter" / "adapter.safetensors")
    assert {a.dtype for a in arrays.values()} == {np.dtype("float32")}
    assert sum(a.size for a in arrays.values()) == 22_544
    assert 0 < report.difference < 1e-5 * report.largest_logit
    merged = export_adapter(experiment, path=tmp_path / "merged", format="merged")
    assert merged.files == ("model.safetensors",)
    with pytest.raises(UnsupportedOptionError, match="dtype='bfloat16'"):
        export_adapter(experiment, path=tmp_path / "b", dtype="bfloat16")
    assert isinstance(experiment.backend, InProcessBackend)


def test_a_report_survives_a_trip_through_json(trained, tmp_path):
    report = export_adapter(trained, path=tmp_path / "x")
    assert type(report).from_dict(json.loads(json.dumps(report.to_dict()))) == report
