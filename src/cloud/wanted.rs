//! Selective decoding: only the parts of a JSON body that a row reads are kept. All else is skipped during
//! parsing, so that a hostile body costs little time and memory.
//!
//! The tolerance of docs/tencent-cloud-api.md §1 for names, arrays and empty values is here; `response`
//! decides the meaning of a value.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::reading::Code;

/// Steps into every element of an array.
const EVERY: &str = "*";

/// Parts of a JSON document that are read: a tree of names. A part without names below it is a value.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    below: Vec<(String, Wanted)>,
}

/// A part that was kept, without values that no pointer reaches.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    /// `null`, or an array or object in place of a value.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number, as a code.
    Number(Code),
    /// A text, as sent.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Part<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// An object: the fields that were kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a> {
    fields: Vec<(&'a str, Part<'a>)>,
    /// Whether it has further fields.
    has_others: bool,
}

impl Wanted {
    /// The parts that these JSON pointers reach.
    pub fn new(pointers: impl IntoIterator<Item = String>) -> Self {
        let mut wanted = Self::default();
        for pointer in pointers {
            pointer.split('/').skip(1).fold(&mut wanted, Self::add);
        }
        wanted
    }

    fn add(&mut self, name: &str) -> &mut Self {
        let position = self.below.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.below.push((name.to_owned(), Self::default()));
            self.below.len() - 1
        });
        &mut self.below[position].1
    }

    /// The wanted parts of a body; `None` if it is no JSON.
    pub fn read<'a>(&'a self, body: &'a [u8]) -> Option<Part<'a>> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let part = self.deserialize(&mut json).ok()?;
        json.end().ok().map(|()| part)
    }

    fn below(&self, name: &str) -> Option<(&str, &Self)> {
        self.below.iter().find(|(known, _)| known == name).map(|(known, wanted)| (known.as_str(), wanted))
    }

    /// An object counts as an array of one element.
    fn in_object(&self) -> &Self {
        self.below(EVERY).map_or(self, |(_, wanted)| wanted)
    }

    /// An array in place of an object is an array of such objects.
    fn in_element(&self, index: usize) -> &Self {
        let numbered = || self.below.iter().find(|(name, _)| name.parse() == Ok(index));
        match self.below(EVERY) {
            Some((_, wanted)) => wanted,
            None => numbered().map_or(self, |(_, wanted)| wanted),
        }
    }
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for &'a Wanted {
    type Value = Part<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Part<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for &'a Wanted {
    type Value = Part<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Part<'a>, E> {
        Ok(Part::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Part<'a>, E> {
        Ok(Part::Bool)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Part<'a>, E> {
        Ok(Part::Number(Code::Int(number)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Part<'a>, E> {
        Ok(Part::Number(Code::read(&number.to_string())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Part<'a>, E> {
        // JSON has one kind of number: some encoders write 1 as `1.0` or `1e0`.
        let is_whole = number.fract() == 0.0 && number.abs() < 2f64.powi(53);
        let text =
            if is_whole { format!("{number:.0}") } else { serde_json::Value::from(number).to_string() };
        Ok(Part::Number(Code::read(&text)))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Part<'a>, E> {
        Ok(Part::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Part<'a>, E> {
        Ok(Part::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Part<'a>, A::Error> {
        if self.below.is_empty() {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Part::Null);
        }
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self.in_element(list.len()))? {
            list.push(element);
        }
        Ok(Part::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Part<'a>, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let wanted = self.in_object();
        let mut object = Object::default();
        while let Some(Name(sent)) = fields.next_key()? {
            // One edition of the documentation has names with outer blanks; a name without them has
            // precedence.
            let name = sent.trim();
            match wanted.below(name) {
                Some((name, wanted)) if name == sent || object.field(name).is_none() => {
                    let value = fields.next_value_seed(wanted)?;
                    object.fields.retain(|(known, _)| *known != name);
                    object.fields.push((name, value));
                }
                Some(_) | None => {
                    object.has_others = true;
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        if self.below.is_empty() { Ok(Part::Null) } else { Ok(Part::Object(object)) }
    }
}

impl<'a> Object<'a> {
    fn field(&self, name: &str) -> Option<&Part<'a>> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl<'a> Part<'a> {
    /// Whether the value counts as absent: `null`, or an empty text, array or object
    /// (docs/tencent-cloud-api.md §1).
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.trim().is_empty(),
            Self::List(elements) => elements.is_empty(),
            Self::Object(object) => object.fields.is_empty() && !object.has_others,
            Self::Bool | Self::Number(_) => false,
        }
    }

    /// The elements of an array, or the one value in place of it, without empty ones.
    pub fn elements(&self) -> impl Iterator<Item = &Self> {
        self.rows().iter().filter(|element| !element.is_nothing())
    }

    /// All elements of a list, empty ones too; anything else is its own only row.
    pub fn rows(&self) -> &[Self] {
        match self {
            Self::List(rows) => rows,
            Self::Null | Self::Bool | Self::Number(_) | Self::Text(_) | Self::Object(_) => {
                std::slice::from_ref(self)
            }
        }
    }

    /// The value at a JSON pointer without `*`.
    pub fn find(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, Self::below)
    }

    /// The values at a JSON pointer, one for each element at a `*`; `None` for an element that has no such value.
    pub fn each(&self, pointer: &str) -> Vec<Option<&Self>> {
        let mut found = vec![Some(self)];
        for name in pointer.split('/').skip(1) {
            found = if name == EVERY {
                found.into_iter().flatten().flat_map(Self::rows).map(Some).collect()
            } else {
                found.into_iter().map(|part| part?.below(name)).collect()
            };
        }
        found
    }

    fn below(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.field(name),
            Self::List(elements) => elements.get(name.parse::<usize>().ok()?),
            Self::Null | Self::Bool | Self::Number(_) | Self::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many elements as a body of 1 MiB holds.
    fn many(element: &str) -> String {
        vec![element; 1024 * 1024 / (element.len() + 1)].join(",")
    }

    fn text(text: &str) -> Part<'_> {
        Part::Text(Cow::Borrowed(text))
    }

    #[test]
    fn what_no_pointer_reaches_is_skipped_and_takes_no_memory() {
        let wanted = Wanted::new(["/code", "/data/status", "/data/ids/*/id"].map(str::to_owned));
        for junk in [r#"{"":0}"#, r#"{"a":{"b":[1,"x"]}}"#, "[[[]]]", "1e5", "\"\\u0041\""] {
            let body = format!(
                r#"{{"junk":[{0}],"code":0,"data":{{"more":[{0}],"status":1,"ids":""}}}}"#,
                many(junk)
            );
            let part = wanted.read(body.as_bytes()).expect(junk);
            let Part::Object(object) = &part else { panic!("{junk}") };
            assert_eq!((object.fields.len(), object.has_others), (2, true));
            let Some(Part::Object(data)) = part.find("/data") else { panic!("{junk}") };
            assert_eq!(data.fields, [("status", Part::Number(Code::Int(1))), ("ids", text(""))]);
        }
    }

    #[test]
    fn elements_of_a_wanted_array_keep_nothing_but_what_is_wanted() {
        let wanted = Wanted::new(["/data/status".to_owned()]);
        let body = format!(r#"{{"data":[{}]}}"#, many(r#"{"":0}"#));
        let part = wanted.read(body.as_bytes()).unwrap();
        let Some(Part::List(elements)) = part.find("/data") else { panic!("no array") };
        assert!(elements.len() > 100_000);
        assert!(elements.iter().all(
            |element| matches!(element, Part::Object(object) if object.fields.capacity() == 0 && object.has_others)
        ));
    }

    #[test]
    fn a_text_without_escapes_is_borrowed_from_the_body() {
        let wanted = Wanted::new(["/a".to_owned(), "/b".to_owned()]);
        let part = wanted.read(br#"{"a":"plain","b":"\u0041"}"#).unwrap();
        assert!(matches!(part.find("/a"), Some(Part::Text(Cow::Borrowed("plain")))));
        assert!(matches!(part.find("/b"), Some(Part::Text(Cow::Owned(text))) if text == "A"));
    }

    #[test]
    fn a_body_that_is_no_json_or_has_text_after_it_is_refused() {
        let wanted = Wanted::new(["/a".to_owned()]);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let half = r#"{"a":1,"junk":[{"":0"#;
        for body in ["", "{", half, "{} {}", r#"{"a":1} x"#, &deep] {
            assert!(wanted.read(body.as_bytes()).is_none(), "{}", &body[..body.len().min(40)]);
        }
        // An array in place of a value is skipped, however deep.
        let null = Part::Object(Object { fields: vec![("a", Part::Null)], has_others: false });
        assert_eq!(wanted.read(format!(r#" {{"a":{deep}}} "#).as_bytes()), Some(null));
    }

    #[test]
    fn an_index_and_a_star_reach_elements_and_an_object_stands_for_an_array_of_one() {
        let wanted = Wanted::new(["/set/1/status", "/all/*/status"].map(str::to_owned));
        let part =
            wanted.read(br#"{"set":[{"status":1},{"status":2}],"all":[{"status":3},null,{},{"x":4}]}"#);
        let part = part.unwrap();
        let number = |number| Part::Number(Code::Int(number));
        assert_eq!(part.find("/set/1/status"), Some(&number(2)));
        assert_eq!(part.each("/all/*/status"), [Some(&number(3)), None, None, None]);
        let part = wanted.read(br#"{"all":{"status":3}}"#).unwrap();
        assert_eq!(part.each("/all/*/status"), [Some(&number(3))]);
        assert!(part.each("/set/*/status").is_empty());
    }
}
