//! The paths of one host: a tree of segments, walked from the most specific branch to the least.
//!
//! Invariant: a walk visits a node at most once, so a request costs at most the table's size, whatever its path.

use super::template::Segment;

/// Methods of a table, as bits; a table has at most this many different ones.
pub(super) const METHODS_MAX: usize = 128;

/// A set of the table's methods, by index.
pub(super) type MethodSet = u128;

/// Everything one host level (a name, a wildcard, or every host) routes.
#[derive(Debug, Default)]
pub(super) struct Paths {
    root: Node,
    /// Routes without a path: least specific, and the only ones that take the asterisk form.
    every: Leaf,
}

/// One segment's place in the tree.
#[derive(Debug, Default)]
struct Node {
    /// Sorted by the segment.
    statics: Vec<(Box<[u8]>, Node)>,
    param: Option<Box<Node>>,
    rest: Leaf,
    /// Routes whose template ends here.
    end: Leaf,
}

/// The routes of one template: they differ in their methods only.
#[derive(Debug, Default)]
struct Leaf {
    by_method: Vec<Entry>,
    any_method: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    method: Box<[u8]>,
    bit: MethodSet,
    route: usize,
}

/// How one method of a route is put in: by name and bit, or every method.
pub(super) type MethodKey<'a> = Option<(&'a str, usize)>;

impl Paths {
    /// Puts `route` in. The error is the route that is there already.
    pub(super) fn insert(
        &mut self,
        path: Option<&[Segment]>,
        method: MethodKey<'_>,
        route: usize,
    ) -> Result<(), usize> {
        let leaf = match path {
            None => &mut self.every,
            Some(segments) => self.root.leaf(segments),
        };
        leaf.insert(method, route)
    }

    /// The most specific route for `path` and `method`. Where the path has routes but none for the method, their
    /// methods go into `allowed`.
    #[inline]
    pub(super) fn find(
        &self,
        path: &[u8],
        method: &[u8],
        allowed: &mut MethodSet,
    ) -> Option<usize> {
        if let [b'/', inner @ ..] = path
            && !self.root.is_empty()
            && let Some(route) = self.root.find(inner, method, allowed)
        {
            return Some(route);
        }
        self.every.find(method, allowed)
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.statics.is_empty() && self.param.is_none() && self.rest.is_empty()
    }

    /// The leaf at `segments`, made where it is not there yet.
    fn leaf(&mut self, segments: &[Segment]) -> &mut Leaf {
        let mut node = self;
        for segment in segments {
            node = match segment {
                Segment::Rest => return &mut node.rest,
                Segment::Param => node.param.get_or_insert_default(),
                Segment::Static(text) => {
                    let at = match node.statics.binary_search_by(|(known, _)| known.cmp(text)) {
                        Ok(at) => at,
                        Err(at) => {
                            node.statics.insert(at, (text.clone(), Node::default()));
                            at
                        }
                    };
                    &mut node.statics[at].1
                }
            };
        }
        &mut node.end
    }

    /// `path` is what is left after the `/` that led here. Depth is the template's, not the path's: the tree bounds it.
    fn find(&self, path: &[u8], method: &[u8], allowed: &mut MethodSet) -> Option<usize> {
        let (segment, below) = match memchr::memchr(b'/', path) {
            Some(at) => (&path[..at], Some(&path[at + 1..])),
            None => (path, None),
        };
        if let Ok(at) = self
            .statics
            .binary_search_by(|(known, _)| (**known).cmp(segment))
            && let Some(route) = self.statics[at].1.step(below, method, allowed)
        {
            return Some(route);
        }
        if let Some(param) = &self.param
            && !segment.is_empty()
            && let Some(route) = param.step(below, method, allowed)
        {
            return Some(route);
        }
        self.rest.find(method, allowed)
    }

    /// Goes on below this node, or ends here.
    #[inline]
    fn step(&self, below: Option<&[u8]>, method: &[u8], allowed: &mut MethodSet) -> Option<usize> {
        match below {
            Some(path) => self.find(path, method, allowed),
            None => self.end.find(method, allowed),
        }
    }
}

impl Leaf {
    fn is_empty(&self) -> bool {
        self.by_method.is_empty() && self.any_method.is_none()
    }

    fn insert(&mut self, method: MethodKey<'_>, route: usize) -> Result<(), usize> {
        let there = match method {
            None => self.any_method,
            Some((name, _)) => self
                .by_method
                .iter()
                .find(|entry| *entry.method == *name.as_bytes())
                .map(|entry| entry.route),
        };
        match there {
            Some(other) if other != route => return Err(other),
            Some(_) => return Ok(()),
            None => {}
        }
        match method {
            None => self.any_method = Some(route),
            Some((name, index)) => self.by_method.push(Entry {
                method: name.as_bytes().into(),
                bit: 1 << index,
                route,
            }),
        }
        Ok(())
    }

    #[inline]
    fn find(&self, method: &[u8], allowed: &mut MethodSet) -> Option<usize> {
        for entry in &self.by_method {
            if *entry.method == *method {
                return Some(entry.route);
            }
            *allowed |= entry.bit;
        }
        self.any_method
    }
}
