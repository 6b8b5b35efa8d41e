"""The keys of a configuration file. Unknown ones are errors, at any depth."""

from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crucible_harness.errors_policy import FATAL
from crucible_harness.voting import EnsembleTable

# Dollars per million tokens, [input, output], or dollars per call.
_Price = Annotated[list[float], Field(min_length=2, max_length=2)] | float


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FieldsTable(_Table):
    """Names of the fields of a file of your own."""

    input: str = "input"
    expected: str = "expected"
    id: str | None = None
    metadata: list[str] = []


class DatasetTable(_Table):
    """Which items: `limit` takes the first, `sample_size` draws by the seed."""

    name: str
    split: str | None = None
    path: str | None = None
    limit: int | None = Field(default=None, ge=1)
    sample_size: int | None = Field(default=None, ge=1)
    seed: int = 0
    fields: FieldsTable | None = None
    task: Literal["math", "text"] | None = None
    check_counts: bool = True


class FewShotTable(_Table):
    """Worked examples from another split or file: `dataset` as for the experiment."""

    n: int = Field(ge=1)
    dataset: DatasetTable
    seed: int = 0
    stratify_by: str | None = None


class PromptTable(_Table):
    """How an item becomes a prompt."""

    template: str = "{input}"
    system: str | None = None
    style: Literal["plain", "mmlu", "chat"] | None = None
    few_shot: FewShotTable | None = None
    chain_of_thought: bool = False
    answer_hint: str | None = None


Level = str | int | float | bool


class DesignTable(_Table):
    """Who answers what."""

    kind: Literal["within", "between", "factorial", "dose_response"] = "within"
    factors: dict[str, list[Level]] | None = None
    factor: str | None = None
    levels: list[float | int] | None = None
    within: bool = True
    counterbalance: Literal["williams", "random", "none"] = "williams"
    block_by: str | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for key, kinds in _DESIGN_KEYS.items():
            if key in self.model_fields_set and self.kind not in kinds:
                raise ValueError(f"`{key}` is no key of a {self.kind} design")
        if self.kind == "factorial" and not self.factors:
            raise ValueError("a factorial design must have `factors`")
        if self.kind == "dose_response" and (self.factor is None or self.levels is None):
            raise ValueError("a dose_response design must have `factor` and `levels`")
        return self


_DESIGN_KEYS = {
    "factors": ("factorial",),
    "within": ("factorial",),
    "factor": ("dose_response",),
    "levels": ("dose_response",),
    "counterbalance": ("within", "factorial", "dose_response"),
}


class ModelTable(_Table):
    """A model with options, under a name of its own; `api_key_env` names a variable.

    `logprobs` asks for log-probabilities, from which confidences are made.
    """

    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    timeout_s: float | None = Field(default=None, gt=0)
    context: int | None = Field(default=None, ge=1)
    parallel: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    cassette: str | None = None
    cassette_mode: Literal["replay", "record", "auto"] = "auto"

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        local = self.model.startswith("local/") or "/" not in self.model
        if not local and any(v is not None for v in (self.context, self.parallel, self.threads)):
            raise ValueError("`context`, `parallel` and `threads` are options of local models")
        if local and self.base_url is not None:
            raise ValueError("`base_url` is an option of models behind a server")
        return self


class HedgeTable(_Table):
    """When a slow call gets a backup, and how many backups may be sent."""

    delay: str | float = "p95"
    budget: float | None = Field(default=0.05, gt=0, le=1)


class ConditionTable(_Table):
    """One condition: a model, an ensemble, a function or an adapter; several with `grid`.

    `grid` gives factors their levels; `{factor}` in `name` and in any text of the condition is
    replaced by the level, and a number that is written `"{factor}"` becomes the level itself.
    """

    name: str = Field(min_length=1)
    model: str | None = None
    ensemble: EnsembleTable | None = None
    call: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    adapter: str | None = Field(default=None, min_length=1)
    samples: int | None = Field(default=None, ge=1)
    hedge: HedgeTable | None = None
    prompt: PromptTable | None = None
    temperature: float | None = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=1000, ge=1)
    stop: list[str] = []
    factors: dict[str, Level] = {}
    grid: dict[str, Annotated[list[Level], Field(min_length=1)]] | None = None
    fingerprint: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = ("model", "ensemble", "call", "adapter")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(
                f"condition {self.name!r} must have `model`, `ensemble`, `call` or `adapter`, "
                "one of them"
            )
        if self.call is not None and (self.hedge or self.samples):
            raise ValueError(f"condition {self.name!r}: `hedge` and `samples` are for models")
        e = self.ensemble
        if self.samples is not None and e is not None:
            raise ValueError(f"condition {self.name!r}: `samples` stands in `ensemble`")
        if e is not None and e.races() and self.hedge and e.samples > 1:
            raise ValueError(f"condition {self.name!r}: a `hedge` races models, not `samples`")
        if (self.samples or 1) > 1 and self.temperature == 0:
            raise ValueError(
                f"condition {self.name!r}: `samples` must be 1 at temperature 0, got "
                f"{self.samples}: they would all be the same answer"
            )
        if e is not None and e.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"condition {self.name!r}: `samples` must be 1 at temperature 0, got {e.samples}: "
                "they would all be the same answer"
            )
        return self


class CriterionTable(_Table):
    """A bound that must be proved as well."""

    metric: str
    condition: str
    at_least: float | None = None
    at_most: float | None = None


class HypothesisTable(_Table):
    """A claim about treatment - control."""

    id: str
    metric: str
    treatment: str | None = None
    control: str | None = None
    sesoi: float = Field(gt=0)
    direction: Literal["greater", "less", "two-sided"] = "greater"
    contrast: Literal[
        "difference",
        "ratio",
        "equivalence",
        "non_inferiority",
        "main_effect",
        "interaction",
        "trend",
    ] = "difference"
    factors: list[str] = []
    levels: list[Level] = []
    alpha: float = Field(default=0.05, gt=0, lt=1)
    family: str = "confirmatory"
    kind: Literal["confirmatory", "exploratory"] = "confirmatory"
    criteria: list[CriterionTable] = []
    text: str = ""


class StoppingTable(_Table):
    """A hypothesis that is looked at while the run goes on."""

    hypothesis: str
    look_every: int = Field(default=10, ge=1)
    min_items: int = Field(default=0, ge=0)
    max_items: int | None = Field(default=None, ge=1)


class BudgetTable(_Table):
    """What the run may spend, in US dollars."""

    total_usd: float = Field(gt=0)
    per_condition_usd: float | None = Field(default=None, gt=0)
    per_item_usd: float | None = Field(default=None, gt=0)
    warn_at: float = Field(default=0.8, gt=0, le=1)
    on_exceed: Literal["stop", "raise"] = "stop"
    assume_price: dict[str, _Price] = {}


class SLOTable(_Table):
    """A latency objective of one condition."""

    percentile: float = Field(gt=0, lt=100)
    threshold_s: float = Field(gt=0)
    condition: str


class LimitsTable(_Table):
    """Limits of one provider."""

    concurrency: int = Field(default=10, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)


class ErrorsTable(_Table):
    """When too many failures end a run."""

    max_failure_rate: float = Field(default=0.1, ge=0, le=1)
    window: int = Field(default=100, ge=1)
    minimum: int = Field(default=20, ge=1)
    fatal: list[str] = list(FATAL)


class RetriesTable(_Table):
    """How often a function (`call = "module:function"`) is called."""

    attempts: int = Field(default=1, ge=1)
    initial_s: float = Field(default=0.5, ge=0)
    max_s: float = Field(default=20.0, ge=0)


class OptionsTable(_Table):
    """How the run is carried out; not part of the design."""

    concurrency: int = Field(default=10, ge=1)
    timeout_s: float | None = Field(default=30.0, gt=0)
    deadline_s: float | None = Field(default=None, gt=0)
    durability: Literal["process", "power"] = "process"
    retries: RetriesTable = RetriesTable()
    trace: bool = True
    errors: ErrorsTable = ErrorsTable()


class ExperimentTable(_Table):
    """The whole file."""

    name: str = Field(min_length=1)
    description: str = ""
    seed: int
    repeats: int = Field(default=1, ge=1)
    baseline: str | None = None
    dataset: DatasetTable
    prompt: PromptTable = PromptTable()
    metrics: list[str] = ["accuracy"]
    models: dict[str, ModelTable] = {}
    design: DesignTable = DesignTable()
    stopping: StoppingTable | None = None
    share_responses: bool = True
    authors: list[str] = []
    tags: list[str] = []
    conditions: list[ConditionTable] = Field(min_length=1)
    hypotheses: list[HypothesisTable] = []
    budget: BudgetTable | None = None
    limits: dict[str, LimitsTable] = {}
    slo: list[SLOTable] = []
    options: OptionsTable = OptionsTable()


def known_keys(place: tuple[Any, ...]) -> list[str]:
    """Return the keys that may stand in the table at a place such as ("conditions", 0)."""
    table: Any = ExperimentTable
    named = False  # the next part is a name that the user chose, as in [models.NAME]
    for part in place:
        if isinstance(part, int) or named:
            named = False
            continue
        field = table.model_fields.get(part)
        table = None if field is None else _table_in(field.annotation)
        if table is None:
            return []
        named = get_origin(field.annotation) is dict
    return list(table.model_fields)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _table_in(annotation: Any) -> Any:
    if _is_table(annotation):
        return annotation
    for inner in get_args(annotation):
        found = _table_in(inner)
        if found is not None:
            return found
    return None
