//! Advice for a file that is no TOML.

/// Beginnings of the parser's messages, and the fix; the first match counts.
const ADVICE: &[(&str, &str)] = &[
    ("key with no value", "write key = value, a [section], or a comment after #"),
    (
        "string values must be quoted",
        "write after the `=` a text in quotes, such as \"bj\", or a number, true or false without",
    ),
    ("invalid boolean", "write true or false"),
    ("invalid unquoted key", "put a name that has other characters than A-Z a-z 0-9 _ - in quotes"),
    ("invalid key-value pair", "write key = value, a [section], or a comment after #"),
    ("unquoted keys cannot be empty", "write the key before the `=`"),
    ("missing value", "write a value after the `=`"),
    ("duplicate key", "keep one of the two; a section may occur once in a file"),
    ("unclosed table", "close the section's name on its line, as in [poll]"),
    ("unclosed array", "close the list with a `]`"),
    ("unclosed inline table", "close the table with a `}`"),
    ("missing comma", "write a comma between two elements"),
    ("extra comma", "remove one comma"),
    ("unexpected leading zero", "write the number without zeros in front, or a text in quotes"),
    ("invalid basic string", "close the text with a quote on the same line"),
    ("invalid literal string", "close the text with a quote on the same line"),
    ("missing escaped value", BACKSLASH),
    ("too few unicode value digits", BACKSLASH),
    ("invalid escape", BACKSLASH),
    ("unexpected", "write key = value on one line"),
];
const BACKSLASH: &str = "within \"…\" a backslash is written \\\\; within '…' it is literal";

/// The parser's message, and what to write.
pub fn explain(message: &str) -> String {
    let what = message.split(", expected").next().unwrap_or_default();
    match ADVICE.iter().find(|(start, _)| message.starts_with(start)) {
        Some((_, advice)) => format!("is not TOML: {what}; {advice}"),
        None => format!("is not TOML: {message}"),
    }
}
