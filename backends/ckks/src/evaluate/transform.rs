use std::collections::{BTreeMap, BTreeSet};

use hec_ir::ckks::BABY_STEPS_AT_ONCE;
use rayon::prelude::*;

use super::digits::{Decomposed, Raised, add_products, raise};
use super::divide::{Divisor, divide, lower};
use crate::automorphism::{Automorphism, permute};
use crate::ciphertext::Ciphertext;
use crate::context::{Context, check_scale};
use crate::count::Work;
use crate::error::Error;
use crate::kernels;
use crate::keys::{GaloisKey, GaloisKeys};
use crate::linear_transform::{LinearTransform, StreamedTransform};
use crate::poly::Poly;

/// Applies a linear map to the slots. The scale of the result is the product of the scales; with the map's default
/// scale the rescaling that follows ([`linear_transform_rescale`] merges it) restores the operand's. See
/// [`LinearTransform`] for the algorithm and [`LinearTransform::cost`] for what it takes. Besides the operand's digits
/// it holds two polynomials modulo `Q P` for each giant step.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::Level`] unless the ciphertext has the transform's level; [`Error::Degree`] unless
/// its degree is 1; [`Error::MissingGaloisKey`] and [`Error::LevelTooHigh`] where keys are missing or too low;
/// [`Error::ScaleRange`].
pub fn linear_transform(
    context: &Context,
    a: &Ciphertext,
    transform: &LinearTransform,
    keys: &GaloisKeys,
) -> Result<Ciphertext, Error> {
    apply_one(context, "linear_transform", a, transform, keys, Divisor::Special)
}

/// [`linear_transform`], then [`super::rescale`], in one division by `P q_l`: `2 (l + 1)` transforms less, and each
/// coefficient within 1.
///
/// # Errors
/// As [`linear_transform`]; [`Error::NoLevelLeft`] at level 0.
pub fn linear_transform_rescale(
    context: &Context,
    a: &Ciphertext,
    transform: &LinearTransform,
    keys: &GaloisKeys,
) -> Result<Ciphertext, Error> {
    apply_one(context, "linear_transform_rescale", a, transform, keys, Divisor::SpecialAndLast)
}

/// [`linear_transform`] by each of several maps, with equal bits. The operand is cut into digits once, and each of its
/// rotations by a baby step is computed once for all maps.
///
/// # Errors
/// As [`linear_transform`].
pub fn linear_transforms(
    context: &Context,
    a: &Ciphertext,
    transforms: &[&LinearTransform],
    keys: &GaloisKeys,
) -> Result<Vec<Ciphertext>, Error> {
    apply(context, "linear_transforms", a, transforms, keys, Divisor::Special)
}

/// The sums `y_o = sum_i T_(o, i) x_i` of maps of several ciphertexts of one level and scale; `transforms` has for each result one map
/// for each operand, if there is one. The maps of a result have one number of baby steps and one scale. Each operand is cut into
/// digits once, and rotated by each baby step once; each result is rotated by each giant step once.
///
/// # Errors
/// As [`linear_transform`]; [`Error::Level`], [`Error::Scale`] where operands or maps differ; [`Error::NoDiagonals`] for a result without
/// a map.
pub fn linear_transform_block(
    context: &Context,
    operands: &[&Ciphertext],
    transforms: &[Vec<Option<&LinearTransform>>],
    keys: &GaloisKeys,
) -> Result<Vec<Ciphertext>, Error> {
    let operation = "linear_transform_block";
    let Some((&first, rest)) = operands.split_first() else { return Err(Error::NoDiagonals) };
    rest.iter().try_for_each(|other| super::check_alike(context, operation, first, other))?;
    if let ([_], true) = (operands, transforms.iter().all(|row| matches!(row[..], [Some(_)]))) {
        let maps: Vec<&LinearTransform> = transforms.iter().flatten().flatten().copied().collect();
        return apply(context, operation, first, &maps, keys, Divisor::Special);
    }
    let level = first.level;
    let find = |step: usize| keys.find(context, operation, Automorphism::Rotation { steps: step as i64 }, level);
    let mut scales = Vec::with_capacity(transforms.len());
    for row in transforms {
        let mut maps = row.iter().flatten();
        let one = maps.next().ok_or(Error::NoDiagonals)?;
        for map in row.iter().flatten() {
            map.check(context, operation, level)?;
            if map.scale != one.scale {
                return Err(Error::Scale { operation, expected: one.scale.clone(), found: map.scale.clone() });
            }
        }
        let scale = first.scale.times(&one.scale);
        check_scale(operation, &scale)?;
        Divisor::Special.prepare(context, operation, level, &scale)?;
        scales.push(scale);
    }
    let mut outer: Vec<BTreeMap<usize, Raised<'_>>> = Vec::new();
    outer.resize_with(transforms.len(), BTreeMap::new);
    for (i, operand) in operands.iter().enumerate() {
        let [c0, c1] = &*operand.polys else {
            return Err(Error::Degree { operation, expected: 1, found: operand.degree() });
        };
        let used: Vec<(usize, &LinearTransform)> =
            transforms.iter().enumerate().filter_map(|(o, row)| Some((o, row.get(i).copied().flatten()?))).collect();
        let maps: Vec<&LinearTransform> = used.iter().map(|&(_, map)| map).collect();
        if maps.is_empty() {
            continue;
        }
        let mut babies: BTreeMap<usize, Option<&GaloisKey>> = BTreeMap::new();
        for &baby in maps.iter().flat_map(|map| map.giants.values()).flat_map(BTreeMap::keys) {
            babies.insert(baby, if baby == 0 { None } else { Some(find(baby)?) });
        }
        let sums = inner_sums(context, level, [c0, c1], &maps, &babies)?;
        let rows = used.iter().flat_map(|&(o, map)| map.giants.keys().map(move |&giant| (o, giant)));
        for ((o, giant), inner) in rows.zip(sums) {
            add_inner(context, level, &mut outer[o], giant, inner);
        }
    }
    let mut results = Vec::with_capacity(transforms.len());
    for (giants, scale) in outer.into_iter().zip(scales) {
        let mut total = rotated_sum(context, level, giants.into_iter().collect(), find)?;
        let [u0, u1] = &mut total;
        results.push(lower(context, operation, level, Divisor::Special, [u0, u1], &scale)?);
    }
    Ok(results)
}

fn apply_one(
    context: &Context,
    operation: &'static str,
    a: &Ciphertext,
    transform: &LinearTransform,
    keys: &GaloisKeys,
    divisor: Divisor,
) -> Result<Ciphertext, Error> {
    apply(context, operation, a, &[transform], keys, divisor)?.pop().ok_or(Error::NoDiagonals)
}

fn apply(
    context: &Context,
    operation: &'static str,
    a: &Ciphertext,
    transforms: &[&LinearTransform],
    keys: &GaloisKeys,
    divisor: Divisor,
) -> Result<Vec<Ciphertext>, Error> {
    a.check(context, operation)?;
    let [c0, c1] = &*a.polys else {
        return Err(Error::Degree { operation, expected: 1, found: a.degree() });
    };
    let level = a.level;
    let find = |step: usize| keys.find(context, operation, Automorphism::Rotation { steps: step as i64 }, level);
    // Everything that can be refused is, before any work.
    let mut babies: BTreeMap<usize, Option<&GaloisKey>> = BTreeMap::new();
    let mut scales = Vec::with_capacity(transforms.len());
    for transform in transforms {
        transform.check(context, operation, level)?;
        let scale = a.scale.times(&transform.scale);
        check_scale(operation, &scale)?;
        if transform.is_diagonal() {
            if divisor == Divisor::SpecialAndLast && level == 0 {
                return Err(Error::NoLevelLeft);
            }
        } else {
            divisor.prepare(context, operation, level, &scale)?;
        }
        scales.push(scale);
        for (&giant, diagonals) in &transform.giants {
            if giant != 0 {
                find(giant)?;
            }
            for &baby in diagonals.keys() {
                babies.insert(baby, if baby == 0 { None } else { Some(find(baby)?) });
            }
        }
    }
    let rotating: Vec<&LinearTransform> = transforms.iter().copied().filter(|t| !t.is_diagonal()).collect();
    let sums = if rotating.is_empty() { Vec::new() } else { inner_sums(context, level, [c0, c1], &rotating, &babies)? };
    let mut sums = sums.into_iter();
    let mut results = Vec::with_capacity(transforms.len());
    for (transform, scale) in transforms.iter().zip(scales) {
        if transform.is_diagonal() {
            let product = scaled(context, a, transform, scale);
            results.push(match divisor {
                Divisor::Special => product,
                Divisor::SpecialAndLast => super::rescale(context, &product)?,
            });
            continue;
        }
        let own = transform.giants.keys().copied().zip(&mut sums);
        let mut outer = rotated_sum(context, level, own.collect(), find)?;
        let [u0, u1] = &mut outer;
        results.push(lower(context, operation, level, divisor, [u0, u1], &scale)?);
    }
    Ok(results)
}

/// The ciphertext times the diagonal of step 0, modulo Q.
fn scaled(context: &Context, a: &Ciphertext, transform: &LinearTransform, scale: hec_ir::Scale) -> Ciphertext {
    let mut polys = a.polys.clone();
    if let Some(diagonal) = transform.giants.get(&0).and_then(|diagonals| diagonals.get(&0)) {
        for poly in &mut polys {
            poly.for_each_limb(|row, limb| kernels::mul_assign(context.modulus(row), limb, diagonal.limb(row)));
        }
    }
    Ciphertext::new(context, polys, scale)
}

/// For each transform and each of its giant steps, in order, the sum of diagonals times baby steps, modulo `Q P`.
fn inner_sums<'c>(
    context: &'c Context,
    level: usize,
    operand: [&Poly; 2],
    transforms: &[&LinearTransform],
    babies: &BTreeMap<usize, Option<&GaloisKey>>,
) -> Result<Vec<Raised<'c>>, Error> {
    let rows: Vec<&BTreeMap<usize, Poly>> = transforms.iter().flat_map(|transform| transform.giants.values()).collect();
    let babies: Vec<_> = babies.iter().map(|(&step, &key)| (step, key)).collect();
    let mut inner = InnerSums::new(context, level, operand, &babies, rows.len())?;
    inner.add(&babies, &rows);
    Ok(inner.sums)
}

/// Sums of diagonals times baby steps of one operand, modulo `Q P`.
struct InnerSums<'a, 'c> {
    context: &'c Context,
    level: usize,
    operand: [&'a Poly; 2],
    /// The digits, if there is anything to rotate.
    decomposed: Option<Decomposed<'c>>,
    sums: Vec<Raised<'c>>,
}

impl<'a, 'c> InnerSums<'a, 'c> {
    /// As many sums, of nothing; `babies` are all steps that will come.
    fn new(
        context: &'c Context,
        level: usize,
        operand: [&'a Poly; 2],
        babies: &[(usize, Option<&GaloisKey>)],
        sums: usize,
    ) -> Result<Self, Error> {
        let rotates = babies.iter().any(|(_, key)| key.is_some());
        let decomposed = if rotates { Some(Decomposed::new(context, level, operand[1])?) } else { None };
        let sums = (0..sums).map(|_| raise(context, level, [None, None])).collect();
        Ok(Self { context, level, operand, decomposed, sums })
    }

    /// Adds to each sum its diagonals, by baby step, times the operand rotated by them. Limb by limb, so that only a few rotated limbs
    /// exist at a time.
    fn add(&mut self, babies: &[(usize, Option<&GaloisKey>)], rows: &[&BTreeMap<usize, Poly>]) {
        let Self { context, level, operand: [c0, c1], ref decomposed, ref mut sums } = *self;
        context.count(Work::KeyProduct, babies.iter().filter(|(_, key)| key.is_some()).count());
        let table = |key: Option<&GaloisKey>| key.map(|key| context.permutation(key.element));
        let tables: Vec<_> = babies.iter().map(|&(_, key)| table(key)).collect();
        let babies: Vec<_> = babies.iter().zip(&tables).map(|(&(step, key), table)| (step, key, table)).collect();

        let mut limbs: Vec<Vec<[&mut [u64]; 2]>> = Vec::new();
        limbs.resize_with(level + 1 + context.special().len(), || Vec::with_capacity(rows.len()));
        for [sum0, sum1] in sums {
            for (limb, pair) in limbs.iter_mut().zip(sum0.iter_mut().zip(sum1.iter_mut())) {
                limb.push([pair.0, pair.1]);
            }
        }
        limbs.into_par_iter().enumerate().for_each(|(i, mut sums)| {
            let q = context.modulus(context.row(level, i));
            // P c_0 and P c_1, which are 0 modulo the special primes; a sum before its automorphism; then the rotated baby
            // steps.
            let mut work = context.scratch(4 + 2 * BABY_STEPS_AT_ONCE);
            let mut parts = work.iter_mut();
            let [Some(raised0), Some(raised1), Some(sum0), Some(sum1)] = [0; 4].map(|_| parts.next()) else { return };
            let mut rotated: Vec<&mut [u64]> = parts.collect();
            for (raised, c) in [(&mut *raised0, c0), (&mut *raised1, c1)] {
                if i <= level {
                    raised.copy_from_slice(c.limb(i));
                    kernels::mul_scalar_assign(q, raised, context.special_product(i));
                } else {
                    raised.fill(0);
                }
            }
            for babies in babies.chunks(BABY_STEPS_AT_ONCE) {
                for ((_, key, table), out) in babies.iter().zip(rotated.chunks_exact_mut(2)) {
                    let [out0, out1] = out else { continue };
                    if let (Some(key), Some(table), Some(decomposed)) = (key, table, decomposed) {
                        sum0.copy_from_slice(raised0);
                        sum1.fill(0);
                        decomposed.add_product_limb(context, &key.key, i, [&mut *sum0, &mut *sum1]);
                        permute(table, sum0, out0);
                        permute(table, sum1, out1);
                    } else {
                        out0.copy_from_slice(raised0);
                        out1.copy_from_slice(raised1);
                    }
                }
                for (diagonals, sums) in rows.iter().zip(&mut sums) {
                    for (half, sum) in sums.iter_mut().enumerate() {
                        let terms = babies.iter().zip(rotated.chunks_exact(2));
                        let terms =
                            terms.filter_map(|((step, ..), out)| Some((&*out[half], [diagonals.get(step)?.limb(i)])));
                        kernels::mul_add_many(q, [sum], &terms.collect::<Vec<_>>());
                    }
                }
            }
        });
    }
}

/// Adds to the sum of a giant step that of another operand.
fn add_inner<'c>(
    context: &Context,
    level: usize,
    outer: &mut BTreeMap<usize, Raised<'c>>,
    giant: usize,
    inner: Raised<'c>,
) {
    match outer.remove(&giant) {
        None => outer.insert(giant, inner),
        Some(mut sum) => {
            for (sum, inner) in sum.iter_mut().zip(&inner) {
                let q = |row: usize| context.modulus(context.row(level, row));
                sum.for_each_limb(|row, limb| kernels::add_assign(q(row), limb, inner.limb(row)));
            }
            outer.insert(giant, sum)
        }
    };
}

/// [`linear_transform_block`] with equal bits, and with diagonals that are made while they are needed: those of [`BABY_STEPS_AT_ONCE`]
/// baby steps of one operand at a time, for all results.
///
/// # Errors
/// As [`linear_transform_block`]; as making a diagonal.
pub(crate) fn linear_transform_streamed(
    context: &Context,
    operands: &[&Ciphertext],
    streamed: &StreamedTransform<'_>,
    keys: &GaloisKeys,
) -> Result<Vec<Ciphertext>, Error> {
    let operation = "linear_transform_streamed";
    let &StreamedTransform { level, scale: own, baby_steps, steps, diagonal } = streamed;
    let Some((&first, rest)) = operands.split_first() else { return Err(Error::NoDiagonals) };
    rest.iter().try_for_each(|other| super::check_alike(context, operation, first, other))?;
    first.check(context, operation)?;
    if first.level != level {
        return Err(Error::Level { operation, expected: level, found: first.level });
    }
    let scale = first.scale.times(own);
    check_scale(operation, &scale)?;
    Divisor::Special.prepare(context, operation, level, &scale)?;
    let find = |step: usize| keys.find(context, operation, Automorphism::Rotation { steps: step as i64 }, level);
    let mut outer: Vec<BTreeMap<usize, Raised<'_>>> = Vec::new();
    outer.resize_with(steps.len(), BTreeMap::new);
    for (i, operand) in operands.iter().enumerate() {
        let [c0, c1] = &*operand.polys else {
            return Err(Error::Degree { operation, expected: 1, found: operand.degree() });
        };
        let of = |o: usize| steps[o].get(i).into_iter().flatten().copied();
        let split = |step: usize| (step % baby_steps, step - step % baby_steps);
        let babies: BTreeSet<usize> = (0..steps.len()).flat_map(of).map(|step| split(step).0).collect();
        let keyed = |baby: usize| Ok((baby, if baby == 0 { None } else { Some(find(baby)?) }));
        let babies = babies.into_iter().map(keyed).collect::<Result<Vec<_>, Error>>()?;
        if babies.is_empty() {
            continue;
        }
        let rows: BTreeSet<(usize, usize)> =
            (0..steps.len()).flat_map(|o| of(o).map(move |step| (o, split(step).1))).collect();
        let rows: Vec<(usize, usize)> = rows.into_iter().collect();
        let mut inner = InnerSums::new(context, level, [c0, c1], &babies, rows.len())?;
        for group in babies.chunks(BABY_STEPS_AT_ONCE) {
            let in_row = |(row, &(o, giant)): (usize, &(usize, usize))| {
                let own = group.iter().map(move |&(baby, _)| (row, baby, [o, i, giant + baby]));
                own.filter(|&(.., [o, i, step])| steps[o][i].contains(&step)).collect::<Vec<_>>()
            };
            let wanted: Vec<_> = rows.iter().enumerate().flat_map(in_row).collect();
            let made = wanted.into_par_iter().map(|(row, baby, at)| Ok((row, baby, diagonal(at)?)));
            let mut diagonals: Vec<BTreeMap<usize, Poly>> = rows.iter().map(|_| BTreeMap::new()).collect();
            for (row, baby, diagonal) in made.collect::<Result<Vec<_>, Error>>()? {
                diagonals[row].insert(baby, diagonal);
            }
            inner.add(group, &diagonals.iter().collect::<Vec<_>>());
        }
        for ((o, giant), inner) in rows.into_iter().zip(inner.sums) {
            add_inner(context, level, &mut outer[o], giant, inner);
        }
    }
    let finish = |giants: BTreeMap<usize, Raised<'_>>| {
        if giants.is_empty() {
            return Err(Error::NoDiagonals);
        }
        let [mut u0, mut u1] = rotated_sum(context, level, giants.into_iter().collect(), find)?;
        lower(context, operation, level, Divisor::Special, [&mut u0, &mut u1], &scale)
    };
    outer.into_iter().map(finish).collect()
}

/// The sum of raised ciphertexts, each rotated by its giant step; each step on a thread of its own, if there are several.
fn rotated_sum<'c, 'k>(
    context: &'c Context,
    level: usize,
    sums: Vec<(usize, Raised<'c>)>,
    find: impl Fn(usize) -> Result<&'k GaloisKey, Error> + Sync,
) -> Result<Raised<'c>, Error> {
    let turned = |(giant, sum): (usize, Raised<'c>)| match giant {
        0 => Ok(sum),
        _ => giant_step(context, level, sum, find(giant)?),
    };
    let rotated: Vec<Raised<'c>> = sums.into_par_iter().map(turned).collect::<Result<_, Error>>()?;
    let mut rotated = rotated.into_iter();
    let Some(mut total) = rotated.next() else { return Ok(raise(context, level, [None, None])) };
    for term in rotated {
        for (total, term) in total.iter_mut().zip(&term) {
            let q = |row: usize| context.modulus(context.row(level, row));
            total.for_each_limb(|row, limb| kernels::add_assign(q(row), limb, term.limb(row)));
        }
    }
    Ok(total)
}

/// Rotates a raised ciphertext by a giant step. Only its second polynomial is divided by `P`, to be cut into digits.
fn giant_step<'c>(
    context: &'c Context,
    level: usize,
    [inner0, mut inner1]: Raised<'c>,
    GaloisKey { element, key }: &GaloisKey,
) -> Result<Raised<'c>, Error> {
    let c1 = divide(context, level, &context.switch(level)?.special, &mut inner1);
    inner1.for_each_limb(|_, limb| limb.fill(0));
    let mut switched = [inner0, inner1];
    add_products(context, level, &[(&c1, key)], &mut switched)?;
    let table = context.permutation(*element);
    for half in &mut switched {
        half.for_each_limb(|_, limb| {
            let mut image = context.scratch(1);
            permute(&table, limb, image.limb_mut(0));
            limb.copy_from_slice(image.limb(0));
        });
    }
    Ok(switched)
}
