//! What a mapping says of a field, made ready for reading a batch.

use crate::record::decoded::{Decoded, Span};
use crate::record::field::{Codec, Field, FieldSpec};

/// One mapped field.
pub(crate) struct Input {
    /// Index into the specs, and so into `Decoded::columns`.
    index: usize,
    null: Vec<Box<[u8]>>,
    /// Text and the canonical word it stands for.
    words: Vec<(Box<[u8]>, Box<[u8]>)>,
    /// Canonical word for any text that is not in `words`.
    any_other: Option<Box<[u8]>>,
    translates: bool,
}

/// The mapped fields, by field.
pub(crate) struct Inputs([Option<Input>; Field::COUNT]);

/// The columns of one batch, by field.
pub(crate) struct Views<'d>([Option<View<'d>>; Field::COUNT], &'d [u8]);

struct View<'d> {
    input: &'d Input,
    spans: &'d [Span],
    column: u16,
    /// Nothing is null but the empty text, and nothing is translated.
    plain: bool,
}

impl Inputs {
    pub(crate) fn new(specs: &[FieldSpec]) -> Inputs {
        let mut inputs = [const { None }; Field::COUNT];
        for (index, spec) in specs.iter().enumerate() {
            let place = &mut inputs[spec.field as usize];
            if place.is_none() {
                *place = Some(Input::new(index, spec));
            }
        }
        Inputs(inputs)
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.0[field as usize].is_some()
    }

    pub(crate) fn views<'d>(&'d self, decoded: &'d Decoded) -> Views<'d> {
        let mut views = [const { None }; Field::COUNT];
        for (place, input) in views.iter_mut().zip(&self.0) {
            if let Some(input) = input {
                let column = decoded.inputs.get(input.index).copied().unwrap_or(0);
                let plain = input.null.is_empty() && !input.translates;
                *place = Some(View { input, spans: &decoded.columns[input.index], column, plain });
            }
        }
        Views(views, &decoded.text)
    }
}

impl Input {
    fn new(index: usize, spec: &FieldSpec) -> Input {
        let bytes = |s: &String| s.as_bytes().to_vec().into_boxed_slice();
        let (mut words, mut any_other, mut translates) = (Vec::new(), None, false);
        if let Codec::Words(list) = &spec.codec {
            translates = true;
            words = list.iter().filter(|(from, _)| *from != "*").map(|(from, to)| (bytes(from), bytes(to))).collect();
            any_other = list.get("*").map(bytes);
        }
        Input { index, null: spec.null.iter().map(bytes).collect(), words, any_other, translates }
    }

    fn read<'t>(&'t self, text: &'t [u8]) -> Result<&'t [u8], ()> {
        let text = text.trim_ascii();
        if text.is_empty() || self.null.iter().any(|null| **null == *text) {
            return Ok(&[]);
        }
        if self.translates { self.translate(text).ok_or(()) } else { Ok(text) }
    }

    /// `None` for a text that the mapping's list of words lacks.
    fn translate<'t>(&'t self, text: &'t [u8]) -> Option<&'t [u8]> {
        let listed = self.words.iter().find(|(from, _)| **from == *text).map(|(_, to)| &**to);
        listed.or(self.any_other.as_deref())
    }
}

impl<'d> Views<'d> {
    /// The trimmed text of a field, empty where there is none; `Err` for a word that is not listed.
    #[inline]
    pub(crate) fn text(&self, field: Field, row: usize) -> Result<&'d [u8], ()> {
        let Some(view) = &self.0[field as usize] else { return Ok(&[]) };
        let text = view.spans[row].of(self.1);
        match (text.first(), text.last()) {
            (Some(first), Some(last)) if view.plain && *first > b' ' && *last > b' ' => Ok(text),
            (None, _) => Ok(&[]),
            _ => view.input.read(text),
        }
    }

    /// 1-based input column of a field; 0 where it has none.
    pub(crate) fn column(&self, field: Field) -> u16 {
        self.0[field as usize].as_ref().map_or(0, |v| v.column)
    }
}
