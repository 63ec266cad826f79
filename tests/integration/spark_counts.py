"""spark_counts.py SITE JARS: rows of every table as Spark with Delta counts them."""

import sys
from pathlib import Path

from pyspark.sql import SparkSession

from oracle import TABLES, answer, table


def main() -> None:
    site, jars = sys.argv[1:]
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(str(jar) for jar in sorted(Path(jars).glob("*.jar"))))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    names = TABLES + ["lake/release/traffic_hourly"]
    counts = {name: spark.read.format("delta").load(f"{site}/{name}").count() for name in names}
    a_parties = spark.read.format("delta").load(f"{site}/lake/cdr").select("a_party").distinct().count()
    spark.stop()
    ours = {name: table(site, name).to_pyarrow_table().num_rows for name in names}
    answer({"spark": counts, "deltalake": ours, "a_parties": a_parties})


main()
