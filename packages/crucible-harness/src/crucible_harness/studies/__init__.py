"""Designs to start from: six studies of language models, and one of our own methods."""

from crucible_harness.studies.analysing import analyse
from crucible_harness.studies.answer_world import World
from crucible_harness.studies.catalogue import STUDIES, Study
from crucible_harness.studies.h1_reliability import ReliabilityPlan, reliability
from crucible_harness.studies.h2_tail_latency import TailLatency
from crucible_harness.studies.h3_ensemble_size import SizePlan, ensemble_size
from crucible_harness.studies.h4_adaptive_hedging import AdaptiveHedging
from crucible_harness.studies.h5_confidence_weights import WeightsPlan, confidence_weights
from crucible_harness.studies.h6_trust import Trust
from crucible_harness.studies.responses import Responses, responses_of
from crucible_harness.studies.result import Figure, StudyResult, StudyTable
from crucible_harness.studies.rq6_methods import Methods

__all__ = [
    "STUDIES",
    "AdaptiveHedging",
    "Figure",
    "Methods",
    "ReliabilityPlan",
    "Responses",
    "SizePlan",
    "Study",
    "StudyResult",
    "StudyTable",
    "TailLatency",
    "Trust",
    "WeightsPlan",
    "World",
    "analyse",
    "confidence_weights",
    "ensemble_size",
    "reliability",
    "responses_of",
]
