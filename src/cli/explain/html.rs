//! Text that stands in a page, whoever wrote it, and numbers as people read them.

/// `text` where HTML or an attribute's value is expected. Control characters, which no name needs, become a dot.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() || is_direction(c) => safe.push('\u{b7}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Characters that turn the direction of the text after them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// At most `length` characters of `text`, the middle left out, escaped.
pub fn shortened(text: &str, length: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= length {
        return escaped(text);
    }
    // The end of a node's name tells more than its beginning.
    let (end, start) = ((length - 1) * 2 / 3, (length - 1) / 3);
    let part = |range: std::ops::Range<usize>| characters[range].iter().collect::<String>();
    escaped(&format!("{}…{}", part(0..start), part(characters.len() - end..characters.len())))
}

/// At most `length` characters of `text`, the end left out, escaped.
pub fn begun(text: &str, length: usize) -> String {
    let shown: String = text.chars().take(length).collect();
    if shown.len() == text.len() { escaped(text) } else { format!("{}…", escaped(shown.trim_end())) }
}

/// `1.23 s`, `45 ms`, `6.7 µs`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 100.0 => format!("{s:.0} s"),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.01 => format!("{:.0} ms", s * 1e3),
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s if s >= 1e-5 => format!("{:.0} µs", s * 1e6),
        s if s >= 1e-8 => format!("{:.1} µs", s * 1e6),
        _ => "0".to_owned(),
    }
}

/// `1.2 GB`, `34 MB`, `5 kB`, in powers of ten.
pub fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b if b >= 1e7 => format!("{:.0} MB", b / 1e6),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.0} kB", b / 1e3),
        b => format!("{b} B"),
    }
}

/// With thin spaces between thousands.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 sample`, `up to 8192 samples`.
pub fn samples(most: usize) -> String {
    if most == 1 { "1 sample".to_owned() } else { format!("up to {} samples", count(most)) }
}

/// `12 MB of evaluation keys`, or none.
pub fn keys(bytes: u64) -> String {
    if bytes == 0 { "no evaluation keys".to_owned() } else { format!("{} of evaluation keys", size(bytes)) }
}

/// `1 level`, `5 levels`.
pub fn levels(count: usize) -> String {
    format!("{count} level{}", if count == 1 { "" } else { "s" })
}

/// `12.3 %`.
pub fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// `a, b and c`.
pub fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        assert_eq!(escaped("<script>'\"&\u{0}\u{202e}"), "&lt;script&gt;&#39;&quot;&amp;\u{b7}\u{b7}");
        assert_eq!(shortened("/block1/layer/conv/Conv", 11), "/bl…v/Conv");
        assert_eq!(shortened("<<<<<<<<<<<<<", 4), "&lt;…&lt;&lt;");
        assert_eq!(shortened("short", 11), "short");
        assert_eq!([begun("sigmoid, cast", 8), begun("cast", 4)], ["sigmoid,…", "cast"]);
    }

    #[test]
    fn numbers_are_rounded_to_what_is_read() {
        assert_eq!([time(12.345), time(0.0123), time(2e-5), time(0.0)], ["12.35 s", "12 ms", "20 µs", "0"]);
        assert_eq!([size(1_234_567_890), size(34_000_000), size(12)], ["1.23 GB", "34 MB", "12 B"]);
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(999), "999");
    }
}
