"""contract.py SITE EPOCH KEY_HEX < JSON: the lake as three independent readers see it.

Reads `[[column, class, canonical], ...]` from standard input; every pseudonym must be found in that
column of lake/cdr by Python's deltalake, by pyarrow and by DuckDB, and the table must keep the rest
of its contract: columns, partitions, no statistics, order, generalised times."""

import json
import sys

import duckdb
import pyarrow.dataset
import pyarrow.parquet

from oracle import IDENTIFIERS, TABLES, adds, answer, check, domain_key, files, pseudonym, table

KINDS = [name + "_kind" for name in IDENTIFIERS]
COLUMNS = (
    ["event_day", "epoch", "service", "direction", "start", "duration", "volume", "charge", "currency", "answered"]
    + ["cause_class", *IDENTIFIERS, *KINDS, "a_country", "b_country", "home_network", "visited_network"]
    + ["trunk_in", "trunk_out", "device_class", "feed", "canon", "batch"]
)


def main() -> None:
    site, epoch, key_hex = sys.argv[1:]
    key = domain_key(bytes.fromhex(key_hex), "analytics", epoch)
    wanted = [(column, pseudonym(key, kind, text)) for column, kind, text in json.load(sys.stdin)]
    paths = files(site, "lake/cdr")
    by_deltalake = table(site, "lake/cdr").to_pyarrow_table()
    by_pyarrow = pyarrow.dataset.dataset(paths, format="parquet", partitioning="hive",
                                         partition_base_dir=f"{site}/lake/cdr").to_table()
    for name, rows in [("deltalake", by_deltalake), ("pyarrow", by_pyarrow)]:
        for column, value in wanted:
            check(value in rows[column].to_pylist(), f"{name} does not find {value.hex()} in {column}")
    for column, value in wanted:
        query = f"SELECT count(*) FROM read_parquet($paths, hive_partitioning = true) WHERE {column} = $value"
        [found] = duckdb.execute(query, {"paths": paths, "value": value}).fetchone()
        check(found > 0, f"DuckDB does not find {value.hex()} in {column}")
    check(sorted(by_deltalake.column_names) == sorted(COLUMNS), f"columns of cdr: {by_deltalake.column_names}")
    check(table(site, "lake/cdr").metadata().partition_columns == ["event_day"], "cdr is not partitioned by day")
    times(by_deltalake)
    for path in paths:
        sorted_by_a_party(path)
    for name in TABLES:
        without_statistics(site, name)
    answer({"rows": by_deltalake.num_rows, "found": [[c, v.hex()] for c, v in wanted], "files": len(paths)})


def times(rows) -> None:
    for day, start in zip(rows["event_day"].to_pylist(), rows["start"].to_pylist()):
        check(start.minute % 15 == 0 and start.second == 0 and start.microsecond == 0, f"start {start}")
        check(start.utcoffset().total_seconds() == 0 and start.date() == day, f"start {start} on {day}")


def sorted_by_a_party(path: str) -> None:
    file = pyarrow.parquet.ParquetFile(path)
    for group in range(file.num_row_groups):
        values = [v or bytes(16) for v in file.read_row_group(group, columns=["a_party"])["a_party"].to_pylist()]
        check(all(a[:8] <= b[:8] for a, b in zip(values, values[1:])), f"row group {group} of {path} is not sorted")


def without_statistics(site: str, name: str) -> None:
    for add in adds(site, name):
        check(set(json.loads(add["stats"])) == {"numRecords"}, f"statistics in the log of {name}: {add['stats']}")
    for path in files(site, name):
        meta = pyarrow.parquet.ParquetFile(path).metadata
        for group in range(meta.num_row_groups):
            for column in range(meta.num_columns):
                chunk = meta.row_group(group).column(column)
                check(not chunk.is_stats_set, f"statistics of {chunk.path_in_schema} in a file of {name}")


main()
