//! libFuzzer's way into [`glowplug_fuzz::estargz`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    glowplug_fuzz::estargz(data);
});
