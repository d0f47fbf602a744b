//! The page: one file, without scripts and without anything from elsewhere.

use std::fmt::Write;

use super::facts::Facts;
use super::html::{count, escaped, keys, levels, size, time};
use super::{advice, fits, layers, network, security};
use crate::cli::profile::PHASES;

const STYLE: &str = include_str!("style.css");

/// Every section with its anchor and title.
pub const SECTIONS: [(&str, &str); 6] = [
    ("network", "The network"),
    ("cost", "What dominates the cost"),
    ("layers", "Layer by layer"),
    ("fits", "Polynomials over the calibrated ranges"),
    ("precision", "Precision"),
    ("security", "Parameters and security"),
];

/// The whole page.
pub fn render(facts: &Facts) -> String {
    let name = escaped(&facts.name);
    let links: String = SECTIONS.iter().map(|(id, title)| format!("<a href=\"#{id}\">{title}</a>")).collect();
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'none'; connect-src 'none'; object-src 'none'; frame-src 'none'; font-src 'none'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{name} on encrypted data</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{name}</h1><p>{}</p><nav aria-label=\"sections\">{links}</nav></header>\n<main>\n{}",
        lead(facts),
        tiles(facts)
    );
    for (id, title) in SECTIONS {
        let body = match id {
            "network" => format!(
                "<p>{NETWORK}</p>\n<div class=\"split\">{}<div>{}</div></div>",
                network::picture(facts),
                advised(facts)
            ),
            "cost" => format!("<p>{}</p>\n{}", layers::sentence(facts), layers::dominant(facts)),
            "layers" => layers::table(facts),
            "fits" => fits::section(facts),
            "precision" => precision(facts),
            "security" => security::section(facts),
            _other => String::new(),
        };
        let _ = write!(html, "<section id=\"{id}\">\n<h2>{title}</h2>\n{body}\n</section>\n");
    }
    if let Some(decisions) = facts.decisions {
        let text = escaped_lines(&decisions.to_string());
        let _ = writeln!(
            html,
            "<details id=\"decisions\"><summary>Everything that the compiler decided</summary><pre>{text}</pre></details>"
        );
    }
    let _ = write!(
        html,
        "</main>\n<footer>hec {}; times are predicted with a model of one core unless they are called measured.</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    html
}

const NETWORK: &str = "From the encrypted inputs down to the outputs. Every product uses up levels (bars to the right); where none is left, nothing more can be computed, unless the client refreshes. What the client does has a dashed and hatched box.";

fn escaped_lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", escaped(line))).collect()
}

fn lead(facts: &Facts) -> String {
    let layout = if facts.packed() { "packed layout" } else { "batch layout" };
    let samples = facts.program.capacity();
    let at_once = if samples == 1 { "one sample".to_owned() } else { format!("up to {} samples", count(samples)) };
    format!(
        "What this model does on encrypted data ({layout}, {at_once} at a time), what it takes, and what it promises."
    )
}

fn tiles(facts: &Facts) -> String {
    let statement = &facts.statement.parameters;
    let samples = facts.program.capacity().max(1);
    let each = if samples > 1 { format!("; {} a sample", time(facts.seconds / samples as f64)) } else { String::new() };
    let mut tiles = vec![
        (
            format!("{} bits", statement.security.bits()),
            format!("security; log2(QP) {:.0} of {} bits", statement.log_qp, statement.allowed),
        ),
        (time(facts.seconds), format!("predicted, one batch on one core{each}")),
        (
            format!("2^{}", statement.ring.log_n),
            format!(
                "ring degree, {}; {} to spend",
                statement.ring.ring_type,
                levels(facts.program.parameters().max_level())
            ),
        ),
        (
            size(facts.peak_bytes + facts.key_bytes),
            format!("{} of ciphertexts, {}", size(facts.peak_bytes), keys(facts.key_bytes)),
        ),
    ];
    if let Some(own) = facts.precision() {
        let text = facts.decisions.map_or_else(|| own.to_string(), |decisions| own.asked(decisions));
        let (bits, rest) = text.split_once(" expected").unwrap_or((&text, ""));
        tiles.insert(1, (bits.to_owned(), format!("precision expected{rest}")));
    }
    if let Some(measured) = facts.measured {
        let evaluate = measured.phases[2] / measured.batches.max(1) as f64;
        let cores =
            if measured.threads == 1 { "one thread".to_owned() } else { format!("{} threads", measured.threads) };
        tiles.push((time(evaluate), format!("measured, evaluation of one batch on {cores}")));
    }
    let rounds = facts.program.rounds().len();
    if rounds > 0 {
        tiles.push((
            rounds.to_string(),
            format!("{} with the client in the middle", if rounds == 1 { "round" } else { "rounds" }),
        ));
    }
    let tiles: String = tiles
        .iter()
        .map(|(value, what)| format!("<div class=\"tile\"><b>{value}</b><small>{what}</small></div>"))
        .collect();
    format!("<div class=\"tiles\">{tiles}</div>\n")
}

fn advised(facts: &Facts) -> String {
    let items: String = advice::of(facts).iter().map(|text| format!("<li>{}</li>\n", escaped(text))).collect();
    format!("<h3 id=\"advice\">What to change to make it cheaper</h3><ul>{items}</ul>")
}

fn precision(facts: &Facts) -> String {
    let mut html = String::new();
    match facts.decisions {
        Some(decisions) => {
            let (asked, predicted) = decisions.precision;
            let bound = match decisions.bound.to_string() {
                text if text.is_empty() => text,
                text => format!(" Of the bound of errors: {text}."),
            };
            let ranges = if decisions.calibrated { "calibration samples" } else { "interval bounds" };
            let _ = write!(
                html,
                "<p>{asked:.1} bits of expected precision were asked for: log2 of the range of the worst output over six standard deviations of the error that encryption and rounded weights add. The parameters were taken for {predicted:.1}, with the worst element of each layer in place of all. Ranges come from {ranges}. The errors of polynomials that replace functions are not in it; they are under <a href=\"#fits\">the fits</a>.{bound}</p>"
            );
        }
        None if facts.certificate.is_some() => {}
        None => html.push_str("<p>The program holds no predictions of precision layer by layer: explain the .onnx model, with the same options, to see them.</p>"),
    }
    for (name, own) in facts.certificate.iter().flat_map(|certificate| &certificate.outputs) {
        let _ = write!(
            html,
            "<p>The certificate of <code>{}</code>: {:.1} bits expected, {:.1} bits at least: no error of the circuit is above {:.1e}, but with probability 2^-30.</p>",
            escaped(name),
            own.expected_bits(),
            own.bound_bits(),
            own.bound
        );
    }
    if let Some(measured) = facts.measured {
        let found = measured.precision_bits.map_or("no error at all".to_owned(), |bits| format!("{bits:.1} bits (the largest output over the largest error, against the model in the clear, polynomials included)"));
        let _ = write!(
            html,
            "<p>Measured on {} sample{} with {}: {found}.</p>",
            measured.samples,
            if measured.samples == 1 { "" } else { "s" },
            escaped(&measured.backend)
        );
        let batches = measured.batches.max(1) as f64;
        let rows: String = PHASES
            .iter()
            .zip(measured.phases)
            .map(|(phase, seconds)| {
                format!(
                    "<dt>{}</dt><dd>{}</dd>",
                    spelled(phase),
                    time(seconds / if *phase == "keygen" { 1.0 } else { batches })
                )
            })
            .collect();
        let memory = measured
            .peak_memory
            .map_or(String::new(), |bytes| format!("<dt>largest size of the process</dt><dd>{}</dd>", size(bytes)));
        let _ = write!(html, "<h3>The measured run, for each batch</h3><dl class=\"facts\">{rows}{memory}</dl>");
    }
    html
}

fn spelled(phase: &str) -> &str {
    match phase {
        "keygen" => "key generation",
        "encrypt" => "encode and encrypt",
        "evaluate" => "evaluate",
        "rounds" => "the client in rounds",
        "decrypt" => "decrypt and decode",
        other => other,
    }
}
