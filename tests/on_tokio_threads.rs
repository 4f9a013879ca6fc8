//! The loopback suite on the threads of a tokio runtime of its own.

mod suite;

use std::{io, net, sync::LazyLock};

use quicpool::{
    TokioRuntime,
    runtime::{SystemRuntime, Task},
};
use suite::support;
use tokio::runtime::{Builder, EnterGuard, Runtime};

static THREADS: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    let threads = builder.worker_threads(2).enable_all().build();
    threads.expect("threads can be had")
});

/// The runtime of the managers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tested;

fn enter() -> EnterGuard<'static> {
    THREADS.enter()
}

impl SystemRuntime for Tested {
    type Watched = <TokioRuntime as SystemRuntime>::Watched;
    type Timer = <TokioRuntime as SystemRuntime>::Timer;

    fn watch(&self, socket: net::UdpSocket) -> io::Result<Self::Watched> {
        let _entered = enter();
        TokioRuntime.watch(socket)
    }

    fn timer(&self) -> io::Result<Self::Timer> {
        let _entered = enter();
        SystemRuntime::timer(&TokioRuntime)
    }

    fn spawn(&self, task: Task) {
        let _entered = enter();
        SystemRuntime::spawn(&TokioRuntime, task);
    }
}
