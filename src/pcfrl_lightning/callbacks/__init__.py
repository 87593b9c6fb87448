"""Callbacks for watching a pretraining run."""

from pcfrl_lightning.callbacks.learning_rates import LearningRates
from pcfrl_lightning.callbacks.online_monitor import OnlineMonitor
from pcfrl_lightning.callbacks.pair_labels import PairLabels
from pcfrl_lightning.callbacks.progress_lines import ProgressLines
from pcfrl_lightning.callbacks.reconstruction_grid import ReconstructionGrid
from pcfrl_lightning.callbacks.stop_on_breakdown import StopOnBreakdown
from pcfrl_lightning.callbacks.throughput import Throughput
from pcfrl_lightning.callbacks.time_estimate import TimeEstimate

__all__ = [
    "LearningRates",
    "OnlineMonitor",
    "PairLabels",
    "ProgressLines",
    "ReconstructionGrid",
    "StopOnBreakdown",
    "Throughput",
    "TimeEstimate",
]
