"""recount.py SITE FILE.csv KEYS.json: counts a file of `cdrveil generate --country BE` on its own and compares.

KEYS.json holds the epoch keys in hex by month. Compared exactly: how often every pseudonym stands in every
identifier column of lake/cdr, rows by class, tally cells. Then the release rules are applied to the recount with
k = 20, and the cells that must be shown are printed for comparison with what `cdrveil query` answers."""

import csv
import json
import re
import sys
from collections import Counter, defaultdict
from datetime import timezone
from pathlib import Path

from oracle import IDENTIFIERS, answer, check, domain_key, pseudonym, table

THRESHOLD = 20
COUNTRIES = {"32": "BE", "31": "NL", "33": "FR", "49": "DE", "44": "GB", "353": "IE", "46": "SE", "1": "US", "43": "AT"}
TOKENS = {"anonymous": "withheld", "unavailable": "unavailable", "": "absent"}
CLASSES = {"e164": 1, "imsi": 2, "imei": 3, "short": 6, "service": 8}
NUMBERING = Path(__file__).parents[2] / "schemas" / "numbering"


def rows_of(name: str):
    for line in (NUMBERING / name).read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.split("\t")


SERVICES = {code: tuple(leads.split(",")) for code, leads in rows_of("services.tsv")}
SENSITIVE = [
    (re.compile(number.replace("x", r"\d") + "$"), category)
    for code, category, numbers, *_ in rows_of("sensitive.tsv")
    if code in ("32", "*")
    for number in numbers.split(",")
]


def number(text: str):
    """(kind, canonical form, country) of a number field as a Belgian switch writes it."""
    if text in TOKENS:
        return TOKENS[text], None, None
    text = text.removeprefix("tel:")
    if text.startswith("sip:"):
        text = text.removeprefix("sip:").split("@")[0]
    category = next((c for pattern, c in SENSITIVE if pattern.match(text)), None)
    if category:
        return category, None, "BE"
    if text.startswith("+"):
        digits = text[1:]
    elif text.startswith("00"):
        digits = text[2:]
    elif text.startswith("0"):
        digits = "32" + text[1:]
    else:
        return "short", "32#" + text, "BE"
    code = next(digits[:n] for n in (1, 2, 3) if digits[:n] in COUNTRIES)
    kind = "service" if digits[len(code):].startswith(SERVICES.get(code, ())) else "e164"
    return kind, "+" + digits, COUNTRIES[code]


def parties(row: dict) -> tuple[dict, bool]:
    """(kind, canonical form, country) by column of `cdr`, and whether the call is a sensitive one."""
    ids = {"a_party": number(row["a_number"]), "b_party": number(row["b_number"]), "c_party": number(row["c_number"])}
    ids["imsi"] = ("imsi", row["imsi"], None) if row["imsi"] else ("absent", None, None)
    ids["imei"] = ("imei", row["imei"][:14], None) if row["imei"] else ("absent", None, None)
    ids["address"] = ("absent", None, None)
    return ids, any(kind in ("emergency", "helpline") for kind, _, _ in ids.values())


class Recount:
    def __init__(self, keys: dict[str, str]):
        self.keys = {epoch: domain_key(bytes.fromhex(key), "analytics", epoch) for epoch, key in keys.items()}
        self.pseudonyms: dict[tuple, bytes] = {}
        self.columns = {name: Counter() for name in IDENTIFIERS}
        self.kinds = {name: Counter() for name in IDENTIFIERS}
        self.cells = defaultdict(lambda: {"records": 0, "answered": 0, "seconds": 0, "charge_micro": 0, "a": Counter(), "b": Counter()})
        self.rows = self.sensitive = 0

    def pseudonym(self, epoch: str, kind: str, text: str) -> bytes:
        key = (epoch, kind, text)
        if key not in self.pseudonyms:
            self.pseudonyms[key] = pseudonym(self.keys[epoch], CLASSES[kind], text)
        return self.pseudonyms[key]

    def take(self, row: dict) -> None:
        self.rows += 1
        epoch, hour = row["start"][:7], row["start"][:13]
        ids, sensitive = parties(row)
        self.sensitive += sensitive
        for column, (kind, text, _) in ids.items():
            self.kinds[column][kind] += 1
            if text and not sensitive:
                self.columns[column][self.pseudonym(epoch, kind, text)] += 1
        if sensitive:
            return
        network = row["network"] or (f"{row['imsi'][:3]}-{row['imsi'][3:5]}" if row["imsi"] else None)
        currency = row["currency"] if row["charge"] else None
        key = (hour, "voice", row["direction"], ids["a_party"][2], ids["b_party"][2], network, currency)
        cell, seconds = self.cells[key], int(row["duration"])
        cell["records"] += 1
        cell["answered"] += row["answered"] == "true"
        cell["seconds"] += seconds
        cell["charge_micro"] += round(float(row["charge"]) * 1_000_000) if row["charge"] else 0
        # The SIM of a terminating record is the called party's.
        sim = ids["imsi"] if row["direction"] != "MT" else None
        for side, party in (("a", self.somebody(ids["a_party"], sim)), ("b", self.somebody(ids["b_party"]))):
            cell[side][party] += seconds

    def somebody(self, first, second=None):
        """Whom a record is counted under: its number or URI, else its SIM; what is no person is nobody."""
        kind, text, _ = first
        if text and kind in ("e164", "uri"):
            return kind, text
        return ("imsi", second[1]) if second and second[1] else None

    def released(self):
        """What the internal audience must be shown."""
        for key, cell in sorted(self.cells.items(), key=str):
            # Two namings may be one person: the larger count, never the sum.
            namings = [Counter(party[0] for party in cell[side] if party) for side in "ab"]
            a, b = (max(naming.values(), default=0) for naming in namings)
            if a >= THRESHOLD and b >= THRESHOLD:
                yield key, cell, a, b


def compare_cdr(site: str, recount: Recount) -> None:
    lake = table(site, "lake/cdr").to_pyarrow_table()
    check(lake.num_rows == recount.rows, f"{lake.num_rows} rows in cdr, {recount.rows} in the file")
    kinds = {name: lake[name + "_kind"].to_pylist() for name in IDENTIFIERS}
    unlinkable = [any(kinds[name][i] in ("emergency", "helpline") for name in IDENTIFIERS) for i in range(lake.num_rows)]
    check(sum(unlinkable) == recount.sensitive, f"{sum(unlinkable)} sensitive rows, {recount.sensitive} in the file")
    for name in IDENTIFIERS:
        check(Counter(kinds[name]) == recount.kinds[name], f"{name}: {Counter(kinds[name])} != {recount.kinds[name]}")
        found, once = Counter(), []
        for value, alone in zip(lake[name].to_pylist(), unlinkable):
            if value is not None and alone:
                once.append(value)
            elif value is not None:
                found[value] += 1
        check(found == recount.columns[name], f"{name}: pseudonyms differ from the recount")
        check(len(once) == len(set(once)) and not found.keys() & set(once), f"{name}: a sensitive call can be linked")


def compare_tally(site: str, recount: Recount) -> None:
    sums = ["records", "answered", "seconds", "charge_micro"]
    found = defaultdict(lambda: dict.fromkeys(sums, 0))
    for row in table(site, "lake/tally").to_pyarrow_table().to_pylist():
        hour = row["hour"].astimezone(timezone.utc).strftime("%Y-%m-%dT%H")
        key = (hour, *(row[d] for d in ("service", "direction", "a_country", "b_country", "network", "currency")))
        for name in sums:
            found[key][name] += row[name]
    expected = {key: {name: cell[name] for name in sums} for key, cell in recount.cells.items()}
    check(found.keys() == expected.keys(), f"cells differ: {sorted(found.keys() ^ expected.keys(), key=str)[:5]}")
    for key, values in expected.items():
        check(found[key] == values, f"{key}: tally {found[key]}, recount {values}")


def main() -> None:
    site, path, keys = sys.argv[1:]
    recount = Recount(json.loads(Path(keys).read_text()))
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            recount.take(row)
    compare_cdr(site, recount)
    compare_tally(site, recount)
    shown = []
    for (hour, service, direction, a_country, b_country, network, currency), cell, a, b in recount.released():
        shares = [sorted(cell[side].values(), reverse=True)[:2] for side in "ab"]
        dominated = any(s[0] * 2 > cell["seconds"] or sum(s) * 10 > cell["seconds"] * 8 for s in shares)
        shown.append({"hour": hour + ":00:00Z", "service": service, "direction": direction, "a_country": a_country,
                      "b_country": b_country, "network": network, "currency": currency, "records": cell["records"],
                      "answered": cell["answered"], "seconds": cell["seconds"], "charge_micro": cell["charge_micro"],
                      "a_parties": a, "b_parties": b, "dominated": dominated})
    answer({"rows": recount.rows, "sensitive": recount.sensitive, "cells": len(recount.cells), "shown": shown})


if __name__ == "__main__":
    main()
