"""An adapter as a folder for others: as PEFT reads it, or merged into its base."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from crucible_lora.errors import UnsupportedOptionError
from crucible_lora.records import Record
from crucible_lora.sync import run_sync

if TYPE_CHECKING:
    from crucible_lora.experiment import LoraExperiment

ExportFormat = Literal["adapter", "merged"]
ExportDtype = Literal["float32", "bfloat16", "float16"]
LIMIT = 1e-4  # of the largest logit


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport(Record):
    """What was written.

    `difference` is the largest between logits of the export, as read back, and of the live
    adapter, on 8 prompts; `largest_logit` is what it is measured against. `rounded` says that the
    numbers were stored in a narrower type, where the comparison is with the same rounding.
    """

    path: Path
    format: ExportFormat
    dtype: ExportDtype
    checkpoint: str
    files: tuple[str, ...]
    difference: float
    largest_logit: float
    rounded: bool


@runtime_checkable
class Exporting(Protocol):
    """A session that can write its adapter for others."""

    async def export(
        self, path: Path, /, *, format: ExportFormat, dtype: ExportDtype
    ) -> tuple[float, float]:
        """Write into an empty folder; return the largest difference of logits, and logit.

        Raises
        ------
        ExportMismatchError
            If what was written, read back, computes something else. Nothing is left then.
        """
        ...


def export_adapter(
    experiment: "LoraExperiment",
    *,
    path: Path | str,
    checkpoint: str = "best",
    format: ExportFormat = "adapter",
    dtype: ExportDtype = "float32",
) -> ExportReport:
    """Write an adapter of an experiment's last run into a folder for others.

    Parameters
    ----------
    experiment : LoraExperiment
    path : path
        A folder that is empty or not there yet.
    checkpoint : str
        "best", "latest", or the name of one.
    format : {"adapter", "merged"}
        "adapter" is what `peft.PeftModel.from_pretrained` loads on the base, also on one that was
        converted from GGUF; "merged" a whole model in the Hugging Face layout, which needs neither.
        The reference model's is one file of arrays.
    dtype : {"float32", "bfloat16", "float16"}
        Of the numbers written.

    Returns
    -------
    ExportReport

    Raises
    ------
    ValueError
        If an argument is out of range.
    FileExistsError
        If there is something in the folder.
    ExportMismatchError
        If logits of the export on 8 prompts differ from those of the live adapter by more than
        1e-4 of the largest. Nothing is left in the folder then.
    UnsupportedOptionError
        If the backend keeps its weights to itself, or has no base to merge into.
    CheckpointNotFoundError, CheckpointCorruptError
    """
    for name, value, known in (
        ("format", format, get_args(ExportFormat)),
        ("dtype", dtype, get_args(ExportDtype)),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
    place = Path(path)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise FileExistsError(f"`path` must be an empty folder, got {str(place)!r}")
    found = experiment.last_run(checkpoint).store().get(checkpoint)

    async def write() -> tuple[float, float]:
        session = await experiment.backend.resume(experiment.config, found.path)
        try:
            if not isinstance(session, Exporting):
                reason = "the weights never leave the service"
                raise UnsupportedOptionError("export", format, experiment.backend_name, reason)
            return await session.export(place, format=format, dtype=dtype)
        finally:
            await session.close()

    place.mkdir(parents=True, exist_ok=True)
    difference, largest = run_sync(write)
    return ExportReport(
        path=place,
        format=format,
        dtype=dtype,
        checkpoint=found.name,
        files=tuple(sorted(p.name for p in place.iterdir())),
        difference=difference,
        largest_logit=largest,
        rounded=dtype != "float32",
    )
