//! Boxes values that most peers do not need at any moment.

use std::ops::{Deref, DerefMut};

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

/// A row that is empty at most peers: it takes one word then, and not three.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::box_collection, reason = "see the type")]
pub(super) struct Few<T>(Option<Box<Vec<T>>>);

impl<T> Few<T> {
    pub(super) fn push(&mut self, value: T) {
        self.0.get_or_insert_default().push(value);
    }

    /// Removes the value at a place that there is.
    pub(super) fn remove(&mut self, place: usize) -> T {
        let row = self.0.as_mut().expect("invariant: the place was found");
        let removed = row.remove(place);
        self.tidy();
        removed
    }

    pub(super) fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        if let Some(row) = &mut self.0 {
            row.retain(keeps);
        }
        self.tidy();
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Gives back memory that nothing is in.
    pub(super) fn shrink_to_fit(&mut self) {
        if let Some(row) = &mut self.0 {
            row.shrink_to_fit();
        }
    }

    fn tidy(&mut self) {
        self.0 = self.0.take().filter(|row| !row.is_empty());
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}
