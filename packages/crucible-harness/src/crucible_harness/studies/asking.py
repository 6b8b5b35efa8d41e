"""The experiment that every study of voters runs: each voter alone, on the same items."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crucible_harness.conditions import Condition
from crucible_harness.experiment import Experiment
from crucible_harness.prompts import ItemLike, Prompt
from crucible_harness.studies.catalogue import STUDIES

if TYPE_CHECKING:
    from crucible_datasets import Dataset
    from crucible_ensemble import Model

Models = "Sequence[Model | str] | Mapping[str, Model | str]"
TAG = "crucible-study"
METRICS = ("accuracy", "latency_s:p95")  # prices may be unknown, and are kept with each call anyway


def ask_voters(
    study: str,
    models: "Sequence[Model | str] | Mapping[str, Model | str]",
    *,
    dataset: "Dataset | Sequence[ItemLike]",
    plan: Mapping[str, object],
    prompts: Mapping[str, Prompt] | None,
    seed: int,
    temperature: float | None,
    max_tokens: int,
    name: str | None,
) -> Experiment:
    """Return an experiment with one condition for each model and way of asking.

    Its tags hold the plan of the study, so that what will be analysed, and against which smallest
    effect, is hashed before the first call.

    Raises
    ------
    ValueError
        If there are fewer than two voters, or two of the same name.
    """
    from crucible_ensemble import open_model

    card = STUDIES[study]
    named = models if isinstance(models, Mapping) else {_name(model): model for model in models}
    if not isinstance(models, Mapping) and len(named) < len(models):
        raise ValueError(
            f"`models` must have different names, got {[_name(model) for model in models]}; name "
            "them with a mapping"
        )
    ways = dict(prompts) if prompts else {"": Prompt()}
    if len(named) * len(ways) < 2:
        raise ValueError(
            f"`models` and `prompts` must make at least 2 voters, got {len(named)} model and "
            f"{len(ways)} prompt"
        )
    opened = {
        label: open_model(model) if isinstance(model, str) else model
        for label, model in named.items()
    }
    return Experiment(
        name or f"{study}-{card.title.replace(' ', '-')}",
        dataset=dataset,
        conditions=[
            Condition(
                f"{label} / {way}" if len(ways) > 1 else label,
                model,
                prompt=prompt if len(ways) > 1 else None,
                temperature=temperature,
                max_tokens=max_tokens,
            )
            for label, model in opened.items()
            for way, prompt in ways.items()
        ],
        metrics=METRICS,
        seed=seed,
        prompt=next(iter(ways.values())) if len(ways) == 1 else None,
        description=card.question,
        tags=(TAG, study, *(f"{key}={value}" for key, value in plan.items())),
    )


def plan_of(tags: Sequence[Any]) -> tuple[str, dict[str, str]] | None:
    """Return study and plan from the tags of an experiment; None if it is of no study."""
    if len(tags) < 2 or tags[0] != TAG or tags[1] not in STUDIES:
        return None
    return str(tags[1]), {
        key: value for key, _, value in (str(tag).partition("=") for tag in tags[2:])
    }


def _name(model: object) -> str:
    from crucible_ensemble.aliases import resolve

    return resolve(model) if isinstance(model, str) else str(getattr(model, "name", ""))
