//! Memory asked for before it is used: what a round brings is about connections whose lines left the cache long ago.

/// Bytes of a line of the processor's cache.
const LINE_BYTES: usize = 64;

/// Asks for the lines `value` lies in. Costs a few instructions and waits for nothing.
#[inline(always)]
pub fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for offset in (0..size_of_val(value)).step_by(LINE_BYTES) {
            // SAFETY: the address lies in `value`; a prefetch reads nothing that the program can see.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, LINE_BYTES);
}
