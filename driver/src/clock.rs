//! The clock of the runtime, as the handle reads it on any thread.

use std::{fmt, sync::Arc, time::Instant};

use crate::runtime::Runtime;

/// The clock of a runtime whose type the handle does not know.
pub(crate) struct Clock(Box<dyn Fn() -> Instant + Send + Sync>);

impl Clock {
    /// The clock of `runtime`.
    pub(crate) fn of<R: Runtime>(runtime: &Arc<R>) -> Self {
        let runtime = Arc::clone(runtime);
        Self(Box::new(move || runtime.now()))
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Instant {
        (self.0)()
    }

    /// A clock that always shows the moment at which it was made.
    #[cfg(test)]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    pub(crate) fn stopped() -> Self {
        let moment = Instant::now();
        Self(Box::new(move || moment))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
