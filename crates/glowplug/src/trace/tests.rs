//! What people see of a timeline, as text and as a page: the same facts in both, and none of the image's own markup.

use glowplug_timeline::{Cause, Event, Fetch, Header, Mark, Phase, Span, Stall, reduce};

use super::*;

const MS: u64 = 1_000_000;

fn span(phase: Phase, name: &str, start_ms: u64, end_ms: u64) -> Event {
    let (start_ns, end_ns) = (start_ms * MS, end_ms * MS);
    Event::Span(Span {
        phase,
        name: name.to_owned(),
        start_ns,
        end_ns,
        detail: Some("a <b> detail".to_owned()),
    })
}

fn stall(path: &str, start_ms: u64, end_ms: u64) -> Event {
    Event::Stall(Stall { start_ns: start_ms * MS, end_ns: end_ms * MS, path: path.to_owned(), bytes: 4096 })
}

fn fetch(cause: Cause, start_ms: u64, end_ms: u64, bytes: u64) -> Event {
    let (start_ns, end_ns) = (start_ms * MS, end_ms * MS);
    let what = "sha256:00".to_owned();
    Event::Fetch(Fetch { cause, what, start_ns, first_byte_ns: start_ns, end_ns, offset: 0, bytes })
}

fn mark(name: &str, at_ms: u64) -> Event {
    Event::Mark(Mark { at_ns: at_ms * MS, name: name.to_owned() })
}

fn header(image: &str) -> Event {
    let mut header = Header::new(image, 1_760_000_000_000_000_000, "0.1.0");
    header.image_bytes = Some(304_000_000);
    Event::Header(header)
}

/// A start of 400 ms.
fn small() -> Vec<Event> {
    vec![
        header("registry.example/ocr:1"),
        span(Phase::Pull, "resolve", 0, 40),
        span(Phase::Pull, "index", 40, 120),
        span(Phase::Pull, "index layer", 60, 100),
        span(Phase::Create, "mount", 120, 130),
        span(Phase::Create, "container", 130, 160),
        mark(Mark::EXEC, 160),
        stall("/usr/lib/libtorch.so", 200, 240),
        stall("/usr/lib/libtorch.so", 280, 300),
        fetch(Cause::Metadata, 5, 30, 100_000),
        fetch(Cause::Profile, 120, 320, 20_000_000),
        fetch(Cause::Fault, 200, 240, 2_000_000),
        fetch(Cause::Background, 320, 480, 9_000_000),
        mark(Mark::READY, 400),
        mark(Mark::COMPLETE, 2500),
    ]
}

fn drawn(events: &[Event], colour: bool, width: usize) -> String {
    waterfall(&reduce(events).unwrap(), events, Style { colour, width })
}

fn html(events: &[Event]) -> String {
    page(&reduce(events).unwrap(), events)
}

/// Without the ANSI codes.
fn stripped(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').unwrap().1)
}

#[test]
fn without_colour_the_waterfall_is_ascii() {
    let expected = "\
registry.example/ocr:1                                         ready in 400 ms

                        0                  200 ms
                        +------------------+------------------
place                   :                  :                           -   0 %
pull                    ###########        xxxx    xx             180 ms  45 %
  resolve               ####               :                     40.0 ms
  index                 :   ##----##       :                     40.0 ms
  index layer           :     ####         :                     40.0 ms
  waiting for bytes x2  :                  xxxx    xx            60.0 ms
create                  :          ####    :                     40.0 ms  10 %
  mount                 :          #       :                     10.0 ms
  container             :           ###    :                     30.0 ms
init                    :              ####xxxx####xx#########    180 ms  45 %

26.6 MB of 304 MB moved until ready: 20.0 MB profile, 4.50 MB background,
  2.00 MB faults, 100 kB metadata; 698 Mbit/s while busy
the application waited 60.0 ms in 2 stalls; longest: /usr/lib/libtorch.so:
  60.0 ms
every byte was here after 2.50 s
";
    assert_eq!(drawn(&small(), false, 78), expected);
}

#[test]
fn with_colour_it_has_eighths_of_a_column() {
    let expected = "\
registry.example/ocr:1                                 ready in 400 ms

                        0              200 ms
                        ┬──────────────┬──────────────
place                   ┊              ┊                       -   0 %
pull                    █████████      ███   █▌           180 ms  45 %
  resolve               ███            ┊                 40.0 ms
  index                 ┊  █▌██▌█      ┊                 40.0 ms
  index layer           ┊   ▌██▌       ┊                 40.0 ms
  waiting for bytes ×2  ┊              ███   █▌          60.0 ms
create                  ┊        ███   ┊                 40.0 ms  10 %
  mount                 ┊        ▊     ┊                 10.0 ms
  container             ┊        ▊██   ┊                 30.0 ms
init                    ┊           ██████████▌███████    180 ms  45 %

26.6 MB of 304 MB moved until ready: 20.0 MB profile,
  4.50 MB background, 2.00 MB faults, 100 kB metadata;
  698 Mbit/s while busy
the application waited 60.0 ms in 2 stalls; longest:
  /usr/lib/libtorch.so: 60.0 ms
every byte was here after 2.50 s
";
    assert_eq!(stripped(&drawn(&small(), true, 70)), expected);
}

#[test]
fn a_wait_is_drawn_in_the_colours_of_its_parts() {
    let drawn = drawn(&small(), true, 70);
    let init = drawn.lines().find(|line| line.contains("init")).unwrap();
    assert!(init.contains("\x1b[38;5;36m██"), "{init:?}");
    assert!(init.contains("\x1b[38;5;203m██"), "{init:?}");
}

#[test]
fn long_timelines_are_folded() {
    let mut events = small();
    events.extend((0..200).map(|i| span(Phase::Create, &format!("step {i}"), i / 2, i / 2 + 1)));
    events.push(span(Phase::Create, "the longest", 101, 118));
    events.extend((0..5000).map(|i| stall(&format!("/lib/{i}"), 150 + i % 200, 151 + i % 200)));
    let text = drawn(&events, false, 90);
    let rows: Vec<&str> = text.lines().skip(4).take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() <= 18, "{text}");
    assert!(text.contains(" more ") && text.contains("the longest"), "{text}");
    assert!(html(&events).len() < 2_000_000);
}

#[test]
fn every_timeline_can_be_drawn() {
    let max = u64::MAX / MS;
    let timelines = [
        vec![],
        vec![mark(Mark::READY, 0)],
        vec![mark("odd", 7)],
        vec![span(Phase::Init, "", 5, 1)],
        vec![
            span(Phase::Place, "é\u{1b}[2J\n", 0, max),
            stall("", 0, max),
            fetch(Cause::Fault, 0, max, u64::MAX),
        ],
        vec![fetch(Cause::Profile, 3, 3, 10), stall("/x", 2, 2), mark(Mark::EXEC, 1), mark(Mark::READY, 9)],
    ];
    for timeline in timelines {
        let events = [vec![header("image")], timeline].concat();
        for width in [0, 48, 80, 1000] {
            let plain = drawn(&events, false, width);
            assert!(plain.is_ascii() && !plain.contains('\u{1b}'), "{plain}");
            // Durations of years need more than their column.
            let mut rows = plain.lines().skip(4).take_while(|line| !line.is_empty());
            let fit = rows.all(|row| row.len() <= width.clamp(48, 160));
            assert!(fit || reduce(&events).unwrap().wall_ns == max * MS, "{plain}");
            let coloured = drawn(&events, true, width);
            assert!(!coloured.contains("\u{1b}[2J"));
        }
        assert!(html(&events).ends_with("</html>\n"));
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing_of_the_timeline() {
    let mut events = small();
    let hostile = "</title><script>alert(1)</script>\"' onload=x";
    events[0] = header(hostile);
    events.extend([span(Phase::Pull, hostile, 10, 20), stall(hostile, 330, 340), mark(hostile, 5)]);
    let page = html(&events);
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39; onload=x"));
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn the_page_says_what_the_report_says() {
    let page = html(&small());
    for words in [
        "<h1>registry.example/ocr:1</h1>",
        "2025-10-09 08:53:20 UTC, recorded by glowplug 0.1.0",
        "<p class=\"wall\"><b>400 ms</b><span>until ready</span></p>",
        "<h2>pull<span>45 %</span></h2><p class=\"total\">180 ms</p>",
        "<li>the application waited 60.0 ms in 2 stalls</li>",
        "<title>pull: resolve\n40.0 ms from 0\na &lt;b&gt; detail</title>",
        "<title>/usr/lib/libtorch.so\n40.0 ms from 200 ms, 4.10 kB asked for</title>",
        "<code title=\"/usr/lib/libtorch.so\">/usr/lib/libtorch.so</code>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    for element in ["svg", "table", "section", "tr", "g", "text"] {
        let opened =
            page.matches(&format!("<{element} ")).count() + page.matches(&format!("<{element}>")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error =
        show(Path::new("/nowhere/start.jsonl"), None, Style { colour: false, width: 80 }).unwrap_err();
    assert!(format!("{error:#}").starts_with("reading the timeline /nowhere/start.jsonl: "), "{error:#}");
}
