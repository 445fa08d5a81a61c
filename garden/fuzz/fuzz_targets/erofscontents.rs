//! libFuzzer's way into [`glowplug_fuzz::erofscontents`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    glowplug_fuzz::erofscontents(data);
});
