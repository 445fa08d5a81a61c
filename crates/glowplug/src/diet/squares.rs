//! Rectangles of given areas that fill a rectangle and are as square as it goes: the squarified treemap of Bruls, Huizing
//! and van Wijk.

/// A rectangle of the drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    /// Its area.
    pub(super) fn area(self) -> f64 {
        self.width * self.height
    }

    /// What is left of it without a margin, and without something at the top.
    pub(super) fn within(self, margin: f64, top: f64) -> Self {
        Self {
            x: self.x + margin,
            y: self.y + top,
            width: (self.width - 2.0 * margin).max(0.0),
            height: (self.height - top - margin).max(0.0),
        }
    }
}

/// One rectangle for each of `weights`, which come largest first; their areas are as the weights, together all of `rect`.
pub(super) fn squares(weights: &[u64], rect: Rect) -> Vec<Rect> {
    let sum: f64 = weights.iter().map(|weight| *weight as f64).sum();
    let scale = if sum > 0.0 { rect.area() / sum } else { 0.0 };
    let areas: Vec<f64> = weights.iter().map(|weight| *weight as f64 * scale).collect();
    let (mut placed, mut left, mut at) = (Vec::with_capacity(areas.len()), rect, 0);
    while at < areas.len() {
        let side = left.width.min(left.height);
        let mut end = at + 1;
        while end < areas.len() && worst(&areas[at..=end], side) <= worst(&areas[at..end], side) {
            end += 1;
        }
        left = row(&areas[at..end], left, &mut placed);
        at = end;
    }
    placed
}

/// The proportion of the least square rectangle of a row along `side`.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let thickness = sum / side.max(f64::MIN_POSITIVE);
    let proportion = |area: &f64| {
        let length = area / thickness.max(f64::MIN_POSITIVE);
        (length / thickness).max(thickness / length.max(f64::MIN_POSITIVE))
    };
    row.iter().map(proportion).fold(0.0, f64::max)
}

/// Places a row along the shorter side, and gives what is left.
fn row(areas: &[f64], rect: Rect, placed: &mut Vec<Rect>) -> Rect {
    let sum: f64 = areas.iter().sum();
    let lying = rect.width < rect.height;
    let side = if lying { rect.width } else { rect.height };
    let thickness = if side > 0.0 { sum / side } else { 0.0 };
    let mut at = if lying { rect.x } else { rect.y };
    for area in areas {
        let length = if thickness > 0.0 { area / thickness } else { 0.0 };
        placed.push(if lying {
            Rect { x: at, y: rect.y, width: length, height: thickness }
        } else {
            Rect { x: rect.x, y: at, width: thickness, height: length }
        });
        at += length;
    }
    if lying {
        Rect { y: rect.y + thickness, height: (rect.height - thickness).max(0.0), ..rect }
    } else {
        Rect { x: rect.x + thickness, width: (rect.width - thickness).max(0.0), ..rect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Rect = Rect { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };

    #[test]
    fn areas_are_as_the_weights_and_fill_the_rectangle() {
        let many: Vec<u64> = (1..=200).rev().map(|n| n * n * n).collect();
        for weights in [&[6, 6, 4, 3, 2, 2, 1][..], &[1], &[1_000_000, 1, 1], &many] {
            let placed = squares(weights, ALL);
            let sum: u64 = weights.iter().sum();
            for (rect, weight) in placed.iter().zip(weights) {
                let expected = ALL.area() * *weight as f64 / sum as f64;
                assert!((rect.area() - expected).abs() < 1e-6 * ALL.area(), "{rect:?} for {weight}");
                let inside = rect.x >= ALL.x - 1e-6
                    && rect.y >= ALL.y - 1e-6
                    && rect.x + rect.width <= ALL.x + ALL.width + 1e-6
                    && rect.y + rect.height <= ALL.y + ALL.height + 1e-6;
                assert!(inside, "{rect:?}");
            }
            for (at, a) in placed.iter().enumerate() {
                for b in &placed[at + 1..] {
                    let wide = (a.x + a.width).min(b.x + b.width) - a.x.max(b.x);
                    let high = (a.y + a.height).min(b.y + b.height) - a.y.max(b.y);
                    assert!(wide < 1e-6 || high < 1e-6, "{a:?} and {b:?} overlap");
                }
            }
        }
    }

    #[test]
    fn they_are_as_square_as_in_the_paper() {
        let placed = squares(&[6, 6, 4, 3, 2, 2, 1], Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 });
        let proportion = |rect: &Rect| (rect.width / rect.height).max(rect.height / rect.width);
        assert!(placed.iter().all(|rect| proportion(rect) < 2.8), "{placed:?}");
    }

    #[test]
    fn nothing_takes_no_room() {
        assert!(squares(&[], ALL).is_empty());
        assert!(squares(&[0, 0], ALL).iter().all(|rect| rect.area() == 0.0));
        let flat = squares(&[2, 1], Rect { height: 0.0, ..ALL });
        assert!(flat.iter().all(|rect| rect.area().abs() < 1e-6 && rect.x.is_finite()), "{flat:?}");
    }
}
