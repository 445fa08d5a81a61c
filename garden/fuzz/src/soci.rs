//! SOCI's JSON: index manifests and prefetch lists encode to what parses as the same.

use glowplug_toc::{Prefetch, SociIndex};

/// Parses `data` as an index manifest and as a prefetch list.
pub fn soci(data: &[u8]) -> bool {
    let index = SociIndex::parse(data);
    if let Ok(index) = &index {
        let again = SociIndex::parse(&index.encode()).expect("what was encoded parses");
        // Prefetch lists are written behind zTOCs, wherever they stood; both keep their own order.
        assert_eq!(&again, index);
        for ztoc in &index.ztocs {
            let found = index.ztoc_of(&ztoc.layer_digest).expect("a listed layer is found");
            assert_eq!(found.layer_digest, ztoc.layer_digest);
        }
    }
    let prefetch = Prefetch::parse(data);
    if let Ok(prefetch) = &prefetch {
        assert_eq!(&Prefetch::parse(&prefetch.encode()).expect("what was encoded parses"), prefetch);
    }
    index.is_ok() || prefetch.is_ok()
}
