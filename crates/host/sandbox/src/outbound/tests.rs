//! Networks laid out of a namespace of the test's own; that packets go through them is for the end-to-end tests.

use std::time::Instant;

use super::*;

/// Not a limit to hold, which a loaded machine could not; a figure to read with `--nocapture`.
const ROUNDS: usize = 20;

#[test]
fn networks_beside_each_other_have_places_of_their_own_and_leave_nothing() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return;
    }
    let inside = || {
        unshare(&[Namespace::Network]).unwrap();
        let host = Network::here().unwrap();
        let (first, second) = (Outbound::lay().unwrap(), Outbound::lay().unwrap());
        assert!(first.notes()[0].contains("no IPv4 default route"), "{:?}", first.notes());
        for (laid, name) in [(&first, "glowplug0"), (&second, "glowplug1")] {
            assert!(laid.namespace().exists());
            assert!(host.link(name).is_ok());
        }
        assert_eq!(forwarding_links(), Vec::<String>::new());
        drop(first);
        let third = Outbound::lay().unwrap();
        assert_eq!(third._pair.link.name, "glowplug0", "the place is free again");
        drop((second, third));
        assert_eq!(host.routes().unwrap(), []);
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                let laid = Outbound::lay().unwrap();
                let took = began.elapsed();
                drop(laid);
                (took, began.elapsed() - took)
            })
            .collect();
        times.sort_unstable();
        println!(
            "laid in {:?}, closed in {:?} (medians of {ROUNDS})",
            times[ROUNDS / 2].0,
            times[ROUNDS / 2].1
        );
    };
    std::thread::spawn(inside).join().unwrap();
}
