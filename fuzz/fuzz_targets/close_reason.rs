//! libFuzzer's program for the target `close_reason` of `fuzz/targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quicpool_fuzz_targets::named("close_reason").run)(bytes));
