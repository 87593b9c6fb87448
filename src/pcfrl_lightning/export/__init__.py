"""Encoders for use elsewhere: graphs that need no code of this project, and the card that says what they are."""

from pcfrl_lightning.export.card import model_card, results_table
from pcfrl_lightning.export.graphs import GRAPHS, Exported, Features, export_graph

__all__ = ["GRAPHS", "Exported", "Features", "export_graph", "model_card", "results_table"]
