"""Ways of asking: what makes several voters of one model."""

from collections.abc import Mapping
from types import MappingProxyType

from crucible_harness.prompts import Prompt

WAYS: Mapping[str, Prompt] = MappingProxyType(
    {
        "plain": Prompt("{input}"),
        "brief": Prompt("{input} Give only the answer."),
        "form": Prompt("Question: {input}\nAnswer:"),
    }
)
