//! One JSON document to its cells. An allow-list: only paths that the mapping names are visited,
//! everything else is skipped by the parser without being kept.

use crate::decode::cells::{Cell, Fault, Text};
use crate::record::decoded::Span;
use crate::record::reject::Reason;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The mapped paths as a tree. Array positions are keys too (`callflow.0.times`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    children: Vec<(Box<str>, Node)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Leaf(usize),
    Inner(Paths),
}

impl Paths {
    /// Adds a path for a slot. False when it is a prefix of another, or the other way round.
    pub(crate) fn add(&mut self, path: &[&str], slot: usize) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let known = self.children.iter().position(|(name, _)| &**name == *first);
        let at = known.unwrap_or_else(|| {
            let node = if rest.is_empty() { Node::Leaf(slot) } else { Node::Inner(Paths::default()) };
            self.children.push(((*first).into(), node));
            self.children.len() - 1
        });
        match (&mut self.children[at].1, rest.is_empty()) {
            (Node::Leaf(have), true) => *have == slot,
            (Node::Inner(inner), false) => inner.add(rest, slot),
            _ => false,
        }
    }

    fn find(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|(have, _)| &**have == name).map(|(_, node)| node)
    }
}

/// Fills `cells` with one cell per slot. Values: strings, numbers, booleans; `null` is absent.
pub(crate) fn split(
    text: &mut Text,
    record: Span,
    paths: &Paths,
    slots: usize,
    cells: &mut Vec<Cell>,
) -> Result<(), Fault> {
    cells.clear();
    cells.resize(slots, Cell::NONE);
    let Text { raw, tail } = text;
    let bytes = record.of(raw);
    let mut sink =
        Sink { base: raw.as_ptr() as usize, raw_len: raw.len(), tail, cells, seen: vec![false; slots], at: 0 };
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let parsed = Object { paths, sink: &mut sink }.deserialize(&mut parser).and_then(|()| parser.end());
    let column = sink.at;
    parsed.map_err(|_| match std::str::from_utf8(bytes) {
        Err(_) => Fault { reason: Reason::InvalidUtf8, column },
        Ok(_) => Fault { reason: Reason::InvalidJson, column },
    })
}

/// Whether the bytes are one object or array on several lines: it ends on a later line than it
/// begins, and nothing but white space follows. Only its brackets and texts are looked at.
pub(crate) fn is_one_document(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii();
    if !matches!(bytes.first(), Some(b'{' | b'[')) || memchr::memchr(b'\n', bytes).is_none() {
        return false;
    }
    let (mut depth, mut in_text, mut escaped, mut lines) = (0usize, false, false, 0usize);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => lines += 1,
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return lines > 0 && at + 1 == bytes.len();
                }
            }
            _ => {}
        }
    }
    false
}

struct Sink<'s> {
    base: usize,
    raw_len: usize,
    tail: &'s mut Vec<u8>,
    cells: &'s mut Vec<Cell>,
    seen: Vec<bool>,
    /// 1-based slot being read, for the position of a fault.
    at: u16,
}

impl Sink<'_> {
    fn take(&mut self, slot: usize, value: Value<'_>) {
        self.cells[slot] = match value {
            Value::Null => Cell::NONE,
            Value::Borrowed(s) => Cell::new(s.as_ptr() as usize - self.base, s.len()),
            Value::Owned(s) => {
                let start = self.raw_len + self.tail.len();
                self.tail.extend_from_slice(s.as_bytes());
                Cell::new(start, s.len())
            }
        };
    }
}

struct Object<'p, 's, 'k> {
    paths: &'p Paths,
    sink: &'s mut Sink<'k>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // A key that the mapping does not name may repeat; one that it names may not.
        let mut visited = vec![false; self.paths.children.len()];
        while let Some(child) = map.next_key_seed(Key { paths: self.paths })? {
            let Some(child) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut visited[child], true) {
                return Err(A::Error::custom("repeated key"));
            }
            map.next_value_seed(Step { node: &self.paths.children[child].1, sink: self.sink })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let more = match self.paths.find(&index.to_string()) {
                Some(node) => seq.next_element_seed(Step { node, sink: self.sink })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// Which child of an object a key names.
struct Key<'p> {
    paths: &'p Paths,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.paths.children.iter().position(|(have, _)| &**have == name))
    }
}

/// A value that a mapped path leads to, or through.
struct Step<'p, 's, 'k> {
    node: &'p Node,
    sink: &'s mut Sink<'k>,
}

impl<'de> DeserializeSeed<'de> for Step<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node {
            Node::Inner(paths) => Branch { paths, sink: self.sink }.deserialize(deserializer),
            Node::Leaf(slot) => {
                self.sink.at = *slot as u16 + 1;
                let value = deserializer.deserialize_any(Scalar)?;
                if std::mem::replace(&mut self.sink.seen[*slot], true) {
                    return Err(D::Error::custom("repeated key"));
                }
                self.sink.take(*slot, value);
                self.sink.at = 0;
                Ok(())
            }
        }
    }
}

/// An inner object or array; `null` in its place means that all below is absent.
struct Branch<'p, 's, 'k> {
    paths: &'p Paths,
    sink: &'s mut Sink<'k>,
}

impl<'de> DeserializeSeed<'de> for Branch<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Branch<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, an array or null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        Object { paths: self.paths, sink: self.sink }.deserialize(deserializer)
    }
}

enum Value<'de> {
    Null,
    Borrowed(&'de str),
    Owned(String),
}

struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, a boolean or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_borrowed_str<E: Error>(self, s: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Borrowed(s))
    }

    fn visit_str<E: Error>(self, s: &str) -> Result<Value<'de>, E> {
        Ok(Value::Owned(s.to_owned()))
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Value<'de>, E> {
        Ok(Value::Owned(b.to_string()))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Value<'de>, E> {
        Ok(Value::Owned(n.to_string()))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Value<'de>, E> {
        Ok(Value::Owned(n.to_string()))
    }

    // The shortest text that reads back as the same number: what was written, up to 15 digits.
    fn visit_f64<E: Error>(self, n: f64) -> Result<Value<'de>, E> {
        Ok(Value::Owned(n.to_string()))
    }
}
