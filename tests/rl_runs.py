"""Folders of runs of reinforcement learning as `RunFolder` leaves them, with figures made up."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_run(
    folder: Path,
    *,
    evaluations: Mapping[int, tuple[float, float]],
    seed: int = 0,
    task: str = "pushing_table",
    steps: int = 4000,
    every: int = 1000,
    mbpo: bool = False,
    come_to: int | None = None,
    **settings: Any,
) -> Path:
    """A run whose evaluations, by the step at which they were played, came to these shares of success and returns."""
    folder.mkdir(parents=True)
    learner = {"learning_rate": 0.0001} | settings
    lines = [
        f"task: {task}",
        f"agent: {json.dumps(learner)}",
        f"schedule: {{steps: {steps}, evaluate_every: {every}, seed: {seed}, films: 2}}",
        f"run: {{folder: {folder}, keep_checkpoints: 2}}",
        "resume: false",
        *(["world_model: pushing_table", "imagined_share: 0.5"] if mbpo else []),
    ]
    (folder / "config.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    end = max(evaluations, default=0) if come_to is None else come_to
    figures: list[dict[str, Any]] = [
        {"step": step, "minutes": step / 100, "train/return": step / 10, "train/success": 0.5}
        for step in range(100, end + 1, 100)
    ]
    figures += [
        {"step": step, "minutes": step / 100, "eval/success": success, "eval/return": earned, "eval/episodes": 10.0}
        for step, (success, earned) in evaluations.items()
    ]
    figures.sort(key=lambda line: line["step"])
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in figures), encoding="utf-8")
    return folder
