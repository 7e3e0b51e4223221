"""For an epidemiologist: device files in, a table of activity minutes a person out.

    python examples/activity_minutes.py recordings/*.cwa --out minutes

The model is the one that comes with harnet, or with --model one that `harnet finetune` saved. The table keeps people
with enough wear: at least `--min-days` days of 16 hours, and every hour of the day worn at least once (Doherty et al.
2017, PLoS ONE 12(2):e0169649, ask for 72 h).
"""

import argparse
from pathlib import Path

import pandas as pd

from launch.cli import main as harnet


def main() -> None:
    """Predict, keep people with enough wear, and print minutes a day."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--model", default="activity-open")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--min-days", type=int, default=3)
    parser.add_argument("--smooth", default="300", help="mean seconds of a bout")
    options = parser.parse_args()
    # 1 means that a file could not be read, which is said, and the others were.
    harnet(["predict", *options.files, "--weights", options.model, "--out", str(options.out),
            "--smooth", options.smooth])  # fmt: skip
    days = pd.read_csv(options.out / "person_days.csv", dtype={"participant": str}, parse_dates=["date"])
    people = pd.read_csv(options.out / "people.csv", dtype={"participant": str}).set_index("participant")
    whole_days = days[days["wear_minutes"] >= 16 * 60].groupby("participant").size()
    people["valid_days"] = whole_days.reindex(people.index, fill_value=0)
    kept = people[(people["valid_days"] >= options.min_days) & (people["hours_covered"] == 24)]
    minutes = kept[[name for name in kept.columns if name.startswith("minutes_")]]
    minutes.to_csv(options.out / "minutes_a_day.csv", float_format="%.1f")
    print(
        f"{len(kept)} of {len(people)} people have enough wear; minutes a day, each hour of the day weighing the same:"
    )
    print(minutes.describe().loc[["mean", "std", "min", "max"]].round(1).to_string())


if __name__ == "__main__":
    main()
