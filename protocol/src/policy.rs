//! What the proxy changes in a head on its way (RFC 9110 §7.6). Neutral to the version: it works
//! on fields, and encoders write what is kept.
//!
//! Never looks at a socket or a clock: addresses and ids come in as values.
//! Invariant: no field that tells the origin who the client is comes from an untrusted client.

use std::net::IpAddr;

use crate::bytes;
use crate::connection::drop_nominated;
use crate::field::{FieldId, bit};
use crate::fields::{Fields, Source};
use crate::h1::request::RequestHead;
use crate::h1::response::ResponseHead;
use crate::version::Version;

/// The name by which Via lines know this proxy (RFC 9110 §7.6.3).
pub const VIA_PSEUDONYM: &[u8] = b"ringway";

/// Proxies of this kind a request may have passed before it is taken for a loop (508). Chains in
/// use have two or three.
pub const HOPS_MAX: usize = 10;

/// Who sent a request, as the origin is told.
#[derive(Debug, Copy, Clone)]
pub struct Forwarding<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The same as text, formatted once for the connection.
    pub client_text: &'a [u8],
    /// Whether the client may say itself who it asks for.
    pub trusted: bool,
    /// Whether the client came by TLS.
    pub tls: bool,
    /// Becomes X-Request-Id; empty leaves the client's.
    pub request_id: &'a [u8],
}

/// What becomes of Host.
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub enum HostPolicy<'a> {
    /// As the client sent it. Where a 1.0 client sent none, it is empty (RFC 9112 §3.2).
    #[default]
    Preserve,
    /// This instead.
    Set(&'a [u8]),
}

/// Changes to fields that a route asks for, in this order. Names in lower case; names and values
/// were found valid (`valid_field_name`, `valid_field_value`).
#[derive(Debug, Copy, Clone, Default)]
pub struct Edits<'a> {
    /// Fields to drop.
    pub remove: &'a [String],
    /// Fields to replace.
    pub set: &'a [(String, String)],
    /// Fields to add beside what is there.
    pub add: &'a [(String, String)],
}

/// Why a request goes no further.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum PolicyError {
    /// It came through this proxy more than `HOPS_MAX` times.
    Loop,
}

impl PolicyError {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Loop => 508,
        }
    }

    /// A short name for the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Loop => "loop",
        }
    }
}

/// Makes a request's head ready for the origin. Once per head: a retry encodes the same head
/// again.
///
/// # Errors
/// The request must not be forwarded.
#[inline]
pub fn edit_request(
    head: &mut RequestHead,
    bytes: &[u8],
    forwarding: &Forwarding<'_>,
    edits: Edits<'_>,
    host: HostPolicy<'_>,
) -> Result<(), PolicyError> {
    if head.fields.saw(bit(FieldId::Via)) && hops(&head.fields, bytes) > HOPS_MAX {
        return Err(PolicyError::Loop);
    }
    if head.nominates {
        drop_nominated(&mut head.fields, bytes);
    }
    let sent_host = head.host_span();
    let fields = &mut head.fields;
    match host {
        HostPolicy::Set(host) => {
            fields.remove_id(FieldId::Host);
            fields.push_named(FieldId::Host, b"host: ", host);
        }
        HostPolicy::Preserve if !fields.has(FieldId::Host) => {
            fields.push_named(FieldId::Host, b"host: ", sent_host.of(bytes));
        }
        HostPolicy::Preserve => {}
    }
    crate::forwarded::add(fields, bytes, sent_host.of(bytes), forwarding);
    if !forwarding.request_id.is_empty() {
        fields.remove_id(FieldId::RequestId);
        fields.push_named(FieldId::RequestId, b"x-request-id: ", forwarding.request_id);
    }
    add_via(fields, head.version);
    apply(fields, bytes, edits);
    Ok(())
}

/// Makes a response's head ready for the client; also for 1xx.
#[inline]
pub fn edit_response(head: &mut ResponseHead, bytes: &[u8], edits: Edits<'_>) {
    if head.nominates {
        drop_nominated(&mut head.fields, bytes);
    }
    add_via(&mut head.fields, head.version);
    apply(&mut head.fields, bytes, edits);
}

/// RFC 9110 §7.6.3: the version is the one the message was received with.
#[inline]
fn add_via(fields: &mut Fields, version: Version) {
    let value: &[u8] = match version {
        Version::H11 => b"1.1 ringway",
        Version::H10 => b"1.0 ringway",
    };
    fields.push_named(FieldId::Via, b"via: ", value);
}

/// How often Via names this proxy.
#[cold]
fn hops(fields: &Fields, bytes: &[u8]) -> usize {
    fields
        .list
        .iter()
        .filter(|field| field.id == FieldId::Via && field.source == Source::Wire)
        .flat_map(|field| bytes::list(field.value.of(bytes)))
        .filter(|hop| {
            let mut words = hop
                .split(|b| matches!(b, b' ' | b'\t'))
                .filter(|word| !word.is_empty());
            words.next().is_some()
                && words
                    .next()
                    .is_some_and(|name| name.eq_ignore_ascii_case(VIA_PSEUDONYM))
        })
        .count()
}

#[inline]
fn apply(fields: &mut Fields, bytes: &[u8], edits: Edits<'_>) {
    for name in edits.remove {
        fields.remove(name.as_bytes(), bytes);
    }
    for (name, value) in edits.set {
        if is_editable(name) {
            fields.set(name.as_bytes(), value.as_bytes(), bytes);
        }
    }
    for (name, value) in edits.add {
        if is_editable(name) {
            fields.push_extra(name.as_bytes(), value.as_bytes());
        }
    }
}

/// Whether a route may set or add a field of that name: not those of the connection and of the
/// framing, which encoders write.
#[must_use]
pub fn is_editable(name: &str) -> bool {
    let id = FieldId::of(name.as_bytes());
    // A configured `x_real_ip` is the operator's own choice.
    id == FieldId::Underscored || !id.is_connection_specific()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
