//! Ratios as people read them: two digits after the point, three where it takes them to see on which side of the target a
//! ratio lies.

/// This near to the target, as a part of it, a third digit is shown.
const NEAR: f64 = 0.05;

/// `ratio`, which is held against `target`.
pub fn shown(ratio: f64, target: f64) -> String {
    if (ratio - target).abs() <= target * NEAR { format!("{ratio:.3}x") } else { format!("{ratio:.2}x") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_beside_its_target_can_be_told_from_it() {
        assert_eq!(shown(0.153, 0.15), "0.153x");
        assert_eq!(shown(0.1501, 0.15), "0.150x");
        assert_eq!(shown(0.164, 0.15), "0.16x");
        assert_eq!(shown(1.02, 1.0), "1.020x");
        assert_eq!(shown(2.0, 1.0), "2.00x");
    }
}
