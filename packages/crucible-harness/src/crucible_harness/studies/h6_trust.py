"""h6: whether traces help people rely on a model when they should. Protocol only."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible_harness.studies.catalogue import STUDIES

if TYPE_CHECKING:
    from crucible_bench.simulated_power import SimulatedPower

LABEL = "protocol only: needs people and an ethics board"
INSTRUMENT: tuple[tuple[str, str, str], ...] = (
    ("before", "How often do you use language models?", "never, monthly, weekly, daily"),
    ("each answer", "Do you accept the model's answer, or override it?", "accept, override"),
    ("each answer", "If you override it: what is the right answer?", "open, or none known"),
    ("each answer", "How sure are you of your decision?", "0 to 100"),
    ("after each half", "I could tell when the model was wrong.", "1 (not at all) to 7 (entirely)"),
    ("after each half", "Deciding took effort.", "1 (none) to 7 (very much)"),
    ("once in each half", "Attention check: choose 'override' here.", "accept, override"),
    ("after", "What do you think this study is about?", "open"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One answer that one participant decides on."""

    participant: int
    position: int
    half: int
    item: int
    trace: bool
    model_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """A protocol: who sees what in which order, what is asked, and how many people it takes.

    Attributes
    ----------
    participants : int, >= 4, a multiple of 4
        Half begins with traces; and half sees each item with its trace.
    items : int, >= 8, a multiple of 4
        The model is right on half of them.
    sesoi : float, > 0
        Smallest gain in d' that matters.
    alpha : float, in (0, 1)
    seed : int
        Of the randomisation list and the power simulation.

    Examples
    --------
    >>> protocol = Trust(participants=8, items=8)
    >>> len(list(protocol.randomisation()))
    64
    >>> protocol.label
    'protocol only: needs people and an ethics board'
    """

    participants: int = 40
    items: int = 48
    sesoi: float = 0.3
    alpha: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        for name, least in (("participants", 4), ("items", 8)):
            value = getattr(self, name)
            if value < least or value % 4:
                raise ValueError(f"`{name}` must be a multiple of 4, >= {least}, got {value}")
        if not 0 < self.sesoi < math.inf:
            raise ValueError(f"`sesoi` must be > 0, got {self.sesoi}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {self.alpha}")

    @property
    def label(self) -> str:
        """Return what must stand wherever the protocol is shown."""
        return LABEL

    @property
    def instrument(self) -> tuple[tuple[str, str, str], ...]:
        """Return what is asked: when, the wording, and the answers."""
        return INSTRUMENT

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {"study": "h6", "label": LABEL, **asdict(self),
                "instrument": [list(line) for line in INSTRUMENT]}  # fmt: skip

    def randomisation(self) -> Iterator[Assignment]:
        """Yield every decision of every participant, in order.

        Notes
        -----
        Items fall into two sets with equal numbers of right and wrong answers. Of every four
        participants one sees each combination of the set that has traces and the half that has
        them; which one is by lot. The order of items inside a half is random for each participant.
        """
        rng = np.random.default_rng(self.seed)
        # Item i: the model is right where i is even; set A holds i in 0, 1 mod 4.
        sets = [[i for i in range(self.items) if (i % 4 < 2) == first] for first in (True, False)]
        for start in range(0, self.participants, 4):
            arms = rng.permutation(4).tolist()
            for person, arm in enumerate(arms, start):
                with_trace, traces_first = divmod(arm, 2)
                halves = (
                    [with_trace, 1 - with_trace] if traces_first else [1 - with_trace, with_trace]
                )
                position = 0
                for half, which in enumerate(halves):
                    for item in rng.permutation(sets[which]).tolist():
                        yield Assignment(
                            participant=person, position=position, half=half, item=int(item),
                            trace=which == with_trace, model_right=item % 2 == 0,
                        )  # fmt: skip
                        position += 1

    def randomisation_csv(self) -> str:
        """Return the list as CSV."""
        out = io.StringIO()
        names = list(Assignment.__dataclass_fields__)
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for row in self.randomisation():
            writer.writerow([int(getattr(row, name)) for name in names])
        return out.getvalue()

    def power(
        self,
        *,
        effect: float,
        d_prime: float = 1.0,
        person_sd: float = 0.5,
        effect_sd: float = 0.3,
        bias_sd: float = 0.3,
        simulations: int = 1_000,
    ) -> "SimulatedPower":
        """Simulate how often this protocol finds a difference in d' between trace and none.

        Parameters
        ----------
        effect : float
            Of the trace on d' of accepting right against wrong answers; 0 gives false findings.
        d_prime : float
            Without a trace, mean over people.
        person_sd, effect_sd, bias_sd : float, >= 0
            SD over people of d', of the effect, and of the criterion.
        simulations : int, >= 1

        Notes
        -----
        Equal-variance signal detection: accepting is a hit where the model is right and a false
        alarm where it is wrong. Rates are log-linear, (k + .5)/(n + 1) [1]_, so that perfect people
        have a finite d'; with few items that shrinks large d'. Paired t over people.

        References
        ----------
        .. [1] M. J. Hautus, Behavior Research Methods 27(1), 46-51, 1995.
        """
        from scipy.special import ndtr

        from crucible_bench.means import paired_t
        from crucible_bench.simulated_power import simulate_power

        for name, sd in (("person_sd", person_sd), ("effect_sd", effect_sd), ("bias_sd", bias_sd)):
            if not sd >= 0:
                raise ValueError(f"`{name}` must be >= 0, got {sd}")
        trials = self.items // 4  # right, and wrong, answers in each condition

        def study(rng: np.random.Generator) -> "np.ndarray[Any, Any]":
            own = d_prime + person_sd * rng.standard_normal(self.participants)
            bias = bias_sd * rng.standard_normal(self.participants)
            gain = effect + effect_sd * rng.standard_normal(self.participants)
            seen = []
            for d in (own, own + gain):
                hits = rng.binomial(trials, ndtr(d / 2 - bias))
                alarms = rng.binomial(trials, ndtr(-d / 2 - bias))
                seen.append(sensitivity(hits, alarms, trials))
            return np.stack(seen)

        def finds(seen: "np.ndarray[Any, Any]") -> bool:
            p = paired_t(seen[0], seen[1]).p_value
            return p is not None and p <= self.alpha

        return simulate_power(study, finds, n_simulations=simulations, rng=self.seed)

    def to_report(self) -> dict[str, Any]:
        """Return what `crucible_harness.report` renders."""
        card = STUDIES["h6"]
        return {
            "title": f"Study h6: {card.question}",
            "subtitle": LABEL,
            "sections": [
                {"title": "Status", "text": f"This is a {LABEL}. Nobody has taken part in it."},
                {"title": "Design", "text": card.design},
                {
                    "title": "Plan",
                    "table": {
                        "columns": ["what", "value"],
                        "rows": [[name, value] for name, value in asdict(self).items()],
                    },
                },
                {
                    "title": "Instrument",
                    "table": {
                        "columns": ["when", "question", "answers"],
                        "rows": [list(line) for line in INSTRUMENT],
                    },
                },
                {
                    "title": "Analysis",
                    "text": (
                        "d' = z(hits) - z(false alarms) for each participant with traces and "
                        "without, where accepting a right answer is a hit and accepting a wrong "
                        "one a false alarm; rates (k + .5)/(n + 1). Paired t over participants; "
                        f"the claim is a gain of more than {self.sesoi:g}. Excluded is who fails "
                        "both attention checks, decided before anyone looks at d'."
                    ),
                },
                {"title": "What this cannot show", "text": "\n\n".join(card.limits)},
            ],
        }


def sensitivity(
    hits: "np.ndarray[Any, Any]", alarms: "np.ndarray[Any, Any]", trials: int
) -> "np.ndarray[Any, Any]":
    """Return d' from counts of accepted right and accepted wrong answers, log-linear rates.

    Parameters
    ----------
    hits, alarms : int arrays of one shape, in [0, trials]
    trials : int, >= 1
    """
    from scipy.special import ndtri

    found: np.ndarray[Any, Any] = ndtri((hits + 0.5) / (trials + 1)) - ndtri(
        (alarms + 0.5) / (trials + 1)
    )
    return found
