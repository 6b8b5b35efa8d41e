import pytest

from crucible_datasets import load


@pytest.fixture(scope="session")
def gsm8k_test(benchmark_data):
    return load("gsm8k", path=benchmark_data / "gsm8k")


@pytest.fixture(scope="session")
def gsm8k_train(benchmark_data):
    return load("gsm8k", split="train", path=benchmark_data / "gsm8k")


@pytest.fixture(scope="session")
def humaneval(benchmark_data):
    return load("humaneval", path=benchmark_data / "humaneval")


@pytest.fixture(scope="session")
def mmlu(benchmark_data):
    return load("mmlu", path=benchmark_data / "mmlu")


@pytest.fixture(scope="session")
def fever(benchmark_data):
    return load("fever", path=benchmark_data / "fever")


@pytest.fixture(scope="session")
def scifact(benchmark_data):
    return load("scifact", path=benchmark_data / "scifact")
