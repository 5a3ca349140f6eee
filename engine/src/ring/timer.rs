//! The data path's timers: one wheel per reactor, coarse and lazy.
//!
//! Moving a deadline later, as every request does, is one store: the wheel looks at the entry when its old bucket comes
//! round and files it anew. Invariant: a linked entry's bucket is due no later than its deadline.

use std::task::{Context, Poll, Waker};

/// Width of a bucket in milliseconds: how late a timer may fire.
pub const GRANULARITY_MS: u64 = 16;

const BUCKETS: usize = 512;
const NONE: u32 = u32::MAX;
const NEVER: u64 = u64::MAX;

struct Entry {
    generation: u32,
    next: u32,
    previous: u32,
    /// The tick whose bucket holds the entry; `NEVER`: in none.
    filed: u64,
    /// When it fires, in ms of the reactor's clock; `NEVER`: it does not.
    deadline: u64,
    fired: bool,
    used: bool,
    tag: u64,
    waker: Option<Waker>,
}

/// Names one timer of a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimerId {
    index: u32,
    generation: u32,
}

pub(super) struct Wheel {
    entries: Vec<Entry>,
    free: Vec<u32>,
    heads: [u32; BUCKETS],
    occupied: [u64; BUCKETS / 64],
    /// The last tick whose bucket was emptied.
    tick: u64,
}

impl Wheel {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            heads: [NONE; BUCKETS],
            occupied: [0; BUCKETS / 64],
            tick: now_ms / GRANULARITY_MS,
        }
    }

    pub(super) fn insert(&mut self) -> TimerId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                next: NONE,
                previous: NONE,
                filed: NEVER,
                deadline: NEVER,
                fired: false,
                used: false,
                tag: 0,
                waker: None,
            });
            // Room for every entry to come back: giving one up must not allocate.
            self.free.reserve(self.entries.len());
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.used = true;
        entry.fired = false;
        entry.deadline = NEVER;
        TimerId {
            index,
            generation: entry.generation,
        }
    }

    pub(super) fn remove(&mut self, id: TimerId) {
        if self.entry(id).is_none() {
            return;
        }
        self.unlink(id.index);
        let entry = &mut self.entries[id.index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.used = false;
        entry.deadline = NEVER;
        entry.waker = None;
        self.free.push(id.index);
    }

    fn entry(&mut self, id: TimerId) -> Option<&mut Entry> {
        self.entries
            .get_mut(id.index as usize)
            .filter(|entry| entry.used && entry.generation == id.generation)
    }

    /// Fires at `deadline_ms`; a deadline that passed fires with the next advance.
    pub(super) fn set(&mut self, id: TimerId, deadline_ms: u64) {
        let Some(entry) = self.entry(id) else { return };
        entry.deadline = deadline_ms;
        entry.fired = false;
        let due = deadline_ms.div_ceil(GRANULARITY_MS);
        if entry.filed == NEVER || entry.filed > due {
            self.unlink(id.index);
            self.link(id.index, due);
        }
    }

    pub(super) fn clear(&mut self, id: TimerId) {
        if let Some(entry) = self.entry(id) {
            entry.deadline = NEVER;
            entry.fired = false;
        }
    }

    /// With a tag and no waker, a firing is reported to whoever advances the wheel.
    pub(super) fn unattended(&mut self, id: TimerId, tag: u64) {
        if let Some(entry) = self.entry(id) {
            entry.waker = None;
            entry.tag = tag;
        }
    }

    pub(super) fn poll(&mut self, id: TimerId, cx: &Context<'_>) -> Poll<()> {
        let Some(entry) = self.entry(id) else {
            return Poll::Pending;
        };
        if entry.fired {
            return Poll::Ready(());
        }
        super::store_waker(&mut entry.waker, cx);
        Poll::Pending
    }

    pub(super) fn prefetch(&self, id: TimerId) {
        if let Some(entry) = self.entries.get(id.index as usize) {
            super::prefetch(entry);
        }
    }

    pub(super) fn has_fired(&mut self, id: TimerId) -> bool {
        self.entry(id).is_some_and(|entry| entry.fired)
    }

    fn link(&mut self, index: u32, due: u64) {
        let filed = due.clamp(self.tick + 1, self.tick + BUCKETS as u64 - 1);
        let bucket = filed as usize % BUCKETS;
        let head = self.heads[bucket];
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.filed = filed;
        entry.next = head;
        entry.previous = NONE;
        self.heads[bucket] = index;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        if entry.filed == NEVER {
            return;
        }
        let (next, previous, bucket) = (entry.next, entry.previous, entry.filed as usize % BUCKETS);
        entry.filed = NEVER;
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous == NONE {
            self.heads[bucket] = next;
            if next == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        } else {
            self.entries[previous as usize].next = next;
        }
    }

    /// Fires what is due at `now_ms`: wakes who waits, and puts the tags of the others into `unattended`.
    pub(super) fn advance(&mut self, now_ms: u64, unattended: &mut Vec<u64>) {
        let now_tick = now_ms / GRANULARITY_MS;
        if now_tick <= self.tick {
            return;
        }
        let steps = (now_tick - self.tick).min(BUCKETS as u64);
        let first = self.tick + 1;
        self.tick = now_tick;
        for tick in first..first + steps {
            let bucket = tick as usize % BUCKETS;
            let mut index = std::mem::replace(&mut self.heads[bucket], NONE);
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            while index != NONE {
                let entry = &mut self.entries[index as usize];
                let next = entry.next;
                entry.filed = NEVER;
                if entry.deadline == NEVER {
                } else if entry.deadline <= now_ms {
                    entry.deadline = NEVER;
                    entry.fired = true;
                    match entry.waker.take() {
                        Some(waker) => waker.wake(),
                        None => unattended.push(entry.tag),
                    }
                } else {
                    let due = entry.deadline.div_ceil(GRANULARITY_MS);
                    self.link(index, due);
                }
                index = next;
            }
        }
    }

    /// Milliseconds until a bucket needs looking at; `None` when no timer is filed.
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let start = self.tick + 1;
        let mut offset = 0;
        while offset < BUCKETS as u64 {
            let bucket = (start + offset) as usize % BUCKETS;
            let word = self.occupied[bucket / 64] >> (bucket % 64);
            if word != 0 {
                let tick = start + offset + u64::from(word.trailing_zeros());
                return Some((tick * GRANULARITY_MS).saturating_sub(now_ms));
            }
            offset += 64 - (bucket % 64) as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired_tags(wheel: &mut Wheel, now_ms: u64) -> Vec<u64> {
        let mut tags = Vec::new();
        wheel.advance(now_ms, &mut tags);
        tags.sort_unstable();
        tags
    }

    fn tagged(wheel: &mut Wheel, tag: u64, deadline: u64) -> TimerId {
        let id = wheel.insert();
        wheel.unattended(id, tag);
        wheel.set(id, deadline);
        id
    }

    #[test]
    fn a_timer_fires_once_at_or_after_its_deadline() {
        let mut wheel = Wheel::new(0);
        tagged(&mut wheel, 7, 100);
        assert!(fired_tags(&mut wheel, 99).is_empty());
        assert_eq!(fired_tags(&mut wheel, 112), [7]);
        assert!(fired_tags(&mut wheel, 100_000).is_empty());
    }

    #[test]
    fn a_deadline_moved_later_does_not_fire_early() {
        let mut wheel = Wheel::new(0);
        let id = tagged(&mut wheel, 1, 100);
        wheel.set(id, 50_000);
        assert!(fired_tags(&mut wheel, 49_000).is_empty());
        assert_eq!(fired_tags(&mut wheel, 50_016), [1]);
    }

    #[test]
    fn a_deadline_moved_earlier_fires_in_time() {
        let mut wheel = Wheel::new(0);
        let id = tagged(&mut wheel, 1, 60_000);
        wheel.set(id, 200);
        assert_eq!(fired_tags(&mut wheel, 224), [1]);
    }

    #[test]
    fn a_cleared_or_removed_timer_never_fires() {
        let mut wheel = Wheel::new(0);
        let cleared = tagged(&mut wheel, 1, 100);
        let removed = tagged(&mut wheel, 2, 100);
        wheel.clear(cleared);
        wheel.remove(removed);
        assert!(fired_tags(&mut wheel, 10_000).is_empty());
        let reused = tagged(&mut wheel, 3, 10_100);
        wheel.set(removed, 10_050);
        assert_ne!(removed, reused);
        assert_eq!(fired_tags(&mut wheel, 10_200), [3]);
    }

    #[test]
    fn every_deadline_fires_within_its_granularity_however_time_jumps() {
        let mut wheel = Wheel::new(0);
        for i in 0..2000u64 {
            tagged(&mut wheel, i, i * 37);
        }
        let (mut now, mut seen) = (0, 0);
        for step in [3, 1000, 16, 9000, 1, 20_000, 60_000, 64] {
            now += step;
            for tag in fired_tags(&mut wheel, now) {
                assert!(tag * 37 <= now);
                seen += 1;
            }
            let due = (0..2000u64)
                .filter(|i| i * 37 + GRANULARITY_MS <= now)
                .count();
            assert!(seen >= due, "{seen} fired of {due} due at {now}");
        }
        assert_eq!(seen, 2000);
    }

    #[test]
    fn the_wait_reaches_the_next_deadline_and_not_beyond() {
        let mut wheel = Wheel::new(0);
        assert_eq!(wheel.wait_ms(0), None);
        tagged(&mut wheel, 1, 1000);
        let wait = wheel.wait_ms(0).unwrap();
        assert!((1000..=1016).contains(&wait), "{wait}");
        tagged(&mut wheel, 2, 1_000_000);
        assert_eq!(fired_tags(&mut wheel, 1016), [1]);
        assert!(wheel.wait_ms(1016).is_some());
    }
}
