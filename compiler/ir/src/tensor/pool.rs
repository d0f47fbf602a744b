use ndarray::IxDyn;

use super::conv::tap_list;
use super::{Operation, Tensor, TensorType, Window, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// What a pool makes of the elements under its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest of the elements; padding is never larger.
    Max,
    /// Their sum, divided by the number of kernel positions inside the operand widened by a counted border. The border's
    /// elements are zero. Without a border the padding does not count; padding beyond the border never does.
    Average {
        /// Width of the border before the first element of each axis.
        counted_begin: Vec<usize>,
        /// Width of the border after the last element of each axis.
        counted_end: Vec<usize>,
    },
}

/// Pooling over the spatial axes of `x [n, c, spatial..]`. Explicit: ONNX's `auto_pad`, `ceil_mode` and
/// `count_include_pad` are numbers here. A window that `ceil_mode` adds is padding at the end that is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What is made of the elements.
    pub pooling: Pooling,
    /// Size of the kernel on each spatial axis.
    pub kernel: Vec<usize>,
    /// How the kernel slides.
    pub window: Window,
}

impl Pool {
    /// The average over `kernel`, not counting padding.
    pub fn average(kernel: &[usize], window: Window) -> Self {
        let none = vec![0; kernel.len()];
        let pooling = Pooling::Average { counted_begin: none.clone(), counted_end: none };
        Self { pooling, kernel: kernel.to_vec(), window }
    }

    /// The number that each output position (row-major) divides by, for spatial shapes that [`Operation::infer`] accepted:
    /// 1 for [`Pooling::Max`].
    pub fn divisors(&self, input: &[usize], output: &[usize]) -> Vec<f64> {
        let Pooling::Average { counted_begin, counted_end } = &self.pooling else {
            return vec![1.0; output.iter().product()];
        };
        // The count is a product over the axes.
        let counts: Vec<Vec<usize>> = (0..input.len())
            .map(|axis| {
                let border = self.window.pads_begin[axis] - counted_begin[axis];
                let end = self.window.pads_begin[axis] + input[axis] + counted_end[axis];
                let position =
                    |at: usize, tap: usize| at * self.window.strides[axis] + tap * self.window.dilations[axis];
                let inside = |at: usize| {
                    (0..self.kernel[axis]).filter(|&tap| (border..end).contains(&position(at, tap))).count()
                };
                (0..output[axis]).map(inside).collect()
            })
            .collect();
        let at = |p: IxDyn| (0..input.len()).map(|axis| counts[axis][p[axis]]).product::<usize>() as f64;
        ndarray::indices(IxDyn(output)).into_iter().map(at).collect()
    }
}

impl Operation for Pool {
    fn name(&self) -> &'static str {
        match self.pooling {
            Pooling::Max => "max_pool",
            Pooling::Average { .. } => "average_pool",
        }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        if x.shape.len() < 3 {
            return Err(TypeError::new(format!("expected [batch, channels, spatial..], found shape {:?}", x.shape)));
        }
        let space = self.window.output_shape(&x.shape[2..], &self.kernel)?;
        if let Pooling::Average { counted_begin, counted_end } = &self.pooling {
            let within = |counted: &[usize], pads: &[usize]| {
                counted.len() == pads.len() && counted.iter().zip(pads).all(|(counted, pad)| counted <= pad)
            };
            if !within(counted_begin, &self.window.pads_begin) || !within(counted_end, &self.window.pads_end) {
                return Err(TypeError::new(format!(
                    "a counted border {counted_begin:?}, {counted_end:?} does not lie in the padding {:?}, {:?}",
                    self.window.pads_begin, self.window.pads_end
                )));
            }
        }
        for (axis, (&size, &out)) in x.shape[2..].iter().zip(&space).enumerate() {
            let extent = (self.kernel[axis] - 1) * self.window.dilations[axis] + 1;
            let (begin, last) = (self.window.pads_begin[axis], (out - 1) * self.window.strides[axis]);
            if size == 0 || begin >= extent || last >= begin + size {
                return Err(TypeError::new(format!(
                    "on axis {axis} a kernel of extent {extent} lies wholly in the padding {begin}+{} of size {size}",
                    self.window.pads_end[axis]
                )));
            }
        }
        let shape = [&x.shape[..2], &space].concat();
        TensorType::new(x.element, shape).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = self.infer(&[&x.ty()])?;
        let (in_space, out_space) = (&x.shape()[2..], &ty.shape[2..]);
        let taps = tap_list(&self.kernel);
        let reads = self.window.reads(in_space, out_space, &taps);
        let divisors = self.divisors(in_space, out_space);
        let in_size = in_space.iter().product::<usize>();
        let mut out = Vec::with_capacity(ty.elements());
        for plane in x.values().chunks_exact(in_size) {
            for (row, divisor) in reads.chunks_exact(taps.len()).zip(&divisors) {
                let elements = row.iter().filter_map(|at| Some(plane[(*at)?]));
                out.push(match self.pooling {
                    Pooling::Max => elements.fold(f64::NEG_INFINITY, f64::max),
                    Pooling::Average { .. } => elements.sum::<f64>() / divisor,
                });
            }
        }
        Tensor::from_values(ty.element, &ty.shape, out)
    }

    fn attributes(&self) -> Attributes {
        let attributes = self.window.attributes(Attributes::new().with_sizes("kernel", &self.kernel));
        match &self.pooling {
            Pooling::Max => attributes,
            Pooling::Average { counted_begin, counted_end } => {
                attributes.with_sizes("counted_begin", counted_begin).with_sizes("counted_end", counted_end)
            }
        }
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = |average: bool| {
            let kernel = attributes.sizes("kernel")?;
            let window = Window::from_attributes(attributes)?;
            let pooling = if average {
                let (counted_begin, counted_end) =
                    (attributes.sizes("counted_begin")?, attributes.sizes("counted_end")?);
                Pooling::Average { counted_begin, counted_end }
            } else {
                Pooling::Max
            };
            Ok(Self { pooling, kernel, window })
        };
        match name {
            "max_pool" => Some(read(false)),
            "average_pool" => Some(read(true)),
            _other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Element;

    fn line(values: &[f64]) -> Tensor {
        Tensor::from_values(Element::F32, &[1, 1, values.len()], values.to_vec()).unwrap()
    }

    fn window(stride: usize, begin: usize, end: usize) -> Window {
        Window { strides: vec![stride], pads_begin: vec![begin], pads_end: vec![end], dilations: vec![1] }
    }

    fn average(begin: usize, end: usize) -> Pooling {
        Pooling::Average { counted_begin: vec![begin], counted_end: vec![end] }
    }

    #[test]
    fn padding_counts_only_within_the_counted_border() {
        let x = line(&[3.0, 6.0, 9.0]);
        let pool = |pooling, end| Pool { pooling, kernel: vec![3], window: window(1, 1, end) };
        let values = |pool: Pool| pool.evaluate(&[&x]).unwrap().values().to_vec();
        assert_eq!(values(pool(average(0, 0), 1)), [4.5, 6.0, 7.5]);
        assert_eq!(values(pool(average(1, 1), 1)), [3.0, 6.0, 5.0]);
        // One more position, as `ceil_mode` adds it: it has 9, the border, and nothing.
        assert_eq!(values(pool(average(1, 1), 2)), [3.0, 6.0, 5.0, 4.5]);
        assert_eq!(values(pool(Pooling::Max, 1)), [6.0, 9.0, 9.0]);
    }

    #[test]
    fn max_does_not_see_the_padding_as_zero() {
        let x = line(&[-3.0, -6.0]);
        let pool = Pool { pooling: Pooling::Max, kernel: vec![2], window: window(2, 1, 1) };
        assert_eq!(pool.evaluate(&[&x]).unwrap().values(), [-3.0, -6.0]);
    }

    #[test]
    fn planes_and_dilation() {
        let x: Vec<f64> = (0..18).map(f64::from).collect();
        let x = Tensor::from_values(Element::F32, &[1, 2, 3, 3], x).unwrap();
        let window = Window { dilations: vec![2, 1], ..Window::unit(2) };
        let out = Pool::average(&[2, 2], window).evaluate(&[&x]).unwrap();
        assert_eq!(out.shape(), [1, 2, 1, 2]);
        assert_eq!(out.values(), [3.5, 4.5, 12.5, 13.5]);
    }

    #[test]
    fn a_kernel_in_the_padding_is_refused() {
        let ty = TensorType::new(Element::F32, [1, 1, 3]);
        let begin = Pool { pooling: Pooling::Max, kernel: vec![2], window: window(1, 2, 0) };
        let end = Pool { pooling: Pooling::Max, kernel: vec![1], window: window(1, 0, 1) };
        let border = Pool { pooling: average(1, 0), kernel: vec![2], window: window(1, 0, 0) };
        let flat = TensorType::new(Element::F32, [1, 3]);
        assert!(begin.infer(&[&ty]).unwrap_err().0.contains("wholly in the padding"));
        assert!(end.infer(&[&ty]).unwrap_err().0.contains("wholly in the padding"));
        assert!(border.infer(&[&ty]).unwrap_err().0.contains("counted border"));
        assert!(Pool::average(&[2], Window::unit(1)).infer(&[&flat]).is_err());
    }
}
