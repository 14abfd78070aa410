//! The frame of a page: one HTML file with everything inside it.

use std::fmt::{self, Write};

const STYLE: &str = include_str!("style.css");
const PLAYER: &str = include_str!("player.js");

/// The text of every drawing.
const DRAWN: &str = "font: 12.5px system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif;";

/// A drawing as a file of its own: on a card, in the light theme's colours. What embeds it may be light or dark, and
/// viewers other than browsers know no style sheet's variables.
pub fn drawing(width: f64, height: f64, title: &str, content: &str) -> String {
    let rules: String =
        STYLE.lines().filter(|line| line.starts_with("svg .") || line.starts_with("svg text")).collect();
    let file = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" aria-label=\"{}\">\n<style>svg {{ {DRAWN} }} {rules}</style>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"var(--card)\" stroke=\"var(--line)\"/>\n\
         {content}</svg>\n",
        Text(title),
        width - 1.0,
        height - 1.0
    );
    // The first rule of the style sheet is the light theme.
    let theme = STYLE.split('}').next().unwrap_or_default();
    let colours = theme.split(';').filter_map(|line| line.trim().split_once(": ")).filter(|(n, _)| n.starts_with("--"));
    colours.fold(file, |file, (name, colour)| file.replace(&format!("var({name})"), colour))
}

/// Text that has to stand in HTML as it is.
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A whole page around `body`.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n<script>\n{PLAYER}</script>\n</body>\n</html>\n",
        Text(title)
    )
}

/// A section with a heading and a sentence that says what is to be seen.
pub fn section(heading: &str, lead: &str, content: &str) -> String {
    let lead = if lead.is_empty() { String::new() } else { format!("<p class=\"note\">{lead}</p>\n") };
    format!("<section>\n<h2>{}</h2>\n{lead}{content}</section>\n", Text(heading))
}

/// A table: the first column is text, the others are numbers; cells are HTML.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"card scroll\"><table>\n<tr>");
    out.extend(head.iter().map(|cell| format!("<th>{}</th>", Text(cell))));
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        out.extend(row.iter().map(|cell| format!("<td>{cell}</td>")));
        out.push_str("</tr>\n");
    }
    out + "</table></div>\n"
}

/// The names of colours, before a figure.
pub fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let entries = entries
        .into_iter()
        .map(|(name, colour)| format!("<span><i style=\"background:{colour}\"></i>{}</span>", Text(name)));
    format!("<div class=\"legend\">{}</div>\n", entries.collect::<String>())
}

/// Bytes as a data URI.
pub fn data_uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", base64(bytes))
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A percentage for people.
pub fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value == 0.0 || value.abs() >= 9.95 { format!("{value:.0}%") } else { format!("{value:.1}%") }
}
