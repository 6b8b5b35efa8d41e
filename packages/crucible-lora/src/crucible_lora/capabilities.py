"""No option is dropped: what a backend cannot honour raises before anything is spent."""

from dataclasses import fields

from crucible_lora.config import LoraConfig
from crucible_lora.errors import UnsupportedOptionError
from crucible_lora.ports import Capabilities, LossFunction

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
    """Check that a backend can train with a loss.

    Raises
    ------
    UnsupportedOptionError
        If it cannot.
    """
    if loss.name not in capabilities.losses and "custom" not in capabilities.losses:
        raise UnsupportedOptionError("loss", loss.name, backend)
