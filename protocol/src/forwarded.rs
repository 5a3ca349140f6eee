//! The fields that tell the origin who asked: X-Forwarded-For, -Host and -Proto, X-Real-IP, and
//! Forwarded (RFC 7239).
//!
//! An untrusted client's own are dropped. A trusted one's address lists are continued, and its
//! Host, Proto and Real-IP stay.

use std::net::IpAddr;

use crate::field::{FORWARDING, FieldId};
use crate::fields::{Fields, Source};
use crate::policy::Forwarding;

/// Drops or continues what the client sent, and adds this hop's.
#[inline]
pub(crate) fn add(fields: &mut Fields, bytes: &[u8], host: &[u8], forwarding: &Forwarding<'_>) {
    let proto: &[u8] = if forwarding.tls { b"https" } else { b"http" };
    if !forwarding.trusted && fields.saw(FORWARDING) {
        for at in 0..fields.list.len() {
            if fields.list[at].id.is_forwarding() {
                fields.drop_at(at);
            }
        }
    }
    let ip = forwarding.client_text;
    let trusted = forwarding.trusted;

    let line = fields.begin_extra(b"x-forwarded-for: ");
    if trusted {
        move_values(fields, FieldId::XForwardedFor, bytes);
    }
    fields.extra.extend_from_slice(ip);
    fields.end_extra(FieldId::XForwardedFor, line);

    if !(trusted && fields.has(FieldId::XRealIp)) {
        fields.push_named(FieldId::XRealIp, b"x-real-ip: ", ip);
    }
    if !(host.is_empty() || trusted && fields.has(FieldId::XForwardedHost)) {
        fields.push_named(FieldId::XForwardedHost, b"x-forwarded-host: ", host);
    }
    if !(trusted && fields.has(FieldId::XForwardedProto)) {
        fields.push_named(FieldId::XForwardedProto, b"x-forwarded-proto: ", proto);
    }

    let line = fields.begin_extra(b"forwarded: ");
    if trusted {
        move_values(fields, FieldId::Forwarded, bytes);
    }
    let extra = &mut fields.extra;
    match forwarding.client {
        IpAddr::V4(_) => {
            extra.extend_from_slice(b"for=");
            extra.extend_from_slice(ip);
        }
        // RFC 7239 §6: brackets, and quotes because of them.
        IpAddr::V6(_) => {
            extra.extend_from_slice(b"for=\"[");
            extra.extend_from_slice(ip);
            extra.extend_from_slice(b"]\"");
        }
    }
    if !host.is_empty() {
        // A valid authority holds nothing that needs escaping inside the quotes.
        let quote: &[u8] = if host.iter().any(|b| matches!(b, b':' | b'[')) {
            b"\""
        } else {
            b""
        };
        extra.extend_from_slice(b";host=");
        extra.extend_from_slice(quote);
        extra.extend_from_slice(host);
        extra.extend_from_slice(quote);
    }
    extra.extend_from_slice(b";proto=");
    extra.extend_from_slice(proto);
    fields.end_extra(FieldId::Forwarded, line);
}

/// Moves the values of all the client's lines of one field into the open added one, each followed
/// by a comma.
#[cold]
fn move_values(fields: &mut Fields, id: FieldId, bytes: &[u8]) {
    for field in &mut fields.list {
        if field.id == id && field.keep && field.source == Source::Wire {
            field.keep = false;
            if !field.value.is_empty() {
                fields.extra.extend_from_slice(field.value.of(bytes));
                fields.extra.extend_from_slice(b", ");
            }
        }
    }
}
