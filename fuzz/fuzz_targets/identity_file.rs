//! libFuzzer's program for the target `identity_file` of `fuzz/targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quicpool_fuzz_targets::named("identity_file").run)(bytes));
