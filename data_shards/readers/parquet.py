"""A Parquet file with named columns: one of times and one for each axis."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_shards.readers.protocol import Found, Reader, ReadOptions
from data_shards.readers.table import Table, recording_of
from harnet.errors import HarnetError

MAGIC = b"PAR1"


class Parquet(Reader):
    """Columns, units and checks are those of a CSV table; a column of timestamps with a zone is UTC, without local."""

    kind = "Parquet with the columns time,x,y,z (or those named with --columns)"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the format's magic bytes."""
        return head.startswith(MAGIC)

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """Columns and units decide what the numbers mean."""
        return Table().settings(options)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the one recording. Raises `HarnetError` for a missing column, a bad cell or a time out of order."""
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names

                def column(name: str) -> "pd.Series[float]":
                    """One at a time: the whole table would be twice what it becomes."""
                    return file.read([name], use_threads=False).column(0).to_pandas().rename(name)

                yield Found(recording_of(column, names, options, path).stream(), label=path.stem)
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise HarnetError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())})") from error
