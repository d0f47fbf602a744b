//! The network as a picture: a box for each layer, from the inputs down, and beside it the level falling.

use std::fmt::Write;

use super::facts::{Facts, Layer, Side};
use super::html::{begun, count, escaped, shortened, time};

/// Left edge and width of the boxes; to the left of them run the lines that pass over layers.
const BOX: (f64, f64) = (34.0, 216.0);
/// Left and right end of the scale of levels: the highest on the left.
const SCALE: (f64, f64) = (274.0, 404.0);
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 44.0;
const PITCH: f64 = 62.0;
const TOP: f64 = 40.0;

/// The picture.
pub fn picture(facts: &Facts) -> String {
    let layers = &facts.layers;
    let highest = facts.program.parameters().max_level();
    let rows = layers.len() + 1;
    let height = TOP + PITCH * rows as f64;
    let mut svg = format!(
        "<svg class=\"network\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-labelledby=\"network-title\">\n\
         <title id=\"network-title\">{} layers from the encrypted input to the decrypted output, with the levels that are left</title>\n\
         {PATTERNS}",
        layers.len()
    );
    grid(&mut svg, highest, height);
    edges(&mut svg, layers);
    levels(&mut svg, layers, highest);
    for (row, layer) in layers.iter().enumerate() {
        layer_box(&mut svg, row, layer);
    }
    decryption(&mut svg, facts, layers.len());
    svg.push_str("</svg>");
    svg
}

/// Hatching marks the client, beside the dashed edge and the word.
const PATTERNS: &str = "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternTransform=\"rotate(45)\" \
     patternUnits=\"userSpaceOnUse\"><line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\"/></pattern>\
     <marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
     <path class=\"tip\" d=\"M0 0 L8 4 L0 8 Z\"/></marker></defs>\n";

fn y_of(row: usize) -> f64 {
    TOP + PITCH * row as f64
}

fn x_of(level: usize, highest: usize) -> f64 {
    let (left, right) = SCALE;
    left + (right - left) * (highest - level.min(highest)) as f64 / highest.max(1) as f64
}

/// A line for each level, with some of the numbers.
fn grid(svg: &mut String, highest: usize, height: f64) {
    let _ = writeln!(svg, "<text class=\"small muted\" x=\"{}\" y=\"12\">levels left</text>", SCALE.0 - 4.0);
    let every = highest.div_ceil(8).max(1);
    for level in 0..=highest {
        let x = x_of(level, highest);
        let _ =
            writeln!(svg, "<line class=\"grid\" x1=\"{x:.1}\" y1=\"32\" x2=\"{x:.1}\" y2=\"{:.0}\"/>", height - 12.0);
        if level % every == 0 || (level == highest && highest % every > every / 2) {
            let _ = writeln!(
                svg,
                "<text class=\"small muted\" x=\"{x:.1}\" y=\"27\" text-anchor=\"middle\">{level}</text>"
            );
        }
    }
}

/// Arrows to the next layer; what passes over layers goes around on the left.
fn edges(svg: &mut String, layers: &[Layer]) {
    let middle = BOX.0 + BOX.1 / 2.0;
    let between = layers.iter().enumerate().flat_map(|(row, layer)| layer.reads.iter().map(move |&from| (from, row)));
    // What no layer reads goes to the client at the end.
    let read = |row: usize| layers.iter().any(|layer| layer.reads.contains(&row));
    let last = (0..layers.len()).filter(|&row| !read(row)).map(|row| (row, layers.len()));
    for (from, row) in between.chain(last).filter(|(from, row)| from < row) {
        let path = if from + 1 == row {
            format!("M{middle} {:.0} V{:.0}", y_of(from) + HEIGHT, y_of(row) - 2.0)
        } else {
            let bend = (6.0 + 4.0 * (row - from) as f64).min(30.0);
            let (start, end) = (y_of(from) + HEIGHT / 2.0, y_of(row) + HEIGHT / 2.0);
            let (left, outside) = (BOX.0, BOX.0 - bend);
            format!("M{left} {start:.0} C{outside:.0} {start:.0} {outside:.0} {end:.0} {} {end:.0}", left - 2.0)
        };
        let _ = writeln!(svg, "<path class=\"edge\" d=\"{path}\" marker-end=\"url(#tip)\"/>");
    }
}

/// A bar from the level of the operand to that of the result; a dashed line where the client starts anew.
fn levels(svg: &mut String, layers: &[Layer], highest: usize) {
    for (row, layer) in layers.iter().enumerate() {
        let y = y_of(row) + HEIGHT / 2.0;
        let (from, to) = (x_of(layer.levels.0, highest), x_of(layer.levels.1, highest));
        let before = layer.reads.iter().filter(|&&other| other < row).max();
        if let Some(&other) = before {
            let (x, start) = (x_of(layers[other].levels.1, highest), y_of(other) + HEIGHT / 2.0);
            let class = if matches!(layer.side, Side::Round(_)) { "fall anew" } else { "fall" };
            let _ = writeln!(
                svg,
                "<path class=\"{class}\" d=\"M{x:.1} {start:.0} V{:.0} H{from:.1} V{y:.0}\"/>",
                y - HEIGHT / 2.0 - 9.0
            );
        }
        let _ = writeln!(svg, "<path class=\"bar\" d=\"M{from:.1} {y:.0} H{to:.1}\"/>");
        let _ = writeln!(svg, "<circle class=\"dot\" cx=\"{to:.1}\" cy=\"{y:.0}\" r=\"4.5\"/>");
        let (x, anchor) = if to > SCALE.1 - 14.0 { (to - 9.0, "end") } else { (to + 9.0, "start") };
        let _ = writeln!(
            svg,
            "<text class=\"small strong halo\" x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{}</text>",
            y - 7.0,
            layer.levels.1
        );
    }
}

fn layer_box(svg: &mut String, row: usize, layer: &Layer) {
    let y = y_of(row);
    let (class, who) = match layer.side {
        Side::Input => ("client", "client encrypts"),
        Side::Public => ("server", "in the clear"),
        Side::Server => ("server", ""),
        Side::Round(_) => ("client", "client"),
    };
    let operations = if layer.operations.is_empty() { String::new() } else { layer.operations.join(" + ") };
    let first = if who.is_empty() { operations } else { who.to_owned() };
    let round = if let Side::Round(round) = layer.side { format!(", round {}", round + 1) } else { String::new() };
    let (ciphertexts, degree) = layer.ciphertexts;
    let unit = if ciphertexts == 1 { "ciphertext" } else { "ciphertexts" };
    let arrays = format!(
        "{} {unit}{}",
        count(ciphertexts),
        if degree > 1 { format!(" of degree {degree}") } else { String::new() }
    );
    let second =
        [format!("{first}{round}"), arrays].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ");
    let _ = writeln!(
        svg,
        "<g><title>{}: {}; level {} to {}; {}; about {}</title>\
         <rect class=\"{class}\" x=\"{}\" y=\"{y:.0}\" width=\"{}\" height=\"{HEIGHT}\" rx=\"5\"/>{}\
         <text class=\"name\" x=\"{x}\" y=\"{:.0}\">{}</text><text class=\"small\" x=\"{x}\" y=\"{:.0}\">{}</text></g>",
        escaped(&layer.name),
        escaped(&second),
        layer.levels.0,
        layer.levels.1,
        escaped(&layer.layout),
        time(layer.seconds),
        BOX.0,
        BOX.1,
        stripe(class, y),
        y + 18.0,
        shortened(&layer.name, 23),
        y + 35.0,
        begun(&second, 33),
        x = BOX.0 + if class == "client" { 16.0 } else { 10.0 },
    );
}

/// The hatched edge of what the client does.
fn stripe(class: &str, y: f64) -> String {
    if class != "client" {
        return String::new();
    }
    format!(
        "<rect fill=\"url(#hatch)\" x=\"{}\" y=\"{:.0}\" width=\"9\" height=\"{}\"/>",
        BOX.0 + 1.5,
        y + 1.5,
        HEIGHT - 3.0
    )
}

fn decryption(svg: &mut String, facts: &Facts, row: usize) {
    let y = y_of(row);
    let work: Vec<String> =
        facts.program.client_work().iter().flat_map(|work| work.operations.clone()).map(str::to_owned).collect();
    let second = if work.is_empty() { "outputs".to_owned() } else { format!("then {}", work.join(", ")) };
    let _ = writeln!(
        svg,
        "<g><title>the client decrypts: {second}</title>\
         <rect class=\"client\" x=\"{}\" y=\"{y:.0}\" width=\"{}\" height=\"{HEIGHT}\" rx=\"5\"/>{}\
         <text class=\"name\" x=\"{x}\" y=\"{:.0}\">client decrypts</text><text class=\"small\" x=\"{x}\" y=\"{:.0}\">{}</text></g>",
        BOX.0,
        BOX.1,
        stripe("client", y),
        y + 18.0,
        y + 35.0,
        begun(&second, 33),
        x = BOX.0 + 16.0,
    );
}
