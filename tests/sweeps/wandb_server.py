"""The part of a W&B server that a sweep over a grid needs, on this machine: the real client and agent talk to it."""

import itertools
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import yaml

WHERE = {"id": "1", "name": "faces", "entity": {"id": "1", "name": "someone"}}


class SweepServer(ThreadingHTTPServer):
    """Answers the queries of `wandb.sweep` and of the agent.

    Attributes:
        sweeps: the configuration of each sweep that was created.
        projects: where.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.sweeps: list[dict[str, Any]] = []
        self.projects: list[str] = []
        self.waiting: list[dict[str, Any]] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def create(self, variables: dict[str, Any]) -> dict[str, Any]:
        config = yaml.safe_load(variables["config"])
        self.sweeps.append(config)
        self.projects.append(variables["projectName"])
        parameters = config["parameters"]
        points = itertools.product(*(each["values"] for each in parameters.values()))
        for number, point in enumerate(points):
            values = {key: {"value": value} for key, value in zip(parameters, point, strict=True)}
            self.waiting.append({"type": "run", "run_id": f"run{number}", "program": None, "args": values})
        return {"sweep": {"id": "1", "name": "sweep1", "project": WHERE}, "configValidationWarnings": []}

    def heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        """One run at a time; the agent says which are still running."""
        free = not any(json.loads(variables["runState"] or "{}").values())
        commands = [self.waiting.pop(0) if self.waiting else {"type": "exit"}] if free else []
        return {"agent": {"id": "1"}, "commands": json.dumps(commands)}


class _Answers(BaseHTTPRequestHandler):
    server: SweepServer

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["content-length"]))
        found = self.answer(json.loads(text)) if self.path == "/graphql" else {}
        content = json.dumps({"data": found}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        query, variables = asked["query"], asked.get("variables") or {}
        if "upsertSweep" in query:
            return {"upsertSweep": self.server.create(variables)}
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "1"}}}
        if "agentHeartbeat" in query:
            return {"agentHeartbeat": self.server.heartbeat(variables)}
        if "sweep(sweepName" in query:
            config = yaml.safe_dump(self.server.sweeps[-1])
            return {"project": {"sweep": {"id": "1", "name": "sweep1", "config": config, "runs": {"edges": []}}}}
        return {
            "viewer": {"id": "1", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}
        }

    def log_message(self, format: str, *args: Any) -> None:
        pass
