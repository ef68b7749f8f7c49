//! A value that is taken out, changed and put back.

use std::ops::{Deref, DerefMut};

/// A value behind a reference that [`change`](Self::change) may consume, so that nothing else holds its tensors and they
/// can be written to where they lie.
pub(crate) struct Slot<T>(Option<T>);

const LOST: &str = "a step that panicked has taken the value with it";

impl<T> Slot<T> {
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Puts what `change` makes of the value in its place. The value is lost where that panics.
    pub fn change(&mut self, change: impl FnOnce(T) -> T) {
        self.0 = Some(change(self.0.take().expect(LOST)));
    }
}

impl<T> Deref for Slot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(LOST)
    }
}

impl<T> DerefMut for Slot<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(LOST)
    }
}
