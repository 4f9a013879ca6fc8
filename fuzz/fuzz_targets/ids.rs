//! libFuzzer's program for the target `ids` of `fuzz/targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quicpool_fuzz_targets::named("ids").run)(bytes));
