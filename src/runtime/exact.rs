//! Serde adapters that write an `f64` as the text of its shortest exact form.
//!
//! JSON has no NaN and no infinity, and a reader of JSON numbers may be off by one unit in the last
//! place. A run that resumes bit for bit can afford neither, so `0.002` is written as `"0.002"`, and
//! `f64::NAN` as `"NaN"`. Used as `#[serde(with = "exact")]`, `exact::option` and `exact::list`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes a number as text.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{value:?}"))
}

/// Reads what [`serialize`] wrote.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    parse(&String::deserialize(deserializer)?)
}

fn parse<E: Error>(text: &str) -> Result<f64, E> {
    text.parse().map_err(|_| E::custom(format!("`{text}` is not a number")))
}

/// The same for a number that may be absent.
pub mod option {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a number as text, or null.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(number) => super::serialize(number, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| super::parse(&text)).transpose()
    }
}

/// The same for several.
pub mod list {
    use serde::ser::SerializeSeq;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a list of texts.
    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(values.len()))?;
        values.iter().try_for_each(|value| list.serialize_element(&format!("{value:?}")))?;
        list.end()
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|text| super::parse(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Pair {
        #[serde(with = "super")]
        a: f64,
        #[serde(with = "super::option")]
        b: Option<f64>,
    }

    #[test]
    fn every_bit_survives() {
        for value in [0.1, -0.0, 1.0 / 3.0, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            let text = serde_json::to_string(&Pair { a: value, b: Some(value) }).unwrap();
            let back: Pair = serde_json::from_str(&text).unwrap();
            assert_eq!(back.a.to_bits(), value.to_bits());
            assert_eq!(back.b.map(f64::to_bits), Some(value.to_bits()));
        }
        let text = serde_json::to_string(&Pair { a: f64::NAN, b: None }).unwrap();
        let back: Pair = serde_json::from_str(&text).unwrap();
        assert!(back.a.is_nan() && back.b.is_none());
    }

    #[test]
    fn other_text_is_refused() {
        assert!(serde_json::from_str::<Pair>(r#"{"a": "many", "b": null}"#).is_err());
    }
}
