//! From stored pixels to what a model was trained on.

use super::{DataError, Element, Samples};

/// What makes model input of raw values: `(x * scale - mean) / std`.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// Factor, for instance 1/255.
    pub scale: f64,
    /// Subtracted after scaling: one number, or one for each channel.
    pub mean: Vec<f64>,
    /// Divided by at last: one number, or one for each channel.
    pub std: Vec<f64>,
}

impl Default for Preprocessing {
    /// Changes nothing.
    fn default() -> Preprocessing {
        Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] }
    }
}

impl Samples {
    /// Preprocesses raw values, and returns whether it did: bytes and other whole numbers are raw, floats are taken as
    /// they are. Channels are the first dimension of a sample, or the last if only that one has as many entries as
    /// there are means. Afterwards the samples count as floats.
    ///
    /// # Errors
    /// If the numbers of means or deviations fit no dimension, a deviation is 0, or a result is not finite.
    pub fn preprocess(&mut self, preprocessing: &Preprocessing) -> Result<bool, DataError> {
        let Preprocessing { scale, mean, std } = preprocessing;
        let refuse = |expected: String, found: String| {
            Err(DataError::Preprocessing { path: self.path.clone(), expected, found })
        };
        if !scale.is_finite() || mean.iter().chain(std).any(|value| !value.is_finite()) || std.contains(&0.0) {
            return refuse("finite numbers, and std not 0".into(), format!("{preprocessing:?}"));
        }
        let channels = mean.len().max(std.len());
        let dimension = match self.shape.as_slice() {
            _ if channels == 1 => 0,
            [first, ..] if *first == channels => 0,
            [.., last] if *last == channels => self.shape.len() - 1,
            _ => usize::MAX,
        };
        if dimension == usize::MAX || [mean, std].iter().any(|list| list.len() != 1 && list.len() != channels) {
            let expected = format!("1 mean and std, or one for each channel of samples of shape {:?}", self.shape);
            return refuse(expected, format!("{} means and {} stds", mean.len(), std.len()));
        }
        if self.element == Element::Float {
            return Ok(false);
        }
        // How many values of one channel follow each other.
        let run = self.shape.iter().skip(dimension + 1).product::<usize>().max(1);
        for (i, value) in self.values.iter_mut().enumerate() {
            let channel = i / run % channels;
            *value = (*value * scale - mean[channel % mean.len()]) / std[channel % std.len()];
        }
        self.element = Element::Float;
        let size = (self.values.len() / self.count.max(1)).max(1);
        match self.values.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                Err(DataError::NotFinite { path: self.path.clone(), sample: at / size, value: self.values[at] })
            }
            None => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(shape: &[usize], values: &[f64]) -> Samples {
        let count = values.len() / shape.iter().product::<usize>();
        Samples { count, shape: shape.to_vec(), values: values.to_vec(), element: Element::U8, path: "a.png".into() }
    }

    #[test]
    fn one_mean_or_one_a_channel() {
        let mut samples = bytes(&[1, 2], &[0.0, 255.0, 51.0, 0.0]);
        let one = Preprocessing { scale: 1.0 / 255.0, mean: vec![0.5], std: vec![0.5] };
        assert!(samples.preprocess(&one).unwrap());
        assert_eq!((samples.values[0], samples.values[1], samples.element), (-1.0, 1.0, Element::Float));
        assert!(!samples.preprocess(&one).unwrap());

        let each = Preprocessing { scale: 1.0, mean: vec![0.0, 10.0, 20.0], std: vec![1.0] };
        let mut first = bytes(&[3, 1, 2], &[1.0, 2.0, 11.0, 12.0, 21.0, 22.0]);
        first.preprocess(&each).unwrap();
        assert_eq!(first.values, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        let mut last = bytes(&[1, 2, 3], &[1.0, 11.0, 21.0, 2.0, 12.0, 22.0, 1.0, 11.0, 21.0, 2.0, 12.0, 22.0]);
        last.preprocess(&each).unwrap();
        assert_eq!(last.values, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0].repeat(2));
    }

    #[test]
    fn floats_are_left_alone() {
        let mut samples = Samples { element: Element::Float, ..bytes(&[2], &[3.0, 4.0]) };
        assert!(!samples.preprocess(&Preprocessing { scale: 9.0, ..Preprocessing::default() }).unwrap());
        assert_eq!(samples.values, [3.0, 4.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (scale, mean, std) in [
            (1.0, vec![0.0; 4], vec![1.0]),
            (1.0, vec![0.0; 3], vec![1.0; 2]),
            (1.0, vec![], vec![1.0]),
            (1.0, vec![], vec![]),
            (1.0, vec![0.0], vec![0.0]),
            (f64::NAN, vec![0.0], vec![1.0]),
            (1e308, vec![0.0], vec![1.0]),
        ] {
            let mut samples = bytes(&[3, 1, 2], &[255.0; 6]);
            assert!(samples.preprocess(&Preprocessing { scale, mean, std }).is_err());
        }
    }
}
