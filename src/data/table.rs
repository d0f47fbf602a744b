//! CSV and TSV: one sample a row, numbers only, perhaps under a row of names.

use std::io::{BufRead, Read};
use std::path::Path;

use super::shape::MOST_NUMBERS;
use super::source::{Source, broken};
use super::{DataError, Element, Purpose, Samples, Wanted};

const FORMAT: &str = "table";

/// The first row names the columns if none of its cells is a number. If all cells are whole numbers the table holds
/// [`Element::Int`].
pub(super) fn read(mut source: Source, delimiter: u8, wanted: &Wanted) -> Result<Samples, DataError> {
    let path = source.path;
    let columns = wanted.shape.iter().product::<usize>();
    // Room for any way to write a number, and for long names.
    let longest = (columns as u64).saturating_mul(64).saturating_add(1 << 16);
    let delimiter = char::from(delimiter);
    let mut values = Vec::new();
    let mut element = Element::Int;
    let mut line = Vec::new();
    let (mut row, mut seen_any) = (0_u64, false);
    while wanted.limit.is_none_or(|limit| values.len() / columns < limit) {
        line.clear();
        let read = (&mut source.reader).take(longest).read_until(b'\n', &mut line);
        let read = read.map_err(|error| broken(path, FORMAT, &error))?;
        if read == 0 {
            break;
        }
        row += 1;
        let at = Place { path, row };
        if read as u64 == longest {
            return Err(at.damaged(format!("{columns} numbers"), format!("a row of more than {longest} bytes")));
        }
        let Ok(text) = str::from_utf8(&line) else {
            return Err(at.damaged("text in UTF-8".into(), "other bytes".into()));
        };
        let text = text.trim_start_matches('\u{feff}').trim_matches(['\r', '\n']);
        if text.trim().is_empty() {
            continue;
        }
        let cells = || text.split(delimiter).map(|cell| cell.trim().trim_matches('"').trim());
        let heading = !seen_any && cells().all(|cell| cell.parse::<f64>().is_err());
        seen_any = true;
        if heading {
            continue;
        }
        let there = cells().count();
        if there != columns {
            return Err(at.columns(there, columns, wanted));
        }
        if values.len() > MOST_NUMBERS - columns {
            let found = format!("more in row {row}");
            return Err(DataError::TooLarge { path: path.to_owned(), limit: MOST_NUMBERS, found });
        }
        for (column, cell) in cells().enumerate() {
            let Ok(value) = cell.parse::<f64>() else {
                let shown: String = cell.chars().take(40).collect();
                return Err(at.damaged("a number".into(), format!("{shown:?} in column {}", column + 1)));
            };
            if cell.parse::<i64>().is_err() {
                element = Element::Float;
            }
            values.push(value);
        }
    }
    if values.is_empty() {
        let advice = "give a file that has rows of numbers";
        return Err(DataError::Empty { path: path.to_owned(), found: "no row of numbers".into(), advice });
    }
    Samples::collect(path, wanted, values, element)
}

/// A row of the table, counted from 1 as editors do.
struct Place<'a> {
    path: &'a Path,
    row: u64,
}

impl Place<'_> {
    fn damaged(&self, expected: String, found: String) -> DataError {
        let expected = format!("{expected} in row {}", self.row);
        DataError::Damaged { path: self.path.to_owned(), format: FORMAT, expected, found }
    }

    fn columns(&self, there: usize, columns: usize, wanted: &Wanted) -> DataError {
        let expected = match wanted.purpose {
            Purpose::Labels => "one label a row".into(),
            Purpose::Samples => format!("one sample of shape {:?} a row, {columns} columns", wanted.shape),
        };
        let advice = if there == columns + 1 {
            "if the first column holds labels or row numbers, remove it (cut -d, -f2-)"
        } else if there == 1 {
            "separate the numbers by commas (by tabs in a .tsv file)"
        } else {
            "write each sample as one row"
        };
        let found = format!("{there} columns in row {}", self.row);
        DataError::Shape { path: self.path.to_owned(), expected, found, advice: advice.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::super::{read_labels, read_samples};
    use super::*;

    #[test]
    fn rows_with_and_without_names() {
        let dir = tests_dir("csv");
        for (name, text) in [
            ("a.csv", "1,2,3,4\n5,6,7,8\n"),
            ("a.csv", "\u{feff}a,b,c,d\r\n1, 2 ,3,4\r\n\r\n5,6,7,8"),
            ("a.csv", "\"a\",\"b\"\n\"1\",2,3,4\n5,6,7,8\n\n"),
            ("a.tsv", "1\t2\t3\t4\n5\t6\t7\t8\n"),
        ] {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            let samples = read_samples(&path, None, &[1, 2, 2], None).unwrap();
            assert_eq!((samples.count, samples.element), (2, Element::Int));
            assert_eq!(samples.values, (1..=8).map(f64::from).collect::<Vec<_>>());
            assert_eq!(read_samples(&path, None, &[4], Some(1)).unwrap().count, 1);
            for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
                std::fs::write(&path, &text[..end]).unwrap();
                let _ = read_samples(&path, None, &[4], None);
            }
        }
    }

    #[test]
    fn fractions_and_labels() {
        let path = tests_dir("csv-labels").join("a.csv");
        std::fs::write(&path, "1.5\n2\n").unwrap();
        assert_eq!(read_samples(&path, None, &[1], None).unwrap().element, Element::Float);
        assert!(matches!(read_labels(&path, None), Err(DataError::Label { sample: 0, .. })));
        std::fs::write(&path, "label\n4294967295\n0\n").unwrap();
        assert_eq!(read_labels(&path, None).unwrap(), [u32::MAX, 0]);
        std::fs::write(&path, "label\n4294967296\n").unwrap();
        assert!(matches!(read_labels(&path, None), Err(DataError::Label { sample: 0, .. })));
    }

    #[test]
    fn errors_name_row_and_column() {
        let path = tests_dir("csv-errors").join("a.csv");
        let long = "1".repeat(1 << 17);
        for (text, says) in [
            ("1,2\n3,x\n", "row 2, found \"x\" in column 2"),
            ("1,2\n3\n", "1 columns in row 2"),
            ("1;2\n3;4\n", "separate the numbers by commas"),
            ("a,b\n", "no row of numbers"),
            ("7,1,2\n", "row numbers"),
            ("1,nan\n", "NaN in sample 0"),
            ("1,2\n1e999,1\n", "inf in sample 1"),
            ("1,\n", "\"\" in column 2"),
            (&long, "row of more than"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read_samples(&path, None, &[2], None).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        std::fs::write(&path, b"1,\xff\n").unwrap();
        assert!(read_samples(&path, None, &[2], None).unwrap_err().to_string().contains("UTF-8"));
    }
}
