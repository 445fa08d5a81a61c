//! Timelines as text: what was written is read back, and no text makes the reader panic or go beyond its limits.

use proptest::prelude::*;

use super::*;
use crate::{Cause, Fetch, Mark, Phase, Span, Stall};

const HEADER: &str = r#"{"event":"header","version":1,"image":"r/i:t","unix_start_ns":7,"recorder":"0.1.0"}"#;

fn header() -> Event {
    Event::Header(Header::new("r/i:t", 7, "0.1.0"))
}

fn any_event() -> impl Strategy<Value = Event> {
    let text = any::<String>;
    let phase = (0..4usize).prop_map(|i| Phase::ALL[i]);
    let cause = (0..4usize).prop_map(|i| Cause::ALL[i]);
    prop_oneof![
        (phase, text(), any::<[u64; 2]>(), proptest::option::of(text())).prop_map(
            |(phase, name, t, detail)| {
                Event::Span(Span { phase, name, start_ns: t[0], end_ns: t[1], detail })
            }
        ),
        (text(), any::<[u64; 3]>()).prop_map(|(path, n)| Event::Stall(Stall {
            start_ns: n[0],
            end_ns: n[1],
            path,
            bytes: n[2]
        })),
        (cause, text(), any::<[u64; 5]>()).prop_map(|(cause, what, n)| {
            Event::Fetch(Fetch {
                cause,
                what,
                start_ns: n[0],
                first_byte_ns: n[1],
                end_ns: n[2],
                offset: n[3],
                bytes: n[4],
            })
        }),
        (any::<u64>(), text()).prop_map(|(at_ns, name)| Event::Mark(Mark { at_ns, name })),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(mut events in prop::collection::vec(any_event(), 0..20)) {
        events.insert(0, header());
        let text = write(&events);
        prop_assert_eq!(text.lines().count(), events.len());
        prop_assert_eq!(read(&text, Limits::default()).unwrap(), Reading { events, unknown: 0 });
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), tail in r#"[{}":,\[\]a-z0-9\n]{0,60}"#) {
        let _ = read(&text, Limits::default());
        let _ = read(&format!("{HEADER}\n{tail}"), Limits::default());
    }

    #[test]
    fn a_file_cut_anywhere_never_makes_it_panic(events in prop::collection::vec(any_event(), 1..4), cut in any::<prop::sample::Index>()) {
        let text = write(&[vec![header()], events].concat());
        let at = (0..=cut.index(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap();
        if let Ok(reading) = read(&text[..at], Limits::default()) {
            prop_assert!(text.starts_with(write(&reading.events).trim_end()));
        }
    }
}

#[test]
fn the_form_of_a_line_is_fixed() {
    let span = Span { phase: Phase::Pull, name: "index".to_owned(), start_ns: 1, end_ns: 2, detail: None };
    let text = write(&[header(), Event::Span(span)]);
    let expected = r#"{"event":"span","phase":"pull","name":"index","start_ns":1,"end_ns":2}"#;
    assert_eq!(text, format!("{HEADER}\n{expected}\n"));
}

#[test]
fn unknown_events_and_fields_of_this_version_do_no_harm() {
    let text = format!(
        "{HEADER}\n\n{}\n{}\n",
        r#"{"event":"comet","tail":[1,2]}"#, r#"{"event":"mark","at_ns":3,"name":"ready","why":"asked"}"#
    );
    let reading = read(&text, Limits::default()).unwrap();
    assert_eq!(reading.unknown, 1);
    assert_eq!(reading.events[1..], [Event::Mark(Mark { at_ns: 3, name: "ready".to_owned() })]);
}

#[test]
fn errors_name_the_line_and_the_way_out() {
    let error = |text: &str| {
        let error = read(text, Limits::default()).unwrap_err();
        assert!(error.hint().is_some());
        error.to_string()
    };
    assert_eq!(error(""), "timeline is empty");
    assert_eq!(
        error("{\"event\":\"mark\",\"at_ns\":1,\"name\":\"ready\"}"),
        "line 1: expected the timeline's header, found event \"mark\""
    );
    assert!(error("\nhello").starts_with("line 2: expected the timeline's header, found something else"));
    assert_eq!(
        error(r#"{"event":"header","version":2,"pictures":true}"#),
        "line 1: timeline version 2 is not supported, only versions 1 to 1 are"
    );
    assert!(error(r#"{"event":"header"}"#).contains("version 0 is not supported"));
    assert!(error(&format!("{HEADER}\n{HEADER}")).starts_with("line 2: a second header"));
    assert_eq!(
        error(&format!("{HEADER}\n{{\"event\":\"mark\",\"at_ns\":-1,\"name\":\"x\"}}")),
        "line 2: not an event"
    );
    assert_eq!(error(&format!("{HEADER}\n{}", "[".repeat(5000))), "line 2: not an event");
}

#[test]
fn limits_hold() {
    let text = format!("{HEADER}\n{HEADER}");
    let line = |limits| match read(&text, limits).unwrap_err() {
        CodecError::TooLong { line, what, .. } => (line, what),
        other => panic!("{other}"),
    };
    let limits = Limits::default();
    assert_eq!(line(Limits { total_bytes: text.len() - 1, ..limits }), (1, "bytes"));
    assert_eq!(line(Limits { line_bytes: HEADER.len() - 1, ..limits }), (1, "bytes in one line"));
    assert_eq!(line(Limits { lines: 0, ..limits }), (1, "lines"));
}
