//! libFuzzer's program for the target `sealed_records` of `fuzz/targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quicpool_fuzz_targets::named("sealed_records").run)(bytes));
