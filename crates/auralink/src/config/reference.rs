//! docs/configuration.md names every field there is and no other.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::value::{Error, MapDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::ServeConfig;

/// Answers a type that wants to be read by noting which fields it asks for.
struct Asked<'a> {
    fields: &'a RefCell<BTreeSet<String>>,
    /// What stands before the names, with its dot.
    within: String,
    /// The field that is looked into.
    only: Option<&'static str>,
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Some(field) = self.only else {
            let names = fields.iter().map(|field| format!("{}{field}", self.within));
            self.fields.borrow_mut().extend(names);
            return Err(Error::custom("asked"));
        };
        let inner = Asked {
            fields: self.fields,
            within: format!("{field}."),
            only: None,
        };
        visitor.visit_map(MapDeserializer::new(std::iter::once((field, inner))))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Asked<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn ask(within: &str, only: Option<&'static str>) -> BTreeSet<String> {
    let fields = RefCell::default();
    let asked = Asked {
        fields: &fields,
        within: within.to_owned(),
        only,
    };
    // It never gets a value.
    let _ = ServeConfig::deserialize(asked);
    fields.into_inner()
}

#[test]
fn the_reference_tells_of_every_field_and_of_no_other() {
    let mut fields = BTreeSet::new();
    for field in ask("", None) {
        let inner = ask("", Some(field.clone().leak()));
        if inner.is_empty() {
            fields.insert(field);
        }
        fields.extend(inner);
    }
    assert!(fields.contains("retention.audit_days"), "{fields:?}");

    let text = include_str!("../../../../docs/configuration.md");
    let (_, reference) = text.split_once("\n## Fields\n").unwrap();
    let (reference, _) = reference.split_once("\n## Environment\n").unwrap();
    let told: BTreeSet<String> = reference
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    assert_eq!(told, fields);
}
