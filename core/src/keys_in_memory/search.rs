//! The search for keys in all memory of this process that can be written.

use std::{
    fs::{self, File},
    hint::black_box,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use zeroize::Zeroizing;

/// The length of a key, in bytes.
const KEY_LEN: usize = 32;

/// A quarter of a key: ciphers keep keys in rows of this length or of multiples of it.
const PART_LEN: usize = 8;

/// How often parts of a key are found where one whole key is.
pub(crate) const WHOLE: usize = KEY_LEN / PART_LEN;

/// What keys are masked with, so that what is searched for is not itself found.
const MASK: u8 = 0xa5;

/// Bytes that are read at a time.
const BUFFER_LEN: usize = 256 * 1024;

/// A search reads all memory into a buffer, where a search beside it would find the keys again.
static SEARCH: Mutex<()> = Mutex::new(());

/// How many keys were made up.
static MADE_UP: AtomicU64 = AtomicU64::new(0);

/// Waits until no other test has keys in memory that it searches for.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    SEARCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key that is known by its masked bytes, and is nowhere in memory until it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Masked([u8; KEY_LEN]);

impl Masked {
    /// Makes up a key that no other test has: some leave theirs in memory on purpose.
    pub(crate) fn fresh() -> Self {
        let number = MADE_UP.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; KEY_LEN];
        for (word, place) in bytes.chunks_exact_mut(PART_LEN).enumerate() {
            let word = mixed(number * WHOLE as u64 + word as u64);
            place.copy_from_slice(&word.to_be_bytes());
        }
        Self(bytes)
    }

    /// Masks a key.
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    #[inline(never)]
    pub(crate) fn of(key: &[u8; KEY_LEN]) -> Self {
        Self(std::array::from_fn(|index| key[index] ^ black_box(MASK)))
    }

    /// Writes the key itself, byte by byte.
    pub(crate) fn write(&self, place: &mut [u8]) {
        for (byte, masked) in place.iter_mut().zip(self.0) {
            *byte = black_box(masked) ^ MASK;
        }
    }

    /// A copy that its owner erases.
    pub(crate) fn reveal(&self) -> Box<Zeroizing<[u8; KEY_LEN]>> {
        let mut place = Box::<Zeroizing<[u8; KEY_LEN]>>::default();
        self.write(&mut place[..]);
        place
    }
}

/// The finalizer of SplitMix64: no two numbers give one value, and near ones give far ones.
fn mixed(number: u64) -> u64 {
    let mut value = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Counts the parts of these keys in the memory of this process: [`WHOLE`] for each whole copy.
pub(crate) fn parts_in_memory(keys: &[Masked]) -> usize {
    let wanted = Wanted::new(keys);
    let memory = File::open("/proc/self/mem").expect("tests run on Linux");
    let mut buffer = vec![0; BUFFER_LEN];
    let own = buffer.as_ptr_range();
    let own = own.start as u64..own.end as u64;
    let mut count = 0;
    for region in writable_regions() {
        count += wanted.count_in(&memory, region, &own, &mut buffer);
    }
    buffer.fill(0);
    black_box(&buffer);
    count
}

/// Masked parts of keys, to look up.
struct Wanted {
    /// In order.
    parts: Vec<u64>,
    /// Which values the first two bytes of a part have: most of memory is passed over by these.
    beginnings: Vec<bool>,
}

impl Wanted {
    fn new(keys: &[Masked]) -> Self {
        let mut parts: Vec<u64> = keys
            .iter()
            .flat_map(|key| key.0.chunks(PART_LEN))
            .map(word)
            .collect();
        parts.sort_unstable();
        let mut beginnings = vec![false; 1 << 16];
        for part in &parts {
            beginnings[beginning(*part)] = true;
        }
        Self { parts, beginnings }
    }

    /// Whether these bytes, masked, are a part of a key.
    fn has(&self, bytes: &[u8]) -> bool {
        let masked = word(bytes) ^ u64::from_be_bytes([MASK; PART_LEN]);
        self.beginnings[beginning(masked)] && self.parts.binary_search(&masked).is_ok()
    }

    fn count_in(
        &self,
        memory: &File,
        region: Range<u64>,
        own: &Range<u64>,
        buffer: &mut [u8],
    ) -> usize {
        let mut count = 0;
        let mut at = region.start;
        while at < region.end {
            let len = buffer.len().min((region.end - at) as usize);
            // A region may be gone by the time that it is read.
            let Ok(read) = memory.read_at(&mut buffer[..len], at) else {
                return count;
            };
            let found = buffer[..read]
                .windows(PART_LEN)
                .enumerate()
                .filter(|(offset, bytes)| self.has(bytes) && !own.contains(&(at + *offset as u64)));
            count += found.count();
            // The next window begins in this one, so that nothing hides on a border.
            match read {
                0..PART_LEN => return count,
                _ => at += (read - PART_LEN + 1) as u64,
            }
        }
        count
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("a part has eight bytes"))
}

fn beginning(part: u64) -> usize {
    (part >> 48) as usize
}

fn writable_regions() -> Vec<Range<u64>> {
    let maps = fs::read_to_string("/proc/self/maps").expect("tests run on Linux");
    maps.lines().filter_map(writable_region).collect()
}

fn writable_region(line: &str) -> Option<Range<u64>> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    fields.next().filter(|flags| flags.starts_with("rw"))?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some(number(start)?..number(end)?)
}
