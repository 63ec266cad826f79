"""leaks.py MARKERS.json ROOT...: looks for marked identifiers in every byte under the given folders.

Every file as it stands, every column of every Parquet file decoded, and every file name are searched for each marker
in the encodings below. Then the same search runs over a folder in which each encoding of each marker was planted:
what it does not find there, it could not have found before. Prints {"hits": [...], "missed": [...], "bytes": n}."""

import base64
import hashlib
import ipaddress
import json
import sys
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet

from oracle import answer


def bcd(digits: str, swap: bool) -> bytes:
    digits += "f" * (len(digits) % 2)
    pairs = [digits[i:i + 2] for i in range(0, len(digits), 2)]
    return bytes.fromhex("".join(pair[::-1] if swap else pair for pair in pairs))


def base64_inside(text: bytes) -> list[bytes]:
    """What the text looks like inside base64, at each of the three alignments, without its unstable edges."""
    found = []
    for lead in range(3):
        encoded = base64.b64encode(bytes(lead) + text).rstrip(b"=")
        found.append(encoded[(0, 2, 3)[lead]:][:-1])
    return found


def varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def notations(text: str) -> list[str]:
    """The ways a number is written; the shortest is part of all others."""
    if text.isdigit() and text.startswith("44"):
        return [text[2:], text, "+" + text, "0" + text[2:], "00" + text]
    return [text]


def needles(text: str):
    """(encoding, bytes) of one marker: a number as its digits with the calling code, or any other text."""
    core = notations(text)[0].encode()
    yield "ascii", core
    yield "utf-16le", core.decode().encode("utf-16le")
    yield "utf-16be", core.decode().encode("utf-16be")
    yield "hex", core.hex().encode()
    for i, encoded in enumerate(base64_inside(core)):
        yield f"base64+{i}", encoded
    for form in notations(text):
        for name in ("md5", "sha1", "sha256"):
            digest = hashlib.new(name, form.encode()).digest()
            yield f"{name} of {form}", digest
            yield f"{name} of {form}, hex", digest.hex().encode()
            yield f"{name} of {form}, HEX", digest.hex().upper().encode()
            yield f"{name} of {form}, base64", base64.b64encode(digest).rstrip(b"=")[:-1]
    if text.isdigit():
        for form in dict.fromkeys([text, "0" + notations(text)[0]]):
            yield f"bcd of {form}", bcd(form, swap=False)
            yield f"tbcd of {form}", bcd(form, swap=True)
        for number in dict.fromkeys([int(text), int(core)]):
            yield f"u64le of {number}", number.to_bytes(8, "little")
            yield f"u64be of {number}", number.to_bytes(8, "big")
            yield f"varint of {number}", varint(number)
    try:
        address = ipaddress.ip_address(text)
        yield "address", address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    except ValueError:
        pass


def columns(path: Path):
    """Every column of a Parquet file, decoded to bytes."""
    for name, column in zip(*(lambda t: (t.column_names, t.columns))(pyarrow.parquet.read_table(path, partitioning=None))):
        values = [v if isinstance(v, bytes) else str(v).encode() for v in column.unique().to_pylist() if v is not None]
        yield name, b"\0".join(values)


def haystack(roots):
    names = bytearray()
    for root in roots:
        for path in sorted(Path(root).rglob("*")):
            names += str(path.relative_to(root)).encode() + b"\0"
            if path.is_file():
                yield str(path), path.read_bytes()
                if path.suffix == ".parquet":
                    for name, data in columns(path):
                        yield f"{path} column {name}", data
    yield "file names", bytes(names)


def search(roots, wanted) -> tuple[list, int]:
    hits, size = [], 0
    for place, data in haystack(roots):
        size += len(data)
        hits += [[place, label, encoding] for label, encoding, needle in wanted if needle in data]
    return hits, size


def plant(folder: Path, wanted) -> None:
    for i, (_, _, needle) in enumerate(wanted):
        (folder / f"{i}.bin").write_bytes(b"\x5a" * (i % 7) + needle + b"\xa5" * 3)
    hidden = pyarrow.table({"n": [f"0{wanted[0][2].decode()}"] * 1000})
    pyarrow.parquet.write_table(hidden, folder / "hidden.parquet", compression="zstd")
    (folder / f"part-{wanted[0][2].decode()}").mkdir()


def main() -> None:
    markers = json.loads(Path(sys.argv[1]).read_text())
    wanted = [(label, encoding, needle) for label, text in markers.items() for encoding, needle in needles(text)]
    hits, size = search(sys.argv[2:], wanted)
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder), wanted)
        found, _ = search([folder], wanted)
    seen = {(Path(place).name, label, encoding) for place, label, encoding in found}
    missed = [[label, encoding] for i, (label, encoding, _) in enumerate(wanted) if (f"{i}.bin", label, encoding) not in seen]
    first = (wanted[0][0], wanted[0][1])
    missed += [[*first, place] for place in ("hidden.parquet column n", "file names") if (place, *first) not in seen]
    answer({"hits": hits, "missed": missed, "bytes": size, "needles": len(wanted)})


main()
