//! A Rust source with comments, literals and test-only items blanked out, so that rules can look for words.
//!
//! Blanking keeps every byte offset and every line, which is how findings know their line. This is a lexer and not a
//! parser: macros are read as the tokens they are made of, and that has been exact enough for these rules.

/// One Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path relative to the root.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// Whether all of it is compiled for tests only.
    pub is_test: bool,
    /// Comments blank, literals filled with quotes.
    lexed: Vec<u8>,
    /// As `lexed`, and `#[cfg(test)]` items blank too.
    shipped: Vec<u8>,
    /// Names of `#[cfg(test)] mod name;`, whose files are tests.
    test_modules: Vec<String>,
}

/// A word or a sign, with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// The word, or one byte of punctuation, or `::`.
    pub text: &'a str,
    /// Byte offset of its begin.
    pub offset: usize,
}

impl Token<'_> {
    /// Whether it is an identifier, a keyword or a number.
    pub fn is_word(&self) -> bool {
        self.text.bytes().next().is_some_and(is_word_byte)
    }
}

impl Source {
    /// Lexes one file.
    pub fn parse(path: &str, text: String) -> Self {
        let lexed = lex(text.as_bytes());
        let mut shipped = lexed.clone();
        let (test_modules, all_test) = blank_tests(&mut shipped);
        let in_test_folder = path.split('/').any(|part| matches!(part, "tests" | "benches" | "tests.rs"));
        Self {
            path: path.to_owned(),
            text,
            is_test: all_test || in_test_folder,
            lexed,
            shipped,
            test_modules,
        }
    }

    /// The code without comments and literals, tests included.
    pub fn code(&self) -> &str {
        as_text(&self.lexed)
    }

    /// The code that ships: empty for a test file.
    pub fn shipped(&self) -> &str {
        if self.is_test { "" } else { as_text(&self.shipped) }
    }

    /// Path parts below the crate's `src`, the extension cut off; none for files elsewhere.
    pub fn module_path<'s>(&'s self, crate_dir: &str) -> Option<Vec<&'s str>> {
        let inner = self.path.strip_prefix(crate_dir)?.strip_prefix("/src/")?.strip_suffix(".rs")?;
        Some(inner.split('/').collect())
    }
}

fn as_text(lexed: &[u8]) -> &str {
    // Blanking replaces whole characters, so what is left is as valid as the file was.
    std::str::from_utf8(lexed).unwrap_or_default()
}

/// Marks files that a `#[cfg(test)] mod name;` elsewhere brings in.
pub fn mark_tests(sources: &mut [Source]) {
    let mut stems = Vec::new();
    for source in sources.iter() {
        let stem = source.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "lib" | "main")) => folder,
            _ => stem,
        };
        stems.extend(source.test_modules.iter().map(|name| format!("{folder}/{name}")));
    }
    for source in sources.iter_mut() {
        source.is_test |= stems.iter().any(|stem| {
            source.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Splits lexed code into words, `::` and single signs; blanks and literals are dropped.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = if is_word_byte(bytes[at]) {
            at + bytes[at..].iter().take_while(|byte| is_word_byte(**byte)).count()
        } else if bytes[at..].starts_with(b"::") {
            at + 2
        } else {
            at + 1
        };
        if !bytes[at].is_ascii_whitespace() && bytes[at] != b'"' {
            tokens.push(Token { text: &code[at..end], offset: at });
        }
        at = end;
    }
    tokens
}

/// Comments become blanks, string and character literals become quotes; newlines stay.
fn lex(text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (end, fill) = if rest.starts_with(b"//") {
            (at + rest.iter().take_while(|byte| **byte != b'\n').count(), b' ')
        } else if rest.starts_with(b"/*") {
            (at + block_comment(rest), b' ')
        } else if rest[0] == b'"' {
            (at + quoted(rest, b'"'), b'"')
        } else if rest[0] == b'\'' {
            match character(rest) {
                Some(length) => (at + length, b'"'),
                None => {
                    at += 1; // a lifetime or a label
                    continue;
                }
            }
        } else if is_word_byte(rest[0]) {
            let word = rest.iter().take_while(|byte| is_word_byte(**byte)).count();
            let raw = matches!(&rest[..word], b"r" | b"br" | b"cr");
            match raw.then(|| raw_string(&rest[word..])).flatten() {
                Some(length) => (at + word + length, b'"'),
                None => {
                    at += word;
                    continue;
                }
            }
        } else {
            at += 1;
            continue;
        };
        blank(&mut out[at..end], fill);
        at = end;
    }
    out
}

fn blank(bytes: &mut [u8], fill: u8) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = fill);
}

/// Length of a nested block comment.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of a literal with backslash escapes, both quotes included.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a character literal, or `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    let next = *rest.get(1)?;
    if next == b'\\' {
        return Some(quoted(rest, b'\''));
    }
    let width = match next {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(2 + width)
}

/// Length of `#"…"#` after the `r`, or `None` where it is something else, as in `r#type`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = hashes + 1;
    let found = rest[body..].windows(close.len()).position(|window| window == close);
    Some(found.map_or(rest.len(), |found| body + found + close.len()))
}

/// Blanks every item under `#[cfg(test)]`; returns the names of outlined test modules, and whether the whole file is
/// under `#![cfg(test)]`.
fn blank_tests(code: &mut [u8]) -> (Vec<String>, bool) {
    let text = String::from_utf8_lossy(code).into_owned();
    let tokens = tokens(&text);
    let (mut modules, mut whole) = (Vec::new(), false);
    let mut at = 0;
    while at < tokens.len() {
        let Some((attribute, after)) = attribute(&tokens, at) else {
            at += 1;
            continue;
        };
        if !is_test_only(&attribute) {
            at = after;
            continue;
        }
        if tokens[at + 1].text == "!" {
            whole = true;
            break;
        }
        let (end, module) = item(&tokens, after);
        modules.extend(module);
        let to = tokens.get(end).map_or(code.len(), |token| token.offset);
        blank(&mut code[tokens[at].offset..to], b' ');
        at = end;
    }
    (modules, whole)
}

/// Words of `#[…]` or `#![…]` that begins at `at`, joined, and the index behind it.
fn attribute(tokens: &[Token<'_>], at: usize) -> Option<(String, usize)> {
    let text = |index: usize| tokens.get(index).map(|token| token.text);
    if text(at)? != "#" {
        return None;
    }
    let open = if text(at + 1)? == "!" { at + 2 } else { at + 1 };
    if text(open)? != "[" {
        return None;
    }
    let close = matching(tokens, open);
    let words = tokens[open + 1..close.min(tokens.len())].iter().map(|token| token.text).collect();
    Some((words, close + 1))
}

/// Index of the bracket that closes the one at `open`.
fn matching(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// Whether an attribute, blanks cut out, holds for test builds only.
fn is_test_only(attribute: &str) -> bool {
    let Some(condition) = attribute.strip_prefix("cfg(").and_then(|rest| rest.strip_suffix(')')) else {
        return false;
    };
    let Some(all) = condition.strip_prefix("all(").and_then(|rest| rest.strip_suffix(')')) else {
        return condition == "test";
    };
    let mut depth = 0_i32;
    let parts = all.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.into_iter().any(|part| part == "test")
}

/// Index behind the item that begins at `at`, its own attributes included, and its name if it is `mod name;`.
fn item(tokens: &[Token<'_>], mut at: usize) -> (usize, Option<String>) {
    while let Some((_, after)) = attribute(tokens, at) {
        at = after;
    }
    let head = tokens[at.min(tokens.len())..].iter().take(12).map(|token| token.text);
    let keyword = head.into_iter().find(|word| {
        matches!(
            *word,
            "fn" | "mod" | "impl" | "struct" | "enum" | "trait" | "use" | "const" | "static" | "type"
        ) || matches!(*word, "macro_rules" | "union" | "extern" | ":" | "=" | ";" | "," | ".")
    });
    // A `const fn` has a body; a `const` item ends at its semicolon.
    let is_const_fn =
        tokens.get(at..).is_some_and(|rest| rest.iter().take(12).any(|token| token.text == "fn"));
    let ends_at_semicolon = match keyword {
        Some("use" | "static" | "type") => true,
        Some("const") => !is_const_fn,
        _ => false,
    };
    let is_item = keyword.is_some_and(|word| word.bytes().all(is_word_byte));
    let mut index = at;
    while index < tokens.len() {
        match tokens[index].text {
            ";" => break,
            "," | ")" | "}" | "]" if !is_item => {
                return (index + usize::from(tokens[index].text == ","), None);
            }
            "{" if !ends_at_semicolon => {
                index = matching(tokens, index);
                break;
            }
            "(" | "[" | "{" => index = matching(tokens, index),
            _ => {}
        }
        index += 1;
    }
    let outlined = tokens.get(index).is_some_and(|token| token.text == ";");
    let module = (keyword == Some("mod") && outlined)
        .then(|| tokens[at..index].iter().rev().find(|token| token.is_word()))
        .flatten()
        .map(|token| token.text.to_owned());
    ((index + 1).min(tokens.len()), module)
}
