"""``pcfrl doctor``: what is installed and what works on this machine, as text for a bug report."""

import json
from collections.abc import Sequence
from itertools import groupby

from pcfrl_lightning.bench.installation import Finding, examine
from pcfrl_lightning.cli.arguments import OneLineArguments

EPILOG = "Exit status 0 if all is well, 1 if a check failed. An extra that is not installed is no failure."


def main(arguments: Sequence[str]) -> int:
    """Run `pcfrl doctor`; returns the exit status."""
    parser = OneLineArguments("pcfrl doctor", description=__doc__, epilog=EPILOG)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(arguments)
    findings = examine()
    print(as_json(findings) if options.json else as_text(findings))
    return 0 if all(finding.ok for finding in findings) else 1


def as_text(findings: Sequence[Finding]) -> str:
    """A block per group, failures marked, and a last line that sums up."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for group, members in groupby(findings, key=lambda finding: finding.group):
        lines.append(f"{group}:")
        lines += [f"  {'' if each.ok else 'FAILED '}{each.name:<{width}}  {each.text}" for each in members]
    failed = [f"{finding.group} ({finding.name})" for finding in findings if not finding.ok]
    return "\n".join([*lines, f"{len(failed)} failed: {', '.join(failed)}" if failed else "all checks passed"])


def as_json(findings: Sequence[Finding]) -> str:
    """``{"ok": ..., "GROUP": {"NAME": {"text": ..., "ok": ...}}}``."""
    content: dict[str, object] = {"ok": all(finding.ok for finding in findings)}
    for group, members in groupby(findings, key=lambda finding: finding.group):
        content[group] = {each.name: {"text": each.text, "ok": each.ok} for each in members}
    return json.dumps(content, indent=2)
