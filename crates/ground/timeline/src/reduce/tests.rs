//! Starts worked out by hand, and any start at all against a model that asks instant by instant.

use proptest::prelude::*;

use super::*;
use crate::Cause;

fn header() -> Event {
    Event::Header(Header::new("r/i:t", 0, "0.1.0"))
}

fn span(phase: Phase, name: &str, start_ns: u64, end_ns: u64) -> Event {
    Event::Span(Span { phase, name: name.to_owned(), start_ns, end_ns, detail: None })
}

fn stall(path: &str, start_ns: u64, end_ns: u64) -> Event {
    Event::Stall(Stall { start_ns, end_ns, path: path.to_owned(), bytes: 10 })
}

fn mark(name: &str, at_ns: u64) -> Event {
    Event::Mark(Mark { at_ns, name: name.to_owned() })
}

fn fetch(cause: Cause, start_ns: u64, first_byte_ns: u64, end_ns: u64, bytes: u64) -> Event {
    Event::Fetch(Fetch { cause, what: "blob".to_owned(), start_ns, first_byte_ns, end_ns, offset: 0, bytes })
}

fn reduced(events: Vec<Event>) -> Report {
    reduce(&[vec![header()], events].concat()).unwrap()
}

fn path(report: &Report) -> Vec<(Phase, &str, u64, u64)> {
    report.path.iter().map(|s| (s.phase, s.name.as_str(), s.start_ns, s.end_ns)).collect()
}

#[test]
fn a_start_falls_into_its_parts() {
    let report = reduced(vec![
        span(Phase::Pull, "resolve", 10, 30),
        span(Phase::Pull, "image", 10, 60),
        span(Phase::Create, "mount", 60, 70),
        mark(Mark::EXEC, 80),
        stall("/a", 90, 100),
        stall("/b", 95, 130),
        mark(Mark::READY, 200),
        mark(Mark::COMPLETE, 900),
    ]);
    assert_eq!(
        path(&report),
        [
            (Phase::Pull, "other", 0, 10),
            (Phase::Pull, "resolve", 10, 30),
            (Phase::Pull, "image", 30, 60),
            (Phase::Create, "mount", 60, 70),
            (Phase::Create, "other", 70, 80),
            (Phase::Init, "application", 80, 90),
            (Phase::Pull, "/b", 90, 130),
            (Phase::Init, "application", 130, 200),
        ]
    );
    assert_eq!(Phase::ALL.map(|p| report.total_ns(p)), [0, 100, 20, 80]);
    assert_eq!((report.ready_ns, report.complete_ns, report.wall_ns), (Some(200), Some(900), 200));
}

#[test]
fn work_beside_the_running_application_is_not_on_the_path() {
    let report = reduced(vec![
        span(Phase::Pull, "fill", 0, 100),
        span(Phase::Init, "warm-up", 60, 80),
        mark(Mark::EXEC, 40),
        mark(Mark::READY, 90),
    ]);
    assert_eq!(
        path(&report),
        [
            (Phase::Pull, "fill", 0, 40),
            (Phase::Init, "application", 40, 60),
            (Phase::Init, "warm-up", 60, 80),
            (Phase::Init, "application", 80, 90),
        ]
    );
}

#[test]
fn a_start_that_never_was_ready_ends_with_its_last_event() {
    let report = reduced(vec![span(Phase::Place, "choose", 5, 10), fetch(Cause::Fault, 10, 12, 40, 7)]);
    assert_eq!((report.ready_ns, report.wall_ns), (None, 40));
    assert_eq!(
        path(&report),
        [(Phase::Place, "other", 0, 5), (Phase::Place, "choose", 5, 10), (Phase::Place, "other", 10, 40)]
    );
    assert_eq!(reduced(Vec::new()).path, []);
    assert_eq!(reduce(&[]), Err(ReduceError::NoHeader));
}

#[test]
fn stalls_are_summed_by_file_and_side_by_side_counted_once() {
    let mut events: Vec<Event> = (0..7).map(|i| stall(&format!("/f{i}"), i * 10, i * 10 + 2 + i)).collect();
    events.extend([
        stall("/f1", 20, 24),
        stall("/f1", 21, 23),
        mark(Mark::READY, 67),
        stall("/late", 80, 90),
    ]);
    let stalls = reduced(events).stalls;
    assert_eq!((stalls.count, stalls.waited_ns), (9, 2 + 3 + 4 + 5 + 6 + 7 + 7));
    assert_eq!(
        stalls.worst.iter().map(|w| w.path.as_str()).collect::<Vec<_>>(),
        ["/f1", "/f5", "/f6", "/f4", "/f3"]
    );
    let first = &stalls.worst[0];
    assert_eq!((first.count, first.waited_ns, first.longest_ns, first.bytes), (3, 7, 4, 30));
}

#[test]
fn bytes_are_counted_by_cause_and_in_proportion_at_the_end() {
    let link = reduced(vec![
        fetch(Cause::Fault, 0, 10, 20, 100),
        fetch(Cause::Profile, 10, 40, 60, 100),
        fetch(Cause::Background, 60, 70, 80, 100),
        mark(Mark::READY, 50),
    ])
    .link;
    assert_eq!(
        link.by_cause.map(|c| (c.requests, c.bytes, c.bytes_until_ready)),
        [(1, 100, 100), (0, 0, 0), (1, 100, 50), (1, 100, 0)]
    );
    assert_eq!((link.bytes(), link.bytes_until_ready(), link.busy_ns), (300, 150, 50));
    assert_eq!(link.bytes_per_second(), Some(3_000_000_000));
}

/// The rule of the critical path, told again for one instant without any cleverness.
fn model_at(events: &[Event], now: u64) -> (Phase, SegmentKind) {
    let open = |start: u64, end: u64| start <= now && now < end;
    let marks =
        |e: &Event| if let Event::Mark(m) = e { (m.name == Mark::EXEC).then_some(m.at_ns) } else { None };
    let exec = events.iter().filter_map(marks).min();
    let spans = || events.iter().filter_map(|e| if let Event::Span(s) = e { Some(s) } else { None });
    if events.iter().any(|e| matches!(e, Event::Stall(s) if open(s.start_ns, s.end_ns))) {
        return (Phase::Pull, SegmentKind::Stall);
    }
    let executed = exec.is_some_and(|exec| exec <= now);
    let mut innermost: Option<&Span> = None;
    for s in spans().filter(|s| open(s.start_ns, s.end_ns) && (!executed || s.phase == Phase::Init)) {
        if innermost
            .is_none_or(|i| s.start_ns > i.start_ns || (s.start_ns == i.start_ns && s.end_ns < i.end_ns))
        {
            innermost = Some(s);
        }
    }
    if let Some(span) = innermost {
        return (span.phase, SegmentKind::Work);
    }
    if executed {
        return (Phase::Init, SegmentKind::Application);
    }
    let solid = || spans().filter(|s| s.start_ns < s.end_ns);
    let next = solid()
        .filter(|s| s.start_ns > now && exec.is_none_or(|e| s.start_ns < e))
        .min_by_key(|s| s.start_ns);
    let phase = match (next, exec) {
        (Some(span), _) => span.phase,
        (None, Some(_)) => Phase::Create,
        (None, None) => solid().max_by_key(|s| s.start_ns).map_or(Phase::Place, |s| s.phase),
    };
    (phase, SegmentKind::Other)
}

fn any_event(max: u64) -> impl Strategy<Value = Event> {
    let time = move || 0..=max;
    prop_oneof![
        4 => (0..4usize, 0..3u8, time(), time())
            .prop_map(|(p, name, a, b)| span(Phase::ALL[p], &format!("s{name}"), a, b)),
        2 => (0..3u8, time(), time()).prop_map(|(path, a, b)| stall(&format!("/{path}"), a, b)),
        1 => (0..4usize, time(), time(), time(), any::<u64>())
            .prop_map(|(c, a, b, d, bytes)| fetch(Cause::ALL[c], a, b, d, bytes)),
        1 => (time(), prop::sample::select(vec![Mark::EXEC, Mark::READY, Mark::COMPLETE, "other"]))
            .prop_map(|(t, name)| mark(name, t)),
    ]
}

fn check_tiling(report: &Report) -> Result<(), TestCaseError> {
    let mut end_ns = 0;
    for segment in &report.path {
        prop_assert_eq!(segment.start_ns, end_ns);
        prop_assert!(segment.end_ns > segment.start_ns);
        end_ns = segment.end_ns;
    }
    prop_assert_eq!(end_ns, report.wall_ns);
    prop_assert_eq!(report.totals.iter().map(|t| t.total_ns).sum::<u64>(), report.wall_ns);
    prop_assert!(report.stalls.waited_ns <= report.wall_ns && report.link.busy_ns <= report.wall_ns);
    let same = |w: &[Segment]| (w[0].phase, w[0].kind, &w[0].name) == (w[1].phase, w[1].kind, &w[1].name);
    prop_assert!(!report.path.windows(2).any(same));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_path_tiles_the_wall_and_follows_the_rule(events in prop::collection::vec(any_event(40), 0..14)) {
        let report = reduced(events.clone());
        check_tiling(&report)?;
        // Gaps take the phase of the next span; of two that begin at once either may come first.
        let mut starts: Vec<u64> = events.iter().filter_map(|e| if let Event::Span(s) = e { Some(s.start_ns) } else { None }).collect();
        starts.sort_unstable();
        let distinct = starts.windows(2).all(|w| w[0] != w[1]);
        for segment in &report.path {
            for now in segment.start_ns..segment.end_ns {
                let (phase, kind) = model_at(&events, now);
                prop_assert_eq!(segment.kind, kind, "at {}", now);
                if distinct {
                    prop_assert_eq!(segment.phase, phase, "at {}", now);
                }
            }
        }
        let stalled: u64 = report.path.iter().filter(|s| s.kind == SegmentKind::Stall).map(|s| s.interval().len_ns()).sum();
        prop_assert_eq!(stalled, report.stalls.waited_ns);
    }

    #[test]
    fn huge_times_do_no_harm(events in prop::collection::vec(any_event(u64::MAX), 0..30)) {
        check_tiling(&reduced(events))?;
    }
}
