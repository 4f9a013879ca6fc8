//! libFuzzer's program for the target `bodies` of `fuzz/targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quicpool_fuzz_targets::named("bodies").run)(bytes));
