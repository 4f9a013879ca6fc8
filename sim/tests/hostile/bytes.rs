//! Bytes of the wire, written and read without the core.

/// The frames of the control stream, as `docs/wire.md` numbers them.
pub(crate) const HELLO: u64 = 0x01;
pub(crate) const LINES: u64 = 0x02;
pub(crate) const ACK: u64 = 0x03;

/// The header of line 0's stream.
pub(crate) const LINE: [u8; 2] = [1, 0];

/// A limit that is never reached.
pub(crate) const NO_LIMIT: u64 = 1 << 40;

/// What a greeting has of the other end's half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Yours {
    pub(crate) half: [u8; 16],
    pub(crate) received: u64,
    pub(crate) taken: u64,
}

/// A greeting of the other end.
pub(crate) struct Heard {
    pub(crate) half: [u8; 16],
    pub(crate) yours: Option<Yours>,
}

impl Heard {
    /// Reads hello and LINES, and skips grease.
    pub(crate) fn of(control: &[u8]) -> Self {
        let (mut half, mut known, mut numbers) = (None, None, Vec::new());
        for (kind, body) in frames(control) {
            match kind {
                1 => {
                    for (key, _, bytes) in parameters(body) {
                        match key {
                            7 => half = bytes.try_into().ok(),
                            9 => known = bytes.try_into().ok(),
                            _ => {}
                        }
                    }
                }
                2 => numbers = varints(body),
                _ => {}
            }
        }
        let yours = known.map(|half| Yours {
            half,
            received: numbers[11],
            taken: numbers[12],
        });
        Self {
            half: half.expect("hello has the id of a half"),
            yours,
        }
    }

    /// The greatest credit in hello, LINES and ACK; 0 if there is none.
    pub(crate) fn credit(control: &[u8]) -> u64 {
        let credits = frames(control).into_iter().map(|(kind, body)| match kind {
            1 => {
                let mut all = parameters(body).into_iter();
                all.find_map(|(key, number, _)| (key == 18).then_some(number))
                    .unwrap_or(0)
            }
            2 => varints(body).get(13).copied().unwrap_or(0),
            3 => varints(body).get(5).copied().unwrap_or(0),
            _ => 0,
        });
        credits.max().unwrap_or(0)
    }

    /// Reads `received` and `taken` of every ACK, and of every LINES that knows line 0.
    pub(crate) fn acknowledgements(control: &[u8]) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        for (kind, body) in frames(control) {
            let numbers = match kind {
                2 | 3 => varints(body),
                _ => continue,
            };
            match (kind, numbers.len()) {
                (2, 15..) => all.push((numbers[11], numbers[12])),
                (3, 6..) => all.push((numbers[3], numbers[4])),
                _ => {}
            }
        }
        all
    }
}

/// Frames of a control stream: types and bodies.
pub(crate) fn frames(mut control: &[u8]) -> Vec<(u64, &[u8])> {
    let mut frames = Vec::new();
    while !control.is_empty() {
        let kind = take_varint(&mut control);
        let length = take_varint(&mut control) as usize;
        let (body, rest) = control.split_at(length);
        control = rest;
        frames.push((kind, body));
    }
    frames
}

/// Parameters of hello: each key, its number or the length of its bytes, and its bytes, which an even key has
/// none of.
pub(crate) fn parameters(mut body: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut parameters = Vec::new();
    while !body.is_empty() {
        let (key, number) = (take_varint(&mut body), take_varint(&mut body));
        let length = if key % 2 == 0 { 0 } else { number as usize };
        let (bytes, rest) = body.split_at(length);
        body = rest;
        parameters.push((key, number, bytes));
    }
    parameters
}

pub(crate) fn varints(mut body: &[u8]) -> Vec<u64> {
    let mut numbers = Vec::new();
    while !body.is_empty() {
        numbers.push(take_varint(&mut body));
    }
    numbers
}

/// A variable-length integer (RFC 9000, section 16).
pub(crate) fn varint(value: u64) -> Vec<u8> {
    match value {
        0..=0x3f => vec![value as u8],
        0x40..=0x3fff => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..=0x3fff_ffff => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let length = 1 << (bytes[0] >> 6);
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    let first = u64::from(number[0] & 0x3f);
    let rest = number[1..].iter();
    rest.fold(first, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The body of a frame that is a row of integers.
pub(crate) fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| varint(*number)).collect()
}

/// A control frame.
pub(crate) fn frame(kind: u64, body: &[u8]) -> Vec<u8> {
    [&varint(kind)[..], &varint(body.len() as u64), body].concat()
}

/// An acknowledgement of line 0, with no limit.
pub(crate) fn ack(received: u64, taken: u64) -> Vec<u8> {
    let body = [0, NO_LIMIT, 0, received, taken, NO_LIMIT];
    frame(ACK, &numbers(&body))
}

/// A plain record: its header as stated, and any bytes as its body.
pub(crate) fn record(len: u32, count: u32, first: u64, body: &[u8]) -> Vec<u8> {
    let mut record = len.to_be_bytes().to_vec();
    record.extend((count & 0xff_ffff).to_be_bytes());
    record.extend(first.to_be_bytes());
    record.extend(body);
    record
}

/// A headed record without age.
pub(crate) fn headed(count: u32, first: u64, body: &[u8]) -> Vec<u8> {
    let mut record = record(body.len() as u32, count, first, &[0; 4]);
    record[4] = 1;
    record.extend(body);
    record
}
