//! `Released<T>`: the proof that a value has passed the rules.

use std::ops::Deref;

/// A value that may be shown to its audience. Nothing else may be published.
///
/// The one constructor is private to `release`. It has two callers: `window`, which has just
/// judged, and `table`, which reads back what was judged and frozen before.
#[derive(Clone, Debug, PartialEq)]
pub struct Released<T> {
    value: T,
}

impl<T> Released<T> {
    pub(in crate::release) fn new(value: T) -> Released<T> {
        Released { value }
    }
}

impl<T> Deref for Released<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
