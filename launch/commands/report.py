"""`harnet report`: results of `harnet evaluate`, and of the pretraining run, as one HTML page."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from harnet.report.report_page import ReportConfig, write_page


@dataclass(frozen=True)
class Command:
    """Write a self-contained HTML page: arms × data sets, differences, confusion, curves, features, provenance.

    Example: harnet report results/ runs/first
    """

    results: tyro.conf.Positional[Path]
    """Folder that harnet evaluate wrote."""
    run_folder: tyro.conf.Positional[Path | None] = None
    """Run folder of the pretraining run that produced the weights, for its curves."""
    out: Path | None = None
    """HTML file; default: report.html in the folder of results."""
    data: Path = Path("labelled")
    """Folder of the labelled windows used in the evaluation, for the feature plot."""
    flow: Path | None = None
    """flow.json written by harnet quality, or its folder."""
    json: bool = False
    """Print the path of the page and what it lacks as JSON."""

    def run(self) -> int:
        """Write the page; returns the exit code."""
        page = self.out or self.results / "report.html"
        lacking = write_page(ReportConfig(self.results, page, self.run_folder, self.data, self.flow))
        if self.json:
            print(json.dumps({"page": str(page), "lacking": lacking}))
        else:
            print("\n".join([str(page), *(f"  {line}" for line in lacking)]))
        return 0
