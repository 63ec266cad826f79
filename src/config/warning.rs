//! Settings that are allowed and weaken what the product promises: said whenever they take effect.

use super::FILE;
use super::document::Document;
use super::problem::Place;
use std::path::Path;

/// Fewest subscribers behind a released cell that the design calls safe inside a site.
pub const SAFE_SUBSCRIBERS: u64 = 20;

/// One weak setting: where it stands (`FILE:LINE` or the variable) and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub place: String,
    pub message: String,
}

impl Warning {
    /// One line for people.
    pub fn text(&self) -> String {
        format!("WARNING: {}: {}", self.place, self.message)
    }
}

/// All of a checked document.
pub fn warnings(dir: &Path, document: &Document, distinct_subscribers: u64) -> Vec<Warning> {
    let path = "release.distinct_subscribers";
    if distinct_subscribers >= SAFE_SUBSCRIBERS {
        return Vec::new();
    }
    let file = dir.join(FILE);
    let place = match document.place(path) {
        Place::Line(line) => format!("{}:{line}", file.display()),
        Place::Variable(name) => name,
        Place::Mapping { .. } | Place::File => file.display().to_string(),
    };
    let message = format!(
        "[release] distinct_subscribers is {distinct_subscribers}: figures about as few as {distinct_subscribers} people \
         are released for good, and whoever knows the others in a cell learns about the last one; the safe least is \
         {SAFE_SUBSCRIBERS}"
    );
    vec![Warning { place, message }]
}
