//! Errors of JSON that a person wrote.

/// Beginnings of serde_json's messages, and plain messages for them; the first match counts.
const WORDS: &[(&str, &str)] = &[
    ("EOF while parsing a string", "a text is not closed: its last `\"` is missing"),
    ("EOF while parsing a list", "a list is not closed: its `]` is missing"),
    ("EOF while parsing", "the object is not closed: its `}` is missing"),
    ("key must be a string", "a key is missing, or has no double quotes"),
    ("expected `:`", "a `:` is missing between a key and its value"),
    ("expected `,` or `}`", "a `,` is missing before the next key, or the `}` at the end"),
    ("expected `,` or `]`", "a `,` is missing before the next element, or the `]` at the end"),
    ("trailing comma", "a `,` has nothing after it"),
    ("trailing characters", "text follows after the end of the object"),
    (
        "expected value",
        "this is not a value: texts need double quotes; numbers, true, false and null have none",
    ),
    (
        "expected ident",
        "this is not a value: texts need double quotes; numbers, true, false and null have none",
    ),
    ("invalid escape", "a text has a `\\` without a known escape: a literal `\\` is written `\\\\`"),
    ("control character", "a text has a control character: a tab is written `\\t`, a line end `\\n`"),
    ("invalid number", "this is not a number: write its digits alone, without a leading zero"),
    ("number out of range", "this number is too large"),
    ("recursion limit", "the value is nested too deeply"),
];

/// The error and its column.
pub(super) fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let key = text.strip_prefix("duplicate field ");
    let words = WORDS.iter().find(|(start, _)| text.starts_with(start));
    let what = match (key, words) {
        (Some(key), _) => format!("the key {key} occurs twice"),
        (None, Some((_, words))) => (*words).to_owned(),
        (None, None) => text.to_owned(),
    };
    format!("at column {}, {what}", error.column().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_line_is_said_without_the_words_of_a_parser() {
        for (line, expected) in [
            (r#"{"id": 1"#, "at column 8, the object is not closed: its `}` is missing"),
            (r#"{"id": "#, "the object is not closed"),
            (r#"{"id": "x}"#, "a text is not closed"),
            (r#"{"sinks": ["a""#, "a list is not closed"),
            (r#"{"id": 1,}"#, "at column 10, a `,` has nothing after it"),
            (r#"{'id': 1}"#, "no double quotes"),
            (r#"{id: 1}"#, "no double quotes"),
            (r#"{"id" = 1}"#, "a `:` is missing"),
            (r#"{"id": 1 "name": "x"}"#, "a `,` is missing before the next key"),
            (r#"{"id": 1, "sinks": ["a" "b"]}"#, "a `,` is missing before the next element"),
            (r#"{"id": 1} # one"#, "text follows"),
            (r#"{"id": 1, "name": True}"#, "this is not a value"),
            (r#"{"id": 1, "name": nil}"#, "this is not a value"),
            (r#"{"id": 1, "name": "C:\x"}"#, "is written `\\\\`"),
            ("{\"id\": 1, \"name\": \"a\tb\"}", "a tab is written `\\t`"),
            (r#"{"id": 007}"#, "not a number"),
        ] {
            let reported = in_words(&serde_json::from_str::<serde_json::Value>(line).unwrap_err());
            assert!(reported.contains(expected) && !reported.contains("EOF"), "{line}: {reported}");
        }
    }
}
