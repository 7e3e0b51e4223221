"""Registry of the data sets that `harnet dataset` supports: their source, how to get them, and their parser."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harnet.datasets import adl, capture24, dsads, mjff_lr, opportunity, pamap2, realworld, selfback, wisdm
from harnet.datasets.cutting import WindowCutting
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError


@dataclass(frozen=True)
class DataSet:
    """One public data set."""

    name: str
    """Name on the command line."""
    title: str
    """Human-readable title."""
    device: str
    """Device, body location and sampling rate."""
    source: str
    """Publication and repository."""
    licence: str
    """Licence as stated by the owner."""
    read: Callable[[Path, WindowCutting], ParsedDataset]
    """Parser: raw folder -> labelled windows."""
    url: str = ""
    """Download URL; empty if it must be requested or downloaded manually."""
    ask: str = ""
    """What the user must do if `url` is empty."""


_UCI = "https://archive.ics.uci.edu/static/public"
_ORA = "https://ora.ox.ac.uk/objects/uuid:92650814-a209-4607-9fb5-921eab761c11"
_ASK_ORA = f"download capture24.zip from {_ORA} in a browser (about 7 GB) and unpack it"

DATASETS: dict[str, DataSet] = {
    row.name: row
    for row in (
        DataSet(
            "adl",
            "ADL (HMP): activities of daily living",
            "wrist, 32 Hz, ±1.5 g",
            "Bruno et al., ICRA 2013; UCI 283",
            "CC BY 4.0 as commonly cited; the copy's own notes ask that redistribution be arranged with the authors",
            adl.read,
            f"{_UCI}/283/dataset+for+adl+recognition+with+wrist+worn+accelerometer.zip",
        ),
        DataSet(
            "wisdm",
            "WISDM 2019, watch",
            "LG G Watch, 20 Hz",
            "Weiss et al., IEEE Access 7:133190, 2019; UCI 507",
            "CC BY 4.0",
            wisdm.read,
            f"{_UCI}/507/wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip",
        ),
        DataSet(
            "pamap2",
            "PAMAP2, hand",
            "Trivisio IMU, 100 Hz, ±16 g",
            "Reiss and Stricker, ISWC 2012; UCI 231",
            "CC BY 4.0",
            pamap2.read,
            f"{_UCI}/231/pamap2+physical+activity+monitoring.zip",
        ),
        DataSet(
            "opportunity",
            "Opportunity, right lower arm, locomotion",
            "Xsens IMU, 30 Hz",
            "Roggen et al., INSS 2010; UCI 226",
            "CC BY 4.0",
            opportunity.read,
            f"{_UCI}/226/opportunity+activity+recognition.zip",
        ),
        DataSet(
            "dsads",
            "Daily and Sports Activities, right wrist",
            "Xsens MTx, 25 Hz, ±5 g",
            "Altun, Barshan and Tunçel, Pattern Recognition 43:3605, 2010; UCI 256",
            "CC BY 4.0",
            dsads.read,
            f"{_UCI}/256/daily+and+sports+activities.zip",
        ),
        DataSet(
            "dsads-wrists",
            "Daily and Sports Activities, both wrists at once",
            "Xsens MTx, 25 Hz, ±5 g",
            "Altun, Barshan and Tunçel, Pattern Recognition 43:3605, 2010; UCI 256",
            "CC BY 4.0",
            partial(dsads.read, wrists=("right", "left")),
            f"{_UCI}/256/daily+and+sports+activities.zip",
        ),
        DataSet(
            "selfback",
            "selfBACK, wrist",
            "Axivity AX3, dominant wrist, 100 Hz",
            "Sani et al., ICCBR 2017; UCI 521",
            "CC BY 4.0",
            selfback.read,
            ask="download it from https://archive.ics.uci.edu/dataset/521/selfback in a browser and unpack it",
        ),
        DataSet(
            "realworld",
            "RealWorld 2016, forearm",
            "phone on the forearm, 50 Hz",
            "Sztyler and Stuckenschmidt, PerCom 2016",
            "for research, with citation",
            realworld.read,
            ask="download it from https://www.uni-mannheim.de/dws/research/projects/activity-recognition/ : the owner "
            "serves it without encryption and without a checksum, so it is not fetched unattended",
        ),
        DataSet(
            "capture24",
            "Capture-24, labels of Walmsley et al. 2020",
            "Axivity AX3, wrist, 100 Hz",
            "Chan Chang et al., Sci Data 11:1135, 2024",
            "CC BY 4.0",
            capture24.read,
            ask=_ASK_ORA,
        ),
        DataSet(
            "capture24-willetts",
            "Capture-24, labels of Willetts et al. 2018",
            "Axivity AX3, wrist, 100 Hz",
            "Chan Chang et al., Sci Data 11:1135, 2024",
            "CC BY 4.0",
            partial(capture24.read, scheme="Willetts2018"),
            ask=_ASK_ORA,
        ),
        DataSet(
            "mjff-lr",
            "MJFF Levodopa Response Study, tasks",
            "GENEActiv, wrist, 50 Hz",
            "Daneault et al., Sci Data 8:48, 2021; Synapse syn20681023",
            "on application, not to be passed on",
            mjff_lr.read,
            ask="become a certified user of Synapse and apply for syn20681023 with what you intend to do; its terms "
            "forbid passing it on",
        ),
    )
}
"""Data sets by name. Rowlands and your own data sets need no parser: make a folder of X.npy, Y.npy and pid.npy."""


def find(name: str) -> DataSet:
    """The data set of that name; HarnetError if there is none."""
    if name not in DATASETS:
        raise HarnetError(f"data set {name!r}: unknown; one of: {', '.join(DATASETS)}")
    return DATASETS[name]
