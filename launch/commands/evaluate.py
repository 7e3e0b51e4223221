"""`harnet evaluate`: does it transfer? Compares classifiers on people and on data sets never seen in training."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnet.evaluation.arms import ARMS, is_question
from harnet.evaluation.result_tables import RESULTS
from harnet.evaluation.suite import SuiteConfig, evaluate
from harnet.evaluation.trials import EVERYBODY


@dataclass(frozen=True)
class Command(SuiteConfig):
    """Compare classifiers on labelled data sets: handcrafted features, encoder from scratch, frozen and fine-tuned.

    The same command resumes an interrupted run; more seeds or protocols are added to existing results. Writes
    results.json, summary.csv, differences.csv and scores.csv; `harnet report` turns them into an HTML page.

    Example:
        harnet evaluate --suite here --weights weights/ --out results/
        harnet evaluate --train-on selfback --test-on dsads --weights weights/ --out across/
    """

    json: bool = False
    """Print the summary as JSON."""

    def run(self) -> int:
        """Run or resume the suite; returns the exit code."""
        results = evaluate(self)
        if results is None:
            told = f"{self.out}: part {self.part}, tables not yet written"
            print(json.dumps({"part": self.part}) if self.json else told)
            return 0
        print(_summary(results, self.out) if self.json else _text(results, self.out))
        return 0


def _summary(results: dict[str, Any], out: Path) -> str:
    kept = ("dataset", "protocol", "budget", "differences", "notes")
    tables = []
    for table in results["tables"]:
        arms = {row["arm"]: {name: row[name] for name in ("macro_f1", "kappa")} for row in table["arms"]}
        tables.append({**{name: table[name] for name in kept}, "arms": arms})
    return json.dumps({"results": str(out / RESULTS), "tables": tables})


def _text(results: dict[str, Any], out: Path) -> str:
    lines = []
    for table in results["tables"]:
        labels = "" if table["budget"] == EVERYBODY else f", labels of {table['budget'].replace('-', ' ')}"
        lines.append(f"{table['dataset']}, {table['protocol']} protocol{labels}: mean over people [95 % interval]")
        for row in table["arms"]:
            lines.append(
                f"  {row['arm']:<{_WIDEST}} macro F1 {_interval(row['macro_f1'])}   kappa {_interval(row['kappa'])}"
            )
        for row in table["differences"]:
            if row["metric"] == "macro_f1" and is_question(row):
                sure = "" if row["low"] > 0 or row["high"] < 0 else "   inconclusive"
                lines.append(f"  {row['one']} - {row['other']}: {_interval(row, '+.3f')}{sure}")
        lines += [f"  {note}" for note in table["notes"]]
    return "\n".join([*lines, f"{out / RESULTS}; a page: harnet report {out}"])


_WIDEST = max(map(len, ARMS))


def _interval(row: dict[str, Any], form: str = ".3f") -> str:
    return f"{row['mean']:{form}} [{row['low']:{form}}, {row['high']:{form}}]"
