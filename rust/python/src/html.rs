//! Tables of HTML, for notebooks.

/// Rows that a notebook shows.
pub(crate) const SHOWN: usize = 10;

/// A table with these titles.
pub(crate) fn html(titles: &Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |row: &Vec<String>, tag: &str| {
        let cell = |text: &String| format!("<{tag}>{}</{tag}>", escaped(text));
        format!("<tr>{}</tr>", row.iter().map(cell).collect::<String>())
    };
    let body: String = rows.map(|row| line(&row, "td")).collect();
    format!("<table><thead>{}</thead><tbody>{body}</tbody></table>", line(titles, "th"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
