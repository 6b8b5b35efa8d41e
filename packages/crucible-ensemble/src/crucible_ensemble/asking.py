"""One question to a panel: options checked, seeds derived, calls made, votes counted."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from crucible_ensemble.errors import AllModelsFailedError, UnsupportedOptionError
from crucible_ensemble.live import LiveRun, OnResponse, Seeds
from crucible_ensemble.model import Hedger, Prompt
from crucible_ensemble.outcome import mark, mark_vote
from crucible_ensemble.panel import Panel, conclude
from crucible_ensemble.prediction import Prediction
from crucible_ensemble.prompts import check_options, lacking, to_messages
from crucible_ensemble.seeds import call_seed, item_of, sample_seed
from crucible_ensemble.spans import span


class Asker:
    """Puts questions to a panel, each by itself.

    Parameters
    ----------
    panel : Panel
    samples : int, >= 1
        Answers per member.
    seed : int
        Of ties, and of every call where a question brings no seed of its own.
    hedger : Hedger, optional
    unsupported : {"raise", "record"}
    batch : bool
        The votes are only counted when all questions were asked.
    """

    def __init__(
        self,
        panel: Panel,
        *,
        samples: int,
        seed: int,
        hedger: Hedger | None,
        unsupported: Literal["raise", "record"],
        batch: bool,
    ) -> None:
        self.panel, self.batch = panel, batch
        self._samples, self._seed, self._hedger = samples, seed, hedger
        self._unsupported = unsupported

    async def predict(
        self,
        prompt: Prompt,
        *,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
        stop: Sequence[str],
        item: str | None,
        on_response: OnResponse | None = None,
        enough: Callable[[LiveRun], bool] | None = None,
        batch: bool = False,
        raise_failed: bool = True,
    ) -> Prediction:
        """Ask, and count; see `Ensemble.predict`.

        Parameters
        ----------
        on_response : callable, optional
            Told of every response as it arrives.
        enough : callable, optional
            Asked after every response whether to stop.
        batch : bool
            Whether the question is one of many that are counted together.
        raise_failed : bool
            Raise `AllModelsFailedError` where no member answered.
        """
        check_options(temperature=temperature, max_tokens=max_tokens, stop=stop)
        to_messages(prompt)
        if self._samples > 1 and temperature == 0:
            raise ValueError(
                f"`samples` must be 1 at temperature 0, got {self._samples}: they would all be the "
                "same answer"
            )
        if self.batch and not batch:
            raise ValueError('`vote` must not be "dawid_skene" in predict; use predict_many')
        options = {"temperature": temperature, "max_tokens": max_tokens, "stop": stop}
        drops = self._drops(temperature, stop)
        named_item = item_of(prompt) if item is None else item
        panel = self.panel
        run = LiveRun(
            panel, prompt, options=options, seeds=self._seeds(seed, named_item), drops=drops,
            item=named_item, hedger=self._hedger, on_response=on_response, enough=enough,
        )  # fmt: skip
        marks = {
            "strategy": panel.vote_name, "execution": panel.execution.name,
            "asked": len(panel.seats), "crucible.item.id": item,
        }  # fmt: skip
        with span("predict", marks) as current:
            course = await run.run()
            with span("vote", {"strategy": panel.vote_name, "n": len(run.table.ballots)}) as voting:
                try:
                    prediction = conclude(
                        panel, course, run.table, item="" if seed is not None else named_item,
                        seed=self._seed if seed is None else seed,
                        shown_seed=self._seed if seed is None else seed,
                    )  # fmt: skip
                except Exception as error:
                    error.add_note(f"while counting votes for item {named_item}")
                    error.responses = tuple(course.responses)  # type: ignore[attr-defined]
                    raise
                prediction = replace(prediction, item=item or named_item)
                if voting.is_recording():
                    mark_vote(voting, prediction)
            if current.is_recording():
                mark(current, prediction)
        if raise_failed and not prediction.metadata.answered:
            failures = prediction.metadata.failures or {
                r.member: r.status for r in prediction.responses
            }
            causes = run.causes or [TimeoutError("no answer before the deadline")]
            raise AllModelsFailedError(failures, causes, prediction.responses)
        return prediction

    def _seeds(self, seed: int | None, item: str) -> Seeds:
        seats = self.panel.seats
        if seed is None:
            return lambda place: call_seed(
                self._seed, item, seats[place].member, seats[place].sample
            )
        # A model that occurs twice is asked with two seeds, under whatever names.
        seen: dict[str, int] = {}
        occurrences = []
        for place in range(len(seats)):
            member = self.panel.member(place)
            model = str(getattr(member.model, "name", type(member.model).__name__))
            occurrences.append(seen.get(model, 0))
            seen[model] = occurrences[-1] + 1
        return lambda place: sample_seed(seed, occurrences[place])

    def _drops(self, temperature: float | None, stop: Sequence[str]) -> list[tuple[str, ...]]:
        """Return for each place the options that its model does not have.

        Raises
        ------
        UnsupportedOptionError
            For an option that the caller gave, unless they are only recorded.
        """
        drops: list[tuple[str, ...]] = []
        for place in range(len(self.panel.seats)):
            model = self.panel.member(place).model
            missing = lacking(model, temperature=temperature, stop=stop)
            if missing and self._unsupported == "raise":
                member = self.panel.seats[place].member
                raise UnsupportedOptionError(
                    f'{member} takes no `{missing[0]}`; leave it out, or say unsupported="record"',
                    model=member,
                    option=missing[0],
                    cost_usd=0.0,
                )
            drops.append((*missing, *lacking(model, temperature=None, stop=(), seed=0)))
        return drops
