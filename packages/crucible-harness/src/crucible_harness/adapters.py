"""A condition that is a LoRA adapter, named by where it was trained."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible_ensemble import Model


def open_adapter(place: str, *, base: Path) -> "Model":
    """Return the model of an adapter.

    Parameters
    ----------
    place : str
        The folder of a `crucible_lora` experiment, relative to `base`; behind a colon a checkpoint:
        "best" (the default), "latest", "base", or the name of one.
    base : path

    Raises
    ------
    ValueError
        If there is no such experiment or checkpoint, or it cannot be opened here.
    """
    from crucible_lora import LoraExperiment
    from crucible_lora.errors import LoraError

    folder, _, checkpoint = place.partition(":")
    try:
        return LoraExperiment.open(base / folder).sampler(checkpoint or "best")
    except FileNotFoundError as error:
        raise ValueError(f"`adapter` must be the folder of an adapter, got {folder!r}") from error
    except LoraError as error:
        raise ValueError(f"`adapter` {place!r} cannot be opened: {error}") from error
