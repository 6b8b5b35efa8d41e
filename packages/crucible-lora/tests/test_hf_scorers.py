"""Entailment and similarity by models of transformers: real classes, random weights."""

import pytest
import torch
import transformers

from crucible_lora.errors import BaseModelNotFoundError
from crucible_lora.hf_scorers import HFEntailment, HFSimilarity

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "zinc", "reduces", "fever", "sleep", "stress", "does"]
PAIRS = [("zinc reduces fever", "zinc does"), ("sleep", "stress"), ("zinc zinc zinc", "fever")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    (root / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    tokenizer = transformers.BertTokenizer(str(root / "vocab.txt"))
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
        id2label={0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"},
        label2id={"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertForSequenceClassification(config).save_pretrained(root / "nli")
        transformers.BertModel(config).save_pretrained(root / "encoder")
    for name in ("nli", "encoder"):
        tokenizer.save_pretrained(root / name)
    return root


def test_entailment_is_the_probability_of_the_label_of_that_name(folders):
    judge = HFEntailment(folders / "nli", batch_size=2)
    found = judge.entailment(PAIRS)
    model = transformers.BertForSequenceClassification.from_pretrained(folders / "nli").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "nli")
    for (premise, hypothesis), ours in zip(PAIRS, found, strict=True):
        with torch.inference_mode():
            logits = model(**tokenizer(premise, hypothesis, return_tensors="pt")).logits[0]
        assert ours == pytest.approx(torch.softmax(logits, -1)[2].item(), abs=1e-6)
    assert (judge.proxy, judge.name) == (False, "entailment/nli")
    assert judge.entailment([]) == []


def test_similarity_is_the_cosine_of_mean_vectors(folders):
    judge = HFSimilarity(folders / "encoder", batch_size=2)
    found = judge.similarity(PAIRS)
    model = transformers.BertModel.from_pretrained(folders / "encoder").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "encoder")

    def vector(text):
        with torch.inference_mode():
            return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)

    for (one, other), ours in zip(PAIRS, found, strict=True):
        theirs = torch.cosine_similarity(vector(one), vector(other), dim=0).item()
        assert ours == pytest.approx(theirs, abs=1e-6)
    assert judge.similarity([("zinc", "zinc")]) == pytest.approx([1.0])


def test_a_model_that_is_none_is_refused(folders, tmp_path):
    with pytest.raises(BaseModelNotFoundError, match="config.json"):
        HFEntailment(tmp_path)
    with pytest.raises(ValueError, match="`batch_size` must be >= 1"):
        HFSimilarity(folders / "encoder", batch_size=0)
    config = transformers.BertConfig.from_pretrained(folders / "nli")
    config.id2label, config.label2id = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "other")
    transformers.AutoTokenizer.from_pretrained(folders / "nli").save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="a label 'entailment', got"):
        HFEntailment(tmp_path / "other")
