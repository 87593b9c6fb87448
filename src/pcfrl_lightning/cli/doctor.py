"""``pcfrl doctor``: what is installed and what works on this machine, as text for a bug report."""

import json
from collections.abc import Mapping, Sequence

from pcfrl_lightning.bench.installation import Finding, examine
from pcfrl_lightning.cli.arguments import OneLineArguments

EPILOG = "Exit status 0 if all is well, 1 if a check failed. An extra that is not installed is no failure."


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl doctor`; returns the exit status."""
    parser = OneLineArguments("pcfrl doctor", description=__doc__, epilog=EPILOG)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(arguments)
    found = examine()
    print(as_json(found) if options.json else as_text(found))
    return 0 if all(each.ok for members in found.values() for each in members) else 1


def as_text(found: Mapping[str, Sequence[Finding]]) -> str:
    """A block per group, failures marked, and a last line that sums up."""
    width = max(len(each.name) for members in found.values() for each in members)
    lines = []
    for group, members in found.items():
        lines.append(f"{group}:")
        lines += [f"  {'' if each.ok else 'FAILED '}{each.name:<{width}}  {each.text}" for each in members]
    failed = [f"{group} ({each.name})" for group, members in found.items() for each in members if not each.ok]
    return "\n".join([*lines, f"{len(failed)} failed: {', '.join(failed)}" if failed else "all checks passed"])


def as_json(found: Mapping[str, Sequence[Finding]]) -> str:
    """``{"ok": ..., "GROUP": {"NAME": {"text": ..., "ok": ...}}}``."""
    ok = all(each.ok for members in found.values() for each in members)
    groups = {name: {each.name: {"text": each.text, "ok": each.ok} for each in found[name]} for name in found}
    return json.dumps({"ok": ok, **groups}, indent=2)
