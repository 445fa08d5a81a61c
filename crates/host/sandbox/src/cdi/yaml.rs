//! YAML as device descriptions are written in it, to the same values as JSON.
//!
//! One document of mappings with plain keys, sequences and scalars; anchors are followed. Numbers are what YAML 1.2 and 1.1 agree on:
//! one that begins with a zero stays text, for it is octal to one of them and decimal to the other. An entry without a value is left out.
//! Merge keys and tags of one's own are refused. Limits count what a document becomes and not what it is written as, so that aliases of
//! aliases cannot grow it. Not recursive; the parser below is not, either.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Number, Value};

/// The most values a document may become, those that aliases repeat and those that are kept for them included.
const MAX_VALUES: usize = 500_000;
/// The deepest a value may lie; the specification needs seven.
const MAX_DEPTH: usize = 32;

/// Why a text is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum YamlError {
    /// Not text.
    #[error("it is not UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    /// Not YAML.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// YAML that descriptions do not need.
    #[error("line {line}: {what} is not supported")]
    Unsupported {
        /// Line, from 1.
        line: usize,
        /// What.
        what: &'static str,
    },
    /// A key twice in a mapping.
    #[error("line {line}: the key {key:?} is there twice")]
    Twice {
        /// Line of the second one's value, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// More or deeper than any description.
    #[error("line {line}: it becomes too large or too deep")]
    Limit {
        /// Line, from 1.
        line: usize,
    },
}

/// Parses a document; an empty one is null.
pub(super) fn parse(text: &[u8]) -> Result<Value, YamlError> {
    let text = std::str::from_utf8(text).map_err(YamlError::Utf8)?;
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        builder.line = span.start.line();
        builder.event(event)?;
    }
    Ok(builder.whole.unwrap_or(Value::Null))
}

fn syntax(error: &ScanError) -> YamlError {
    YamlError::Syntax { line: error.marker().line(), message: error.info().to_owned() }
}

/// A value with the number of values in it, itself included.
#[derive(Debug, Clone)]
struct Counted {
    value: Value,
    count: usize,
}

/// A collection that is not at its end yet.
#[derive(Debug)]
struct Open {
    anchor: usize,
    count: usize,
    items: Items,
}

#[derive(Debug)]
enum Items {
    List(Vec<Value>),
    /// And the key whose value comes next.
    Map(Map<String, Value>, Option<String>),
}

#[derive(Debug, Default)]
struct Builder {
    line: usize,
    whole: Option<Value>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Counted>,
    count: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref())?;
                self.place(Counted { value, count: 1 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.as_deref(), Items::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                self.begin(anchor, tag.as_deref(), Items::Map(Map::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                // One within itself is not known yet.
                let known = self.anchors.get(&anchor);
                let known = known.ok_or_else(|| self.unsupported("an alias of what is around it"))?;
                self.charge(known.count)?;
                let copy = known.clone();
                self.count += copy.count;
                self.place(copy, 0)
            }
            Event::DocumentStart(_) if self.whole.is_some() => Err(self.unsupported("a second document")),
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn unsupported(&self, what: &'static str) -> YamlError {
        YamlError::Unsupported { line: self.line, what }
    }

    /// Counts values before they are made.
    fn charge(&self, more: usize) -> Result<(), YamlError> {
        let within = self.count.checked_add(more).is_some_and(|count| count <= MAX_VALUES);
        if within { Ok(()) } else { Err(YamlError::Limit { line: self.line }) }
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, items: Items) -> Result<(), YamlError> {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            return Err(self.unsupported("a tag of one's own"));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(YamlError::Limit { line: self.line });
        }
        if matches!(self.open.last(), Some(Open { items: Items::Map(_, None), .. })) {
            return Err(self.unsupported("a key that is not a scalar"));
        }
        self.open.push(Open { anchor, count: 1, items });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        // The parser pairs beginnings and ends.
        let Some(Open { anchor, count, items }) = self.open.pop() else { return Ok(()) };
        let value = match items {
            Items::List(list) => Value::Array(list),
            Items::Map(map, _) => Value::Object(map),
        };
        self.place(Counted { value, count }, anchor)
    }

    /// Puts a value where it belongs, and keeps it if it has an anchor.
    fn place(&mut self, counted: Counted, anchor: usize) -> Result<(), YamlError> {
        self.charge(1)?;
        self.count += 1;
        if anchor != 0 {
            self.charge(counted.count)?;
            self.count += counted.count;
            self.anchors.insert(anchor, counted.clone());
        }
        let line = self.line;
        let Counted { value, count } = counted;
        let Some(open) = self.open.last_mut() else {
            self.whole = Some(value);
            return Ok(());
        };
        open.count += count;
        match &mut open.items {
            Items::List(list) => list.push(value),
            Items::Map(map, key) => match key.take() {
                None => *key = Some(key_of(value, line)?),
                Some(name) if map.contains_key(&name) => return Err(YamlError::Twice { line, key: name }),
                Some(_) if value.is_null() => {}
                Some(name) => drop(map.insert(name, value)),
            },
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, YamlError> {
        let is_text = match tag {
            None => style != ScalarStyle::Plain,
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix == "str" || style != ScalarStyle::Plain,
            Some(_) => return Err(self.unsupported("a tag of one's own")),
        };
        Ok(if is_text { Value::String(text.to_owned()) } else { plain(text) })
    }
}

fn key_of(value: Value, line: usize) -> Result<String, YamlError> {
    let key = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => return Err(YamlError::Unsupported { line, what: "a key that is not a scalar" }),
    };
    if key == "<<" { Err(YamlError::Unsupported { line, what: "a merge key" }) } else { Ok(key) }
}

/// A scalar without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits == "0" || !digits.starts_with('0');
    let number = if canonical && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
    } else {
        None
    };
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}
