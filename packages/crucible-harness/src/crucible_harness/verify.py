"""Find out whether a run folder is what was run: hashes, and every number derived again."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from crucible_harness.errors import HarnessError
from crucible_harness.experiment import canonical
from crucible_harness.folder import PACKAGES, Folder, package_version
from crucible_harness.recorded import RecordedRun, load_run

if TYPE_CHECKING:
    from crucible_harness.analysis import Analysis
    from crucible_harness.experiment import Experiment
    from crucible_harness.report import Format
    from crucible_harness.report.model import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked; `ok` is None where it could not be, and `detail` says why."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was checked about a run. `ok` says that nothing was found wrong."""

    ok: bool
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that found something wrong."""
        return tuple(check.name for check in self.checks if check.ok is False)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {
            "schema": "crucible-harness/verification/1",
            "ok": self.ok,
            "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in self.checks],
        }


def verify(
    path: Path | str, *, replay: bool = True, experiment: "Experiment | None" = None
) -> Verification:
    """Check a run folder against itself, without a network.

    Parameters
    ----------
    path : run folder
    replay : bool
        Execute every cell again with the journal answering, sockets blocked.
    experiment : Experiment, optional
        Needed to replay an experiment that was built in Python; one that came from a file is built
        again from the copy in the folder, without its data file, weights or keys.

    Returns
    -------
    Verification
        With these checks: the hash chains of the journal; the digests of design and
        preregistration; the fingerprint of the items; schedule, scores, results, analysis and every
        report that is there, derived again byte for byte; the replay.

    Raises
    ------
    NotARunError
        If the folder holds no run.

    Notes
    -----
    Hashes show that a folder was changed after the run by someone who did not redo all of them;
    whoever rewrites everything is found out only by a digest that was published before, as by
    `preregister`. Reports are compared by their numbers, and the check says so, where the package
    versions are not those of the run.
    """
    folder = Folder(Path(path))
    with trace.get_tracer("crucible_harness").start_as_current_span("crucible.harness.verify") as s:
        checks = tuple(_checks(folder, replay=replay, experiment=experiment))
        ok = all(check.ok is not False for check in checks)
        s.set_attribute("crucible.harness.ok", ok)
    return Verification(ok=ok, checks=checks)


def _checks(folder: Folder, *, replay: bool, experiment: "Experiment | None") -> Iterator[Check]:
    manifest = folder.manifest()
    yield _check("journal", lambda: _chains(folder, manifest))
    yield _check("design", lambda: _design(folder, manifest))
    yield _check("items", lambda: _items(folder))
    try:
        run = load_run(folder.path)
    except Exception as error:  # noqa: BLE001 - what a damaged record may raise is not known
        for name in ("schedule", "scores", "results", "analysis", "reports", "replay"):
            yield Check(name=name, ok=None, detail=f"not checked: {error}")
        return
    yield _check("schedule", lambda: _schedule(run))
    if (folder.path / "preregistration.json").is_file():
        yield _check("preregistration", lambda: _preregistration(run))
    yield _check("scores", lambda: _scores(run))
    yield from _derived(run)
    if replay:
        yield _check("replay", lambda: _replay(run, experiment))


class _Wrong(Exception):
    """What a check found."""


class _Unknown(Exception):
    """Why a check could not be made."""


def _check(name: str, call: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=call())
    except _Unknown as unknown:
        return Check(name=name, ok=None, detail=str(unknown))
    except (_Wrong, HarnessError) as found:
        return Check(name=name, ok=False, detail=str(found))
    except Exception as error:  # noqa: BLE001 - what a damaged record may raise is not known
        reason = f"it cannot be derived again: {type(error).__name__}: {error}"
        return Check(name=name, ok=False, detail=reason)


def _chains(folder: Folder, manifest: Mapping[str, Any]) -> str:
    journal = folder.open_journal()
    try:
        broken = journal.broken_row()
        answered = journal.answered()
        open_ended = {key.leaf_key for key in journal.possibly_billed()}
    finally:
        journal.close()
    if broken is not None:
        raise _Wrong(f"{broken} does not follow from the rows before it: changed, moved or removed")
    known = manifest.get("possibly_billed")
    lost = 0 if known is None else len(open_ended - {key["leaf_key"] for key in known})
    if lost:
        raise _Wrong(f"{lost:,} calls have no end, unknown to the manifest: rows were removed")
    return f"every row follows from the one before it ({answered:,} answered calls)"


def _design(folder: Folder, manifest: Mapping[str, Any]) -> str:
    journal = folder.open_journal()
    try:
        design = json.loads(journal.meta("design"))
    finally:
        journal.close()
    digest = _sha(canonical(design))
    if digest != manifest.get("digest"):
        raise _Wrong(f"the journal's design has digest {digest[:8]}, the manifest says "
                     f"{str(manifest.get('digest'))[:8]}")  # fmt: skip
    if not folder.path.resolve().name.endswith(digest[:8]):
        raise _Wrong(f"the folder's name does not end with the digest of its design, {digest[:8]}")
    file = folder.path / "design.json"
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _Wrong(f"design.json cannot be read: {error}") from error
    if canonical(written) != canonical(design):
        fields = sorted(k for k in {**design, **written} if design.get(k) != written.get(k))
        raise _Wrong(
            f"design.json is not the design that was run; it differs in {', '.join(fields)}"
        )
    return f"digest {digest}"


def _items(folder: Folder) -> str:
    journal = folder.open_journal()
    try:
        fingerprint = json.loads(journal.meta("design"))["dataset"]["fingerprint"]
    finally:
        journal.close()
    try:
        listed = (folder.path / "items.jsonl").read_bytes()
    except OSError as error:
        raise _Wrong(f"items.jsonl cannot be read: {error}") from error
    if hashlib.sha256(listed).hexdigest() != fingerprint:
        raise _Wrong("items.jsonl does not hold the items of the design")
    return f"fingerprint {fingerprint}"


def _schedule(run: RecordedRun) -> str:
    """Compare the schedule with the cells that were run, position by position."""
    import csv
    import io

    try:
        text = (run.path / "schedule.csv").read_text(encoding="utf-8")
    except OSError as error:
        raise _Wrong(f"schedule.csv cannot be read: {error}") from error
    planned = {
        (row["condition"], row["item"], row["repeat"]): row["position"]
        for row in csv.DictReader(io.StringIO(text))
    }
    if len(planned) != run.planned:
        raise _Wrong(f"schedule.csv has {len(planned):,} cells, the design {run.planned:,}")
    for cell in run.cells:
        at = planned.get((cell.condition, cell.item, str(cell.repeat)))
        if at != str(cell.position):
            raise _Wrong(f"{cell.condition} on {cell.item} was run at position {cell.position}, "
                         f"schedule.csv says {at}")  # fmt: skip
    return f"{len(run.cells):,} cells were run where the schedule has them"


def _preregistration(run: RecordedRun) -> str:
    from crucible_harness.prereg import read_preregistration

    plan = read_preregistration(run.path / "preregistration.json")
    if plan.digest != run.manifest.get("preregistration"):
        raise _Wrong("preregistration.json is not the one that the run was started with")
    return f"digest {plan.digest}"


def _scores(run: RecordedRun) -> str:
    from crucible_harness.scores import rescored

    if run.imported is not None:
        raise _Unknown("not checked: another tool scored the answers")
    different = rescored(run)
    if different:
        raise _Wrong(f"scores do not follow from the answers: {_some(different)}")
    return f"the scores of {len(run.cells):,} cells follow from their answers"


def _derived(run: RecordedRun) -> Iterator[Check]:
    """Derive results, analysis and reports again and compare the bytes."""
    from crucible_harness.analysis import analyse_run
    from crucible_harness.results import write_results

    try:
        analysis = analyse_run(run)
    except Exception as error:  # noqa: BLE001 - what a damaged record may raise is not known
        reason = f"it cannot be derived again: {type(error).__name__}: {error}"
        yield Check(name="analysis", ok=False, detail=reason)
        return
    with tempfile.TemporaryDirectory(prefix="crucible-verify-") as directory:
        again = replace(run, path=Path(directory))
        write_results(again, analysis)
        for name, file in (
            ("results", "results.csv"), ("results.parquet", "results.parquet"),
            ("dead letters", "dead_letters.jsonl"), ("analysis", "analysis.json"),
        ):  # fmt: skip
            if name == "results.parquet" and not (run.path / file).is_file():
                continue
            same = _same_analysis if name == "analysis" else _same
            yield _check(name, partial(same, run.path / file, again.path / file))
    yield from _reports(run, analysis)


def _same(file: Path, again: Path) -> str:
    try:
        found = file.read_bytes()
    except OSError as error:
        raise _Wrong(f"{file.name} cannot be read: {error.strerror or error}") from error
    if not again.is_file():
        raise _Unknown(f"{file.name} cannot be written here: an extra is not installed")
    if found == again.read_bytes():
        return f"{file.name} derived again: the same {len(found):,} bytes"
    if file.suffix == ".parquet":
        return _same_table(file, again)
    raise _Wrong(f"{file.name} is not what the journal gives")


def _same_analysis(file: Path, again: Path) -> str:
    """Compare by bytes; what another version wrote by every value that both versions have."""
    try:
        return _same(file, again)
    except _Wrong:
        found, derived = (_parsed(f) for f in (file, again))
        then, now = found.pop("schema", None), derived.pop("schema")
        if then is None or then == now:
            raise
    different = list(_differing(found, derived, ""))
    if different:
        raise _Wrong(f"{file.name} is not what the journal gives: {_some(different)}") from None
    return f"{file.name} holds the same values as far as {then} and {now} both have them"


def _parsed(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _Wrong(f"{file.name} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise _Wrong(f"{file.name} is no analysis")
    return found


def _differing(found: object, derived: object, place: str) -> Iterator[str]:
    """Yield the places of values that both have and that differ."""
    if isinstance(found, Mapping) and isinstance(derived, Mapping):
        for name in found.keys() & derived.keys():
            yield from _differing(found[name], derived[name], f"{place}.{name}".lstrip("."))
    elif isinstance(found, list) and isinstance(derived, list) and len(found) == len(derived):
        for n, (one, other) in enumerate(zip(found, derived, strict=True)):
            yield from _differing(one, other, f"{place}[{n}]")
    elif found != derived:
        yield place


def _same_table(file: Path, again: Path) -> str:
    import pyarrow.parquet as pq

    try:
        equal = pq.read_table(file).equals(pq.read_table(again))
    except (OSError, ValueError) as error:
        raise _Wrong(f"{file.name} cannot be read: {error}") from error
    if not equal:
        raise _Wrong(f"{file.name} is not what the journal gives")
    return f"{file.name} holds the same values; its bytes were written by another pyarrow"


def _reports(run: RecordedRun, analysis: "Analysis") -> Iterator[Check]:
    from crucible_harness.report import FILES, written_report

    there = [name for name, file in FILES.items() if (run.path / file).is_file()]
    if not there:
        return
    report = written_report(run, analysis)
    for name in there:
        yield _check(FILES[name], partial(_same_report, report, name, run))


def _same_report(report: "Report", format: "Format", run: RecordedRun) -> str:
    from crucible_harness.report import FILES, printed, rendered

    file = FILES[format]
    found = (run.path / file).read_text(encoding="utf-8", errors="replace")
    texts = [rendered(report, format)]
    if format == "latex":
        texts.append(rendered(report, format, fragment=True))
    if found in texts:
        return f"{file} derived again: the same bytes"
    changed = _other_versions(run.manifest)
    if not changed:
        raise _Wrong(f"{file} is not what the journal gives")
    lost = [value.id for value in report.values() if printed(value, format) not in found]
    if lost:
        raise _Wrong(f"{file} lacks numbers that the journal gives: {_some(lost)}")
    return f"{file} holds every number of the journal; not compared by bytes: {changed}"


def _other_versions(manifest: Mapping[str, Any]) -> str:
    then = manifest.get("versions") or {}
    now = {f"crucible-{name}": package_version(f"crucible-{name}") for name in PACKAGES}
    changed = [f"{k} {then.get(k)} then, {v} now" for k, v in now.items() if then.get(k) != v]
    return ", ".join(changed)


def _rebuilt(run: RecordedRun) -> "Experiment":
    from crucible_datasets.errors import DatasetsError
    from crucible_harness.errors import ConfigError
    from crucible_harness.replay import rebuild

    try:
        return rebuild(run)
    except DatasetsError as error:  # worked examples are drawn from another file
        raise _Unknown(f"not replayed: {error}") from error
    except ConfigError as error:
        if "cannot be imported" in str(error):
            raise _Unknown(f"not replayed: {error}") from error
        raise


def _replay(run: RecordedRun, experiment: "Experiment | None") -> str:
    from crucible_harness.replay import replay

    if run.imported is not None:
        raise _Unknown("not replayed: the run was imported, and its calls are not known")
    if experiment is None:
        if run.manifest.get("origin") is None:
            raise _Unknown("not replayed: the experiment was built in Python; give `experiment`")
        experiment = _rebuilt(run)
    elif experiment.digest != run.digest:
        raise _Wrong(f"`experiment` has digest {experiment.digest[:8]}, the run {run.digest[:8]}")
    done = replay(run, experiment)
    if done.different:
        raise _Wrong(f"executed again, these cells say something else: {_some(done.different)}")
    return (
        f"{done.cells:,} cells executed again from the journal, no socket opened: the same outputs"
    )


def _some(names: Any) -> str:
    shown = "; ".join(list(names)[:3])
    return shown if len(names) <= 3 else f"{shown}; and {len(names) - 3:,} more"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
