"""Calls made by Ray actors, on one machine or several; everything else stays with the run."""

import os
import pickle
import time
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from crucible_ensemble import Completion, Model
from crucible_harness.desk import LostCall
from crucible_harness.errors import NotPicklableError
from crucible_harness.ledger import name_of

_BACK_WITHIN_S = 120.0


class RayExecutor:
    """Make leaf calls in Ray actors.

    Schedule, ledger, limits and journal stay in this process, so a run on actors is journaled,
    resumed and billed like any other and gives the same bytes. Models travel as pickles; an actor
    that dies is started again, and the calls that it had are possibly billed and sent again.

    Parameters
    ----------
    actors : int, >= 1
    concurrency_per_actor : int, >= 1
        Calls at a time in each; the rest wait.
    address : str, optional
        Of a Ray cluster. Without one, a Ray that is running is used, or one is started on this
        machine, without dashboard and driver logs, and ended with the run.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """

    def __init__(
        self, *, actors: int, concurrency_per_actor: int = 50, address: str | None = None
    ) -> None:
        for name, value in (("actors", actors), ("concurrency_per_actor", concurrency_per_actor)):
            if value < 1:
                raise ValueError(f"`{name}` must be >= 1, got {value}")
        self._n, self._each, self._address = actors, concurrency_per_actor, address
        self._actors: list[Any] = []
        self._busy: list[int] = []
        self._places: dict[int, int] = {}
        self._slots: anyio.CapacityLimiter | None = None
        self._ours = False

    async def open(self, models: Sequence[Model], /) -> None:
        """Start the actors and send them the models.

        Raises
        ------
        NotPicklableError
            If a model cannot travel; nothing has been sent then.
        """
        ray = _ray()
        blobs = []
        for model in models:
            try:
                blobs.append(ray.cloudpickle.dumps(model))
            except Exception as error:
                raise NotPicklableError(name_of(model), str(error)) from error
        self._places = {id(model): place for place, model in enumerate(models)}
        self._slots = anyio.CapacityLimiter(self._n * self._each)
        self._busy = [0] * self._n
        await anyio.to_thread.run_sync(self._start, blobs, [name_of(model) for model in models])

    def _start(self, blobs: list[bytes], names: list[str]) -> None:
        ray = _ray()
        if not ray.is_initialized():
            ray.init(
                address=self._address,
                include_dashboard=False if self._address is None else None,
                log_to_driver=False,
                logging_level="ERROR",
            )
            self._ours = True
        caller = ray.remote(_Caller).options(
            num_cpus=0, max_restarts=-1, max_concurrency=self._each, scheduling_strategy="SPREAD"
        )
        self._actors = [caller.remote(blobs) for _ in range(self._n)]
        for refused in ray.get([actor.refused.remote() for actor in self._actors]):
            if refused is not None:
                place, said = refused
                raise NotPicklableError(names[place], said)

    async def generate(self, model: Model, messages: Any, /, **options: Any) -> Completion:
        """Make one call on the actor that has least to do.

        Raises
        ------
        LostCall
            If the actor died with it.
        """
        import ray

        assert self._slots is not None
        place = self._places.get(id(model))
        if place is None:  # a function with its item is made for one call
            return Completion.of(await model.generate(messages, **options), model=name_of(model))
        async with self._slots:
            chosen = min(range(self._n), key=lambda n: self._busy[n])
            self._busy[chosen] += 1
            try:
                ref = self._actors[chosen].generate.remote(place, messages, options)
                try:
                    answer, error = await _result(ref)
                except anyio.get_cancelled_exc_class():
                    ray.cancel(ref, force=False)
                    raise
                except ray.exceptions.RayActorError as died:
                    await anyio.to_thread.run_sync(_until_it_is_back, self._actors[chosen])
                    raise LostCall(f"an actor died with a call to {name_of(model)}") from died
            finally:
                self._busy[chosen] -= 1
        if error is not None:
            raise pickle.loads(error)
        return Completion.from_dict(answer)

    async def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        if self._actors or self._ours:
            await anyio.to_thread.run_sync(self._end)

    def _end(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if self._ours:
            ray.shutdown()
            self._ours = False


class _Caller:
    """Holds the models and calls them; one in each actor."""

    def __init__(self, blobs: list[bytes]) -> None:
        self._models: list[Any] = []
        self._refused: tuple[int, str] | None = None
        for place, blob in enumerate(blobs):
            try:
                self._models.append(pickle.loads(blob))
            except Exception as error:  # noqa: BLE001 - told to the run, which names the model
                self._refused = (place, f"{type(error).__name__}: {error}")
                return

    def refused(self) -> tuple[int, str] | None:
        """Return the first model that could not be read, and why."""
        return self._refused

    async def generate(
        self, place: int, messages: Any, options: dict[str, Any]
    ) -> tuple[dict[str, Any] | None, bytes | None]:
        """Return the answer, or the pickled error: Ray would change its class."""
        model = self._models[place]
        try:
            answer = await model.generate(messages, **options)
            return Completion.of(answer, model=name_of(model)).to_dict(), None
        except Exception as error:  # noqa: BLE001 - raised again by the run
            try:
                return None, pickle.dumps(error)
            except Exception:  # noqa: BLE001 - whatever it holds, its class and message can travel
                return None, pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def _ray() -> Any:
    """Import Ray, which reads its settings from the environment when it is imported."""
    # The second would have actors build an environment anew where this process runs under uv.
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        os.environ.setdefault(name, "0")
    import ray
    import ray.cloudpickle

    return ray


def _until_it_is_back(actor: Any) -> None:
    """Wait until Ray has started an actor again, so that the next call does not die as well."""
    import ray

    until = time.monotonic() + _BACK_WITHIN_S
    while time.monotonic() < until:
        try:
            ray.get(actor.refused.remote())
        except ray.exceptions.RayActorError:
            time.sleep(0.1)
        else:
            return


async def _result(ref: Any) -> Any:
    """Wait for a Ray object on whatever event loop runs here."""
    done = anyio.Event()
    token = anyio.lowlevel.current_token()
    future = ref.future()

    def wake(_: object) -> None:
        try:
            anyio.from_thread.run_sync(done.set, token=token)
        except RuntimeError:  # the event loop has ended: nobody waits any more
            return

    future.add_done_callback(wake)
    await done.wait()
    return future.result()
