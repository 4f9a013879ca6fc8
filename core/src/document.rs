//! Compares the byte strings of `docs/wire.md` with what the code writes, in both directions.

/// An example of the document, and the bytes that the code has for it.
pub(crate) type Example = (&'static str, Vec<u8>);

const DOCUMENT: &str = include_str!("../../docs/wire.md");

/// Asserts that the document has these bytes in hexadecimal, from the start of a line of a block or of a piece of
/// inline code. Blanks, line breaks and remarks do not count.
pub(crate) fn assert_documented(what: &str, bytes: &[u8]) {
    let hex = hex(bytes);
    let is_there = strings().iter().any(|string| {
        let begins = |at: &usize| string.hex[*at..].starts_with(&hex);
        string.lines.iter().any(begins)
    });
    assert!(is_there, "docs/wire.md should contain {what}: {hex}");
}

/// Asserts that the document has this text.
pub(crate) fn assert_stated(text: &str) {
    assert!(
        DOCUMENT.contains(text),
        "docs/wire.md should contain {text}"
    );
}

/// A block of the document that has bytes, or a piece of inline code that is bytes.
struct ByteString {
    hex: String,
    /// Where in `hex` the lines of the block begin.
    lines: Vec<usize>,
}

/// Returns all byte strings of the document, but for the ends of ranges of bytes.
fn strings() -> Vec<ByteString> {
    let mut strings = Vec::new();
    for (place, part) in DOCUMENT.split("\n```").enumerate() {
        match place % 2 {
            0 => strings.extend(inline(part)),
            _ => strings.extend(block(part)),
        }
    }
    strings
}

fn block(text: &str) -> Option<ByteString> {
    let (mut hex, mut lines) = (String::new(), Vec::new());
    for line in text.lines() {
        let begin = hex.len();
        // Labels and remarks are columns of their own.
        line.split("  ")
            .filter(|column| is_hex(column))
            .for_each(|column| hex.extend(column.split_whitespace()));
        if hex.len() > begin {
            lines.push(begin);
        }
    }
    (!hex.is_empty()).then_some(ByteString { hex, lines })
}

fn inline(text: &str) -> Vec<ByteString> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let pieces: Vec<_> = text.split('`').collect();
    let is_range = |at: usize| {
        [at - 1, at + 1]
            .iter()
            .any(|at| pieces.get(*at) == Some(&" to "))
    };
    let codes = (1..pieces.len()).step_by(2);
    let bytes = codes.filter(|at| is_hex(pieces[*at]) && !is_range(*at));
    let string = |at: usize| ByteString {
        hex: pieces[at].replace(' ', ""),
        lines: vec![0],
    };
    bytes.map(string).collect()
}

/// Whether a text is bytes in hexadecimal and nothing else.
fn is_hex(text: &str) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let mut words = text.split_whitespace().peekable();
    words.peek().is_some() && words.all(|word| word.len() % 2 == 0 && word.bytes().all(is_byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a string is a row of examples, whole ones, one after the other.
fn is_made_of(string: &str, examples: &[String]) -> bool {
    string.is_empty()
        || examples
            .iter()
            .filter_map(|example| string.strip_prefix(&example[..]))
            .any(|rest| is_made_of(rest, examples))
}

/// Without TLS there is no identity, and the strings about identities are not compared.
#[test]
fn every_byte_string_of_the_document_is_what_the_code_has() {
    let mut examples = crate::wire::examples::all();
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    examples.extend(crate::identity::examples());
    let has_identity = cfg!(any(feature = "ring", feature = "aws-lc-rs"));
    for (what, bytes) in &examples {
        assert_documented(what, bytes);
    }
    let known: Vec<_> = examples.iter().map(|(_, bytes)| hex(bytes)).collect();
    let strings = strings();
    for ByteString { hex, .. } in &strings {
        let is_known = is_made_of(hex, &known) || !has_identity;
        assert!(is_known, "docs/wire.md has {hex}, and no example is that");
    }
    assert_eq!(strings.len(), 26, "strings that are found");
}
