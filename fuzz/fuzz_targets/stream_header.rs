//! libFuzzer's program for the target `stream_header` of `fuzz/targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quicpool_fuzz_targets::named("stream_header").run)(bytes));
