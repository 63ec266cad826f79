"""Recounts a site's tables from outside: Delta logs by Python deltalake, rows by DuckDB.

    recount_tables.py SITE FEED [CSV…]

Checks what must hold of any site, by itself, and prints one JSON object: fingerprints that are the
same for any two sites which loaded the same files under the same keys, however often they were
interrupted. With CSV files (generic-voice) also what those hold, counted without us.
"""

import bz2
import collections
import glob
import gzip
import json
import os
import re
import sys

import deltalake
import duckdb

SITE, FEED, CSV = sys.argv[1], sys.argv[2], sys.argv[3:]
TABLES = {
    "cdr": "lake/cdr",
    "tally": "lake/tally",
    "evidence": "vault/evidence",
    "identities": "vault/identities",
    "quarantine": "vault/quarantine",
}
PARTIES = ["a_party", "b_party", "c_party", "imsi", "imei", "address"]
LIVE = {}
db = duckdb.connect()
db.execute("SET TimeZone='UTC'")


def manifests():
    paths = sorted(glob.glob(f"{SITE}/lake/_batches/{FEED}/files/*.json"))
    read = [json.load(open(p)) for p in paths]
    assert [m["number"] for m in read] == list(range(1, len(read) + 1)), "numbers have a gap"
    for m in read:
        c = m["counts"]
        left = c["records_in"] + c["open_before"]
        right = c["veiled"] + c["joined"] + c["quarantined"] + c["dropped"] + c["open_after"]
        assert left == right, f"manifest {m['number']} does not balance: {c}"
    for a, b in zip(read, read[1:]):
        assert a["counts"]["open_after"] == b["counts"]["open_before"], f"open halves of {b['number']}"
        assert (a["watermark_ms"] or 0) <= (b["watermark_ms"] or 0), f"the watermark went back in {b['number']}"
    files = [s["file"] for m in read for s in m["sources"] if s["file"]]
    assert len(files) == len(set(files)), "a file was loaded twice"
    return read


def open_table(name, batches):
    """A view of the live rows; the log holds the files of the manifests, all and no others, once, or
    compacted files in their place, with as many rows (of identities, duplicates left out)."""
    folder = f"{SITE}/{TABLES[name]}"
    table = deltalake.DeltaTable(folder)
    mark = table.transaction_version(f"{FEED}/files")
    assert (mark or 0) == len(batches), f"{name}: mark {mark} after {len(batches)} manifests"
    live = [os.path.relpath(u.removeprefix("file://"), os.path.abspath(folder)) for u in table.file_uris()]
    named = [a["path"] for m in batches for a in m["adds"].get(name, [])]
    assert len(set(named)) == len(named), f"{name}: a file is named by two manifests"
    assert len(set(live)) == len(live), f"{name}: a file is twice in the log"
    compacted = [p for p in live if os.path.basename(p).startswith("compacted-")]
    others = set(live) - set(compacted)
    assert others <= set(named), f"{name}: files that no manifest names"
    assert compacted or others == set(named), f"{name}: log {len(live)} files, manifests {len(named)}"
    rows = sum(a["rows"] for m in batches for a in m["adds"].get(name, []))
    if live:
        paths = [os.path.join(folder, p) for p in live]
        db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({paths!r}, hive_partitioning=true)")
        found = one(f"SELECT count(*) FROM {name}")
        fewer = name == "identities" and compacted and found < rows
        assert found == rows or fewer, f"{name}: {found} rows, manifests say {rows}"
    LIVE[name] = len(live)
    return rows


def one(sql):
    return db.execute(sql).fetchone()[0]


def fingerprint(select):
    """Of a multiset of rows: how many, and the sum of their hashes."""
    rows, total = db.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM ({select}) t").fetchone()
    return f"{rows}:{total}"


def check_cdr(report):
    db.execute("CREATE TABLE known AS SELECT DISTINCT pseudonym FROM identities")
    columns = [r[0] for r in db.execute("DESCRIBE cdr").fetchall() if r[0] not in PARTIES + ["batch"]]
    # A pseudonym without identity is a random one, made anew each time: only that it is one counts.
    parties = [f"CASE WHEN {p} IS NULL THEN 'none' WHEN {p} IN (FROM known) THEN hex({p}) ELSE 'random' END AS {p}" for p in PARTIES]
    report["cdr"] = fingerprint(f"SELECT {', '.join(columns + parties)} FROM cdr")
    report["identities"] = fingerprint(f"SELECT DISTINCT pseudonym, kind FROM identities")
    unknown = " UNION ALL ".join(f"SELECT b_party_kind AS kind FROM cdr WHERE {p} IS NOT NULL AND {p} NOT IN (FROM known)" for p in PARTIES)
    report["random_by_called_kind"] = dict(db.execute(f"SELECT kind, count(*) FROM ({unknown}) GROUP BY kind ORDER BY kind").fetchall())


def check_sealed(report):
    for name in ["evidence", "identities", "quarantine"]:
        if one(f"SELECT count(*) FROM duckdb_views() WHERE view_name = '{name}'"):
            twice = one(f"SELECT count(*) - count(DISTINCT (block, row)) FROM {name}")
            assert twice == 0, f"{name}: {twice} sealed rows stand twice"
    report["evidence"] = fingerprint(f"SELECT event_day, {', '.join(f'{p} IS NULL' for p in PARTIES)} FROM evidence")
    if one("SELECT count(*) FROM duckdb_views() WHERE view_name = 'quarantine'"):
        report["quarantine"] = fingerprint('SELECT line, "offset", reason, "column", octet_length(sealed) FROM quarantine')


def check_tally(report):
    key = "hour, service, direction, a_country, b_country, network, currency"
    sums = ", ".join(f"sum({s})::HUGEINT AS {s}" for s in ["records", "answered", "seconds", "bytes", "charge_micro"])
    report["tally"] = fingerprint(f"SELECT {key}, {sums} FROM tally GROUP BY ALL")
    report["tally_records"] = int(one("SELECT sum(records) FROM tally"))
    by_hour = db.execute("SELECT strftime(hour, '%Y-%m-%dT%H'), sum(records)::BIGINT FROM tally GROUP BY ALL ORDER BY ALL")
    report["tally_by_hour"] = dict(by_hour.fetchall())
    # Calls to sensitive services enter no cube of traffic.
    by_day = "SELECT strftime({}, '%Y-%m-%d') AS day, sum({})::BIGINT FROM {} GROUP BY ALL ORDER BY ALL"
    traffic = "(FROM cdr WHERE b_party_kind NOT IN ('emergency', 'helpline'))"
    report["sensitive"] = one("SELECT count(*) FROM cdr") - one(f"SELECT count(*) FROM {traffic}")
    cdr = db.execute(by_day.format("start", "1", traffic)).fetchall()
    tally = db.execute(by_day.format("hour", "records", "tally")).fetchall()
    assert cdr == tally, f"cdr and tally differ by day: {cdr} {tally}"


def count_csv(report):
    records, hours = 0, collections.Counter()
    for path in CSV:
        raw = open(path, "rb").read()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else bz2.decompress(raw) if raw[:3] == b"BZh" else raw
        for line in raw.split(b"\n")[1:]:
            records += line != b""
            start = re.match(rb"(\d{4}-\d\d-\d\dT\d\d):\d\d:\d\dZ,", line)
            if start:
                hours[start[1].decode()] += 1
    report["csv_records"], report["csv_by_hour"] = records, dict(hours)


def main():
    batches = manifests()
    total = collections.Counter()
    for m in batches:
        total.update({k: v for k, v in m["counts"].items() if isinstance(v, int)})
    report = {"manifests": len(batches), "records_in": total["records_in"]}
    rows = {name: open_table(name, batches) for name in TABLES}
    assert rows["cdr"] == rows["evidence"] == total["veiled"], f"{rows} {total}"
    assert rows["quarantine"] == total["quarantined"], f"{rows} {total}"
    report.update(veiled=total["veiled"], quarantined=total["quarantined"])
    if rows["cdr"]:
        check_cdr(report)
        check_sealed(report)
        check_tally(report)
        counted = report["tally_records"] + report["sensitive"]
        assert counted == total["veiled"], f"tally {counted}, veiled {total['veiled']}"
    report["live_files"] = LIVE
    count_csv(report)
    print(json.dumps(report))


main()
