//! Model cards: what is known of a model, in a JSON file beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{DataError, Preprocessing};

/// A model card. Everything but the name may be missing, and keys that are not listed here are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// The model's name.
    pub name: String,
    /// What it is, in a sentence or two.
    pub description: Option<String>,
    /// What it does, for instance `classification`.
    pub task: Option<String>,
    /// The names of the classes.
    pub labels: Vec<String>,
    /// A file of samples. The card says it relative to itself; here it is relative to the working folder, if the
    /// model's path was. So are the next three.
    pub input: Option<PathBuf>,
    /// The labels of these samples.
    pub input_labels: Option<PathBuf>,
    /// A file of samples to measure ranges with.
    pub calibration: Option<PathBuf>,
    /// The labels of these.
    pub calibration_labels: Option<PathBuf>,
    /// What makes model input of stored values.
    pub preprocessing: Option<Preprocessing>,
    /// How often the model is right without encryption.
    pub accuracy: Option<Accuracy>,
    /// The least and the largest value, of the input under `input` and of nodes under their names.
    pub ranges: BTreeMap<String, (f64, f64)>,
}

/// How often a model is right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accuracy {
    /// The part of the test samples classified rightly, 0 to 1.
    pub test: Option<f64>,
    /// How many test samples there were.
    pub images: Option<u64>,
    /// The program that ran the model.
    pub measured_with: Option<String>,
}

/// The longest card read.
const LONGEST: u64 = 1 << 24;

impl Card {
    /// The card of the model at `model`: the file of that name with the extension `.json`, if there is one.
    ///
    /// # Errors
    /// As [`Card::read`].
    pub fn beside(model: &Path) -> Result<Option<Card>, DataError> {
        let path = model.with_extension("json");
        match fs::metadata(&path) {
            Ok(_) => Card::read(&path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataError::Io { path, action: "be read", source }),
        }
    }

    /// Reads a card.
    ///
    /// # Errors
    /// If the file cannot be read, is no JSON object, has no name, or a key has a value of the wrong kind.
    pub fn read(path: &Path) -> Result<Card, DataError> {
        let failed = |source| DataError::Io { path: path.to_owned(), action: "be read", source };
        let wrong = |key: &str, expected: &str, found: String| DataError::Card {
            path: path.to_owned(),
            key: key.into(),
            expected: expected.into(),
            found,
        };
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(wrong("the whole", "a regular file", "something else".into()));
        }
        let mut text = Vec::new();
        File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text)).map_err(failed)?;
        if text.len() as u64 > LONGEST {
            return Err(wrong("the whole", "at most 16 MiB", "more".into()));
        }
        let text = std::str::from_utf8(&text).map_err(|error| wrong("the whole", "text", error.to_string()))?;
        Card::parse(text, path)
    }

    /// Reads a card's text; its paths are relative to the folder of `path`.
    ///
    /// # Errors
    /// If it is no JSON object, has no name, or a key has a value of the wrong kind.
    pub fn parse(text: &str, path: &Path) -> Result<Card, DataError> {
        let wrong = |expected: &str, found: String| DataError::Card {
            path: path.to_owned(),
            key: "the whole".into(),
            expected: expected.into(),
            found,
        };
        let value: Value = serde_json::from_str(text).map_err(|error| wrong("JSON", error.to_string()))?;
        let Value::Object(map) = &value else {
            return Err(wrong("an object", kind(&value)));
        };
        Keys { path, within: String::new(), map }.card()
    }

    /// The part of the card that readers of a compiled program need, as a card's text: how to preprocess, the range of the
    /// input, the names of the classes.
    pub fn summary(&self) -> String {
        let mut card = Map::new();
        card.insert("name".into(), self.name.as_str().into());
        card.insert("labels".into(), self.labels.clone().into());
        if let Some(Preprocessing { scale, mean, std }) = &self.preprocessing {
            card.insert("preprocessing".into(), serde_json::json!({ "scale": scale, "mean": mean, "std": std }));
        }
        if let Some((low, high)) = self.ranges.get("input") {
            card.insert("ranges".into(), serde_json::json!({ "input": [low, high] }));
        }
        Value::Object(card).to_string()
    }
}

/// The keys of the card, or of an object in it.
struct Keys<'a> {
    path: &'a Path,
    /// Where the object is, for messages: empty, or `key.`.
    within: String,
    map: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    fn card(&self) -> Result<Card, DataError> {
        let preprocessing = self.object("preprocessing")?.map(|keys| keys.preprocessing()).transpose()?;
        let accuracy = self.object("accuracy")?.map(|keys| keys.accuracy()).transpose()?;
        let mut ranges = BTreeMap::new();
        if let Some(keys) = self.object("ranges")? {
            for key in keys.map.keys() {
                if let Some(range) = keys.get(key, "two numbers in order", range)? {
                    ranges.insert(key.clone(), range);
                }
            }
        }
        let name = self.text("name")?;
        Ok(Card {
            name: name.ok_or_else(|| self.wrong("name", "the name of the model", "nothing".into()))?,
            description: self.text("description")?,
            task: self.text("task")?,
            labels: self.get("labels", "a list of class names", texts)?.unwrap_or_default(),
            input: self.file("input")?,
            input_labels: self.file("input_labels")?,
            calibration: self.file("calibration")?,
            calibration_labels: self.file("calibration_labels")?,
            preprocessing,
            accuracy,
            ranges,
        })
    }

    fn preprocessing(&self) -> Result<Preprocessing, DataError> {
        let none = Preprocessing::default();
        Ok(Preprocessing {
            scale: self.get("scale", "a number", Value::as_f64)?.unwrap_or(none.scale),
            mean: self.get("mean", "a number or a list of numbers", numbers)?.unwrap_or(none.mean),
            std: self.get("std", "a number or a list of numbers, none 0", deviations)?.unwrap_or(none.std),
        })
    }

    fn accuracy(&self) -> Result<Accuracy, DataError> {
        let part = |value: &Value| value.as_f64().filter(|part| (0.0..=1.0).contains(part));
        Ok(Accuracy {
            test: self.get("test", "a number from 0 to 1", part)?,
            images: self.get("images", "a whole number", Value::as_u64)?,
            measured_with: self.text("measured_with")?,
        })
    }

    fn text(&self, key: &str) -> Result<Option<String>, DataError> {
        self.get(key, "text", |value| value.as_str().map(str::to_owned))
    }

    fn object(&self, key: &str) -> Result<Option<Keys<'a>>, DataError> {
        let map = self.get(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Keys { path: self.path, within: format!("{}{key}.", self.within), map }))
    }

    /// A path that the card says relative to its own folder.
    fn file(&self, key: &str) -> Result<Option<PathBuf>, DataError> {
        let relative = |value: &Value| value.as_str().map(PathBuf::from).filter(|path| !path.has_root());
        let path = self.get(key, "a path relative to the card", relative)?;
        Ok(path.map(|path| self.path.with_file_name(path)))
    }

    /// The value of a key, if it is there and not null.
    fn get<T>(&self, key: &str, expected: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, DataError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(key, expected, kind(value))),
        }
    }

    fn wrong(&self, key: &str, expected: &str, found: String) -> DataError {
        let key = format!("{}{key}", self.within);
        DataError::Card { path: self.path.to_owned(), key, expected: expected.into(), found }
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    if let Some(one) = value.as_f64() {
        return Some(vec![one]);
    }
    value.as_array().filter(|list| !list.is_empty())?.iter().map(Value::as_f64).collect()
}

fn deviations(value: &Value) -> Option<Vec<f64>> {
    numbers(value).filter(|list| !list.contains(&0.0))
}

fn range(value: &Value) -> Option<(f64, f64)> {
    match numbers(value)?.as_slice() {
        [low, high] if low <= high => Some((*low, *high)),
        _ => None,
    }
}

/// The value in short, for messages.
fn kind(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::*;

    #[test]
    fn a_card_is_found_beside_its_model() {
        let dir = tests_dir("card");
        assert_eq!(Card::beside(&dir.join("net.onnx")).unwrap(), None);
        let text = r#"{"name": "net", "labels": ["cat", "dog"], "input": "data/x.npy", "extra": {"a": [1]},
            "preprocessing": {"scale": 0.5, "mean": [1, 2.5], "std": 3}, "task": null,
            "accuracy": {"test": 0.99, "images": 10000}, "ranges": {"input": [0, 1.0]}}"#;
        fs::write(dir.join("net.json"), text).unwrap();
        let card = Card::beside(&dir.join("net.onnx")).unwrap().unwrap();
        assert_eq!((card.name.as_str(), card.labels.len(), card.task), ("net", 2, None));
        assert_eq!(card.input, Some(dir.join("data/x.npy")));
        let preprocessing = Preprocessing { scale: 0.5, mean: vec![1.0, 2.5], std: vec![3.0] };
        assert_eq!(card.preprocessing, Some(preprocessing));
        assert_eq!(card.accuracy.unwrap().images, Some(10000));
        assert_eq!(card.ranges["input"], (0.0, 1.0));
        for end in 0..text.len() {
            fs::write(dir.join("net.json"), &text[..end]).unwrap();
            assert!(Card::beside(&dir.join("net.onnx")).is_err(), "{end}");
        }
    }

    /// Found by fuzzing: a reader of JSON may round to the neighbour of a number.
    #[test]
    fn numbers_are_read_exactly() {
        for number in ["1.0092156862745098", "0.30000000000000004", "2.2250738585072011e-308", "123456789012345678"] {
            let text = format!(r#"{{"name": "net", "preprocessing": {{"scale": {number}}}}}"#);
            let card = Card::parse(&text, Path::new("net.json")).unwrap();
            assert_eq!(card.preprocessing.as_ref().unwrap().scale, number.parse::<f64>().unwrap());
            assert_eq!(Card::parse(&card.summary(), Path::new("net.json")).unwrap().summary(), card.summary());
        }
    }

    #[test]
    fn wrong_values_name_their_key() {
        let path = tests_dir("card-errors").join("net.json");
        for (text, says) in [
            ("[]", "expected an object, found []"),
            ("{}", "name: expected the name of the model, found nothing"),
            (r#"{"name": 1}"#, "name: expected text, found 1"),
            (r#"{"name": "a", "labels": ["a", 2]}"#, "labels: expected a list"),
            (r#"{"name": "a", "preprocessing": {"std": [1, 0]}}"#, "preprocessing.std: "),
            (r#"{"name": "a", "preprocessing": {"mean": []}}"#, "preprocessing.mean: "),
            (r#"{"name": "a", "preprocessing": 1}"#, "preprocessing: expected an object"),
            (r#"{"name": "a", "input": "/etc/passwd"}"#, "relative to the card"),
            (r#"{"name": "a", "accuracy": {"test": 98.5}}"#, "accuracy.test: "),
            (r#"{"name": "a", "ranges": {"x": [1, 0]}}"#, "ranges.x: "),
        ] {
            fs::write(&path, text).unwrap();
            let error = Card::read(&path).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("net.json"), "{error}");
        }
    }
}
