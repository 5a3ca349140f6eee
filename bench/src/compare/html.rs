//! A comparison as a page.

use super::outcome::Outcome;

/// A page.
pub fn to_html(_outcome: &Outcome) -> String {
    String::new()
}
