//! Field names that the proxy knows by number, and which of them may pass.
//!
//! A name is looked up once, when its line is parsed; all later questions are about the number.

use crate::bytes;

/// A field name that some rule is about. `Other` is everything else.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
#[repr(u8)]
pub enum FieldId {
    /// A name no rule is about.
    Other,
    /// A known name spelt with underscores, as in `X_Forwarded_For`. Gateways in the manner of
    /// CGI cannot tell it from the real one, so it never passes.
    Underscored,
    /// `X-Forwarded-` with another ending than those below.
    XForwardedOther,
    /// `Host`
    Host,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Trailers`
    Trailers,
    /// `Upgrade`
    Upgrade,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `HTTP2-Settings`
    Http2Settings,
    /// `Expect`
    Expect,
    /// `Forwarded` (RFC 7239)
    Forwarded,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Real-IP`
    XRealIp,
    /// `Via`
    Via,
    /// `Date`
    Date,
    /// `Server`
    Server,
    /// `User-Agent`
    UserAgent,
    /// `Referer`
    Referer,
    /// `Authorization`
    Authorization,
    /// `Cookie`
    Cookie,
    /// `Set-Cookie`
    SetCookie,
    /// `Location`
    Location,
    /// `Retry-After`
    RetryAfter,
    /// `X-Request-Id`
    RequestId,
    /// `Idempotency-Key`
    IdempotencyKey,
    /// `Cache-Control`
    CacheControl,
    /// `Content-Type`
    ContentType,
    /// `Content-Encoding`
    ContentEncoding,
}

/// The names, in lower case, that have a number.
const KNOWN: [(FieldId, &[u8]); 34] = [
    (FieldId::Host, b"host"),
    (FieldId::Connection, b"connection"),
    (FieldId::ContentLength, b"content-length"),
    (FieldId::TransferEncoding, b"transfer-encoding"),
    (FieldId::Te, b"te"),
    (FieldId::Trailer, b"trailer"),
    (FieldId::Trailers, b"trailers"),
    (FieldId::Upgrade, b"upgrade"),
    (FieldId::KeepAlive, b"keep-alive"),
    (FieldId::ProxyConnection, b"proxy-connection"),
    (FieldId::ProxyAuthenticate, b"proxy-authenticate"),
    (FieldId::ProxyAuthorization, b"proxy-authorization"),
    (FieldId::Http2Settings, b"http2-settings"),
    (FieldId::Expect, b"expect"),
    (FieldId::Forwarded, b"forwarded"),
    (FieldId::XForwardedFor, b"x-forwarded-for"),
    (FieldId::XForwardedHost, b"x-forwarded-host"),
    (FieldId::XForwardedProto, b"x-forwarded-proto"),
    (FieldId::XRealIp, b"x-real-ip"),
    (FieldId::Via, b"via"),
    (FieldId::Date, b"date"),
    (FieldId::Server, b"server"),
    (FieldId::UserAgent, b"user-agent"),
    (FieldId::Referer, b"referer"),
    (FieldId::Authorization, b"authorization"),
    (FieldId::Cookie, b"cookie"),
    (FieldId::SetCookie, b"set-cookie"),
    (FieldId::Location, b"location"),
    (FieldId::RetryAfter, b"retry-after"),
    (FieldId::RequestId, b"x-request-id"),
    (FieldId::IdempotencyKey, b"idempotency-key"),
    (FieldId::CacheControl, b"cache-control"),
    (FieldId::ContentType, b"content-type"),
    (FieldId::ContentEncoding, b"content-encoding"),
];

/// Index into `KNOWN` plus one for each hash, 0 for none. Built while compiling, which fails
/// when two names collide.
static SLOTS: [u8; 128] = slots();

const fn slots() -> [u8; 128] {
    let mut slots = [0u8; 128];
    let mut at = 0;
    while at < KNOWN.len() {
        let slot = hash(KNOWN[at].1);
        assert!(slots[slot] == 0, "two names share a slot: change the hash");
        slots[slot] = at as u8 + 1;
        at += 1;
    }
    slots
}

/// Length, first and last byte tell the known names apart; no byte of them is a hyphen, so that
/// an underscored spelling lands in the same slot.
const fn hash(name: &[u8]) -> usize {
    let first = (name[0] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    (name.len() + 6 * first + 11 * last) & 127
}

/// The one known name that a non-empty name of its length may be.
#[inline]
fn candidate(name: &[u8]) -> Option<(FieldId, &'static [u8])> {
    let slot = SLOTS[hash(name)];
    let (id, known) = KNOWN[usize::from(slot.checked_sub(1)?)];
    (known.len() == name.len()).then_some((id, known))
}

impl FieldId {
    /// The number of a non-empty name, if that is a token. It has no control byte; then it is one if it has a number.
    #[inline]
    pub(crate) fn of_token(name: &[u8]) -> Option<Self> {
        if let Some((id, known)) = candidate(name)
            && same_name(name, known)
        {
            return Some(id);
        }
        bytes::is_token(name).then(|| Self::of(name))
    }

    /// The number of a name, in any case. The name is a token; of other bytes some are taken for
    /// one another (a control byte for a digit), so refuse those first.
    #[must_use]
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        if name.is_empty() {
            return Self::Other;
        }
        if let Some((id, known)) = candidate(name) {
            if same_name(name, known) {
                return id;
            }
            if same_but_underscores(name, known) {
                return Self::Underscored;
            }
        }
        if name[0] | 0x20 == b'x' {
            return of_x_forwarded(name);
        }
        Self::Other
    }

    /// Whether a field belongs to one connection and is written anew for the next, or not at all
    /// (RFC 9110 §7.6.1). The framing fields belong here: encoders write them from the framing.
    #[must_use]
    #[inline]
    pub fn is_connection_specific(self) -> bool {
        const SET: u64 = bit(FieldId::Underscored)
            | bit(FieldId::Connection)
            | bit(FieldId::ContentLength)
            | bit(FieldId::TransferEncoding)
            | bit(FieldId::Te)
            | bit(FieldId::Trailer)
            | bit(FieldId::Trailers)
            | bit(FieldId::Upgrade)
            | bit(FieldId::KeepAlive)
            | bit(FieldId::ProxyConnection)
            | bit(FieldId::ProxyAuthenticate)
            | bit(FieldId::ProxyAuthorization)
            | bit(FieldId::Http2Settings);
        SET & bit(self) != 0
    }

    /// Whether a field tells the origin who the client is: dropped unless the client is trusted.
    #[must_use]
    #[inline]
    pub fn is_forwarding(self) -> bool {
        FORWARDING & bit(self) != 0
    }

    /// Whether a `Connection` line may not take the field away, because the proxy needs it or
    /// adds it.
    #[must_use]
    #[inline]
    pub fn is_needed(self) -> bool {
        const SET: u64 = FORWARDING
            | bit(FieldId::Host)
            | bit(FieldId::Via)
            | bit(FieldId::Date)
            | bit(FieldId::Expect)
            | bit(FieldId::RequestId)
            | bit(FieldId::IdempotencyKey)
            | bit(FieldId::CacheControl);
        SET & bit(self) != 0
    }
}

/// The fields that tell the origin who the client is.
pub(crate) const FORWARDING: u64 = bit(FieldId::Forwarded)
    | bit(FieldId::XForwardedFor)
    | bit(FieldId::XForwardedHost)
    | bit(FieldId::XForwardedProto)
    | bit(FieldId::XForwardedOther)
    | bit(FieldId::XRealIp);

/// The field's place in a set of 64.
#[inline(always)]
pub(crate) const fn bit(id: FieldId) -> u64 {
    1 << id as u8
}

/// Whether a token equals `lower`, of the same length, in any case. Setting the sixth bit turns
/// upper case into lower and leaves digits and hyphens as they are.
#[inline]
fn same_name(name: &[u8], lower: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    match (
        name.first_chunk::<8>(),
        name.last_chunk::<8>(),
        lower.first_chunk::<8>(),
        lower.last_chunk::<8>(),
    ) {
        (Some(a), Some(z), Some(la), Some(lz)) if name.len() <= 16 => {
            ((u64::from_le_bytes(*a) | CASE) ^ u64::from_le_bytes(*la))
                | ((u64::from_le_bytes(*z) | CASE) ^ u64::from_le_bytes(*lz))
                == 0
        }
        _ => name.iter().zip(lower).all(|(&a, &b)| a | 0x20 == b),
    }
}

#[cold]
fn same_but_underscores(name: &[u8], lower: &[u8]) -> bool {
    name.iter()
        .zip(lower)
        .all(|(&a, &b)| a | 0x20 == b || (a == b'_' && b == b'-'))
}

#[cold]
fn of_x_forwarded(name: &[u8]) -> FieldId {
    const PREFIX: &[u8] = b"x-forwarded-";
    if name.len() <= PREFIX.len() || !same_but_underscores(&name[..PREFIX.len()], PREFIX) {
        return FieldId::Other;
    }
    if name.contains(&b'_') {
        return FieldId::Underscored;
    }
    FieldId::XForwardedOther
}

/// Whether a configured field name can be written: a token (RFC 9110 §5.1).
#[must_use]
pub fn valid_field_name(name: &[u8]) -> bool {
    bytes::is_token(name)
}

/// Whether a configured field value can be written: no control byte but tab, and no space around
/// it (RFC 9110 §5.5).
#[must_use]
pub fn valid_field_value(value: &[u8]) -> bool {
    bytes::value_end(value) == value.len() && bytes::trim(value).len() == value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_no_near_one_is() {
        for (id, name) in KNOWN {
            assert_eq!(FieldId::of(name), id);
            assert_eq!(FieldId::of(&name.to_ascii_uppercase()), id);
            for at in 0..name.len() {
                let mut near = name.to_vec();
                near[at] = if near[at] == b'q' { b'z' } else { b'q' };
                assert!(matches!(
                    FieldId::of(&near),
                    FieldId::Other | FieldId::XForwardedOther
                ));
            }
            assert_ne!(FieldId::of(&[name, b"x"].concat()), id);
        }
    }

    #[test]
    fn underscored_spellings_are_told_apart_from_the_real_names() {
        for name in [
            &b"X_Forwarded_For"[..],
            b"x-forwarded_for",
            b"X_Forwarded-Port",
            b"x_real_ip",
            b"Content_Length",
            b"transfer_encoding",
        ] {
            assert_eq!(FieldId::of(name), FieldId::Underscored);
        }
        assert_eq!(FieldId::of(b"my_own_field"), FieldId::Other);
    }

    #[test]
    fn any_field_of_the_forwarded_family_is_known() {
        assert_eq!(FieldId::of(b"X-Forwarded-Port"), FieldId::XForwardedOther);
        assert_eq!(FieldId::of(b"X-Forwarded-"), FieldId::Other);
    }

    #[test]
    fn configured_names_and_values_hold_nothing_that_ends_a_line() {
        assert!(valid_field_name(b"x-a") && valid_field_value(b"a\tb c") && valid_field_value(b""));
        for bad in [&b""[..], b"a b", b"a:", b"a\n", b"\xc3\xa9"] {
            assert!(!valid_field_name(bad));
        }
        for bad in [&b" a"[..], b"a ", b"a\r\nb", b"a\0", b"a\x7f"] {
            assert!(!valid_field_value(bad));
        }
    }
}
