"""One line per port: the type checker proves that the neighbour fits. Never executed."""

from pathlib import Path

from crucible_causaltrace.probe import Generates
from crucible_datasets import SubprocessSandbox
from crucible_datasets.loaders.gsm8k import Gsm8k
from crucible_datasets.registry import Loader
from crucible_datasets.sandbox import Sandbox
from crucible_ensemble import (
    CassetteModel,
    Ensemble,
    LlamaCppModel,
    Model,
    OpenAIModel,
    SimulatedModel,
    hedged,
)
from crucible_ensemble.model import CompletionLike, Hedger, StreamingModel
from crucible_ensemble.models.anthropic import AnthropicModel
from crucible_ensemble.models.cached import CachedModel
from crucible_ensemble.models.gemini import GeminiModel
from crucible_ensemble.models.prompted import PromptedModel
from crucible_ensemble.models.transformers import TransformersModel
from crucible_hedging import Hedger as CallHedger
from crucible_hedging import PercentileDelay
from crucible_hedging.delays.policy import DelayPolicy
from crucible_lora import Sampler
from crucible_telemetry import MemoryStore, PostgresStore, SQLiteStore, Store
from crucible_telemetry.stores.port import Columnar, Erasing

# crucible-ensemble: everything that answers is a Model, and a Hedger races calls.
hedger: Hedger = CallHedger("p95", budget=0.05)
server: Model = OpenAIModel("gpt-4o-mini")
claude: Model = AnthropicModel("claude-haiku-4-5")
gemini: Model = GeminiModel("gemini-2.5-flash")
local: Model = LlamaCppModel()
torch: Model = TransformersModel("model.gguf")
cached: Model = CachedModel(claude)
reworded: Model = PromptedModel(cached, template="{prompt} Be brief.")
taped: Model = CassetteModel(None, "tape.jsonl")
streams: tuple[StreamingModel, ...] = (
    OpenAIModel("gpt-4o-mini"),
    AnthropicModel("claude-haiku-4-5"),
    GeminiModel("gemini-2.5-flash"),
    LlamaCppModel(),
)
simulated: Model = SimulatedModel(
    "x", accuracy=1.0, answer_of=lambda question: "1", wrong_of=lambda question: ["2"]
)
raced: Model = hedged(server, hedger=hedger)
vote: Model = Ensemble([server, local, raced])


def adapter(sampler: Sampler) -> Model:
    """Let an adapter's sampler stand wherever a model can."""
    return sampler


async def answer(sampler: Sampler) -> CompletionLike:
    """Let what an adapter answers count as a completion."""
    return await sampler.generate("Is it?")


# crucible-hedging: a policy decides when the backup starts.
policy: DelayPolicy = PercentileDelay(95)

# crucible-telemetry: stores keep rows.
memory: Store = MemoryStore()
file: Store = SQLiteStore(Path("telemetry.sqlite"))
database: Store = PostgresStore("postgresql://user@host/database")
in_parts: Columnar = SQLiteStore(Path("telemetry.sqlite"))
emptied: Erasing = PostgresStore("postgresql://user@host/database")

# crucible-causaltrace: what the faithfulness probe asks is any Model.
probed: Generates = Ensemble([server, local])

# crucible-datasets: loaders parse files, sandboxes run programs.
loader: Loader = Gsm8k()
sandbox: Sandbox = SubprocessSandbox()
