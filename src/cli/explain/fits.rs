//! The polynomials over what the calibration samples showed.

use std::fmt::Write;

use hec::approximate::{Replacement, Summary};

use super::facts::Facts;
use super::html::{escaped, percent};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 210.0;
/// Left, top, right and bottom of the drawing.
const FRAME: [f64; 4] = [46.0, 10.0, 350.0, 176.0];
/// The share of the frame's height that the histogram takes.
const HISTOGRAM: f64 = 0.42;

/// All fits, or why there are none.
pub fn section(facts: &Facts) -> String {
    let Some(decisions) = facts.decisions else {
        return "<p>The program holds the polynomials, not the samples that they were fitted on: explain the .onnx model, with the same options, to see the fits over their histograms.</p>".to_owned();
    };
    let Some(summary) = &decisions.approximation else {
        return "<p>Nothing was replaced: the model consists of what encrypted arithmetic computes exactly, or leaves the rest to the client.</p>".to_owned();
    };
    let mut html = format!("<p>{}</p>\n{LEGEND}<div class=\"fits\">\n", verdict(summary));
    for (number, replacement) in summary.replacements.iter().enumerate() {
        html.push_str(&figure(number, replacement));
    }
    html.push_str("</div>");
    html
}

const LEGEND: &str = "<p class=\"legend\"><svg class=\"sample\" viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path class=\"exact\" d=\"M1 5 H29\"/></svg> function \
     <svg class=\"sample\" viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path class=\"fit\" d=\"M1 5 H29\"/></svg> polynomial \
     <svg class=\"sample\" viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path class=\"count\" d=\"M2 10 V4 H14 V10 Z M16 10 V1 H28 V10 Z\"/></svg> operands on the samples \
     <svg class=\"sample\" viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path class=\"quantile\" d=\"M15 0 V10\"/></svg> 99.8 % of them lie between</p>\n";

fn verdict(summary: &Summary) -> String {
    let (before, after) = summary.accuracy;
    let against = if summary.labelled { "labels" } else { "the model's own answers" };
    format!(
        "{} instead of {} of the answers on {} held-back samples agree with {against}; {} points may be lost{}. Outputs are off by {} of their spread.",
        percent(after),
        percent(before),
        summary.held_back,
        (1000.0 * summary.allowed).round() / 10.0,
        if summary.within_budget() { "" } else { ", which is <strong>not kept</strong>" },
        percent(summary.output_error)
    )
}

fn figure(number: usize, r: &Replacement) -> String {
    let share = percent(r.error.0 / r.error.1.max(f64::MIN_POSITIVE));
    let bound = r.bound.map_or("not bounded".to_owned(), |(low, high)| format!("{} to {}", short(low), short(high)));
    let escape = r.escape.map_or("not known".to_owned(), |p| format!("{p:.1e}"));
    let mut rows = vec![
        ("replaced with", escaped(&r.rung.to_string())),
        ("operands seen", format!("{} to {}", short(r.seen.0), short(r.seen.1))),
        ("fitted", format!("{} to {}", short(r.fitted.0), short(r.fitted.1))),
        ("for any input", bound),
        ("error", format!("{} rms ({share}), at most {}", short(r.error.0), short(r.largest_error))),
        ("leaves the range", escape),
    ];
    if r.channels.len() > 1 {
        let widths = || r.channels.iter().map(|(low, high)| low.abs().max(high.abs()));
        let (least, most) = (widths().fold(f64::INFINITY, f64::min), widths().fold(0.0, f64::max));
        rows.push(("channels", format!("{} that reach {} to {}", r.channels.len(), short(least), short(most))));
    }
    let rows: String = rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>")).collect();
    format!(
        "<figure>{}<figcaption><strong>{}</strong> <small>{}</small><dl>{rows}</dl></figcaption></figure>\n",
        drawing(number, r),
        escaped(&r.origin).replace('/', "/<wbr>"),
        escaped(&r.function)
    )
}

/// Where the fit is drawn: data to the frame.
struct Axes {
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    fn x(&self, x: f64) -> f64 {
        let [left, _, right, _] = FRAME;
        left + (right - left) * (x - self.x.0) / (self.x.1 - self.x.0)
    }

    fn y(&self, y: f64) -> f64 {
        let [_, top, _, bottom] = FRAME;
        // Polynomials that run away are cut off a little outside of the frame, where they are clipped.
        (bottom - (bottom - top) * (y - self.y.0) / (self.y.1 - self.y.0)).clamp(top - 40.0, bottom + 40.0)
    }

    fn path(&self, points: &[[f64; 3]], of: usize) -> String {
        let point = |(i, p): (usize, &[f64; 3])| {
            format!("{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, self.x(p[0]), self.y(p[of]))
        };
        points.iter().enumerate().map(point).collect()
    }
}

fn drawing(number: usize, r: &Replacement) -> String {
    let [left, top, right, bottom] = FRAME;
    let ends = (r.seen.0.min(r.fitted.0), r.seen.1.max(r.fitted.1));
    let axes = Axes { x: widened(ends), y: heights(r) };
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
         <defs><clipPath id=\"frame{number}\"><rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\"/></clipPath></defs>\
         <rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\"/>",
        escaped(&format!("{} of {}: the function, its polynomial and the operands", r.function, r.origin)),
        right - left,
        bottom - top,
        right - left,
        bottom - top
    );
    svg.push_str(&histogram(r, &axes));
    for tick in ticks(axes.x) {
        let x = axes.x(tick);
        let _ =
            write!(svg, "<line class=\"tick\" x1=\"{x:.1}\" y1=\"{bottom}\" x2=\"{x:.1}\" y2=\"{}\"/>", bottom + 4.0);
        let _ = write!(
            svg,
            "<text class=\"small muted\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 17.0,
            short(tick)
        );
    }
    if !r.curve.is_empty() {
        for tick in ticks(axes.y) {
            let y = axes.y(tick);
            let _ = write!(svg, "<line class=\"grid\" x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>");
            let _ = write!(
                svg,
                "<text class=\"small muted\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 5.0,
                y + 4.0,
                short(tick)
            );
        }
    }
    for quantile in [r.quantiles.0, r.quantiles.1] {
        let x = axes.x(quantile);
        let _ = write!(svg, "<path class=\"quantile\" d=\"M{x:.1} {top} V{bottom}\"/>");
    }
    if r.curve.is_empty() {
        let _ = write!(
            svg,
            "<text class=\"small muted\" x=\"{}\" y=\"{}\">a polynomial in several values: operands only</text>",
            left + 8.0,
            top + 16.0
        );
    } else {
        let (exact, fit) = (axes.path(&r.curve, 1), axes.path(&r.curve, 2));
        let _ = write!(
            svg,
            "<g clip-path=\"url(#frame{number})\"><path class=\"exact\" d=\"{exact}\"/><path class=\"fit\" d=\"{fit}\"/></g>"
        );
    }
    let _ = write!(
        svg,
        "<text class=\"small muted\" x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">operand</text></svg>",
        (left + right) / 2.0,
        HEIGHT - 2.0
    );
    svg
}

/// Bars from the bottom of the frame. Heights are square roots, so that the few at the ends, where fits are worst, are seen.
fn histogram(r: &Replacement, axes: &Axes) -> String {
    let [_, top, _, bottom] = FRAME;
    let most = r.histogram.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let bins = r.histogram.len().max(1) as f64;
    let edge = |i: usize| axes.x(r.seen.0 + (r.seen.1 - r.seen.0) * i as f64 / bins);
    let mut path = String::new();
    for (i, share) in r.histogram.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        let height = (HISTOGRAM * (bottom - top) * (share / most).sqrt()).max(1.0);
        let _ = write!(
            path,
            "M{:.1} {bottom} V{:.1} H{:.1} V{bottom} Z",
            edge(i) + 0.4,
            bottom - height,
            edge(i + 1) - 0.4
        );
    }
    format!("<path class=\"count\" d=\"{path}\"><title>square roots of the shares of operands</title></path>")
}

/// What the function and the polynomial take, with a little air.
fn heights(r: &Replacement) -> (f64, f64) {
    let all = || r.curve.iter().flat_map(|p| [p[1], p[2]]);
    widened((all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max)))
}

fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let air = (0.04 * (high - low)).max(1e-9 * low.abs().max(high.abs())).max(1e-12);
    (low - air, high + air)
}

/// Two to six round numbers in a range.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let raw = (high - low) / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let first = (low / step).ceil();
    (0..8).map(|i| (first + f64::from(i)) * step).take_while(|tick| *tick <= high).collect()
}

/// Three significant digits.
fn short(x: f64) -> String {
    let x = if x.abs() < 1e-12 { 0.0 } else { x };
    match x.abs() {
        0.0 => "0".to_owned(),
        a if !(0.001..100_000.0).contains(&a) => format!("{x:.1e}"),
        a => {
            let digits = (2 - a.log10().floor() as i32).clamp(0, 5) as usize;
            let text = format!("{x:.digits$}");
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            text.replace('-', "\u{2212}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((-1.1, 3.2)), [-1.0, 0.0, 1.0, 2.0, 3.0].to_vec());
        assert_eq!(ticks((-42.7, 42.7)), [-40.0, -20.0, 0.0, 20.0, 40.0].to_vec());
        for range in [(0.0, 1.0), (-7.3, 1e4), (1e-6, 3e-6), (-1e-12, 1e-12)] {
            let found = ticks(range);
            assert!((2..=8).contains(&found.len()), "{range:?}: {found:?}");
        }
    }

    #[test]
    fn three_digits_are_enough() {
        assert_eq!([short(1.0), short(-0.5), short(0.0123), short(123456.0)], ["1", "\u{2212}0.5", "0.0123", "1.2e5"]);
    }
}
