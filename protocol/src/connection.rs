//! The `Connection` field: options of this hop, and the fields it nominates (RFC 9110 §7.6.1).

use crate::bytes;
use crate::field::FieldId;
use crate::fields::{Fields, Source};

/// Options in all of a message's `Connection` lines. Each nominated one is compared with each
/// field, so their number bounds the work a head can ask for.
const CONNECTION_OPTIONS_MAX: usize = 32;

/// What the `Connection` lines of a message say, taken together.
#[derive(Debug, Copy, Clone, Default)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Some option names a field that has to go.
    pub(crate) nominates: bool,
    count: usize,
}

impl ConnectionOptions {
    /// Takes in one line's value. False: an element is no token, or there are too many.
    pub(crate) fn add(&mut self, value: &[u8]) -> bool {
        // The two values that nearly all messages have.
        if value.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
            return true;
        }
        if value.eq_ignore_ascii_case(b"close") {
            self.close = true;
            return true;
        }
        for option in bytes::list(value) {
            self.count += 1;
            if self.count > CONNECTION_OPTIONS_MAX || !bytes::is_token(option) {
                return false;
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.nominates = true;
            }
        }
        true
    }
}

/// Drops the fields that the `Connection` lines nominate, but none that the proxy needs or adds.
#[cold]
pub(crate) fn drop_nominated(fields: &mut Fields, bytes: &[u8]) {
    for line in 0..fields.list.len() {
        let field = fields.list[line];
        if field.id != FieldId::Connection || field.source != Source::Wire {
            continue;
        }
        for option in bytes::list(field.value.of(bytes)) {
            let id = FieldId::of(option);
            if id.is_needed() || id.is_connection_specific() {
                continue;
            }
            fields.remove(option, bytes);
        }
    }
}
