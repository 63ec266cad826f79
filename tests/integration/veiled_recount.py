"""What the Kafka sink wrote, read from outside in read_committed: every record once, under the recipient's pseudonyms.

Checked against the truth (chained pseudonyms worked out from the epoch keys) and, in every field, against lake/cdr.
JSON is read by the standard library, Avro by fastavro under the published schema. Nothing here is cdrveil's own code."""

import base64
import hmac
import io
import json
import time
from collections import Counter, defaultdict
from datetime import datetime, timezone
from pathlib import Path

import fastavro
from confluent_kafka import Consumer, KafkaError, TopicPartition

from oracle import IDENTIFIERS, check, domain_key, lp, table
from recount import CLASSES

PLAIN = ["epoch", "service", "direction", "start", "duration", "volume", "charge", "currency", "answered", "cause_class",
         "a_country", "b_country", "home_network", "visited_network", "trunk_in", "trunk_out", "feed", "canon"]
KINDS = [name + "_kind" for name in IDENTIFIERS]
SENSITIVE = ("emergency", "helpline")
SCHEMA = fastavro.parse_schema(json.loads((Path(__file__).parents[2] / "schemas/kafka/cdr.veiled.avsc").read_text()))
PATIENCE = 120


def consumer(brokers: str, isolation: str) -> Consumer:
    return Consumer({"bootstrap.servers": brokers, "group.id": "recount", "isolation.level": isolation, "log_level": 0,
                     "enable.partition.eof": True, "enable.auto.commit": False, "auto.offset.reset": "earliest"})


def messages(brokers: str, topic: str) -> tuple[list, int]:
    """All committed messages of a topic in which no transaction is open any more; how many partitions it has."""
    reader, end = consumer(brokers, "read_committed"), consumer(brokers, "read_uncommitted")
    found = reader.list_topics(topic, 30).topics[topic].partitions
    places = [TopicPartition(topic, number, 0) for number in found]
    until = time.monotonic() + PATIENCE
    while any(reader.get_watermark_offsets(p, 30) != end.get_watermark_offsets(p, 30) for p in places):
        check(time.monotonic() < until, f"{topic}: a transaction is open for {PATIENCE} s")
        time.sleep(0.5)
    reader.assign(places)
    read, ended = [], set()
    while len(ended) < len(places):
        for message in reader.consume(10_000, 1):
            if message.error() is None:
                read.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                check(False, f"{topic}: {message.error()}")
        check(time.monotonic() < until + PATIENCE, f"{topic}: it has no end")
    reader.close()
    return read, len(places)


def record(value: bytes) -> dict:
    """A message's record, pseudonyms as bytes, the start as a time."""
    if value[:1] == b"{":
        row = json.loads(value)
        for name in IDENTIFIERS:
            row[name] = row[name] and bytes.fromhex(row[name])
        row["start"] = datetime.fromisoformat(row["start"])
        return row
    check(value[0] == 0 and int.from_bytes(value[1:5], "big") == 7, f"framed as {value[:5].hex()}")
    body = io.BytesIO(value[5:])
    row = fastavro.schemaless_reader(body, SCHEMA)
    check(body.read() == b"", "bytes are left over")
    return row


def murmur2(data: bytes) -> int:
    """As Java's clients place keys."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    for at in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        h = (h * m ^ (k ^ k >> 24) * m) & mask
    check(len(data) % 4 == 0, "keys are of 16 bytes")
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


class Chain:
    """The recipient's pseudonyms of the lake's."""

    def __init__(self, epoch_keys: dict[str, str], recipient: str):
        self.keys = {e: domain_key(bytes.fromhex(key), f"recipient:{recipient}", e) for e, key in epoch_keys.items()}
        self.known: dict[tuple, bytes] = {}

    def of(self, epoch: str, kind: str, lake: bytes) -> bytes:
        key = (epoch, kind, lake)
        if key not in self.known:
            message = b"cdrveil/v1/xp" + bytes([CLASSES[kind]]) + lp(lake)
            self.known[key] = hmac.digest(self.keys[epoch], message, "sha256")[:16]
        return self.known[key]

    def row(self, epoch: str, linked: list, kinds: list) -> list:
        return [p and (p if p == b"random" else self.of(epoch, kind, p)) for p, kind in zip(linked, kinds)]


def veiled(brokers: str, topic: str) -> list[dict]:
    """Records with random pseudonyms masked; each rightly keyed, placed and stamped."""
    rows, partitions, alone, linked = [], defaultdict(set), [], set()
    read, count = messages(brokers, topic)
    for message in read:
        row = record(message.value())
        sensitive = any(row[kind] in SENSITIVE for kind in KINDS)
        key = None if sensitive else row["a_party"]
        check(message.key() == key, f"keyed by {message.key()}")
        check(message.timestamp()[1] == round(row["start"].timestamp() * 1000), "stamped otherwise than its start")
        if key:
            partitions[key].add(message.partition())
        if sensitive:
            alone += [row[name] for name in IDENTIFIERS if row[name]]
            row.update({name: row[name] and b"random" for name in IDENTIFIERS})
        else:
            linked |= {row[name] for name in IDENTIFIERS if row[name]}
        rows.append(row)
    check(len(alone) == len(set(alone)) and not linked & set(alone), "a sensitive call can be linked")
    for key, found in partitions.items():
        check(found == {(murmur2(key) & 0x7FFFFFFF) % count}, f"a key lies in {found}")
    return rows


def same(what: str, found: Counter, expected: Counter) -> None:
    missing, extra = expected - found, found - expected
    check(not missing and not extra,
          f"{what}: {missing.total()} of {expected.total()} are missing, {extra.total()} too many")


def against_truth(rows: list[dict], expected: Counter, chain: Chain) -> None:
    """`expected` holds rows of cdr as kafka_recount.py works them out."""
    due = Counter()
    for row, times in expected.items():
        coarse, linked, kinds = row[:6], row[6:12], row[12:]
        due[(*coarse, *chain.row(coarse[0].strftime("%Y-%m"), linked, kinds), *kinds)] += times
    found = Counter()
    for row in rows:
        currency = row["currency"] if row["charge"] is not None else None
        coarse = (row["start"], row["direction"], row["duration"], row["charge"], currency, row["answered"])
        found[(*coarse, *(row[name] for name in IDENTIFIERS), *(row[kind] for kind in KINDS))] += 1
    same("the topic", found, due)


def against_lake(site: str, rows: list[dict], chain: Chain) -> None:
    """In every field as in `cdr`, and no other."""
    columns = PLAIN + IDENTIFIERS + KINDS
    check(all(set(row) == set(columns) for row in rows), "other fields than those of cdr")
    lake = table(site, "lake/cdr").to_pyarrow_table(columns=columns).to_pydict()
    due = Counter()
    for values in zip(*(lake[name] for name in columns)):
        row = dict(zip(columns, values))
        row["start"] = row["start"].astimezone(timezone.utc)
        linked, kinds = [row[name] for name in IDENTIFIERS], [row[kind] for kind in KINDS]
        if any(kind in SENSITIVE for kind in kinds):
            linked = [p and b"random" for p in linked]
        due[(*(row[name] for name in PLAIN), *chain.row(row["epoch"], linked, kinds), *kinds)] += 1
    same("the topic and the lake", Counter(tuple(row[name] for name in columns) for row in rows), due)


def dead_letters(brokers: str, topic: str, feed: str, refused: list[dict]) -> list[dict]:
    """All of them, what is sealed in hexadecimal."""
    any_line = {(r["topic"], r["partition"], r["offset"]) for r in refused if r["line"] is None}
    found, seals, letters = Counter(), [], []
    for message in messages(brokers, topic)[0]:
        letter = json.loads(message.value())
        check(message.key() is None and letter["feed"] == feed, "a dead letter is keyed, or of another feed")
        check(set(letter) == {"feed", "topic", "partition", "offset", "line", "reason", "column", "arrival_day", "sealed"},
              f"a dead letter holds {sorted(letter)}")
        place = (letter["topic"], letter["partition"], letter["offset"])
        found[(*place, None if place in any_line else letter["line"])] += 1
        seals.append((letter["sealed"]["block"], letter["sealed"]["row"]))
        letter["sealed"].update({n: base64.b64decode(letter["sealed"][n]).hex() for n in ("header", "bytes")})
        letters.append(letter)
    check(len(seals) == len(set(seals)), "a sealed row stands twice")
    same("dead letters", found, Counter((r["topic"], r["partition"], r["offset"], r["line"]) for r in refused))
    return letters


def recount(site: str, feed: str, expected: Counter, epoch_keys: dict, refused: list, arguments: list[str]) -> dict:
    brokers, topic, recipient, *letters = arguments
    chain = Chain(epoch_keys, recipient)
    rows = veiled(brokers, topic)
    against_truth(rows, expected, chain)
    against_lake(site, rows, chain)
    told = {"sent": len(rows)}
    if letters:
        told["letters"] = dead_letters(brokers, letters[0], feed, refused)
    return told
