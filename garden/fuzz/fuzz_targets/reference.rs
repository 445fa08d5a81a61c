//! libFuzzer's way into [`glowplug_fuzz::reference`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    glowplug_fuzz::reference(data);
});
