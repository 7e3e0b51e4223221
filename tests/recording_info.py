"""The facts of a valid recording of one worn hour, which tests change with `dataclasses.replace`."""

from data_shards.cohort.info import Quality, RecordingInfo, SourceFile
from data_shards.ingest.calibration import not_calibrated
from data_shards.ingest.preparation import PREPROCESSING

INFO = RecordingInfo(
    recording="p1",
    participant="p1",
    first_hour=472_222,
    hours=1,
    device="test",
    clock="utc",
    wall_shifts=(),
    nominal_rate=100.0,
    worn_seconds_by_hour=(3600,),
    complete_seconds=3600,
    calibration=not_calibrated("too short"),
    quality=Quality(
        clipped_share=0.0,
        interruptions=0,
        interrupted_seconds=0.0,
        worn_seconds_by_clock_hour=[150] * 24,
        mean_enmo_mg=30.0,
    ),
    notes=(),
    metadata={},
    source=SourceFile(name="p1.cwa", bytes=1, mtime_ns=1, xxh3="0", kind="test", settings={}),
    preprocessing=PREPROCESSING,
    package_version="0",
)
