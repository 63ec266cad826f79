"""quarantine_recount.py SITE FEED: what a site's tables and manifests say of refused records, read from outside.

Delta logs by Python deltalake, rows by DuckDB; nothing of cdrveil's own code. Checks what must hold of any site, replayed
or not, however often it was interrupted, and prints one JSON object with counts and fingerprints that are the same for
any two sites which loaded and replayed the same records under the same keys."""

import collections
import glob
import json
import os

import duckdb

from oracle import IDENTIFIERS, TABLES, answer, check, table

import sys

SITE, FEED = sys.argv[1:]
PARTITIONS = ["files", "replay"]
db = duckdb.connect()
db.execute("SET TimeZone='UTC'")


def manifests(partition):
    read = [json.load(open(p)) for p in sorted(glob.glob(f"{SITE}/lake/_batches/{FEED}/{partition}/*.json"))]
    check([m["number"] for m in read] == list(range(1, len(read) + 1)), f"{partition}: numbers have a gap")
    for m in read:
        c = m["counts"]
        right = c["veiled"] + c["joined"] + c["quarantined"] + c["dropped"] + c["open_after"]
        check(c["records_in"] + c["open_before"] == right, f"{partition}/{m['number']} does not balance: {c}")
        check(("replay" in m) == (partition == "replay"), f"{partition}/{m['number']} is of the other kind")
    return read


def open_table(path, batches):
    """A view of the live rows: the log holds the files of all manifests and no others, once."""
    live = [os.path.relpath(u.removeprefix("file://"), f"{SITE}/{path}") for u in table(SITE, path).file_uris()]
    name = path.split("/")[1]
    named = [a["path"] for some in batches.values() for m in some for a in m["adds"].get(name, [])]
    check(sorted(live) == sorted(named) and len(set(named)) == len(named), f"{name}: {len(live)} files live, {len(named)} named")
    for partition, some in batches.items():
        mark = table(SITE, path).transaction_version(f"{FEED}/{partition}") or 0
        check(mark == len(some), f"{name}: mark {mark} of {partition} after {len(some)} manifests")
    if live:
        paths = [os.path.join(SITE, path, p) for p in live]
        db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({paths!r}, hive_partitioning=true)")
    return sum(a["rows"] for some in batches.values() for m in some for a in m["adds"].get(name, []))


def fingerprint(select):
    rows, total = db.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM ({select}) t").fetchone()
    return f"{rows}:{total}"


def decisions(replays):
    """Outcome by (block, row), each decided once, and all of them of rows that stand in the table."""
    found = {}
    for m in replays:
        check(m["counts"]["quarantined"] == 0, "a replay refused something anew")
        check(m["finished"], "a replay is a finite run")
        of_this = [(r["block"], row, r["outcome"]) for r in m["replay"]["resolved"] for row in r["rows"]]
        check(len(of_this) == sum(m["replay"]["resolved_by"].values()), "resolved_by does not add up")
        for block, row, outcome in of_this:
            check((block, row) not in found, f"{block}-{row} was decided twice")
            found[block, row] = outcome
    stand = set(db.execute("SELECT lower(hex(block)), row FROM quarantine").fetchall())
    check(set(found) <= stand, "a decision is on a row that never stood in the table")
    return found, len(stand)


def main():
    batches = {partition: manifests(partition) for partition in PARTITIONS}
    rows = {path.split("/")[1]: open_table(path, batches) for path in TABLES}
    total = collections.Counter()
    for m in batches["files"] + batches["replay"]:
        total.update({k: v for k, v in m["counts"].items() if isinstance(v, int)})
    check(rows["cdr"] == rows["evidence"] == total["veiled"], f"{rows} {total}")
    check(rows["quarantine"] == total["quarantined"], f"{rows} {total}")
    decided, stand = decisions(batches["replay"])
    db.execute("CREATE TABLE known AS SELECT DISTINCT pseudonym FROM identities")
    unknown = " OR ".join(f"({p} IS NOT NULL AND {p} NOT IN (FROM known))" for p in IDENTIFIERS)
    # Calls to sensitive services have a random pseudonym and enter no cube of traffic.
    traffic = "(FROM cdr WHERE b_party_kind NOT IN ('emergency', 'helpline'))"
    [strangers] = db.execute(f"SELECT count(*) FROM {traffic} WHERE {unknown}").fetchone()
    check(strangers == 0, f"{strangers} rows of cdr have a pseudonym without an identity")
    [tallied] = db.execute("SELECT sum(records)::BIGINT FROM tally").fetchone()
    [counted] = db.execute(f"SELECT count(*) FROM {traffic}").fetchone()
    check(tallied == counted, f"{tallied} records tallied, {counted} in cdr")
    by_batch = db.execute("SELECT batch, count(*) FROM cdr GROUP BY ALL").fetchall()
    of_replays = {m["batch"] for m in batches["replay"]}
    columns = [r[0] for r in db.execute("DESCRIBE cdr").fetchall() if r[0] != "batch"]
    outcomes = collections.Counter(decided.values())
    answer({
        "cdr": rows["cdr"], "quarantine": stand, "waiting": stand - len(decided), "outcomes": outcomes,
        "replayed_rows": sum(n for batch, n in by_batch if batch in of_replays), "replays": len(batches["replay"]),
        "rows": fingerprint(f"SELECT {', '.join(columns)} FROM cdr"),
        "tally": fingerprint("SELECT hour, service, direction, a_country, b_country, sum(records)::BIGINT, sum(seconds)::BIGINT FROM tally GROUP BY ALL"),
        "identities": fingerprint("SELECT DISTINCT pseudonym, kind FROM identities"),
    })


main()
