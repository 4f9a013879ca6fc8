//! Both schedulers of tokio keep the rules of the runtime seam.

use quicpool_tokio::TokioRuntime;
use tokio::runtime::Builder;

mod current_thread {
    use super::{Builder, TokioRuntime};

    quicpool_conformance::seam_tests!(TokioRuntime, |check| {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(check)
    });
}

mod multi_thread {
    use super::{Builder, TokioRuntime};

    quicpool_conformance::seam_tests!(TokioRuntime, |check| {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().build().unwrap().block_on(check)
    });
}
