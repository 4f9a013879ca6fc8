//! How long each benchmark is measured. All of them together end within five minutes, so that they are
//! run and not only kept.

use std::time::Duration;

use criterion::Criterion;

/// Enough for caches and branch predictors.
const WARM_UP: Duration = Duration::from_millis(200);

/// With these samples a change of a few percent shows on an idle machine. `.ci/counts` is for less.
const MEASUREMENT: Duration = Duration::from_millis(800);
const SAMPLES: usize = 20;

/// As short as all benchmarks are.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES)
        .configure_from_args()
}

/// How often criterion wants something done.
pub(crate) fn count(times: u64) -> usize {
    usize::try_from(times).unwrap_or(usize::MAX)
}
