//! The fields of one message: those of the wire by where they lie, added ones in a buffer beside.
//!
//! Never looks at a rule of HTTP. Reused from message to message: clearing keeps the memory.
//! Invariant: a field with `canonical` set lies in its buffer exactly as an encoder would write
//! it, `name: value\r\n`, so that encoders may copy neighbours in one piece.

use crate::field::{FieldId, bit};
use crate::span::Span;

/// Which bytes a field's spans are about.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Source {
    /// The bytes the head was parsed from.
    Wire,
    /// Those of `Fields::extra`.
    Extra,
}

/// One field line.
#[derive(Debug, Copy, Clone)]
pub struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) id: FieldId,
    pub(crate) keep: bool,
    pub(crate) canonical: bool,
    pub(crate) source: Source,
}

impl Field {
    /// The name's number.
    #[must_use]
    pub fn id(&self) -> FieldId {
        self.id
    }

    /// Whether it is passed on.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keep
    }
}

/// The fields of a message, in order. Every look-up and iteration is over kept fields only.
#[derive(Debug)]
pub struct Fields {
    pub(crate) list: Vec<Field>,
    pub(crate) extra: Vec<u8>,
    /// Whether all of `extra` is still kept.
    pub(crate) extra_whole: bool,
    /// Which numbers were ever in `list`.
    present: u64,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            extra: Vec::new(),
            extra_whole: true,
            present: 0,
        }
    }
}

impl Fields {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all fields, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.extra.clear();
        self.extra_whole = true;
        self.present = 0;
    }

    /// Number of kept fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.iter().filter(|field| field.keep).count()
    }

    /// Whether no field is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.list.iter().any(|field| field.keep)
    }

    /// The field's name, as it was spelt.
    #[must_use]
    #[inline]
    pub fn name<'a>(&'a self, field: &Field, bytes: &'a [u8]) -> &'a [u8] {
        field.name.of(self.source(field, bytes))
    }

    /// The field's value, without the space around it.
    #[must_use]
    #[inline]
    pub fn value<'a>(&'a self, field: &Field, bytes: &'a [u8]) -> &'a [u8] {
        field.value.of(self.source(field, bytes))
    }

    fn source<'a>(&'a self, field: &Field, bytes: &'a [u8]) -> &'a [u8] {
        match field.source {
            Source::Wire => bytes,
            Source::Extra => &self.extra,
        }
    }

    /// The kept fields as (name, value), in order. `bytes` are those the head was parsed from.
    pub fn iter<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.kept()
            .map(move |field| (self.name(field, bytes), self.value(field, bytes)))
    }

    /// The kept fields, in order.
    pub fn kept(&self) -> impl Iterator<Item = &Field> {
        self.list.iter().filter(|field| field.keep)
    }

    /// Whether a field of that number is kept.
    #[must_use]
    #[inline]
    pub fn has(&self, id: FieldId) -> bool {
        self.present & bit(id) != 0 && self.kept().any(|field| field.id == id)
    }

    /// How many fields of that number are kept.
    #[must_use]
    pub fn count(&self, id: FieldId) -> usize {
        self.kept().filter(|field| field.id == id).count()
    }

    /// The value of the first kept field of that number.
    #[must_use]
    #[inline]
    pub fn first<'a>(&'a self, id: FieldId, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if self.present & bit(id) == 0 {
            return None;
        }
        let field = self.kept().find(|field| field.id == id)?;
        Some(self.value(field, bytes))
    }

    /// The value of the kept field of that number when there is exactly one.
    #[must_use]
    pub fn only<'a>(&'a self, id: FieldId, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if self.present & bit(id) == 0 {
            return None;
        }
        let mut found = self.kept().filter(|field| field.id == id);
        match (found.next(), found.next()) {
            (Some(field), None) => Some(self.value(field, bytes)),
            _ => None,
        }
    }

    /// The value of the first kept field of that name, in any case.
    #[must_use]
    pub fn first_named<'a>(&'a self, name: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
        let field = self
            .kept()
            .find(|field| self.name(field, bytes).eq_ignore_ascii_case(name))?;
        Some(self.value(field, bytes))
    }

    /// The values of all kept fields of that name, in order.
    pub fn all_named<'a>(
        &'a self,
        name: &'a [u8],
        bytes: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> {
        self.iter(bytes)
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Adds a field after the others. Name and value are valid (`valid_field_name`,
    /// `valid_field_value`): they are written as they are.
    pub fn push_extra(&mut self, name: &[u8], value: &[u8]) {
        let start = self.extra.len();
        self.extra.extend_from_slice(name);
        self.extra.extend_from_slice(b": ");
        self.extra.extend_from_slice(value);
        self.end_extra(FieldId::of(name), (start, start + name.len() + 2));
    }

    /// Adds a field; `name` with colon and space.
    #[inline]
    pub(crate) fn push_named<const N: usize>(&mut self, id: FieldId, name: &[u8; N], value: &[u8]) {
        let at = self.begin_extra(name);
        self.extra.extend_from_slice(value);
        self.end_extra(id, at);
    }

    /// Opens an added field, `name` with colon and space: its value is then appended to `extra`,
    /// up to `end_extra`.
    #[inline]
    pub(crate) fn begin_extra<const N: usize>(&mut self, name: &[u8; N]) -> (usize, usize) {
        let start = self.extra.len();
        self.extra.extend_from_slice(name);
        (start, start + N)
    }

    /// Closes an added field, whose line and value begin where said.
    #[inline]
    pub(crate) fn end_extra(&mut self, id: FieldId, (start, value_at): (usize, usize)) {
        let end = self.extra.len();
        self.extra.extend_from_slice(b"\r\n");
        self.push(Field {
            name: Span::new(start, value_at - 2),
            value: Span::new(value_at, end),
            id,
            keep: true,
            canonical: true,
            source: Source::Extra,
        });
    }

    /// Adds a parsed field.
    #[inline]
    pub(crate) fn push(&mut self, field: Field) {
        self.present |= bit(field.id);
        self.list.push(field);
    }

    /// Whether any field, kept or not, has that number.
    #[inline]
    pub(crate) fn saw(&self, ids: u64) -> bool {
        self.present & ids != 0
    }

    /// Drops all fields of that name, in any case.
    pub fn remove(&mut self, name: &[u8], bytes: &[u8]) {
        let id = FieldId::of(name);
        if self.present & bit(id) == 0 {
            return;
        }
        for at in 0..self.list.len() {
            let field = self.list[at];
            if field.keep && field.id == id && self.name(&field, bytes).eq_ignore_ascii_case(name) {
                self.drop_at(at);
            }
        }
    }

    /// Drops all fields of that number.
    pub fn remove_id(&mut self, id: FieldId) {
        if self.present & bit(id) == 0 {
            return;
        }
        for at in 0..self.list.len() {
            if self.list[at].id == id {
                self.drop_at(at);
            }
        }
    }

    /// Drops all fields of that name, then adds one.
    pub fn set(&mut self, name: &[u8], value: &[u8], bytes: &[u8]) {
        self.remove(name, bytes);
        self.push_extra(name, value);
    }

    #[inline]
    pub(crate) fn drop_at(&mut self, at: usize) {
        let field = &mut self.list[at];
        field.keep = false;
        if field.source == Source::Extra {
            self.extra_whole = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(fields: &Fields) -> Vec<(&[u8], &[u8])> {
        fields.iter(b"").collect()
    }

    #[test]
    fn set_replaces_every_field_of_the_name_and_leaves_the_rest() {
        let mut fields = Fields::new();
        fields.push_extra(b"x-a", b"1");
        fields.push_extra(b"X-A", b"2");
        fields.push_extra(b"x-b", b"3");
        fields.set(b"x-a", b"4", b"");
        assert_eq!(all(&fields), [(&b"x-b"[..], &b"3"[..]), (b"x-a", b"4")]);
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn look_ups_see_kept_fields_only() {
        let mut fields = Fields::new();
        fields.push_extra(b"via", b"1.1 a");
        fields.push_extra(b"via", b"1.1 b");
        assert_eq!(fields.only(FieldId::Via, b""), None);
        assert_eq!(fields.first(FieldId::Via, b""), Some(&b"1.1 a"[..]));
        fields.drop_at(0);
        assert_eq!(fields.only(FieldId::Via, b""), Some(&b"1.1 b"[..]));
        fields.remove_id(FieldId::Via);
        assert!(!fields.has(FieldId::Via) && fields.is_empty());
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut fields = Fields::new();
        fields.push_extra(b"via", b"1.1 a");
        fields.remove_id(FieldId::Via);
        fields.clear();
        assert!(fields.extra_whole && !fields.saw(u64::MAX) && fields.extra.is_empty());
    }
}
