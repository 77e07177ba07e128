"""Parquet in which `datasets` finds pictures: the columns of bytes in its own types, and the schema says that it does.

`datasets` takes a column for pictures where the Arrow schema's metadata calls it `Image` and its type is exactly
`struct<bytes: binary, path: string>`; polars writes large_binary and large_string, and no such metadata.
https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

from prefdata.errors import MissingExtraError

ROWS = 128
"""Rows of a group: pictures of so many rows are in memory at a time."""


def with_image_features(path: Path, columns: Collection[str]) -> None:
    """Writes the Parquet file `path` anew, with `columns` (lists of pictures' bytes and paths) as lists of `Image`."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("Parquet with pictures inside", "images") from error
    features = {name: {"feature": {"_type": "Image"}, "_type": "List"} for name in columns}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    picture = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    temporary = path.with_name(f"{path.name}.arrow")
    try:
        with pq.ParquetFile(path, pre_buffer=False) as source:  # else the whole file is in memory
            fields = [pa.field(one.name, picture if one.name in columns else one.type) for one in source.schema_arrow]
            schema = pa.schema(fields, metadata=told)
            with pq.ParquetWriter(
                temporary, schema, compression="zstd", compression_level=1, write_statistics=False
            ) as writer:
                for batch in source.iter_batches(batch_size=ROWS):
                    writer.write_table(pa.Table.from_batches([batch]).cast(schema))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
