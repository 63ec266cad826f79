"""kafka_recount.py SITE FEED TRUTH KEYS.json [BROKERS VEILED_TOPIC RECIPIENT [DEAD_LETTER_TOPIC]]: does a site hold every record of some topics exactly once?

TRUTH is what kafka_produce.py wrote (less what retention took: lost.json), KEYS.json the epoch keys in hex by month. Every row of lake/cdr, every cell of
lake/tally, every blind index of vault/evidence, every pseudonym of vault/identities and every place in
vault/quarantine is worked out anew from the truth, as a multiset, and compared; the batch log must be whole, and the
tables hold the files of its manifests and no others. With a sink, its topics are read too: veiled_recount.py. Nothing here is cdrveil's own code.

Prints the counts, and by partition the next offset of the batch log."""

import json
import sys
from collections import Counter
from csv import DictReader
from datetime import datetime, timedelta, timezone
from pathlib import Path

from oracle import IDENTIFIERS, TABLES, answer, check, files, table
from recount import CLASSES, Recount, compare_cdr, compare_tally, parties
from oracle import lp
import hmac
import veiled_recount

DURATIONS = [0, 1, 10, 30, 60, 120, 300, 600, 1800, 3600]
CHARGES = [0, 1, 100_000, 500_000, 1_000_000, 5_000_000, 20_000_000, 100_000_000]


def manifests(site: str, feed: str) -> dict[str, list[dict]]:
    """The batch logs of the feed by partition, each whole and balanced, its offsets only going up."""
    found, named = {}, Counter()
    for folder in sorted(Path(site, "lake/_batches", feed).iterdir()):
        log = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]
        numbers = [m["number"] for m in log]
        check(numbers == list(range(1, len(log) + 1)), f"{folder.name}: numbers {numbers}")
        next_offset = 0
        for m in log:
            c = m["counts"]
            told = c["veiled"] + c["joined"] + c["quarantined"] + c["dropped"] + c["open_after"]
            check(c["records_in"] + c["open_before"] == told, f"{folder.name} {m['number']} does not balance: {c}")
            for adds in m["adds"].values():
                named.update(a["path"] for a in adds)
            stream = m.get("stream")
            if stream is None:
                continue
            check(f"{stream['topic']}-{stream['partition']}" == folder.name, f"{folder.name} tells of {stream}")
            check(all(s["file"] is None for s in m["sources"]), f"{folder.name}: {m['sources']}")
            for source in m["sources"]:
                check(next_offset <= source["offset"] <= stream["next_offset"],
                      f"{folder.name} {m['number']}: read from {source['offset']}, {next_offset} was next")
            check(stream["next_offset"] >= next_offset, f"{folder.name} {m['number']} goes back")
            next_offset = stream["next_offset"]
        found[folder.name] = log
    twice = [path for path, times in named.items() if times > 1]
    check(not twice, f"files that two manifests name: {twice[:3]}")
    return found


def tables_hold_the_manifests(site: str, feed: str, logs: dict[str, list[dict]]) -> None:
    for name in TABLES:
        delta, short = table(site, name), name.split("/")[1]
        for partition, log in logs.items():
            mark = delta.transaction_version(f"{feed}/{partition}")
            check((mark or 0) == len(log), f"{name}: {partition} stands at {mark} of {len(log)}")
        named = [a["path"] for log in logs.values() for m in log for a in m["adds"].get(short, [])]
        root = str(Path(site, name).resolve()) + "/"
        live = [str(Path(p).resolve()).removeprefix(root) for p in files(site, name)]
        check(sorted(live) == sorted(named), f"{name}: {len(live)} files in its log, {len(named)} in the manifests")


def bucket(bounds: list[int], value: int) -> int:
    return max(b for b in bounds if b <= max(value, 0))


class Expected(Recount):
    """Rows as they must stand in `cdr` and `evidence`, and whose identities must be there."""

    def __init__(self, keys: dict[str, str]):
        super().__init__(keys)
        self.cdr, self.evidence, self.identities, self.hashes = Counter(), Counter(), set(), {}

    def hash(self, epoch: str, kind: str, text: str) -> bytes:
        key = (epoch, kind, text)
        if key not in self.hashes:
            message = b"cdrveil/v1/id" + bytes([CLASSES[kind]]) + lp(text.encode())
            self.hashes[key] = hmac.digest(self.keys[epoch], message, "sha256")
        return self.hashes[key]

    def take(self, row: dict) -> None:
        super().take(row)
        ids, sensitive = parties(row)
        epoch, when = row["start"][:7], datetime.fromisoformat(row["start"])
        whole = {name: self.hash(epoch, kind, text) if text else None for name, (kind, text, _) in ids.items()}
        blind = [whole[name] and whole[name][16:] for name in IDENTIFIERS]
        self.evidence[(when.date(), *blind)] += 1
        kinds = [ids[name][0] for name in IDENTIFIERS]
        if sensitive:
            linked = [whole[name] and b"random" for name in IDENTIFIERS]
            day = when.replace(hour=0, minute=0, second=0)
            self.cdr[(day, row["direction"], None, None, None, None, *linked, *kinds)] += 1
            return
        linked = [whole[name] and whole[name][:16] for name in IDENTIFIERS]
        self.identities |= {(epoch, p) for p in linked if p}
        charge = bucket(CHARGES, round(float(row["charge"]) * 1_000_000)) if row["charge"] else None
        quarter = when - timedelta(minutes=when.minute % 15, seconds=when.second)
        coarse = (quarter, row["direction"], bucket(DURATIONS, int(row["duration"])), charge,
                  row["currency"] or None if row["charge"] else None, row["answered"] == "true")
        self.cdr[(*coarse, *linked, *kinds)] += 1


def cdr_rows(site: str) -> Counter:
    found, alone = Counter(), []
    columns = ["start", "direction", "duration", "charge", "currency", "answered"]
    kinds = [name + "_kind" for name in IDENTIFIERS]
    rows = table(site, "lake/cdr").to_pyarrow_table(columns=columns + IDENTIFIERS + kinds).to_pydict()
    for row in zip(*(rows[name] for name in columns + IDENTIFIERS + kinds)):
        row = list(row)
        row[0] = row[0].astimezone(timezone.utc)
        if row[4] is not None and row[3] is None:
            row[4] = None
        if any(kind in ("emergency", "helpline") for kind in row[-6:]):
            alone += [p for p in row[6:12] if p]
            row[6:12] = [p and b"random" for p in row[6:12]]
        found[tuple(row)] += 1
    check(len(alone) == len(set(alone)), "calls to sensitive services can be linked")
    return found


def sealed_once(site: str, name: str, *columns: str) -> list[tuple]:
    """Rows of a sealed table; each sealed row stands in it once."""
    rows = table(site, name).to_pyarrow_table(columns=["block", "row", *columns]).to_pydict()
    seals = list(zip(rows["block"], rows["row"]))
    check(len(seals) == len(set(seals)), f"{name}: {len(seals) - len(set(seals))} sealed rows stand twice")
    return list(zip(*(rows[c] for c in columns)))


def same(what: str, found: Counter, expected: Counter) -> None:
    missing, extra = expected - found, found - expected
    check(not missing and not extra,
          f"{what}: {missing.total()} of {expected.total()} are missing, {extra.total()} too many")


def quarantine(site: str, feed: str, logs: dict[str, list[dict]], refused: list[dict]) -> None:
    """Every refused place once. Where the truth does not care for the line, neither does this."""
    of_batch = {m["batch"]: (m["stream"]["topic"], m["stream"]["partition"]) for log in logs.values() for m in log}
    found, any_line = Counter(), {(r["topic"], r["partition"], r["offset"]) for r in refused if r["line"] is None}
    for name, batch, offset, line in sealed_once(site, "vault/quarantine", "feed", "batch", "offset", "line"):
        if name == feed:
            place = (*of_batch[batch], offset)
            found[(*place, None if place in any_line else line)] += 1
    expected = Counter()
    for r in refused:
        expected[(r["topic"], r["partition"], r["offset"], r["line"])] += r.get("pieces", 1)
    same("quarantine", found, expected)


def main() -> None:
    site, feed, truth, keys, *sink = sys.argv[1:]
    logs = manifests(site, feed)
    tables_hold_the_manifests(site, feed, logs)
    epoch_keys = json.loads(Path(keys).read_text())
    expected = Expected(epoch_keys)
    gaps = Path(truth, "lost.json")
    lost = json.loads(gaps.read_text()) if gaps.exists() else []
    with open(Path(truth, "records.csv"), newline="") as file:
        for row in DictReader(file):
            place = (row["kafka_topic"], int(row["kafka_partition"]), int(row["kafka_offset"]))
            if not any((g["topic"], g["partition"]) == place[:2] and g["from"] <= place[2] < g["to"] for g in lost):
                expected.take(row)
    refused = [json.loads(line) for line in Path(truth, "refused.jsonl").read_text().splitlines()]
    total = Counter()
    for log in logs.values():
        for m in log:
            total.update({k: v for k, v in m["counts"].items() if isinstance(v, int)})
    check((total["veiled"], total["quarantined"]) == (expected.rows, len(refused)),
          f"manifests tell of {total}, the truth has {expected.rows} records and {len(refused)} refused")
    same("cdr", cdr_rows(site), expected.cdr)
    compare_cdr(site, expected)
    compare_tally(site, expected)
    same("evidence", Counter(sealed_once(site, "vault/evidence", "event_day", *IDENTIFIERS)), expected.evidence)
    identities = set(sealed_once(site, "vault/identities", "epoch", "pseudonym"))
    check(identities == expected.identities, f"{len(identities ^ expected.identities)} identities differ")
    quarantine(site, feed, logs, refused)
    sink = {"sink": veiled_recount.recount(site, feed, expected.cdr, epoch_keys, refused, sink)} if sink else {}
    positions = {name: log[-1]["stream"]["next_offset"] for name, log in logs.items() if log and log[-1].get("stream")}
    skipped = {name: sum((m.get("stream") or {}).get("skipped", 0) for m in log) for name, log in logs.items()}
    answer({"records": expected.rows, "refused": len(refused), "sensitive": expected.sensitive, "positions": positions,
            "skipped": {name: n for name, n in skipped.items() if n}, "batches": sum(map(len, logs.values())), **sink})


main()
