#![no_main]
// The Parquet library panics on damaged files, which the crate catches: the fuzzer's own hook would
// end at each.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| switchover_fuzz::samples(bytes));
