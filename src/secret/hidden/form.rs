//! The searched forms of a secret: itself, unescaped, in base64 and in hexadecimal.

use std::fmt::Write;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::view::View;
use super::{ROUNDS, SHORTEST_PART_BYTES};

/// The shortest secret that is searched for in every spelling. A shorter one is searched for unchanged and
/// escaped once: in base64 or through several rounds it would match by chance.
const SHORTEST_SPELLED_BYTES: usize = 8;
/// RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One form of one secret.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// Its bytes, folded, without padding.
    pub folded: Vec<u8>,
    /// The last round of unescaping in which the form is searched for.
    pub rounds: usize,
    /// Whether the character of base64 before a match holds bits of the secret.
    begins_before: bool,
    /// Whether that after a match does.
    ends_after: bool,
}

/// The fewest bytes of a text with that secret.
pub fn shortest_bytes(secret: &str) -> usize {
    shortest_of_base64(secret).unwrap_or_else(|| shortest_of_any(secret))
}

/// The same for base64 as it is or percent-encoded, such as a signature, without an allocation: each poll has its own.
fn shortest_of_base64(secret: &str) -> Option<usize> {
    let is_base64 =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    let mut decoded = percent_decode_str(secret);
    let bytes = decoded.clone().count();
    (bytes >= SHORTEST_SPELLED_BYTES && decoded.all(is_base64)).then(|| {
        let padding = percent_decode_str(secret).skip(bytes - 2);
        // Padding counts from the end alone.
        let padding = padding.fold(0, |padding, byte| if byte == b'=' { padding + 1 } else { 0 });
        bytes - padding
    })
}

fn shortest_of_any(secret: &str) -> usize {
    unescaped(secret).map(|text| plain(&text).folded.len()).min().unwrap_or(0)
}

/// All forms of these secrets, each once.
pub fn all(secrets: &[String]) -> Vec<Form> {
    let mut forms: Vec<Form> = secrets.iter().flat_map(|secret| of(secret)).collect();
    forms.sort();
    forms.dedup();
    forms
}

fn of(secret: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    for text in unescaped(secret) {
        forms.push(plain(&text));
        if text.len() >= SHORTEST_SPELLED_BYTES {
            let encoded = percent_encode(&text, RESERVED).to_string();
            forms.extend((0..3).map(|offset| in_base64(&text, offset)));
            forms.extend((0..3).map(|offset| in_base64(encoded.as_bytes(), offset)));
            forms.push(Form::new(in_hex(&text), ROUNDS));
            // A signature is base64. Some servers print its decoded bytes in a dump, so these are hidden too.
            let bytes = View::of(&String::from_utf8_lossy(&text)).base64_decoded();
            forms.extend(bytes.map(|view| Form::new(in_hex(&view.bytes), ROUNDS)));
        }
    }
    forms
}

/// The secret unchanged, and after each round of unescaping: a URL in the configuration may be escaped
/// itself.
fn unescaped(secret: &str) -> impl Iterator<Item = Vec<u8>> {
    let rounds = std::iter::successors(Some(View::of(secret)), View::unescaped).take(1 + ROUNDS);
    let texts = rounds.map(|view| view.bytes).enumerate();
    texts.filter(|(round, text)| *round == 0 || text.len() >= SHORTEST_PART_BYTES).map(|(_, text)| text)
}

/// The text itself.
fn plain(text: &[u8]) -> Form {
    let folded = |text: &[u8]| text.iter().copied().map(folded).collect();
    if text.len() < SHORTEST_SPELLED_BYTES {
        return Form::new(folded(text), 1);
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    Form::new(folded(&text[..text.len() - padding]), ROUNDS)
}

/// The secret in base64 with `offset` bytes before it in the same block of three. Characters with bits of its
/// neighbours are left out, and belong to a match.
fn in_base64(secret: &[u8], offset: usize) -> Form {
    let padded: Vec<u8> = [&[0; 2][..offset], secret].concat();
    let encoded = STANDARD_NO_PAD.encode(&padded);
    let start = [0, 2, 3][offset];
    let is_whole = padded.len().is_multiple_of(3);
    let end = if is_whole { encoded.len() } else { encoded.len() - 1 };
    Form {
        folded: encoded.as_bytes()[start..end].iter().copied().map(folded).collect(),
        rounds: ROUNDS,
        begins_before: offset > 0,
        ends_after: !is_whole,
    }
}

fn in_hex(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        _ = write!(text, "{byte:02x}");
    }
    text.into_bytes()
}

/// One byte as it is compared.
pub fn folded(byte: u8) -> u8 {
    match byte {
        b' ' | b'-' => b'+',
        b'_' => b'/',
        other => other.to_ascii_lowercase(),
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

impl Form {
    fn new(folded: Vec<u8>, rounds: usize) -> Self {
        Self { folded, rounds, begins_before: false, ends_after: false }
    }

    /// A match with the adjacent characters that belong to it: those with some of its bits, and padding.
    pub fn with_its_edges(&self, text: &[u8], matched: Range<usize>) -> Range<usize> {
        let Range { mut start, mut end } = matched;
        if self.begins_before && start > 0 && is_base64(text[start - 1]) {
            start -= 1;
        }
        if self.ends_after && text.get(end).is_some_and(|byte| is_base64(*byte)) {
            end += 1;
        }
        let padding = text[end..].iter().take(2).take_while(|byte| **byte == b'=').count();
        start..end + padding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_text_with_a_signature_is_found_without_unescaping_it() {
        for secret in [
            "EliP9YW3pW28FpsEdkXt%2F%2Bk%3D",
            "EliP9YW3pW28FpsEdkXt/+k=",
            "abcdefgh",
            "a%3Dbcdefgh%3D%3D",
            "abcdef==",
            "abcdefg%3d%3D",
            "YWJjZGVmZw==",
            "========",
        ] {
            assert_eq!(shortest_of_base64(secret), Some(shortest_of_any(secret)), "{secret}");
        }
        for other in ["abcdefg", "a%25b%2525cdefgh", "a&amp;bcdefgh", "a\\nbcdefgh", "a b c d e f"] {
            assert_eq!(shortest_of_base64(other), None, "{other}");
        }
    }
}
