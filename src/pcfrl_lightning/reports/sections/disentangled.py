"""What `pcfrl disentangle` found, from the disentangle.json in the folder of a run."""

from collections.abc import Mapping
from typing import Any

from pcfrl_lightning.reports.content import Cell, Table
from pcfrl_lightning.reports.measured import feature_name

_COLUMNS = (
    ("pose_nearest", "pose of the nearest, deg", 1),
    ("identity_same_pose", "same person, same pose, %", 100),
    ("identity_other_pose", "same person, other pose, %", 100),
    ("verification", "verification, AUC in %", 100),
    ("expression", "expression, %", 100),
)


def disentangled_lines(content: Mapping[str, Any]) -> list[str]:
    """A sentence for each encoder and set that has F_f and F_p."""
    found = []
    for encoder in content.get("encoders", []):
        for name, verdict in encoder["verdict"].items():
            if verdict is None:
                continue
            right = "the parts are the right way round" if verdict["right_way_round"] else "separation did not happen"
            pose, people = f"{verdict['pose_gap']:+.2f} degrees", f"{100 * verdict['identity_gap']:+.1f} points"
            gaps = f"F_f minus F_p: pose error {pose}, people found again in another pose {people}"
            found.append(f"{encoder['name']} on {name}: {right} ({gaps}).")
    return found


def disentangled_tables(content: Mapping[str, Any]) -> list[Table]:
    """A table for each encoder and set, the untrained network above it."""
    tables = []
    for encoder in content.get("encoders", []):
        for name, measures in encoder["measures"].items():
            shown = [column for column in _COLUMNS if any(one[column[0]] is not None for one in measures.values())]
            weights = {"untrained": encoder["untrained"][name], "trained": measures}
            rows = [
                [f"{which} {feature_name(feature)}", f"{one['pose']['mean']:.2f}", *_cells(one, shown)]
                for which, each in weights.items()
                for feature, one in each.items()
            ]
            headings = ["feature", "pose error, deg", *(heading for _, heading, _ in shown)]
            notes = ["Measured by pcfrl disentangle on people that its ridge regressions have not seen."]
            tables.append(Table(headings, rows, f"{encoder['name']} on {name}", notes))
    return tables


def _cells(one: Mapping[str, Any], shown: list[tuple[str, str, int]]) -> list[str | Cell]:
    return ["" if one[key] is None else f"{scale * one[key]:.1f}" for key, _, scale in shown]
