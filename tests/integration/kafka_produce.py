"""kafka_produce.py BOOTSTRAP TOPIC TRUTH FILE.csv [options]: a file of `cdrveil generate` as Kafka messages.

Keyed by A number. What was delivered, and nothing else, is added to the folder TRUTH: `records.csv`, the records that
must be found and where they stand; `refused.jsonl`, the places (partition, offset, line in the message; line null where it does not matter)
that must be in quarantine. Ends well only when every message was acknowledged by the brokers in step.

  --shape one|blocks|mixed    one record a message; 100; or 1 to 60, some compressed, with odd line ends
          whole               all of them in one message
  --header                    every message begins with the header line
  --poison SHARE              so many messages more that must be refused, in part or whole
  --transactions              in transactions, of which one in four is aborted; what was in those is in no truth
  --rate N                    records a second
  --codec NAME                what Kafka compresses with
"""

import argparse
import bz2
import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaException, Producer

from oracle import answer

BLOCK = 100
IN_TRANSACTION = 40


class Message:
    """What is sent, which records must come of it, which of its lines must be refused."""

    def __init__(self, key, value, records=(), refused=()):
        self.key, self.value, self.records, self.refused = key, value, list(records), list(refused)
        self.place = None


def options():
    parser = argparse.ArgumentParser()
    for name in ["bootstrap", "topic", "truth", "file"]:
        parser.add_argument(name)
    parser.add_argument("--shape", choices=["one", "blocks", "mixed", "whole"], default="one")
    parser.add_argument("--header", action="store_true")
    parser.add_argument("--poison", type=float, default=0.0)
    parser.add_argument("--transactions", action="store_true")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--codec", default="none")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def messages(given, lines, header):
    rng = random.Random(given.seed)
    at, a_number = 0, header.split(",").index("a_number")
    while at < len(lines):
        count = {"one": 1, "blocks": BLOCK, "whole": len(lines)}.get(given.shape) or rng.choice([1, 1, 2, 7, 20, 60])
        block = lines[at : at + count]
        at += len(block)
        key = block[0].split(",")[a_number].encode()
        yield Message(key, packed(given, rng, text(given, rng, header, block)), block)
        if rng.random() < given.poison:
            yield poison(given, rng, header, block[0], key)


def text(given, rng, header, block):
    mixed = given.shape == "mixed"
    end = rng.choice(["\n", "\r\n"]) if mixed else "\n"
    whole = ([header] if given.header else []) + list(block)
    # The last line may lack its end: the message ends it.
    last = "" if mixed and rng.random() < 0.5 else end
    return (end.join(whole) + last).encode()


def packed(given, rng, value):
    if given.shape != "mixed":
        return value
    how = rng.choice(["no", "no", "gzip", "bzip2", "zstd"])
    if how == "gzip":
        return gzip.compress(value)
    if how == "bzip2":
        return bz2.compress(value)
    if how == "zstd" and rng.random() < 0.1:  # a process each
        return subprocess.run(["zstd", "-q", "-c"], input=value, stdout=subprocess.PIPE, check=True).stdout
    return value


def poison(given, rng, header, line, key):
    """A message that must be refused, or one of whose lines must be, with the lines counted from 1."""
    first = 2 if given.header else 1
    lead = (header + "\n" if given.header else "").encode()
    fields = line.split(",")
    start = header.split(",").index("start")
    bad_time = ",".join(fields[:start] + ["2026-13-45T00:00:00Z"] + fields[start + 1 :])
    kind = rng.choice(["time", "middle", "columns", "quote", "bytes", "torn", "empty", "tombstone"])
    if kind == "time":
        return Message(key, lead + bad_time.encode(), refused=[first])
    if kind == "middle":
        value = "\n".join([line, bad_time, line]).encode()
        return Message(key, lead + value, [line, line], [first + 1])
    if kind == "columns":
        return Message(key, lead + b"only,three,columns\n", refused=[first])
    if kind == "quote":
        return Message(key, lead + ('"' + line).encode(), refused=[first])
    if kind == "bytes":
        return Message(key, lead + bytes([0xFF, 0xFE, 0x80]) * 7, refused=[first])
    if kind == "torn":
        whole = gzip.compress("\n".join([header] * given.header + [line] * 50).encode())
        return Message(key, whole[: len(whole) * 2 // 3], refused=[None])
    return Message(key, b"" if kind == "empty" else None)


class Sender:
    def __init__(self, given):
        settings = {"bootstrap.servers": given.bootstrap, "acks": "all", "enable.idempotence": True, "log_level": 0,
                    "compression.type": given.codec, "linger.ms": 5, "message.max.bytes": 16_000_000,
                    "message.timeout.ms": 240_000, "reconnect.backoff.max.ms": 1000}
        if given.transactions:
            settings |= {"transactional.id": f"producer-{given.topic}-{given.seed}", "transaction.timeout.ms": 240_000}
        self.topic, self.producer, self.failed = given.topic, Producer(settings), []

    def send(self, message):
        def delivered(error, report):
            if error is not None:
                self.failed.append(str(error))
            else:
                message.place = (report.partition(), report.offset())

        while True:
            try:
                self.producer.produce(self.topic, message.value, message.key, on_delivery=delivered)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def flush(self):
        self.producer.flush()
        if self.failed:
            sys.exit(f"{len(self.failed)} messages were not delivered: {self.failed[0]}")


def patiently(step):
    """Retries what librdkafka says may be tried again."""
    until = time.monotonic() + 240
    while True:
        try:
            return step()
        except KafkaException as e:
            error = e.args[0]
            if not error.retriable() or time.monotonic() > until:
                raise


def in_transactions(sender, all_messages, rng):
    """Sends and commits, or sends and aborts and sends again: so every message is committed once."""
    producer = sender.producer
    patiently(lambda: producer.init_transactions(60))
    for at in range(0, len(all_messages), IN_TRANSACTION):
        batch, aborts = all_messages[at : at + IN_TRANSACTION], rng.random() < 0.25
        while True:
            producer.begin_transaction()
            for message in batch:
                sender.send(message)
            if aborts:
                # What was written before the end of the transaction stands in the topic, aborted.
                sender.flush()
                patiently(lambda: producer.abort_transaction(60))
                aborts = False
                continue
            try:
                patiently(lambda: producer.commit_transaction(60))
                break
            except KafkaException as e:
                if not e.args[0].txn_requires_abort():
                    raise
                sender.failed.clear()
                patiently(lambda: producer.abort_transaction(60))


def main():
    given = options()
    with open(given.file, newline="") as file:
        header, *lines = file.read().splitlines()
    all_messages = list(messages(given, lines, header))
    sender = Sender(given)
    if given.transactions:
        in_transactions(sender, all_messages, random.Random(given.seed))
    else:
        begun, sent = time.monotonic(), 0
        for message in all_messages:
            sender.send(message)
            sent += len(message.records)
            ahead = given.rate and sent / given.rate - (time.monotonic() - begun)
            if ahead > 0.01:
                sender.producer.poll(ahead)
    sender.flush()
    assert all(m.place is not None for m in all_messages)
    truth(Path(given.truth), given.topic, header, all_messages)
    answer({"messages": len(all_messages), "records": sum(len(m.records) for m in all_messages),
            "refused": sum(len(m.refused) for m in all_messages)})


def truth(folder, topic, header, all_messages):
    folder.mkdir(exist_ok=True)
    records = folder / "records.csv"
    new = not records.exists()
    with open(records, "a") as file:
        if new:
            file.write(header + ",kafka_topic,kafka_partition,kafka_offset\n")
        for message in all_messages:
            place = f",{topic},{message.place[0]},{message.place[1]}\n"
            file.writelines(line + place for line in message.records)
    with open(folder / "refused.jsonl", "a") as file:
        for message in all_messages:
            for line in message.refused:
                partition, offset = message.place
                file.write(json.dumps({"topic": topic, "partition": partition, "offset": offset, "line": line}) + "\n")


main()
