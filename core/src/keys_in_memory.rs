//! No key outlives its owner: the process looks for key bytes in all of its own memory.
//!
//! Only a release build proves anything: without optimisation each move of a value leaves a copy
//! of it on the stack, and the libraries below move theirs.

use std::{
    convert::Infallible,
    fs::{self, File},
    hint::black_box,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use zeroize::Zeroizing;

use crate::{
    Identity, MeshKey,
    wire::{
        datagram::{Opener, Sealer},
        frame::LineId,
        record::Header,
        seal::{Direction, RecordKey, context},
    },
};

/// What secrets are masked with, so that what is searched for is not itself found.
const MASK: u8 = 0xa5;

/// Half a key: ciphers keep keys in rows of this length.
const PART_LEN: usize = 16;

/// A search reads all memory into a buffer, where a search beside it would find the keys again.
static SEARCH: Mutex<()> = Mutex::new(());

#[test]
fn a_key_that_is_copied_on_purpose_is_found() {
    let secret = Secret::alone(1);
    let copy = secret.reveal();
    black_box(&copy);
    assert!(secret.copies() >= 2, "both halves, in one place at least");
    drop(copy);
    if !cfg!(debug_assertions) {
        assert_eq!(secret.copies(), 0, "and it is gone when it was erased");
    }
}

#[test]
fn a_record_key_is_erased() {
    let secret = Secret::alone(2);
    use_record_key(&secret);
    assert_gone(&secret);
}

#[test]
fn a_record_key_that_lives_is_in_one_place() {
    let secret = Secret::alone(3);
    let mut key = record_key(&secret);
    seal(&mut key);
    if !cfg!(debug_assertions) {
        assert_eq!(secret.copies(), 2, "both halves of it, once");
    }
    drop(key);
    assert_gone(&secret);
}

#[test]
fn a_datagram_key_is_erased() {
    let secret = Secret::alone(6);
    use_datagram_keys(&secret);
    assert_gone(&secret);
}

#[test]
fn a_mesh_key_is_erased() {
    let secret = Secret::alone(4);
    use_mesh_key(&secret);
    assert_gone(&secret);
}

#[test]
fn the_seed_of_an_identity_is_erased() {
    let secret = Secret::alone(5);
    use_identity(&secret);
    assert_gone(&secret);
}

#[inline(never)]
fn record_key(secret: &Secret) -> RecordKey {
    let Ok(key) = RecordKey::derive(|bytes| {
        secret.write(bytes);
        Ok::<_, Infallible>(())
    });
    key
}

#[inline(never)]
fn seal(key: &mut RecordKey) {
    let header = Header {
        len: 300,
        count: 1,
        first: 0,
    };
    let tag = key.seal(LineId([7; 16]), &header, &mut [1; 300]);
    assert!(tag.is_some());
}

#[inline(never)]
fn use_record_key(secret: &Secret) {
    let mut ends = vec![record_key(secret), record_key(secret)];
    let line = LineId([7; 16]);
    for len in 1..200 {
        let header = Header {
            len,
            count: 1,
            first: len.into(),
        };
        let mut body = vec![1; len as usize];
        let tag = ends[0].seal(line, &header, &mut body).expect("young key");
        let opened = ends[1].open(line, &header, &mut body, tag);
        assert_eq!(opened, Ok(()));
    }
    // Moved about, as links are.
    let moved: Vec<_> = ends.into_iter().map(Some).collect();
    drop(black_box(moved));
}

#[inline(never)]
fn use_datagram_keys(secret: &Secret) {
    let write = |bytes: &mut [u8]| {
        secret.write(bytes);
        Ok::<_, Infallible>(())
    };
    let (Ok(sealer), Ok(opener)) = (Sealer::derive(write), Opener::derive(write));
    let mut ends = vec![(sealer, opener)];
    for len in 0..200 {
        let (sealer, opener) = &mut ends[0];
        let sealed = sealer.seal(&vec![1; len]).expect("young key");
        assert!(opener.open(&sealed).is_ok());
    }
    // Moved about, as links are.
    let moved: Vec<_> = ends.into_iter().map(Some).collect();
    drop(black_box(moved));
}

#[inline(never)]
fn use_mesh_key(secret: &Secret) {
    let key = MeshKey::new(&secret.reveal());
    let keys = vec![key.clone(), key];
    for key in black_box(keys) {
        let context = context(Direction::FromDialler, Some(&key));
        black_box(&context);
    }
}

#[inline(never)]
fn use_identity(secret: &Secret) {
    let identity = Identity::from_seed(&secret.reveal());
    let credentials = identity.credentials();
    let again = Identity::from_seed(identity.seed());
    assert_eq!(credentials.local_id(), again.peer_id());
    drop(black_box((identity, credentials, again)));
}

#[track_caller]
fn assert_gone(secret: &Secret) {
    // See above: a debug build copies as it likes.
    if !cfg!(debug_assertions) {
        assert_eq!(secret.copies(), 0);
    }
}

/// 32 bytes that are nowhere in memory until they are written, different for each number.
struct Secret {
    number: u8,
    _alone: MutexGuard<'static, ()>,
}

impl Secret {
    /// Waits until no other secret is searched for.
    fn alone(number: u8) -> Self {
        Self {
            number,
            _alone: SEARCH.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// A byte of the secret, masked.
    fn masked(&self, index: usize) -> u8 {
        let number = u32::from(black_box(self.number)) << 8 | index as u32;
        (number.wrapping_mul(0x9e37_79b1) >> 19) as u8
    }

    fn write(&self, place: &mut [u8]) {
        for (index, byte) in place.iter_mut().enumerate() {
            *byte = black_box(self.masked(index)) ^ MASK;
        }
    }

    /// A copy that its owner erases.
    fn reveal(&self) -> Box<Zeroizing<[u8; 32]>> {
        let mut place = Box::new(Zeroizing::new([0; 32]));
        self.write(&mut place[..]);
        place
    }

    /// How often one of its halves is in the memory of this process.
    fn copies(&self) -> usize {
        let mut parts = [[0; PART_LEN]; 2];
        for (index, byte) in parts.as_flattened_mut().iter_mut().enumerate() {
            *byte = self.masked(index);
        }
        let memory = File::open("/proc/self/mem").expect("tests run on Linux");
        let mut buffer = vec![0; 256 * 1024];
        let own = buffer.as_ptr_range();
        let own = own.start as u64..own.end as u64;
        let mut count = 0;
        for region in writable_regions() {
            count += count_in(&memory, region, &own, &parts, &mut buffer);
        }
        buffer.fill(0);
        black_box(&buffer);
        count
    }
}

fn count_in(
    memory: &File,
    region: Range<u64>,
    own: &Range<u64>,
    parts: &[[u8; PART_LEN]; 2],
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
        for (offset, window) in buffer[..read].windows(PART_LEN).enumerate() {
            let is_part = |part: &[u8; PART_LEN]| {
                window
                    .iter()
                    .zip(part)
                    .all(|(byte, masked)| byte ^ MASK == *masked)
            };
            if parts.iter().any(is_part) && !own.contains(&(at + offset as u64)) {
                count += 1;
            }
        }
        // The next window begins in this one, so that nothing hides on a border.
        match read {
            0..PART_LEN => return count,
            _ => at += (read - PART_LEN + 1) as u64,
        }
    }
    count
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
