//! libFuzzer's way into [`glowplug_fuzz::zstdchunked`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    glowplug_fuzz::zstdchunked(data);
});
