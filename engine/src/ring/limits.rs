//! Every bound of the ring, in one place.

/// Entries of the submission queue. More operations queued in one round are submitted in several calls.
pub(super) const SQ_ENTRIES: u32 = 1024;

/// Entries of the completion queue. The kernel keeps what does not fit and counts it; sized so that it stays rare.
pub(super) const CQ_ENTRIES: u32 = 16384;

/// Bytes kept free before the received bytes, so that a rewritten head or a chunk-size line fits before a body.
pub const HEADROOM_BYTES: usize = 320;

/// Bytes kept free after the received bytes, for the line end that closes a chunk.
pub(super) const TAILROOM_BYTES: usize = 16;

/// Received bytes a small buffer takes: one request's head, usually.
pub const SMALL_BYTES: usize = 8192;

/// Small buffers given to the kernel, per reactor. A round of a busy reactor brings 40 completions (6.18), and the buffers
/// of the 40 before are still being sent meanwhile: fewer than 80, and receives find none in every round.
pub(super) const SMALL_COUNT: u16 = 128;

/// Received bytes a large buffer takes. Small and hot beats large and many: buffer rings cycle through everything.
pub const LARGE_BYTES: usize = 32 * 1024;

/// Large buffers given to the kernel, per reactor: as many as small ones, for the same reason.
pub(super) const LARGE_COUNT: u16 = 128;

/// Buffers the kernel holds of each group at the least; more where a round takes more.
pub(super) const RING_BUFFERS_MIN: u16 = 16;

/// Rounds over which it is looked how many a round takes.
pub(super) const WINDOW_ROUNDS: u16 = 256;

/// How many times its first number of buffers a ring may grow to, where slow readers hold what it has.
pub(super) const RING_GROWTH: u16 = 8;

/// How long a ring has to be dry before it grows, in milliseconds: fast readers give buffers back within one turn.
pub(super) const RING_DRY_MS: u64 = 20;

/// Received bytes one socket may have waiting before its receive is stopped.
pub(super) const INBOX_BYTES_MAX: usize = 64 * 1024;

/// Received buffers one socket may have waiting before its receive is stopped.
pub(super) const INBOX_LEASES_MAX: usize = 16;

/// Memory kept of sockets on which nothing is under way any more, for the next on which something is.
pub(super) const FLOWS_KEPT: usize = 1024;

/// Buffers sent by one gathered send.
pub(super) const GATHER_MAX: usize = 16;

/// Structures of gathered sends kept for the next ones.
pub(super) const GATHERS_KEPT: usize = 64;

/// Largest send that is tried without a completion of its own: it fits most sockets' buffers at once.
pub(super) const QUIET_BYTES_MAX: usize = 32 * 1024;

/// Bytes of pooled buffers kept for reuse, per reactor.
pub(super) const POOL_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of pooled buffers in use at once, per reactor. Beyond it, whoever asks waits or refuses.
pub(super) const POOL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes a pipe for splicing takes, or less where the kernel gives no more. Of small fragments it takes less too, one for each
/// page. Half of it costs 4 % more CPU, the usual 64 KiB a quarter more.
pub(super) const PIPE_BYTES: usize = 512 * 1024;

/// Smallest pipe worth having: a user with too many gets ones of two pages (pipe(7)).
pub(super) const PIPE_BYTES_MIN: usize = 64 * 1024;

/// Pipes per reactor. One is held while bytes are in it; who finds none copies. A user without privileges has 64 MiB of
/// pipes in all (pipe(7)).
pub(super) const PIPES_MAX: usize = 32;

/// Completions a busy reactor sleeps for at the most. 32 saved no more.
pub(super) const TOGETHER_MAX: u32 = 16;

/// How long it does so, in microseconds, before fewer will do. 50 saved half as much.
pub(super) const TOGETHER_US: u32 = 100;

/// From this part of its time on, in percent of CPU time, a thread is busy enough to sleep for more than one completion...
pub(super) const BUSY_MIN: u64 = 70;

/// ...and from here on for [`TOGETHER_MAX`] of them. Between the two it settles: whoever sleeps for more is less busy.
pub(super) const BUSY_FULL: u64 = 90;

/// Over how long it is looked how busy the thread is.
pub(super) const BUSY_WINDOW_NS: u64 = 8_000_000;

/// Where more than one in so many sleeps bring fewer than they were for, they are for too many.
pub(super) const SHORT_PART: u32 = 2;

/// Windows until a thread to which even two at once did not come tries again.
pub(super) const REST_WINDOWS: u32 = 4;

/// Single-shot accepts kept armed per listening socket.
pub(super) const ACCEPTS_ARMED: usize = 16;

/// A buffer ring that has grown all it may, with fewer than one in this many of its buffers left, has what is to be sent
/// copied out of it, so that slow readers cannot hold it all.
pub(super) const RING_RESERVE: u16 = 4;
