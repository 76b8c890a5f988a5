//! One round of a text: its bytes with some escapes resolved, and the place of each in the original text.

use std::ops::Range;

/// A text, or the result of a round of unescaping.
pub struct View {
    /// The bytes, which may not be UTF-8.
    pub bytes: Vec<u8>,
    /// Start and end of each byte in the original text.
    origins: Vec<(u32, u32)>,
}

/// The decoded value of an escape.
enum Escaped {
    Byte(u8),
    Character(char),
}

/// HTML entities of printable ASCII characters or blanks, in lower case.
const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("tab", '\t'),
    ("newline", '\n'),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("hyphen", '-'),
    ("dash", '-'),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("hat", '^'),
    ("lowbar", '_'),
    ("underbar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
];
/// Those that browsers accept without a semicolon.
const WITHOUT_SEMICOLON: usize = 4;
/// The longest name among them.
const LONGEST_NAME_BYTES: usize = 8;

/// The longest tag that is removed, such as `<span class="x">`.
const LONGEST_TAG_BYTES: usize = 64;
/// The shortest run of base64 that is decoded: eight bytes.
const SHORTEST_RUN_BYTES: usize = 11;

impl View {
    /// The text as it came.
    pub fn of(text: &str) -> Self {
        let origins = (0u32..).take(text.len()).map(|at| (at, at.saturating_add(1))).collect();
        Self { bytes: text.as_bytes().to_vec(), origins }
    }

    /// The part of the original text for a part of this round.
    pub fn origin(&self, part: Range<usize>) -> Range<usize> {
        let origins = self.origins.get(part).unwrap_or_default();
        let start = origins.first().map_or(0, |(start, _)| *start);
        let end = origins.last().map_or(0, |(_, end)| *end);
        start as usize..end as usize
    }

    /// The next round: percent-encoding, the escapes of JSON, JavaScript and shells, and the entities of
    /// HTML, each resolved once. `None`: no escape is left.
    pub fn unescaped(&self) -> Option<Self> {
        self.resolved(|rest| match rest {
            [b'%', b'u' | b'U', digits @ ..] => hex(digits, 4).map(|code| (code, 6)),
            [b'%', digits @ ..] => hex(digits, 2).map(|code| (code, 3)),
            [b'\\', rest @ ..] => backslash(rest).map(|(escaped, length)| (escaped, 1 + length)),
            [b'&', rest @ ..] => entity(rest).map(|(escaped, length)| (escaped, 1 + length)),
            _ => None,
        })
    }

    /// The text with the escapes of quoted-printable resolved (RFC 2045). Not part of the other rounds: `=`
    /// also separates names and values, and the first two characters of a value would be lost.
    pub fn quoted_printable_decoded(&self) -> Option<Self> {
        self.resolved(|rest| match rest {
            [b'=', digits @ ..] => hex(digits, 2).map(|code| (code, 3)),
            _ => None,
        })
    }

    /// The text without line breaks and the indentation of continued lines: base64 and mail are wrapped.
    /// `None`: it has no line break.
    pub fn joined(&self) -> Option<Self> {
        let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
        self.bytes.iter().any(|byte| is_break(*byte)).then_some(())?;
        let mut joined = Self { bytes: Vec::new(), origins: Vec::new() };
        let mut is_at_start = false;
        for (at, byte) in self.bytes.iter().copied().enumerate() {
            is_at_start = is_break(byte) || is_at_start && matches!(byte, b' ' | b'\t');
            // A soft line break of quoted-printable.
            let is_soft = byte == b'=' && self.bytes.get(at + 1).is_some_and(|next| is_break(*next));
            if !is_at_start && !is_soft {
                joined.bytes.push(byte);
                joined.origins.push(self.origins[at]);
            }
        }
        Some(joined)
    }

    /// The text without invisible characters and tags, which occur inside of wrapped or marked words. `None`:
    /// it has neither.
    pub fn stripped(&self) -> Option<Self> {
        self.without(|rest| match rest {
            [0, ..] => 1,
            // U+00AD, U+200B to U+200D, U+2060, U+FEFF.
            [0xc2, 0xad, ..] => 2,
            [0xe2, 0x80, 0x8b..=0x8d, ..] | [0xe2, 0x81, 0xa0, ..] | [0xef, 0xbb, 0xbf, ..] => 3,
            [b'<', b'a'..=b'z' | b'A'..=b'Z' | b'/', inner @ ..] => {
                let end = inner.iter().take(LONGEST_TAG_BYTES).position(|byte| matches!(byte, b'>' | b'<'));
                end.filter(|end| inner[*end] == b'>').map_or(0, |end| end + 3)
            }
            _ => 0,
        })
    }

    /// The text without what separates the bytes of a hexadecimal dump: `6a 6b`, `6a:6b`, `0x6a, 0x6b`. `None`: it has no
    /// such separator.
    pub fn hex_joined(&self) -> Option<Self> {
        let is_hex = |at: usize| self.bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        let mut at = 0;
        let mut dropped = vec![false; self.bytes.len()];
        while at + 2 < self.bytes.len() {
            let rest = &self.bytes[at + 2..];
            let separators = rest.iter().take(2).take_while(|byte| b" :-,.\t\n".contains(byte)).count();
            let prefix = if matches!(rest.get(separators..), Some([b'0' | b'\\', b'x', ..])) { 2 } else { 0 };
            let next = at + 2 + separators + prefix;
            let is_separated = separators + prefix > 0 && is_hex(at) && is_hex(at + 1);
            if is_separated && is_hex(next) && is_hex(next + 1) && !is_hex(next + 2) {
                dropped[at + 2..next].fill(true);
                at = next;
            } else {
                at += 1;
            }
        }
        dropped.contains(&true).then(|| self.kept(|at| !dropped[at]))
    }

    /// The text with each long enough run of base64 decoded, in either alphabet. `None`: it has none.
    pub fn base64_decoded(&self) -> Option<Self> {
        let mut decoded = Self { bytes: Vec::new(), origins: Vec::new() };
        let mut at = 0;
        let mut has_run = false;
        while at < self.bytes.len() {
            let run = self.bytes[at..].iter().take_while(|byte| sextet(**byte).is_some()).count();
            if run < SHORTEST_RUN_BYTES {
                let end = (at + run + 1).min(self.bytes.len());
                decoded.bytes.extend_from_slice(&self.bytes[at..end]);
                decoded.origins.extend_from_slice(&self.origins[at..end]);
                at = end;
                continue;
            }
            has_run = true;
            let sextets: Vec<u32> =
                self.bytes[at..at + run].iter().filter_map(|byte| sextet(*byte)).collect();
            for (block, four) in sextets.chunks(4).enumerate() {
                let bits = four.iter().fold(0, |bits, sextet| bits << 6 | sextet) << (6 * (4 - four.len()));
                let whole = bits.to_be_bytes();
                let origin = self.origin(at + 4 * block..at + 4 * block + four.len());
                let origin = (self.origins[at + 4 * block].0, u32::try_from(origin.end).unwrap_or(u32::MAX));
                for byte in &whole[1..four.len().max(1)] {
                    decoded.bytes.push(*byte);
                    decoded.origins.push(origin);
                }
            }
            at += run;
        }
        has_run.then_some(decoded)
    }

    /// The text without what `length` finds: the length of a removed part at the beginning of the rest, or 0.
    fn without(&self, length: impl Fn(&[u8]) -> usize) -> Option<Self> {
        let mut is_kept = vec![true; self.bytes.len()];
        let mut at = 0;
        while at < self.bytes.len() {
            let removed = length(&self.bytes[at..]).min(self.bytes.len() - at);
            is_kept[at..at + removed].fill(false);
            at += removed.max(1);
        }
        is_kept.contains(&false).then(|| self.kept(|at| is_kept[at]))
    }

    /// The bytes at these positions.
    fn kept(&self, is_kept: impl Fn(usize) -> bool) -> Self {
        let positions = || (0..self.bytes.len()).filter(|at| is_kept(*at));
        Self {
            bytes: positions().map(|at| self.bytes[at]).collect(),
            origins: positions().map(|at| self.origins[at]).collect(),
        }
    }

    /// The text with all matches of `escape` replaced. `escape` gets the rest of the text, and returns the
    /// value and the length of an escape at its beginning.
    fn resolved(&self, escape: impl Fn(&[u8]) -> Option<(Escaped, usize)>) -> Option<Self> {
        let mut resolved = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            origins: Vec::with_capacity(self.bytes.len()),
        };
        let mut at = 0;
        while at < self.bytes.len() {
            let (escaped, length) = escape(&self.bytes[at..]).unwrap_or((Escaped::Byte(self.bytes[at]), 1));
            let origin = self.origin(at..at + length);
            let origin = (self.origins[at].0, u32::try_from(origin.end).unwrap_or(u32::MAX));
            let mut buffer = [0; 4];
            let bytes = match escaped {
                Escaped::Byte(byte) => {
                    buffer[0] = byte;
                    &buffer[..1]
                }
                Escaped::Character(character) => character.encode_utf8(&mut buffer).as_bytes(),
            };
            resolved.bytes.extend_from_slice(bytes);
            resolved.origins.extend(bytes.iter().map(|_| origin));
            at += length;
        }
        (resolved.bytes != self.bytes).then_some(resolved)
    }
}

/// The value of that many hexadecimal digits at the beginning: two for a byte, more for a character.
fn hex(text: &[u8], digits: usize) -> Option<Escaped> {
    let code = number(text.get(..digits)?, 16)?;
    match digits {
        2 => u8::try_from(code).ok().map(Escaped::Byte),
        _ => char::from_u32(code).map(Escaped::Character),
    }
}

/// Digits, and nothing else.
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with(['+', '-']))?;
    u32::from_str_radix(digits, radix).ok()
}

/// The value and the length of an escape after a backslash.
fn backslash(rest: &[u8]) -> Option<(Escaped, usize)> {
    /// `\u{10ffff}`.
    const LONGEST_BRACED_BYTES: usize = 7;
    let (first, rest) = rest.split_first()?;
    let control = |character| Some((Escaped::Character(character), 1));
    match first {
        b'u' | b'x' if rest.first() == Some(&b'{') => {
            let end = rest.iter().take(2 + LONGEST_BRACED_BYTES).position(|byte| *byte == b'}')?;
            let code = number(&rest[1..end], 16).and_then(char::from_u32)?;
            Some((Escaped::Character(code), 2 + end))
        }
        b'U' => hex(rest, 8).map(|code| (code, 9)),
        b'u' => hex(rest, 4).map(|code| (code, 5)).or_else(|| pair(rest)),
        b'x' => hex(rest, 2).map(|code| (code, 3)),
        b'0'..=b'9' => {
            let digits = [&[*first], rest.get(..rest.len().min(2)).unwrap_or_default()].concat();
            // Octal of three or two digits, else the hexadecimal of CSS, which a blank may end.
            let octal = |length: usize| Some((u8::try_from(number(digits.get(..length)?, 8)?).ok()?, length));
            if let Some((code, length)) = octal(3).or_else(|| octal(2)) {
                return Some((Escaped::Byte(code), length));
            }
            let code = u8::try_from(number(digits.get(..2)?, 16)?).ok()?;
            Some((Escaped::Byte(code), 2 + usize::from(rest.get(1) == Some(&b' '))))
        }
        b'n' => control('\n'),
        b't' => control('\t'),
        b'r' => control('\r'),
        b'b' => control('\u{8}'),
        b'f' => control('\u{c}'),
        other if other.is_ascii_punctuation() || *other == b' ' => Some((Escaped::Byte(*other), 1)),
        _ => None,
    }
}

/// A character beyond U+FFFF as JSON writes it, in two halves: `\ud83d\ude00`, after the first backslash and `u`.
fn pair(rest: &[u8]) -> Option<(Escaped, usize)> {
    let high = number(rest.get(..4)?, 16)?;
    let low = number(rest.get(4..)?.strip_prefix(b"\\u")?.get(..4)?, 16)?;
    let halves = [u16::try_from(high).ok()?, u16::try_from(low).ok()?];
    let character = char::decode_utf16(halves).next()?.ok()?;
    Some((Escaped::Character(character), 11))
}

/// The value and the length of an entity after `&`.
fn entity(rest: &[u8]) -> Option<(Escaped, usize)> {
    let with_semicolon = |length: usize| length + usize::from(rest.get(length) == Some(&b';'));
    if rest.first() == Some(&b'#') {
        let (start, radix) = if matches!(rest.get(1), Some(b'x' | b'X')) { (2, 16) } else { (1, 10) };
        let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
        let length = rest[start..].iter().take_while(is_digit).count();
        let code = number(&rest[start..start + length], radix).and_then(char::from_u32)?;
        return Some((Escaped::Character(code), with_semicolon(start + length)));
    }
    let length = rest.iter().take(LONGEST_NAME_BYTES).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let is_closed = rest.get(length) == Some(&b';');
    ENTITIES.iter().enumerate().find_map(|(position, (name, character))| {
        let is_it = match is_closed {
            true => rest[..length].eq_ignore_ascii_case(name.as_bytes()),
            false => {
                position < WITHOUT_SEMICOLON
                    && rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            }
        };
        is_it.then(|| (Escaped::Character(*character), with_semicolon(name.len())))
    })
}

/// The six bits of a character of base64.
fn sextet(byte: u8) -> Option<u32> {
    let bits = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(bits))
}
