//! The packed layout: one sample spread over the slots of one or a few vectors.

use std::fmt;
use std::sync::Arc;

use crate::graph::TypeError;

/// A vector has at most this many virtual slots: as many as the largest ring has.
pub const MAX_PERIOD: usize = 1 << 17;
/// An array has at most this many virtual slots.
const MAX_SLOTS: usize = 1 << 24;

/// Where the elements of one sample's tensor lie in the *virtual slots* of an array of vectors.
///
/// A vector has `period` virtual slots, a power of two. With S slots for each virtual one, virtual slot `i` of sample `j` is slot
/// `i S + j`: a rotation of the virtual slots by `k` is a rotation by `k S` for S samples at once. An element may lie in several
/// virtual slots. What a slot without an element holds is not said: nothing reads it. In an encrypted input it is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    shape: Vec<usize>,
    period: usize,
    vectors: usize,
    every: usize,
    shift: usize,
    place: Place,
}

/// Where elements lie before the arrangement is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The flat index of an element in mixed radix, the last digit fastest: the element lies at the sum of its digits times their
    /// strides. Gap packing of channels (Lee and others, eprint 2021/1688; Orion) is of this form: the channel has three digits.
    Strided(Vec<Digit>),
    /// For each slot its element plus one, or 0.
    Table(Arc<[u32]>),
}

/// One digit of a mixed-radix index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// Number of values.
    pub size: usize,
    /// Slots between neighbours.
    pub stride: usize,
}

impl Packed {
    /// Checks that all elements lie in different slots of the array.
    ///
    /// `shape` is that of one sample; `period` and `every` are powers of two. The arrangement is repeated after `every` slots; each
    /// repetition is turned left by `shift` slots more than the one before. An array of several vectors has one repetition.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn new(
        shape: Vec<usize>,
        period: usize,
        vectors: usize,
        [every, shift]: [usize; 2],
        place: Place,
    ) -> Result<Self, TypeError> {
        let refuse = |text: String| Err(TypeError::new(format!("a packed layout of {shape:?}: {text}")));
        if !period.is_power_of_two() || period > MAX_PERIOD {
            return refuse(format!("{period} virtual slots are not a power of two of at most {MAX_PERIOD}"));
        }
        if vectors == 0 || vectors.checked_mul(period).is_none_or(|all| all > MAX_SLOTS) {
            return refuse(format!("{vectors} vectors of {period} slots are not between 1 and {MAX_SLOTS} slots"));
        }
        if !every.is_power_of_two() || every > period || (vectors > 1 && every != period) || shift >= every {
            return refuse(format!("repetitions every {every} slots, turned by {shift}, do not fit {period} slots"));
        }
        let elements = shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)).filter(|&n| n <= MAX_SLOTS);
        let Some(elements) = elements else { return refuse("it has too many elements".to_owned()) };
        let slots = vectors * every;
        match &place {
            Place::Strided(digits) => {
                let all = digits.iter().try_fold(1usize, |all, digit| all.checked_mul(digit.size));
                if all.is_none_or(|all| all < elements || all > 2 * MAX_SLOTS) {
                    return refuse("its digits do not count its elements".to_owned());
                }
                let last = digits.iter().try_fold(0usize, |at, digit| {
                    at.checked_add(digit.stride.checked_mul(digit.size.saturating_sub(1))?)
                });
                if last.is_none() {
                    return refuse("its strides are too large".to_owned());
                }
                let mut taken = vec![false; slots];
                for element in 0..elements {
                    match taken.get_mut(strided(digits, element)) {
                        Some(taken) if !*taken => *taken = true,
                        Some(_) => return refuse(format!("element {element} lies in the slot of another")),
                        None => return refuse(format!("element {element} lies beyond {slots} slots")),
                    }
                }
            }
            Place::Table(table) => {
                if table.len() != slots {
                    return refuse(format!("a table of {} entries is not one of {slots} slots", table.len()));
                }
                let mut found = vec![false; elements];
                for &entry in table.iter().filter(|&&entry| entry != 0) {
                    match found.get_mut(entry as usize - 1) {
                        Some(found) => *found = true,
                        None => return refuse(format!("there is no element {}", entry - 1)),
                    }
                }
                if let Some(element) = found.iter().position(|found| !found) {
                    return refuse(format!("element {element} lies nowhere"));
                }
            }
        }
        Ok(Self { shape, period, vectors, every, shift, place })
    }

    /// The elements one after the other, in as many vectors as they take; repeated if they fit one.
    ///
    /// # Errors
    /// As [`Packed::new`].
    pub fn dense(shape: &[usize], period: usize) -> Result<Self, TypeError> {
        let elements: usize = shape.iter().product::<usize>().max(1);
        let (vectors, every) = (elements.div_ceil(period.max(1)), elements.next_power_of_two().min(period));
        let digits = vec![Digit { size: elements, stride: 1 }];
        Self::new(shape.to_vec(), period, vectors, [every, 0], Place::Strided(digits))
    }

    /// The same arrangement of as many elements in another shape: reshaping costs nothing.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self, TypeError> {
        let elements: usize = shape.iter().product();
        if elements != self.elements() {
            return Err(TypeError::new(format!("a layout of {:?} is none of {shape:?}", self.shape)));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }

    /// Whether both put the same flat elements into the same slots, whatever their shapes.
    pub fn places_like(&self, other: &Self) -> bool {
        let key = |x: &Self| (x.period, x.vectors, x.elements());
        key(self) == key(other)
            && ((self.every, self.shift, &self.place) == (other.every, other.shift, &other.place)
                || self.table() == other.table())
    }

    /// The shape of one sample's tensor.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements of one sample.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Virtual slots of one vector.
    pub fn period(&self) -> usize {
        self.period
    }

    /// Number of vectors.
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// After how many slots the arrangement is repeated, and by how many slots each repetition is turned.
    pub fn repetition(&self) -> [usize; 2] {
        [self.every, self.shift]
    }

    /// The arrangement before it is repeated.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// For each virtual slot of the array, vector by vector, its element plus one, or 0.
    pub fn table(&self) -> Vec<u32> {
        let mut base = vec![0; self.vectors * self.every];
        match &self.place {
            Place::Strided(digits) => {
                (0..self.elements()).for_each(|element| base[strided(digits, element)] = element as u32 + 1);
            }
            Place::Table(table) => base.copy_from_slice(table),
        }
        if self.vectors > 1 || self.every == self.period {
            return base;
        }
        let turned = |slot: usize| base[(slot + slot / self.every * self.shift) % self.every];
        (0..self.period).map(turned).collect()
    }

    /// One of the slots of each element.
    pub fn slots_of_elements(&self) -> Vec<u32> {
        let mut slots = vec![0; self.elements()];
        for (slot, &entry) in self.table().iter().enumerate().rev().filter(|(_, entry)| **entry != 0) {
            slots[entry as usize - 1] = slot as u32;
        }
        slots
    }

    /// The virtual slots that hold one sample, vector by vector; the others are 0.
    pub fn spread(&self, sample: &[f64]) -> Vec<f64> {
        let value = |entry: u32| (entry as usize).checked_sub(1).and_then(|at| sample.get(at)).copied().unwrap_or(0.0);
        self.table().into_iter().map(value).collect()
    }
}

fn strided(digits: &[Digit], mut element: usize) -> usize {
    let mut slot = 0;
    for digit in digits.iter().rev() {
        let size = digit.size.max(1);
        slot += element % size * digit.stride;
        element /= size;
    }
    slot
}

/// `packed[1, 5, 13, 13] in 1 x 8192: 2@1024 2@28 2@1 13@56 13@2, every 2048 turned 128`.
impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packed{:?} in {} x {}:", self.shape, self.vectors, self.period)?;
        match &self.place {
            Place::Strided(digits) => {
                digits.iter().filter(|d| d.size > 1).try_for_each(|d| write!(f, " {}@{}", d.size, d.stride))?;
            }
            Place::Table(table) => {
                let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
                write!(f, " table {}", &blake3::hash(&bytes).to_hex()[..8])?;
            }
        }
        if self.every < self.period {
            write!(f, ", every {}", self.every)?;
            if self.shift > 0 {
                write!(f, " turned {}", self.shift)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_packing_is_strided() {
        // Four channels of 2 x 2 interleaved on a 4 x 4 grid.
        let digits = [(1, 16), (2, 4), (2, 1), (2, 8), (2, 2)].map(|(size, stride)| Digit { size, stride }).to_vec();
        let layout = Packed::new(vec![1, 4, 2, 2], 32, 1, [16, 0], Place::Strided(digits)).unwrap();
        let table = layout.table();
        assert_eq!(table[..16], [1, 5, 2, 6, 9, 13, 10, 14, 3, 7, 4, 8, 11, 15, 12, 16]);
        assert_eq!(table[..16], table[16..]);
        assert_eq!(layout.to_string(), "packed[1, 4, 2, 2] in 1 x 32: 2@4 2@1 2@8 2@2, every 16");
    }

    #[test]
    fn repetitions_are_turned() {
        let place = Place::Table([1, 2, 3, 0].into());
        let layout = Packed::new(vec![3], 8, 1, [4, 1], place).unwrap();
        assert_eq!(layout.table(), [1, 2, 3, 0, 2, 3, 0, 1]);
        assert_eq!(layout.slots_of_elements(), [0, 1, 2]);
        assert_eq!(layout.spread(&[7.0, 8.0, 9.0]), [7.0, 8.0, 9.0, 0.0, 8.0, 9.0, 0.0, 7.0]);
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        let strided = |digits: &[(usize, usize)]| {
            Place::Strided(digits.iter().map(|&(size, stride)| Digit { size, stride }).collect())
        };
        let refused = |shape: &[usize], period, vectors, repetition, place| {
            Packed::new(shape.to_vec(), period, vectors, repetition, place).unwrap_err().0
        };
        for (found, expected) in [
            (refused(&[2], 3, 1, [2, 0], strided(&[(2, 1)])), "3 virtual slots are not a power of two"),
            (refused(&[2], 1 << 18, 1, [2, 0], strided(&[(2, 1)])), "are not a power of two of at most 131072"),
            (refused(&[2], 4, 0, [2, 0], strided(&[(2, 1)])), "0 vectors"),
            (refused(&[2], 4, 2, [2, 0], strided(&[(2, 1)])), "repetitions every 2 slots"),
            (refused(&[2], 4, 1, [2, 2], strided(&[(2, 1)])), "turned by 2"),
            (refused(&[3], 4, 1, [4, 0], strided(&[(2, 1)])), "do not count its elements"),
            (refused(&[4], 4, 1, [4, 0], strided(&[(2, 1), (2, 1)])), "element 2 lies in the slot of another"),
            (refused(&[2], 4, 1, [4, 0], strided(&[(2, 4)])), "element 1 lies beyond 4 slots"),
            (refused(&[2], 4, 1, [4, 0], Place::Table([1, 2].into())), "a table of 2 entries"),
            (refused(&[2], 4, 1, [4, 0], Place::Table([1, 3, 2, 0].into())), "there is no element 2"),
            (refused(&[2], 4, 1, [4, 0], Place::Table([1, 1, 0, 0].into())), "element 1 lies nowhere"),
            (refused(&[usize::MAX, 2], 4, 1, [4, 0], strided(&[(2, 1)])), "too many elements"),
        ] {
            assert!(found.contains(expected), "{found}\n{expected}");
        }
    }
}
