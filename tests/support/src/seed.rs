//! Randomness that can be repeated.

use std::env;

/// The seed of this run: `LAKEWARD_SEED`, or a fixed one. Printed, so that a failure names it.
pub fn seed() -> u64 {
    let seed = env::var("LAKEWARD_SEED").map_or(20_261_121, |text| {
        text.parse().unwrap_or_else(|_| panic!("LAKEWARD_SEED={text} is no number"))
    });
    println!("LAKEWARD_SEED={seed}");
    seed
}

/// SplitMix64 (Steele, Lea, Flood 2014): numbers that depend on the seed alone.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of `items`.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let place = self.number() % items.len() as u64;
        &items[usize::try_from(place).expect("a place in a slice")]
    }
}
