"""No option is dropped: what a backend cannot honour raises before anything is spent."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from crucible_lora.composite import terms_of
from crucible_lora.config import LoraConfig
from crucible_lora.errors import UnsupportedOptionError
from crucible_lora.gradients import GradientHook
from crucible_lora.losses import KL, MSE, CitationWeighted, CrossEntropy
from crucible_lora.options import EarlyStopping
from crucible_lora.ports import Backend, Capabilities, Example, LossFunction

# What a backend may be unable to do. The rest belongs to the loop or to every optimiser.
OPTIONAL = (
    "alpha",
    "dropout",
    "rslora",
    "target_modules",
    "unembed",
    "modules_to_save",
    "allow_download",
)


def require_options(config: LoraConfig, *, backend: str, capabilities: Capabilities) -> None:
    """Check that a backend honours a configuration.

    Raises
    ------
    UnsupportedOptionError
        For the first option that it does not.
    """
    defaults = {f.name: f.default for f in fields(LoraConfig)}
    for option in OPTIONAL:
        value = getattr(config, option)
        if value != defaults[option] and option not in capabilities.options:
            raise UnsupportedOptionError(option, value, backend)


def require_loss(loss: LossFunction, *, backend: str, capabilities: Capabilities) -> None:
    """Check that a backend can train with a loss, part by part if it is a sum.

    Raises
    ------
    UnsupportedOptionError
        If it cannot.
    """
    for term in terms_of(loss):
        kind = term.loss
        ours = type(kind) in (CrossEntropy, CitationWeighted, KL, MSE)
        if (kind.name if ours else "custom") not in capabilities.losses:
            raise UnsupportedOptionError("loss", kind.name, backend)
        smoothing = kind.label_smoothing if isinstance(kind, CrossEntropy) else 0.0
        if smoothing and "label_smoothing" not in capabilities.losses:
            raise UnsupportedOptionError("label_smoothing", smoothing, backend)


def require_watching(
    hooks: Sequence[GradientHook], early_stopping: EarlyStopping | None, *, backend: Backend
) -> None:
    """Check that a backend shows what hooks and early stopping look at.

    Raises
    ------
    UnsupportedOptionError
        If it does not.
    """
    if hooks and not backend.capabilities.gradients:
        names = [hook.name for hook in hooks]
        raise UnsupportedOptionError("gradient_hooks", names, backend.name)
    wanted = early_stopping is not None and early_stopping.metric == "token_accuracy"
    if wanted and not backend.capabilities.predictions:
        raise UnsupportedOptionError("early_stopping", early_stopping, backend.name)


def require_marks(loss: LossFunction, examples: Iterable[Example]) -> None:
    """Check that a loss that weighs spans finds some.

    Raises
    ------
    ValueError
        If no formatter marked any.
    """
    wanted = any(isinstance(term.loss, CitationWeighted) for term in terms_of(loss))
    if wanted and all(e.marked is None for e in examples):
        raise ValueError(
            "`loss` citation_weighted must find marked spans: the `format` marked none in any item"
        )


def require_packing(packing: bool, *, backend: str, capabilities: Capabilities) -> None:
    """Check that a backend can pack examples, if that is asked for.

    Raises
    ------
    UnsupportedOptionError
        If it cannot.
    """
    if packing and not capabilities.packing:
        raise UnsupportedOptionError("packing", True, backend)
