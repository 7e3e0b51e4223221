"""`harnet report`: results of `harnet evaluate`, and the run behind the weights, as one HTML page."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from harnet.report.report_page import ReportConfig, write_page


@dataclass(frozen=True)
class Command:
    """One HTML page that needs no network: arms × data sets, differences, confusion, curves, features, provenance.

    Example: harnet report results/ runs/first
    """

    results: tyro.conf.Positional[Path]
    """Folder that harnet evaluate wrote."""
    run_folder: tyro.conf.Positional[Path | None] = None
    """Folder of the pretraining run behind the weights, for its curves."""
    out: Path | None = None
    """HTML file; report.html in the folder of results by default."""
    data: Path = Path("labelled")
    """Folder of labelled windows that was evaluated on, for the picture of the features."""
    flow: Path | None = None
    """flow.json that harnet quality wrote, or its folder."""
    json: bool = False
    """Print what was written as JSON."""

    def run(self) -> int:
        """0 when the page is written."""
        page = self.out or self.results / "report.html"
        lacking = write_page(ReportConfig(self.results, page, self.run_folder, self.data, self.flow))
        if self.json:
            print(json.dumps({"page": str(page), "lacking": lacking}))
        else:
            print("\n".join([str(page), *(f"  {line}" for line in lacking)]))
        return 0
