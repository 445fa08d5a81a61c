//! libFuzzer's way into [`glowplug_fuzz::chunks`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    glowplug_fuzz::chunks(data);
});
