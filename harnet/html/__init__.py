"""Base of the HTML pages that harnet writes: self-contained, no script, nothing fetched."""
