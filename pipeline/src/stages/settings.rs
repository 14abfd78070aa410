//! From a table of settings to a typed one, with messages that say which key of which stage is wrong and what was meant.
//!
//! Every kind's settings are a serde struct with `deny_unknown_fields`. Training stages add the algorithm's own
//! settings on the same level: [`split`] sends each key to the struct that knows it, which `serde(flatten)` cannot do
//! together with `deny_unknown_fields`.

use std::fmt;

use anyhow::{Result, bail};
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use crate::engine::nearest::hint;

/// Reads all of `table` as a `T`.
pub fn parse<T: DeserializeOwned>(stage: &str, table: &toml::Table) -> Result<T> {
    unknown_keys(stage, table, &[fields_of::<T>()])?;
    typed(stage, table.clone())
}

/// Reads the keys that `T` knows as a `T` and those that `U` knows as a `U`; where both know a key, `T` takes it.
pub fn split<T: DeserializeOwned, U: DeserializeOwned>(stage: &str, table: &toml::Table) -> Result<(T, U)> {
    let own = fields_of::<T>();
    unknown_keys(stage, table, &[own, fields_of::<U>()])?;
    let (first, second): (toml::Table, toml::Table) =
        table.clone().into_iter().partition(|(key, _)| own.contains(&key.as_str()));
    Ok((typed(stage, first)?, typed(stage, second)?))
}

fn typed<T: DeserializeOwned>(stage: &str, table: toml::Table) -> Result<T> {
    match T::deserialize(toml::Value::Table(table)) {
        Ok(settings) => Ok(settings),
        Err(error) => bail!("stage `{stage}`: settings: {}", plain(error.to_string().trim())),
    }
}

/// A message about a value without the names that its type has in the source.
fn plain(message: &str) -> String {
    let message = message.replace('\n', " ");
    let Some((said, expected)) = message.split_once(", expected ") else { return message };
    let (expected, place) = expected
        .split_once(" in `")
        .map_or((expected, String::new()), |(expected, key)| (expected, format!(" in `{key}")));
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "an array",
        "a boolean" => "true or false",
        name if name.starts_with("struct ") || name == "a map" => "a table, as in { name = value }",
        other => other,
    };
    format!("{said}, expected {expected}{place}")
}

fn unknown_keys(stage: &str, table: &toml::Table, known: &[&[&str]]) -> Result<()> {
    for key in table.keys() {
        if known.iter().any(|fields| fields.contains(&key.as_str())) {
            continue;
        }
        let mut names: Vec<&str> = known.iter().flat_map(|fields| fields.iter().copied()).collect();
        names.sort_unstable();
        names.dedup();
        bail!("stage `{stage}`: unknown setting `{key}`{}", hint(key, names));
    }
    Ok(())
}

/// The field names of a derived struct, learnt from what its `Deserialize` asks for.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(FieldNames) {
        Err(Fields(names)) => names,
        Ok(_) => &[],
    }
}

struct FieldNames;

/// An "error" that carries the answer out of `deserialize_struct`.
#[derive(Debug)]
struct Fields(&'static [&'static str]);

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Fields {}

impl de::Error for Fields {
    fn custom<M: fmt::Display>(_message: M) -> Self {
        Fields(&[])
    }
}

impl<'de> Deserializer<'de> for FieldNames {
    type Error = Fields;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Fields> {
        Err(Fields(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Fields> {
        Err(Fields(fields))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        episodes: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Extra {
        lr: f32,
    }

    impl Default for Extra {
        fn default() -> Self {
            Extra { lr: 0.5 }
        }
    }

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn a_misspelt_key_is_named_with_the_nearest_one() {
        let error = parse::<Own>("play", &table("epsodes = 3")).unwrap_err().to_string();
        assert_eq!(error, "stage `play`: unknown setting `epsodes`; did you mean `episodes`?");
    }

    #[test]
    fn keys_go_to_the_struct_that_knows_them() {
        let (own, extra) = split::<Own, Extra>("base", &table("episodes = 3\nlr = 0.25")).unwrap();
        assert_eq!((own.episodes, extra.lr), (3, 0.25));
        let error = split::<Own, Extra>("base", &table("episodes = 3\nlearning_rate = 1")).unwrap_err().to_string();
        assert!(
            error.contains("unknown setting `learning_rate`") && error.contains("there are: episodes, lr"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_type_names_stage_and_key() {
        let error = parse::<Own>("play", &table("episodes = 'many'")).unwrap_err().to_string();
        assert!(
            error.contains("stage `play`") && error.contains("expected a whole number, not negative in `episodes`"),
            "{error}"
        );
        let error = parse::<Own>("play", &table("")).unwrap_err().to_string();
        assert!(error.contains("missing field `episodes`"), "{error}");
    }
}
