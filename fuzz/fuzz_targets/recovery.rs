#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| axum_eventstream_fuzz::inputs::recovery::check(input));
