//! Bars on a grid of cells: which paint a cell shows when several fall into it.
//!
//! Rounding errors are carried along the bar, so that a bar shows each paint about as much as it is there: many waits,
//! each shorter than a cell, show as every n-th cell. A paint that is there at all shows at least once.

use glowplug_timeline::Interval;

use super::rows::Paint;

/// Paints `cells` cells over `0..wall_ns`.
pub(super) fn raster(bar: &[(Interval, Paint)], wall_ns: u64, cells: usize) -> Vec<Option<Paint>> {
    let mut paints: Vec<Paint> = bar.iter().map(|(_, paint)| *paint).collect();
    paints.sort_unstable();
    paints.dedup();
    let mut raster = vec![None; cells];
    if wall_ns == 0 || cells == 0 || paints.is_empty() {
        return raster;
    }
    let cover: Vec<Vec<f64>> = paints.iter().map(|paint| coverage(bar, *paint, wall_ns, cells)).collect();
    let mut owed = vec![0.0; paints.len() + 1];
    for cell in 0..cells {
        let here: Vec<f64> = cover.iter().map(|c| c[cell]).collect();
        let empty = (1.0 - here.iter().sum::<f64>()).max(0.0);
        let mut chosen = paints.len();
        for (paint, part) in here.iter().copied().chain([empty]).enumerate() {
            owed[paint] += part;
            // A paint that is not here does not show here, however much is owed to it.
            let absent = here.get(chosen).copied().unwrap_or(empty) <= 0.0;
            if part > 0.0 && (absent || owed[paint] > owed[chosen]) {
                chosen = paint;
            }
        }
        owed[chosen] -= 1.0;
        raster[cell] = paints.get(chosen).copied();
    }
    // The critical path comes last, so that it wins the cell when several would vanish into one.
    for (paint, cover) in paints.iter().zip(&cover).rev() {
        if !raster.contains(&Some(*paint)) {
            let most = (0..cells).max_by(|a, b| cover[*a].total_cmp(&cover[*b])).unwrap_or(0);
            raster[most] = Some(*paint);
        }
    }
    raster
}

/// How much of each cell `paint` covers, 0 to 1.
fn coverage(bar: &[(Interval, Paint)], paint: Paint, wall_ns: u64, cells: usize) -> Vec<f64> {
    let mut cover = vec![0.0; cells];
    let scale = cells as f64 / wall_ns as f64;
    for (interval, _) in bar.iter().filter(|(_, p)| *p == paint) {
        let (from, to) = (interval.start_ns as f64 * scale, interval.end_ns as f64 * scale);
        let last = (to.ceil() as usize).min(cells);
        for (cell, cover) in cover.iter_mut().enumerate().take(last).skip(from as usize) {
            *cover += (to.min(cell as f64 + 1.0) - from.max(cell as f64)).max(0.0);
        }
    }
    cover
}

/// Runs of equal cells as `(first, after the last, paint)`, the empty ones left out.
pub(super) fn runs(raster: &[Option<Paint>]) -> Vec<(usize, usize, Paint)> {
    let mut runs = Vec::new();
    let mut first = 0;
    for chunk in raster.chunk_by(|a, b| a == b) {
        if let Some(paint) = chunk[0] {
            runs.push((first, first + chunk.len(), paint));
        }
        first += chunk.len();
    }
    runs
}

#[cfg(test)]
mod tests {
    use glowplug_timeline::Phase;

    use super::*;

    fn drawn(bar: &[(u64, u64, Paint)], wall_ns: u64, cells: usize) -> String {
        let bar: Vec<_> = bar.iter().map(|(a, b, paint)| (Interval::new(*a, *b), *paint)).collect();
        let glyph = |cell: Option<Paint>| match cell {
            None => '.',
            Some(Paint::Path(_)) => '#',
            Some(Paint::Beside(_)) => '-',
            Some(Paint::Stall) => 'x',
        };
        raster(&bar, wall_ns, cells).into_iter().map(glyph).collect()
    }

    const INIT: Paint = Paint::Path(Phase::Init);

    #[test]
    fn whole_cells_are_exact() {
        assert_eq!(drawn(&[(20, 50, INIT), (50, 60, Paint::Stall)], 100, 10), "..###x....");
        assert_eq!(drawn(&[(0, 100, INIT)], 100, 10), "##########");
        assert_eq!(drawn(&[], 100, 4), "....");
        assert_eq!(drawn(&[(0, 1, INIT)], 0, 4), "....");
    }

    #[test]
    fn what_is_there_shows() {
        assert_eq!(drawn(&[(52, 53, INIT)], 100, 10), ".....#....");
        assert_eq!(drawn(&[(99, 100, INIT)], 100, 10), ".........#");
        assert_eq!(drawn(&[(0, 52, INIT), (52, 53, Paint::Stall), (53, 100, INIT)], 100, 10), "#####x####");
    }

    #[test]
    fn many_short_waits_show_in_proportion() {
        let bar: Vec<_> =
            (0..100).flat_map(|i| [(i * 4, i * 4 + 1, Paint::Stall), (i * 4 + 1, i * 4 + 4, INIT)]).collect();
        let drawn = drawn(&bar, 400, 40);
        assert_eq!(drawn.matches('x').count(), 10, "{drawn}");
        assert!(!drawn.contains('.') && !drawn.contains("xx"), "{drawn}");
    }

    #[test]
    fn runs_leave_out_what_is_empty() {
        let cells = [None, Some(INIT), Some(INIT), Some(Paint::Stall), None];
        assert_eq!(runs(&cells), [(1, 3, INIT), (3, 4, Paint::Stall)]);
    }
}
