//! Draws decisions from the bytes of an input, until it is empty.

/// The bytes that are left.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes one byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Takes one byte, and 0 if none is left.
    pub(crate) fn number(&mut self) -> usize {
        self.byte().unwrap_or(0).into()
    }

    /// Takes as many bytes as the next two bytes ask for, and never more than there are.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = self.number() | self.number() << 8;
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// Chooses one by the next byte.
    pub(crate) fn choose<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.number() % N]
    }
}
