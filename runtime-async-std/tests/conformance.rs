//! async-std, smol and an executor of one's own keep the rules of the runtime seam.

#[cfg(feature = "async-std")]
mod async_std_ {
    use quicpool_async_std::AsyncStdRuntime;

    quicpool_conformance::seam_tests!(AsyncStdRuntime, async_std::task::block_on);
}

#[cfg(feature = "smol")]
mod smol_ {
    use quicpool_async_std::SmolRuntime;

    quicpool_conformance::seam_tests!(SmolRuntime, smol::block_on);
}
