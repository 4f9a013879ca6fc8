//! Boxes a value that most peers do not need at any moment.

/// A value that is made when it is first written to, and cleared when it is empty.
#[derive(Debug)]
pub(super) struct OnDemand<T>(Option<Box<T>>);

impl<T> OnDemand<T> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// Returns the value, and makes it if there is none.
    pub(super) fn get_or_make(&mut self, make: impl FnOnce() -> T) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(make()))
    }

    /// Drops the value.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Bytes of memory of the value itself.
    pub(super) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |_| size_of::<T>())
    }
}
