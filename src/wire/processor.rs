//! What the processor does that the language has no word for: asking for a cache line before it is needed,
//! and comparing eight numbers at once.
//!
//! What it is: the one file below `io` with `unsafe`, for the tables of every room. What it is not: anything about
//! packets. Elsewhere than on `x86_64` a prefetch does nothing and numbers are compared one by one. Cost: one
//! instruction a line; six for eight numbers.
#![allow(unsafe_code, reason = "the prefetch and load intrinsics take raw pointers")]

/// Asks for the line of a value that is needed soon.
#[inline]
pub(crate) fn prefetch<T>(of: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads and writes nothing and faults nowhere; the pointer is a reference's anyway.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(of).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = of;
}

/// A bit for each of eight numbers that equals `wanted`, the first number's lowest.
#[inline]
pub(crate) fn equal(numbers: &[u16; 8], wanted: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { sse2(numbers, wanted) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    one_by_one(numbers, wanted)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn sse2(numbers: &[u16; 8], wanted: u16) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        _mm_setzero_si128,
    };
    // SAFETY: the reference is to 16 readable bytes, and this load asks for no alignment.
    let numbers = unsafe { _mm_loadu_si128(std::ptr::from_ref(numbers).cast()) };
    let same = _mm_cmpeq_epi16(numbers, _mm_set1_epi16(wanted.cast_signed()));
    _mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())).cast_unsigned()
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one<T: Copy + PartialEq>(numbers: &[T; 8], wanted: T) -> u32 {
    numbers.iter().zip(0..).fold(0, |bits, (number, place)| bits | u32::from(*number == wanted) << place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_compared_as_one_by_one(numbers in any::<[u16; 8]>(), pick in 0..9_usize, few in any::<bool>()) {
            let numbers = if few { numbers.map(|n| n & 1) } else { numbers };
            let wanted = numbers.get(pick).copied().unwrap_or(0x8000);
            prop_assert_eq!(equal(&numbers, wanted), one_by_one(&numbers, wanted));
        }
    }
}
