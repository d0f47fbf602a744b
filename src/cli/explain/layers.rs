//! The table of layers, and where the time goes.

use std::fmt::Write;

use super::facts::{BATCH, Bits, Facts, Layer, Side};
use super::html::{count, escaped, listed, percent, shortened, size, time};

/// A row for each layer; on narrow screens each row becomes a card.
pub fn table(facts: &Facts) -> String {
    let measured = facts.measured.is_some();
    let precision = facts.layers.iter().any(|layer| layer.precision.is_some());
    let longest = facts.layers.iter().flat_map(|l| [Some(l.seconds), l.measured]).flatten().fold(1e-12, f64::max);
    let mut columns = vec!["layer", "levels", "depth", "rotations", "products", "key switches", "time", "memory"];
    if precision {
        columns.push("precision");
    }
    let mut html = "<table class=\"cards\"><thead><tr>".to_owned();
    columns.iter().for_each(|column| {
        let _ = write!(html, "<th scope=\"col\">{column}</th>");
    });
    html.push_str("</tr></thead><tbody>\n");
    for layer in &facts.layers {
        let mut cells = vec![
            ("levels", levels(layer)),
            ("depth", layer.depth.to_string()),
            ("rotations", number(layer.counts.rotations)),
            ("products", products(layer)),
            ("key switches", number(layer.counts.key_switches)),
            ("time", times(layer, longest)),
            ("memory", memory(layer, measured)),
        ];
        if precision {
            cells.push(("precision", layer.precision.map_or("–".to_owned(), bits)));
        }
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", head(layer));
        cells.iter().for_each(|(name, cell)| {
            let _ = write!(html, "<td data-label=\"{name}\"><span>{cell}</span></td>");
        });
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table>");
    let legend = if measured {
        "<span class=\"key predicted\"></span> predicted, one core <span class=\"key measured\"></span> measured"
    } else {
        "<span class=\"key predicted\"></span> predicted, one core"
    };
    format!(
        "<p class=\"legend\">{legend}; for one batch. Memory is that of all ciphertexts that are alive while the layer is computed{}.</p>\n{html}",
        if measured { "; measured: the largest size of the whole process until then" } else { "" }
    )
}

fn head(layer: &Layer) -> String {
    let who = match layer.side {
        Side::Input => "client encrypts".to_owned(),
        Side::Public => "server, in the clear".to_owned(),
        Side::Server => String::new(),
        Side::Round(round) => format!("client refreshes, round {}", round + 1),
    };
    let operations = layer.operations.join(", ");
    let detail = [operations, who].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    // Of the batch layout there is nothing more to say.
    let layout = if layer.layout == BATCH { "" } else { &layer.layout };
    let small = |class: &str, text: &str| {
        if text.is_empty() { String::new() } else { format!("<small{class}>{}</small>", escaped(text)) }
    };
    format!("{}{}{}", breakable(&layer.name), small("", &detail), small(" class=\"layout\"", layout))
}

/// A name that may be broken after its slashes.
fn breakable(name: &str) -> String {
    escaped(name).replace('/', "/<wbr>")
}

fn levels(layer: &Layer) -> String {
    let (from, to) = layer.levels;
    if from == to { format!("{to}") } else { format!("{from}&nbsp;→&nbsp;{to}") }
}

fn number(of: usize) -> String {
    if of == 0 { "–".to_owned() } else { count(of) }
}

/// Products of ciphertexts, with diagonals, and with single weights, each in words: they cost very differently.
fn products(layer: &Layer) -> String {
    let kinds = [
        (layer.counts.products, "of ciphertexts"),
        (layer.counts.plain_products, "with diagonals"),
        (layer.counts.scalar_products, "with weights"),
    ];
    let found: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} <small>{what}</small>", count(*n))).collect();
    if found.is_empty() { "–".to_owned() } else { found.join("<br>") }
}

fn times(layer: &Layer, longest: f64) -> String {
    let bar = |seconds: f64, class: &str| {
        let share = 100.0 * seconds / longest;
        format!(
            "<span class=\"time\"><span class=\"track\"><span class=\"fill {class}\" style=\"width:{share:.1}%\"></span></span>{}</span>",
            time(seconds)
        )
    };
    let measured = layer.measured.filter(|_| layer.side == Side::Server || matches!(layer.side, Side::Round(_)));
    format!("{}{}", bar(layer.seconds, "predicted"), measured.map_or(String::new(), |seconds| bar(seconds, "measured")))
}

fn memory(layer: &Layer, measured: bool) -> String {
    let found = layer.measured_bytes.filter(|_| measured);
    format!(
        "{}{}",
        size(layer.bytes),
        found.map_or(String::new(), |bytes| format!("<br><small>process {}</small>", size(bytes)))
    )
}

fn bits(Bits { expected, least }: Bits) -> String {
    let least = least.map_or(String::new(), |bits| format!("<br><small>at least {bits:.1}</small>"));
    format!("{expected:.1} bits{least}")
}

/// Where the time goes: by kind of operation, and the layers that take most of it.
pub fn dominant(facts: &Facts) -> String {
    let total = facts.seconds.max(1e-12);
    let bars = |rows: Vec<(String, f64)>| {
        let mut html = "<table class=\"shares\"><tbody>\n".to_owned();
        for (name, seconds) in rows {
            let share = seconds / total;
            let _ = writeln!(
                html,
                "<tr><th scope=\"row\">{name}</th><td><span class=\"track\"><span class=\"fill predicted\" style=\"width:{:.1}%\"></span></span></td>\
                 <td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
                100.0 * share,
                percent(share),
                time(seconds)
            );
        }
        html.push_str("</tbody></table>\n");
        html
    };
    let kinds = facts.spent.iter().map(|(kind, seconds)| ((*kind).to_owned(), *seconds)).collect();
    let largest = largest(facts);
    let layers = largest
        .iter()
        .map(|layer| {
            (format!("<span title=\"{}\">{}</span>", escaped(&layer.name), shortened(&layer.name, 40)), layer.seconds)
        })
        .collect();
    format!("<h3>By kind of work</h3>\n{}<h3>The layers that take most</h3>\n{}", bars(kinds), bars(layers))
}

/// The layers that take most of the predicted time, the first ones first.
pub fn largest<'a>(facts: &'a Facts) -> Vec<&'a Layer> {
    const SHOWN: usize = 8;
    let mut layers: Vec<&Layer> = facts.layers.iter().filter(|layer| layer.seconds > 0.0).collect();
    layers.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    layers.truncate(SHOWN);
    layers
}

/// One sentence: what most of the time is spent on.
pub fn sentence(facts: &Facts) -> String {
    let total = facts.seconds.max(1e-12);
    let Some((kind, seconds)) = facts.spent.first() else { return String::new() };
    let first = format!("{} of the predicted time goes to {kind}", percent(seconds / total));
    let named: Vec<String> = largest(facts)
        .iter()
        .take(2)
        .map(|l| format!("“{}” ({})", escaped(&l.name), percent(l.seconds / total)))
        .collect();
    format!("{first}; the layers that take most are {}.", listed(&named))
}
