"""Everything that answers is a Model, and many models are one: votes over models of any kind."""

from crucible_ensemble.completion import Completion
from crucible_ensemble.ensemble import Ensemble
from crucible_ensemble.errors import EnsembleError, ModelError, ModelNotAvailableError
from crucible_ensemble.model import CompletionLike, Model
from crucible_ensemble.models.cassette import CassetteModel
from crucible_ensemble.models.function import FunctionModel
from crucible_ensemble.models.hedged import hedged
from crucible_ensemble.models.llamacpp import LlamaCppModel
from crucible_ensemble.models.openai import OpenAIModel
from crucible_ensemble.models.simulated import SimulatedModel
from crucible_ensemble.open_model import open_model
from crucible_ensemble.predict import create, infer, predict, predict_sync
from crucible_ensemble.prediction import Prediction
from crucible_ensemble.prices import PriceBook

__all__ = [
    "CassetteModel",
    "Completion",
    "CompletionLike",
    "Ensemble",
    "EnsembleError",
    "FunctionModel",
    "LlamaCppModel",
    "Model",
    "ModelError",
    "ModelNotAvailableError",
    "OpenAIModel",
    "Prediction",
    "PriceBook",
    "SimulatedModel",
    "create",
    "hedged",
    "infer",
    "open_model",
    "predict",
    "predict_sync",
]
