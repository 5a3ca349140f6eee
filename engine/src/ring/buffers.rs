//! The slab of buffers: provided-buffer rings the kernel fills, and a pool for what is written.
//!
//! A filled buffer is a [`Lease`]: whoever holds it owns its bytes; dropping it gives the buffer back.
//! Invariant: a buffer is at any time in exactly one place: the kernel's ring, a lease, or the pool's free list;
//! a lease shows only bytes written through it or by the kernel since it was leased.

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::limits::{
    HEADROOM_BYTES, POOL_BYTES_MAX, POOL_KEPT_BYTES, RING_BUFFERS_MIN, RING_DRY_MS, RING_GROWTH,
    RING_RESERVE, TAILROOM_BYTES, WINDOW_ROUNDS,
};

/// Which provided-buffer ring a receive takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Group {
    /// Buffers of [`SMALL_BYTES`](super::limits::SMALL_BYTES).
    Small = 0,
    /// Buffers of [`LARGE_BYTES`](super::limits::LARGE_BYTES).
    Large = 1,
}

/// One provided-buffer ring (kernel 5.19) and the memory behind it.
pub(super) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    /// Buffers there are without growth, and places in the ring.
    base: u16,
    places: u16,
    stride: usize,
    tail: Cell<u16>,
    /// Buffers the kernel holds.
    available: Cell<u16>,
    /// Buffers it is to hold at each round's start: twice what a round took lately. It takes the one it has had longest,
    /// which is the coldest, so that fewer are better.
    wanted: Cell<u16>,
    /// Taken this round, the most in a round of this window, and the window's rounds so far.
    taken: Cell<u16>,
    most: Cell<u16>,
    rounds: Cell<u16>,
    /// Buffers there are: those below this index. The spare ones are with neither side, the one used last on top.
    grown: Cell<u16>,
    spare: RefCell<Vec<u16>>,
    /// Since when a receive waits and no buffer is there, in ms.
    dry_since_ms: Cell<Option<u64>>,
}

impl BufferRing {
    /// Allocates `count` (a power of two) buffers of `bytes` each and hands all of them to the kernel.
    pub(super) fn register(
        ring: &io_uring::IoUring,
        group: Group,
        count: u16,
        bytes: usize,
    ) -> io::Result<Self> {
        assert!(count.is_power_of_two() && RING_GROWTH.is_power_of_two());
        let places = count * RING_GROWTH;
        let stride = HEADROOM_BYTES + bytes + TAILROOM_BYTES;
        let entries = map(usize::from(places) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        // Pages that are never written cost nothing.
        let memory = map(usize::from(places) * stride)?;
        // SAFETY: `entries` is a page-aligned mapping of `places` entries, never unmapped while the ring lives.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                places,
                group as u16,
                0,
            )?;
        }
        let this = Self {
            entries,
            memory,
            base: count,
            places,
            stride,
            tail: Cell::new(0),
            available: Cell::new(0),
            wanted: Cell::new(count),
            taken: Cell::new(0),
            most: Cell::new(0),
            rounds: Cell::new(0),
            grown: Cell::new(count),
            spare: RefCell::new(Vec::with_capacity(usize::from(places))),
            dry_since_ms: Cell::new(None),
        };
        for index in 0..count {
            this.give(index);
        }
        Ok(this)
    }

    /// Gives buffer `index` to the kernel.
    fn give(&self, index: u16) {
        let tail = self.tail.get();
        let slot = usize::from(tail & (self.places - 1));
        // SAFETY: `slot < places`, so the entry lies in the mapping; only this thread writes entries, and the kernel
        // does not read this one before the tail below is published.
        let entry = unsafe { &mut *self.entries.as_ptr().add(slot) };
        let start =
            self.memory.as_ptr() as usize + usize::from(index) * self.stride + HEADROOM_BYTES;
        entry.set_addr(start as u64);
        entry.set_len((self.stride - HEADROOM_BYTES - TAILROOM_BYTES) as u32);
        entry.set_bid(index);
        self.tail.set(tail.wrapping_add(1));
        self.available.set(self.available.get() + 1);
        // SAFETY: the tail overlays the first entry's reserved field, which is aligned for u16 and shared with the
        // kernel only; release orders the entry's fields before it.
        unsafe {
            let tail_field = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail_field).store(self.tail.get(), Ordering::Release);
        }
    }

    /// Takes buffer `index` back: to the kernel, or aside where that has what it needs.
    fn take_back(&self, index: u16) {
        if self.available.get() >= self.wanted.get() {
            self.spare.borrow_mut().push(index);
        } else {
            self.give(index);
        }
    }

    /// Before a round: has the kernel hold what it may need.
    pub(super) fn fill(&self) {
        let (taken, rounds) = (self.taken.take(), self.rounds.get() + 1);
        self.most.set(self.most.get().max(taken));
        if rounds == WINDOW_ROUNDS || self.most.get() > self.wanted.get() / 2 {
            self.rounds.set(0);
            let most = self.most.take().max(RING_BUFFERS_MIN / 2);
            self.wanted.set((most * 2).min(self.base));
        } else {
            self.rounds.set(rounds);
        }
        while self.available.get() < self.wanted.get() {
            let Some(index) = self.spare.borrow_mut().pop() else {
                return;
            };
            self.give(index);
        }
    }

    /// A receive found no buffer.
    pub(super) fn missed(&self) {
        self.wanted.set(self.base);
        self.rounds.set(0);
        self.most.set(self.base / 2);
    }

    /// A receive waits. Grows the ring once it has been dry for a while, so that readers who hold what there is do not
    /// stop all others. True where a buffer is there now.
    pub(super) fn feed(&self, now_ms: u64) -> bool {
        if self.available.get() > 0 {
            self.dry_since_ms.set(None);
            return true;
        }
        match self.dry_since_ms.get() {
            None => self.dry_since_ms.set(Some(now_ms)),
            Some(since) if now_ms >= since + RING_DRY_MS => {
                self.dry_since_ms.set(None);
                for _ in 0..self.base / 2 {
                    let spare = self.spare.borrow_mut().pop();
                    match spare {
                        Some(index) => self.give(index),
                        None if self.grown.get() < self.places => {
                            self.give(self.grown.get());
                            self.grown.set(self.grown.get() + 1);
                        }
                        None => break,
                    }
                }
            }
            Some(_) => {}
        }
        self.available.get() > 0
    }

    /// Buffers in somebody's hands.
    fn leased(&self) -> u16 {
        self.grown.get() - self.spare.borrow().len() as u16 - self.available.get()
    }

    /// The kernel's idea of how many buffers it can fill.
    pub(super) fn available(&self) -> u16 {
        self.available.get()
    }

    /// Whether hardly any is left and there will not be more.
    fn runs_low(&self) -> bool {
        self.grown.get() == self.places
            && usize::from(self.available.get()) + self.spare.borrow().len()
                < usize::from(self.base / RING_RESERVE)
    }
}

/// Anonymous zeroed memory, page-aligned, kept for the life of the thread's reactor.
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh anonymous private mapping; no existing memory is touched.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast()).expect("mmap never returns null on success"))
}

/// All buffers of one reactor.
pub(super) struct Buffers {
    rings: [BufferRing; 2],
    pool: RefCell<Pool>,
}

/// Heap buffers for what is written, kept by size class.
#[derive(Default)]
struct Pool {
    free: [Vec<Box<[u8]>>; CLASSES.len()],
    kept_bytes: usize,
    leased_bytes: usize,
}

/// Capacities of pooled buffers, in bytes; larger ones are allocated to measure and not kept.
const CLASSES: [usize; 4] = [4096, 18 * 1024, 34 * 1024, 80 * 1024];

impl Buffers {
    pub(super) fn new(small: BufferRing, large: BufferRing) -> Rc<Self> {
        Rc::new(Self {
            rings: [small, large],
            pool: RefCell::default(),
        })
    }

    /// Before a round: has the kernel hold what it may need of each group.
    pub(super) fn fill(&self) {
        for ring in &self.rings {
            ring.fill();
        }
    }

    pub(super) fn ring(&self, group: Group) -> &BufferRing {
        &self.rings[group as usize]
    }

    /// The lease of what the kernel wrote: `filled` bytes in buffer `index` of `group`.
    pub(super) fn filled(self: &Rc<Self>, group: Group, index: u16, filled: usize) -> Lease {
        let ring = self.ring(group);
        ring.available.set(ring.available.get() - 1);
        ring.taken.set(ring.taken.get() + 1);
        assert!(
            index < ring.grown.get() && filled <= ring.stride - HEADROOM_BYTES - TAILROOM_BYTES
        );
        // SAFETY: `index < grown <= places`, so the address lies in the mapping.
        let base = unsafe { ring.memory.add(usize::from(index) * ring.stride) };
        Lease {
            base,
            capacity: ring.stride as u32,
            start: HEADROOM_BYTES as u32,
            end: (HEADROOM_BYTES + filled) as u32,
            home: Home::Ring { group, index },
            buffers: Rc::clone(self),
        }
    }

    /// An empty buffer with room for `bytes` behind the usual headroom; `None` when the pool is used up.
    pub(super) fn lease(self: &Rc<Self>, bytes: usize) -> Option<Lease> {
        let wanted = bytes + HEADROOM_BYTES + TAILROOM_BYTES;
        let mut pool = self.pool.borrow_mut();
        let class = CLASSES.iter().position(|&capacity| capacity >= wanted);
        let memory = match class.and_then(|class| pool.free[class].pop()) {
            Some(memory) => {
                pool.kept_bytes -= memory.len();
                memory
            }
            None => {
                let capacity = class.map_or(wanted, |class| CLASSES[class]);
                if pool.leased_bytes + capacity > POOL_BYTES_MAX {
                    return None;
                }
                vec![0; capacity].into_boxed_slice()
            }
        };
        pool.leased_bytes += memory.len();
        let capacity = memory.len() as u32;
        let base = NonNull::new(Box::into_raw(memory).cast::<u8>()).expect("a box is never null");
        Some(Lease {
            base,
            capacity,
            start: HEADROOM_BYTES as u32,
            end: HEADROOM_BYTES as u32,
            home: Home::Pool,
            buffers: Rc::clone(self),
        })
    }

    /// `lease`, or a copy of it in the pool where its ring runs low: what is to be sent may stay long.
    #[inline]
    pub(super) fn relieve(self: &Rc<Self>, lease: Lease) -> Lease {
        if let Home::Ring { group, .. } = lease.home
            && self.ring(group).runs_low()
            && let Some(mut copy) = self.lease(lease.len())
        {
            copy.append(lease.bytes());
            return copy;
        }
        lease
    }

    fn take_back(&self, base: NonNull<u8>, capacity: usize, home: Home) {
        match home {
            Home::Ring { group, index } => self.ring(group).take_back(index),
            Home::Pool => {
                // SAFETY: `base` and `capacity` are those of the boxed slice that `lease` turned into a pointer,
                // and its only lease ends here.
                let memory = unsafe {
                    Box::from_raw(std::ptr::slice_from_raw_parts_mut(base.as_ptr(), capacity))
                };
                let mut pool = self.pool.borrow_mut();
                pool.leased_bytes -= capacity;
                if pool.kept_bytes + capacity <= POOL_KEPT_BYTES
                    && let Some(class) = CLASSES.iter().position(|&c| c == capacity)
                {
                    pool.kept_bytes += capacity;
                    pool.free[class].push(memory);
                }
            }
        }
    }

    /// Buffers out of the kernel's hands, for the leak check: `(small, large, pool bytes)`.
    pub(super) fn leased(&self) -> (u16, u16, usize) {
        (
            self.rings[0].leased(),
            self.rings[1].leased(),
            self.pool.borrow().leased_bytes,
        )
    }
}

#[derive(Debug, Clone, Copy)]
enum Home {
    Ring { group: Group, index: u16 },
    Pool,
}

/// A buffer in somebody's hands: `start..end` of it are bytes, before and after is room.
pub struct Lease {
    base: NonNull<u8>,
    capacity: u32,
    start: u32,
    end: u32,
    home: Home,
    buffers: Rc<Buffers>,
}

impl Lease {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start <= end <= capacity`, the memory is initialised (zeroed when mapped or allocated) and
        // exclusively this lease's.
        unsafe {
            std::slice::from_raw_parts(self.base.as_ptr().add(self.start as usize), self.len())
        }
    }

    /// The bytes, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes the access exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.base.as_ptr().add(self.start as usize), self.len())
        }
    }

    /// How many bytes it holds.
    #[inline]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that can still be appended.
    pub fn room(&self) -> usize {
        (self.capacity - self.end) as usize
    }

    /// Drops the first `n` bytes. Panics where there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len());
        self.start += n as u32;
    }

    /// Keeps the first `n` bytes. Panics where there are fewer.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        assert!(n <= self.len());
        self.end = self.start + n as u32;
    }

    /// Appends `more`; false, and nothing done, where there is no room.
    #[inline]
    pub fn append(&mut self, more: &[u8]) -> bool {
        if more.len() > self.room() {
            return false;
        }
        let old = self.len();
        self.end += more.len() as u32;
        self.bytes_mut()[old..].copy_from_slice(more);
        true
    }

    /// Puts `before` in front; false, and nothing done, where there is no room.
    #[inline]
    pub fn prepend(&mut self, before: &[u8]) -> bool {
        self.replace_prefix(0, before)
    }

    /// Puts `with` in the place of the first `n` bytes, keeping the rest where it is; false, and nothing done, where
    /// the room before it is too small.
    #[inline]
    pub fn replace_prefix(&mut self, n: usize, with: &[u8]) -> bool {
        assert!(n <= self.len());
        if with.len() > self.start as usize + n {
            return false;
        }
        self.start = self.start + n as u32 - with.len() as u32;
        self.bytes_mut()[..with.len()].copy_from_slice(with);
        true
    }

    /// Whether it has room for `bytes` once it is cleared.
    pub fn holds(&self, bytes: usize) -> bool {
        bytes <= (self.capacity as usize).saturating_sub(HEADROOM_BYTES)
    }

    /// Empties it, keeping the usual headroom.
    pub fn clear(&mut self) {
        self.start = (HEADROOM_BYTES as u32).min(self.capacity);
        self.end = self.start;
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.buffers
            .take_back(self.base, self.capacity as usize, self.home);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("len", &self.len())
            .field("home", &self.home)
            .finish()
    }
}
