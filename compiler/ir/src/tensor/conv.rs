use ndarray::{ArrayD, Dimension, IxDyn};

use super::{Operation, Tensor, TensorType};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// How a kernel slides over the spatial axes; one entry an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Distance between neighbouring kernel positions.
    pub strides: Vec<usize>,
    /// Padding before the first element of each axis.
    pub pads_begin: Vec<usize>,
    /// Padding after the last element of each axis.
    pub pads_end: Vec<usize>,
    /// Distance between neighbouring taps of the kernel.
    pub dilations: Vec<usize>,
}

impl Window {
    /// Stride 1, no padding, no dilation.
    pub fn unit(axes: usize) -> Self {
        Self { strides: vec![1; axes], pads_begin: vec![0; axes], pads_end: vec![0; axes], dilations: vec![1; axes] }
    }

    /// Number of spatial axes.
    pub fn axes(&self) -> usize {
        self.strides.len()
    }

    /// The spatial shape of the result.
    ///
    /// # Errors
    /// If the window does not match the axes, or the kernel does not fit.
    pub fn output_shape(&self, input: &[usize], kernel: &[usize]) -> Result<Vec<usize>, TypeError> {
        let axes = input.len();
        let fits = [&self.strides, &self.pads_begin, &self.pads_end, &self.dilations].iter().all(|v| v.len() == axes);
        if !fits || kernel.len() != axes {
            return Err(TypeError::new(format!(
                "a window over {} axes and a kernel {kernel:?} do not fit the spatial axes {input:?}",
                self.axes()
            )));
        }
        (0..axes)
            .map(|i| {
                let (stride, dilation, taps) = (self.strides[i], self.dilations[i], kernel[i]);
                if stride == 0 || dilation == 0 || taps == 0 {
                    return Err(TypeError::new("strides, dilations and kernel sizes must be at least 1"));
                }
                let padded = input[i].checked_add(self.pads_begin[i]).and_then(|s| s.checked_add(self.pads_end[i]));
                let extent = (taps - 1).checked_mul(dilation).map(|e| e + 1);
                match (padded, extent) {
                    (Some(padded), Some(extent)) if extent <= padded => Ok((padded - extent) / stride + 1),
                    (_, _) => Err(TypeError::new(format!(
                        "a kernel of {taps} taps (dilation {dilation}) does not fit axis {i} of size {} with padding {}+{}",
                        input[i], self.pads_begin[i], self.pads_end[i]
                    ))),
                }
            })
            .collect()
    }

    /// Where tap `tap` of the kernel lies when it stands at output position `at`, on axis `axis`; `None` in the padding.
    pub fn source(&self, axis: usize, at: usize, tap: usize, input: usize) -> Option<usize> {
        let position = at * self.strides[axis] + tap * self.dilations[axis];
        position.checked_sub(self.pads_begin[axis]).filter(|&p| p < input)
    }

    /// Adds the four lists.
    #[must_use]
    pub fn attributes(&self, attributes: Attributes) -> Attributes {
        attributes
            .with_sizes("strides", &self.strides)
            .with_sizes("pads_begin", &self.pads_begin)
            .with_sizes("pads_end", &self.pads_end)
            .with_sizes("dilations", &self.dilations)
    }

    /// Takes the four lists out.
    ///
    /// # Errors
    /// If one is missing or ill typed.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, AttributeError> {
        Ok(Self {
            strides: attributes.sizes("strides")?,
            pads_begin: attributes.sizes("pads_begin")?,
            pads_end: attributes.sizes("pads_end")?,
            dilations: attributes.sizes("dilations")?,
        })
    }
}

/// Convolution (ONNX `Conv`): `x [n, c, spatial..]`, `w [m, c/groups, kernel..]`, optional bias `[m]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// How the kernel slides.
    pub window: Window,
    /// Channels are convolved in this many groups.
    pub groups: usize,
}

impl Operation for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let (x, w) = match operands {
            [x, w] => (x, w),
            [x, w, bias] if bias.shape == [w.shape.first().copied().unwrap_or(0)] => (x, w),
            [_, w, bias] => {
                return Err(TypeError::new(format!(
                    "a bias of shape {:?} does not fit a kernel {:?}",
                    bias.shape, w.shape
                )));
            }
            other => return Err(TypeError::new(format!("expected 2 or 3 operands, found {}", other.len()))),
        };
        let well_formed = x.shape.len() >= 3 && w.shape.len() == x.shape.len() && self.groups > 0;
        if !well_formed || w.shape[0] % self.groups != 0 || w.shape[1].checked_mul(self.groups) != Some(x.shape[1]) {
            return Err(TypeError::new(format!(
                "a kernel of shape {:?} in {} groups does not fit an input of shape {:?}",
                w.shape, self.groups, x.shape
            )));
        }
        let mut shape = vec![x.shape[0], w.shape[0]];
        shape.extend(self.window.output_shape(&x.shape[2..], &w.shape[2..])?);
        TensorType::new(x.element, shape).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let types: Vec<TensorType> = operands.iter().map(|t| t.ty()).collect();
        let ty = self.infer(&types.iter().collect::<Vec<_>>())?;
        let (x, w) = (operands[0], operands[1]);
        let mut out = ArrayD::<f64>::zeros(IxDyn(&ty.shape));
        if let Some(bias) = operands.get(2) {
            let mut spread = vec![1; ty.shape.len()];
            spread[1] = ty.shape[1];
            let bias = bias.array().to_shape(spread).map_err(|e| TypeError::new(e.to_string()))?;
            out += &bias;
        }
        let (in_space, kernel, out_space) = (&x.shape()[2..], &w.shape()[2..], &ty.shape[2..]);
        let taps = tap_list(kernel);
        let out_size: usize = out_space.iter().product();
        let (in_size, tap_count) = (in_space.iter().product::<usize>(), taps.len());
        let (group_in, group_out) = (w.shape()[1], w.shape()[0] / self.groups);
        let (xs, ws) = (x.values(), w.values());
        // For each position and tap, the flat spatial index it reads.
        let reads = self.window.reads(in_space, out_space, &taps);
        let result = out.as_slice_mut().unwrap_or(&mut []);
        for n in 0..ty.shape[0] {
            for m in 0..ty.shape[1] {
                let first = m / group_out * group_in;
                let out_row = &mut result[(n * ty.shape[1] + m) * out_size..][..out_size];
                for c in 0..group_in {
                    let plane = &xs[(n * x.shape()[1] + first + c) * in_size..][..in_size];
                    let weights = &ws[(m * group_in + c) * tap_count..][..tap_count];
                    for (y, row) in out_row.iter_mut().zip(reads.chunks_exact(tap_count)) {
                        *y += row.iter().zip(weights).filter_map(|(at, w)| Some(plane[(*at)?] * w)).sum::<f64>();
                    }
                }
            }
        }
        Ok(Tensor::new(ty.element, out))
    }

    fn attributes(&self) -> Attributes {
        self.window.attributes(Attributes::new()).with_int("groups", self.groups as i64)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || Ok(Self { window: Window::from_attributes(attributes)?, groups: attributes.size("groups")? });
        (name == "conv").then(&mut read)
    }
}

impl Window {
    /// For each output position (row-major) and each tap, the flat index of the spatial element read; `None` in the padding.
    pub fn reads(&self, input: &[usize], output: &[usize], taps: &[Vec<usize>]) -> Vec<Option<usize>> {
        let mut reads = Vec::with_capacity(output.iter().product::<usize>() * taps.len());
        for position in ndarray::indices(IxDyn(output)) {
            let position = position.slice().to_vec();
            reads.extend(taps.iter().map(|tap| {
                (0..input.len()).try_fold(0, |flat, axis| {
                    Some(flat * input[axis] + self.source(axis, position[axis], tap[axis], input[axis])?)
                })
            }));
        }
        reads
    }
}

/// All positions of a kernel, row-major.
pub fn tap_list(kernel: &[usize]) -> Vec<Vec<usize>> {
    ndarray::indices(IxDyn(kernel)).into_iter().map(|tap| tap.slice().to_vec()).collect()
}
