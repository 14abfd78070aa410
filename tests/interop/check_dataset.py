#!/usr/bin/env python3
"""Opens a Playhouse dataset with DuckDB, pyarrow, Polars and pandas, and checks that all four see the same data.

    pip install -r tests/interop/requirements.txt
    python tests/interop/check_dataset.py DATASET

DATASET is a folder that `playhouse record` or `playhouse import` made. Exit status: 0 when all checks pass, 1 when one
fails (its message names the tool, the file and the column), 2 when DATASET holds no episode.

The checks stand on the footer alone: the action space and the frame spec are read from the files' own metadata, and
nothing of Playhouse is imported.
"""

import io
import json
import struct
import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.parquet as pq

TELEMETRY = ["pos_x", "pos_y", "pos_z", "yaw", "pitch"]
STRINGS = ["source", "map", "player", "policy", "spawn", "outcome", "split", "action_source"]


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def expected_columns(table, space):
    """Column names of a table, in order, as the format defines them."""
    names = [c["name"] for c in space["components"]]
    buttons = [c["name"] for c in space["components"] if c["kind"] == "button"]
    if table == "episodes":
        return (
            ["episode_id", *STRINGS, "seed", "hz", "num_steps", "return", "started_at"]
            + ["idle_fraction", "distance", "net_displacement", "action_entropy"]
            + [f"presses_{b}" for b in buttons]
            + ["mean_stick_deflection", "longest_repeat", "action_hash"]
        )
    if table == "steps":
        packed = ["buttons"] if 0 < len(buttons) <= 64 else []
        return ["episode_id", "t", *names, *packed, *TELEMETRY, "reward", "terminated", "truncated"]
    return ["episode_id", "t", "image"]


def footer(path):
    """The Playhouse keys of a file's footer."""
    metadata = pq.read_metadata(path).metadata or {}
    check(metadata.get(b"playhouse.format_version") == b"2", f"{path}: footer has no format version 2")
    return {
        "table": metadata[b"playhouse.table"].decode(),
        "space": json.loads(metadata[b"playhouse.action_space"]),
        "frames": json.loads(metadata[b"playhouse.frame_spec"]),
    }


def check_layout(path, table):
    """Sorting columns, statistics, page index and compression, as any reader of the footer sees them."""
    metadata = pq.read_metadata(path)
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        leaves = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        sorting = [c.column_index for c in group.sorting_columns]
        check(sorting == ([0] if table == "episodes" else [0, 1]), f"{path}: sorting columns {sorting}")
        for name, column in leaves.items():
            check(column.has_offset_index, f"{path}: column {name} has no offset index")
            if name.startswith("image."):
                check(column.compression == "UNCOMPRESSED", f"{path}: {name} is {column.compression}")
            else:
                check(column.is_stats_set, f"{path}: column {name} has no statistics")
                check(column.has_column_index, f"{path}: column {name} has no column index")
        ids = leaves["episode_id"].statistics
        rows = pq.ParquetFile(path).read_row_group(g, columns=["episode_id"])["episode_id"].to_pylist()
        check((ids.min, ids.max) == (min(rows), max(rows)), f"{path}: statistics of episode_id {ids.min}..{ids.max}")


def check_table(root, table, space):
    """Reads a whole table with each tool and compares columns, rows and sums with pyarrow's."""
    glob = str(root / table / "*.parquet")
    files = sorted((root / table).glob("*.parquet"))
    columns = expected_columns(table, space)
    for path in files:
        check(footer(path)["table"] == table, f"{path}: footer names another table")
        check_layout(path, table)

    arrow = pyarrow.concat_tables([pq.read_table(p) for p in files], promote_options="permissive")
    check(arrow.column_names == columns, f"pyarrow {table}: columns {arrow.column_names}")
    keys = ["episode_id"] if table == "episodes" else ["episode_id", "t"]
    rows = list(zip(*(arrow[k].to_pylist() for k in keys)))
    check(rows == sorted(set(rows)), f"{table}: rows are not sorted by {keys}, or occur twice")

    connection = duckdb.connect()
    described = connection.execute(f"describe select * from '{glob}'").fetchall()
    check([d[0] for d in described] == columns, f"duckdb {table}: columns {[d[0] for d in described]}")
    lazy = polars.scan_parquet(glob)
    check(lazy.collect_schema().names() == columns, f"polars {table}: columns {lazy.collect_schema().names()}")
    eager = lazy.collect()
    frame = pandas.concat([pandas.read_parquet(p) for p in files], ignore_index=True)
    check(list(frame.columns) == columns, f"pandas {table}: columns {list(frame.columns)}")
    counts = {
        "duckdb": connection.execute(f"select count(*) from '{glob}'").fetchone()[0],
        "polars": eager.height,
        "pandas": len(frame),
    }
    check(set(counts.values()) == {arrow.num_rows}, f"{table}: pyarrow has {arrow.num_rows} rows, {counts}")

    for field in arrow.schema:
        name = field.name
        kind = field.type.value_type if pyarrow.types.is_dictionary(field.type) else field.type
        values = arrow[name].to_pylist()
        nulls = sum(v is None for v in values)
        if pyarrow.types.is_struct(kind):
            continue
        if pyarrow.types.is_string(kind):
            distinct = len({v for v in values if v is not None})
            seen = connection.execute(f"select count(distinct \"{name}\") from '{glob}'").fetchone()[0]
            check(seen == distinct, f"duckdb {table}.{name}: {seen} distinct values, pyarrow has {distinct}")
            check(eager[name].cast(polars.String).drop_nulls().n_unique() == distinct, f"polars {table}.{name} differs")
            check(frame[name].nunique() == distinct, f"pandas {table}.{name} differs")
        elif pyarrow.types.is_timestamp(kind):
            check(str(kind.tz) == "UTC", f"{table}.{name}: time zone {kind.tz}")
            check(frame[name].dropna().shape[0] == len(values) - nulls, f"pandas {table}.{name}: nulls differ")
            check(eager[name].null_count() == nulls, f"polars {table}.{name}: nulls differ")
            micros = connection.execute(f"select max(epoch_us(\"{name}\")) from '{glob}'").fetchone()[0]
            times = [v for v in values if v is not None]
            check(micros == (int(max(times).timestamp() * 1e6) if times else None), f"duckdb {table}.{name} differs")
        else:
            total = float(sum(v for v in values if v is not None))
            near = lambda other: abs(float(other or 0) - total) <= 1e-6 * max(1.0, abs(total))
            seen = connection.execute(f"select sum(cast(\"{name}\" as double)) from '{glob}'").fetchone()[0]
            check(near(seen), f"duckdb {table}.{name}: sum {seen}, pyarrow {total}")
            seen = eager[name].cast(polars.Float64).sum()
            check(near(seen), f"polars {table}.{name}: sum {seen}, pyarrow {total}")
            seen = frame[name].astype("float64").sum()
            check(near(seen), f"pandas {table}.{name}: sum {seen}, pyarrow {total}")
            check(int(frame[name].isna().sum()) == nulls, f"pandas {table}.{name}: nulls differ")
    print(f"  {table}: {arrow.num_rows} rows, {len(columns)} columns, {len(files)} files: alike in all four tools")
    return arrow


def image_size(data, codec):
    """Width and height of an encoded image, read from its own header; none for raw bytes."""
    if codec == "raw":
        return None
    stream = io.BytesIO(data)
    if codec == "png":
        check(data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG")
        return struct.unpack(">II", data[16:24])
    check(data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9", "not a whole JPEG")
    stream.seek(2)
    while True:
        marker, length = struct.unpack(">HH", stream.read(4))
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack(">xHH", stream.read(5))
            return width, height
        stream.seek(length - 2, io.SEEK_CUR)


def check_frames(root, frames, spec):
    """The struct `image`, through each tool, and the size of every image."""
    glob = str(root / "frames" / "*.parquet")
    kind = frames.schema.field("image").type
    check([f.name for f in kind] == ["bytes", "path"], f"frames.image has the fields {[f.name for f in kind]}")
    codec = spec["codec"] if isinstance(spec["codec"], str) else next(iter(spec["codec"]))
    size = (spec["width"], spec["height"])
    images = frames["image"].to_pylist()
    for i, image in enumerate(images):
        data = image["bytes"]
        if codec == "raw":
            check(len(data) == size[0] * size[1] * 3, f"frames, row {i}: {len(data)} raw bytes")
        else:
            check(image_size(data, codec) == size, f"frames, row {i}: {image_size(data, codec)}, the spec says {size}")
    total = sum(len(image["bytes"]) for image in images)
    duck = duckdb.connect().execute(f"select sum(octet_length(image.bytes)), count(image.path) from '{glob}'").fetchone()
    check(duck == (total, 0), f"duckdb frames: {duck} bytes and paths, pyarrow {total}")
    lazy = polars.scan_parquet(glob).select(polars.col("image").struct.field("bytes").bin.size().sum())
    check(lazy.collect().item() == total, "polars frames: image sizes differ")
    first = pandas.read_parquet(sorted((root / "frames").glob("*.parquet"))[0])["image"][0]
    check(first["bytes"] == images[0]["bytes"] and first["path"] is None, "pandas frames: the first image differs")
    print(f"  images: {len(images)} of {size[0]}x{size[1]} {codec}, {total / len(images):.0f} bytes each")


def check_episodes(episodes, steps, space):
    """The statistics in `episodes`, computed again from `steps`."""
    frame = steps.to_pandas()
    names = [c["name"] for c in space["components"]]
    neutral = {}
    for c in space["components"]:
        centres = c.get("centres") or [0.0, 1.0]
        neutral[c["name"]] = min(range(len(centres)), key=lambda i: abs(centres[i]))
    groups = {i: g for i, g in frame.groupby("episode_id")}
    check(len(groups) == episodes.num_rows, f"steps hold {len(groups)} episodes, episodes {episodes.num_rows}")
    for row in episodes.to_pylist():
        steps = groups[row["episode_id"]]
        where = f"episode {row['episode_id']}"
        check(list(steps["t"]) == list(range(row["num_steps"])), f"{where}: t is not 0..num_steps")
        idle = (steps[names] == pandas.Series(neutral)).all(axis=1).mean()
        check(abs(idle - row["idle_fraction"]) < 1e-6, f"{where}: idle_fraction {row['idle_fraction']}, steps say {idle}")
        for button in (c["name"] for c in space["components"] if c["kind"] == "button"):
            down = steps[button].astype("int8")
            presses = int(((down.diff() == 1) | ((steps["t"] == 0) & (down == 1))).sum())
            check(presses == row[f"presses_{button}"], f"{where}: presses_{button} differ")
        pressed = [c["name"] for c in space["components"] if c["kind"] == "button"]
        if 0 < len(pressed) <= 64:
            packed = sum(steps[b].astype("uint64") * 2**k for k, b in enumerate(pressed))
            check((packed == steps["buttons"]).all(), f"{where}: buttons is not its buttons' bits")
        if steps["pos_x"].notna().all():
            step = steps[["pos_x", "pos_y", "pos_z"]].astype("float64").diff().dropna()
            distance = float(((step**2).sum(axis=1) ** 0.5).sum())
            check(abs(distance - row["distance"]) <= 1e-3 * max(1.0, distance), f"{where}: distance {row['distance']}")
        else:
            check(row["distance"] is None, f"{where}: a distance without positions")
        check(not steps["terminated"].iloc[:-1].any(), f"{where}: terminated before its last step")
    print(f"  statistics of {episodes.num_rows} episodes agree with their steps")


def main(root):
    print(f"{root}: duckdb {duckdb.__version__}, pyarrow {pyarrow.__version__}, "
          f"polars {polars.__version__}, pandas {pandas.__version__}")
    first = next(iter(sorted((root / "episodes").glob("*.parquet"))), None)
    if first is None:
        print(f"{root}: no file in episodes/; record a dataset first", file=sys.stderr)
        return 2
    meta = footer(first)
    episodes = check_table(root, "episodes", meta["space"])
    steps = check_table(root, "steps", meta["space"])
    check_episodes(episodes, steps, meta["space"])
    if meta["frames"] is not None:
        check_frames(root, check_table(root, "frames", meta["space"]), meta["frames"])
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.exit(main(Path(sys.argv[1])))
    except AssertionError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        sys.exit(1)
