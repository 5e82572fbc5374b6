//! Parses conditions on rows, see [`filter`](super::filter).
//!
//! Design decisions
//!
//! * What is no column is a word: a name may contain `:`, `=` or `/`. Only a comparison with `<`
//!   or `>` needs a column before it.

use regex::bytes::{Regex, RegexBuilder};

use super::filter::{Comparison, Condition, Match, Subject, Term, Test};
use super::metric::Metric;
use crate::state;

type Columns<'a> = &'a dyn Fn(&str) -> Option<Metric>;

/// The operators, of which one is the begin of another after that.
const OPERATORS: [&str; 8] = [">=", "<=", "!=", "=", ">", "<", "~", ":"];

/// Factors of the units of numbers.
const BINARY: [(&str, f64); 4] =
    [("K", 1024.0), ("M", 1_048_576.0), ("G", 1_073_741_824.0), ("T", 1_099_511_627_776.0)];
const DECIMAL: [(&str, f64); 4] = [("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
const NANOSECONDS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
];

/// Parses what a user typed, in any encoding; None for an empty text. `column` finds the metric of
/// a column by the name that the user knows. The error is a message for the user.
pub fn parse_condition(text: &[u8], column: Columns<'_>) -> Result<Option<Condition>, String> {
    let alternatives = alternatives(text, column)?;
    Ok((!alternatives.is_empty()).then(|| Condition::new(text.trim_ascii(), alternatives)))
}

/// The alternatives, each of one or more terms; none for an empty text.
fn alternatives(text: &[u8], column: Columns<'_>) -> Result<Vec<Vec<Term>>, String> {
    let mut rest = text.trim_ascii_start();
    let mut all = vec![Vec::new()];
    while let Some(&first) = rest.first() {
        if first == b'|' {
            all.push(Vec::new());
            rest = rest[1..].trim_ascii_start();
            continue;
        }
        let (term, after) = term(rest, column)?;
        all.last_mut().expect("it begins with one").push(term);
        rest = after.trim_ascii_start();
    }
    if all.len() == 1 && all[0].is_empty() {
        return Ok(Vec::new());
    }
    match all.iter().any(Vec::is_empty) {
        true => Err("a term is missing beside |".into()),
        false => Ok(all),
    }
}

fn term<'a>(text: &'a [u8], column: Columns<'_>) -> Result<(Term, &'a [u8]), String> {
    let marks = text.iter().take_while(|&&byte| byte == b'!').count();
    let text = &text[marks..];
    let (test, rest) = test(text, column)?;
    Ok((Term { negated: marks % 2 == 1, test }, rest))
}

fn test<'a>(text: &'a [u8], column: Columns<'_>) -> Result<(Test, &'a [u8]), String> {
    if text.first().is_none_or(|&first| first == b'|' || first.is_ascii_whitespace()) {
        return Err("a term is missing after !".into());
    }
    if let Some((pattern, rest)) = between_slashes(text) {
        return Ok((Test::Anywhere(Match::Pattern(regex(pattern)?)), rest));
    }
    if let Some(after) = text.strip_prefix(b"~") {
        let (pattern, rest) = value(after)?;
        return Ok((Test::Anywhere(Match::Pattern(regex(&pattern)?)), rest));
    }
    match comparison(text, column) {
        Some((name, operator, after)) => compared(text, name, operator, after, column),
        None => word(text),
    }
}

fn word(text: &[u8]) -> Result<(Test, &[u8]), String> {
    let (word, rest) = value(text)?;
    Ok((Test::Anywhere(Match::Part(word)), rest))
}

/// What is between a slash and one that ends the term.
fn between_slashes(text: &[u8]) -> Option<(&[u8], &[u8])> {
    text.strip_prefix(b"/")?;
    let ends = |at: usize| {
        let is_end =
            text.get(at + 1).is_none_or(|&next| next == b'|' || next.is_ascii_whitespace());
        text[at] == b'/' && text[at - 1] != b'\\' && is_end
    };
    let end = (2..text.len()).find(|&at| ends(at))?;
    Some((&text[1..end], &text[end + 1..]))
}

/// A word, or what is between quotes, and the rest of the text.
fn value(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let end = quoted.iter().position(|&byte| byte == b'"');
        let end = end.ok_or("a \" is missing at the end")?;
        return Ok((quoted[..end].to_vec(), &quoted[end + 1..]));
    }
    let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'|';
    let end = text.iter().position(ends).unwrap_or(text.len());
    Ok((text[..end].to_vec(), &text[end..]))
}

/// A name and the operator after it, if a term begins so, and what follows. Blanks may be around
/// the operator, if the name is a column.
fn comparison<'a>(
    text: &'a [u8],
    column: Columns<'_>,
) -> Option<(&'a str, &'static str, &'a [u8])> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'%');
    let end = text.iter().position(|byte| !is_name(byte)).filter(|&end| end > 0)?;
    let name = str::from_utf8(&text[..end]).ok()?;
    let is_apart = text[end..].first().is_some_and(u8::is_ascii_whitespace);
    if is_apart && subject(name).is_none() && !is_state(name) && column(name).is_none() {
        return None;
    }
    let rest = text[end..].trim_ascii_start();
    // A regex after a word is a term of its own.
    let operators = OPERATORS.into_iter().filter(|op| !is_apart || !matches!(*op, "~" | ":"));
    let operator = operators.into_iter().find(|op| rest.starts_with(op.as_bytes()))?;
    Some((name, operator, rest[operator.len()..].trim_ascii_start()))
}

fn subject(name: &str) -> Option<Subject> {
    match &*name.to_ascii_lowercase() {
        "name" | "comm" => Some(Subject::Name),
        "command" | "cmdline" => Some(Subject::Command),
        "user" => Some(Subject::User),
        "cgroup" => Some(Subject::Cgroup),
        _ => None,
    }
}

fn is_state(name: &str) -> bool {
    name.eq_ignore_ascii_case("state")
}

fn compared<'a>(
    text: &'a [u8],
    name: &str,
    operator: &str,
    after: &'a [u8],
    column: Columns<'_>,
) -> Result<(Test, &'a [u8]), String> {
    let (subject, is_state, metric) = (subject(name), is_state(name), column(name));
    if subject.is_none() && !is_state && metric.is_none() {
        return match operator {
            ">" | "<" | ">=" | "<=" => Err(format!(
                "no column {name:?}; put the text in quotes to search for it: \"{name}{operator}…\""
            )),
            _ => word(text),
        };
    }
    let (value, rest) = value(after)?;
    if value.is_empty() {
        return Err(format!("{name}{operator} needs a value"));
    }
    let test = match (subject, is_state, metric) {
        (Some(subject), ..) => of_text(name, subject, operator, value)?,
        (None, true, _) => of_state(operator, &value)?,
        (None, false, Some(metric)) => of_number(name, metric, operator, &value)?,
        (None, false, None) => return word(text),
    };
    Ok((test, rest))
}

fn of_text(name: &str, subject: Subject, operator: &str, value: Vec<u8>) -> Result<Test, String> {
    let wanted = match operator {
        "=" => Match::Whole(value),
        ":" => Match::Part(value),
        "~" => Match::Pattern(regex(&value)?),
        "!=" => return Err(format!("{name} is a text: write !{name}=…")),
        _ => return Err(format!("{name} is a text: = the whole, : a part, ~ a regex")),
    };
    Ok(Test::Text(subject, wanted))
}

fn of_state(operator: &str, value: &[u8]) -> Result<Test, String> {
    let text = String::from_utf8_lossy(value);
    let letters: String = text.chars().filter(|letter| !matches!(letter, ',')).collect();
    let letters = letters.to_ascii_uppercase().replace('T', "Tt");
    let is_known = |letter: char| letter == 't' || state::from_letter(letter).is_some();
    if !matches!(operator, "=" | ":") || letters.is_empty() || !letters.chars().all(is_known) {
        return Err("state= takes letters such as R or D,S".into());
    }
    Ok(Test::State(letters))
}

fn of_number(name: &str, metric: Metric, operator: &str, value: &[u8]) -> Result<Test, String> {
    let comparison = match operator {
        "=" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        ">" => Comparison::Greater,
        "<" => Comparison::Less,
        ">=" => Comparison::AtLeast,
        "<=" => Comparison::AtMost,
        _ => return Err(format!("{name} is a number: compare it with = != > < >= <=")),
    };
    let text = String::from_utf8_lossy(value);
    let number = number(&text, &metric.unit()).ok_or_else(|| {
        let unit = metric.unit();
        let forms = units(&unit).iter().map(|&(name, _)| name).collect::<Vec<_>>().join(", ");
        let own =
            if unit.is_empty() || unit == "count" { String::new() } else { format!(" in {unit}") };
        let more = if forms.is_empty() { String::new() } else { format!(", or with {forms}") };
        format!("{text:?} is not a number for {name}: give one{own}{more}")
    })?;
    Ok(Test::Number(metric, comparison, number))
}

/// The units that a number of a column may have, with their factors to what the column has.
fn units(unit: &str) -> Vec<(&'static str, f64)> {
    let scaled = |units: &[(&'static str, f64)], by: f64| {
        units.iter().map(|&(name, factor)| (name, factor / by)).collect()
    };
    match unit.strip_suffix("/s").unwrap_or(unit) {
        "ns" => scaled(&NANOSECONDS, 1.0),
        "us" => scaled(&NANOSECONDS, 1e3),
        "s" => scaled(&NANOSECONDS, 1e9),
        "bytes" => scaled(&BINARY, 1.0),
        "KiB" => scaled(&BINARY, 1024.0),
        "%" => vec![("%", 1.0)],
        "count" => scaled(&DECIMAL, 1.0),
        _ => Vec::new(),
    }
}

/// A number with an optional unit, as the column has it.
fn number(text: &str, unit: &str) -> Option<f64> {
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
    let end = text.find(|c| !digits(c)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    if suffix.is_empty() {
        return Some(number);
    }
    let units = units(unit);
    // Sizes have their unit in either case; m is minutes and ms no mega.
    let found = units.iter().find(|(name, _)| *name == suffix).or_else(|| {
        units.iter().find(|(name, _)| name.len() == 1 && name.eq_ignore_ascii_case(suffix))
    });
    found.map(|&(_, factor)| number * factor)
}

fn regex(pattern: &[u8]) -> Result<Regex, String> {
    let pattern = str::from_utf8(pattern).map_err(|_| "a regex must be UTF-8".to_owned())?;
    let built = RegexBuilder::new(pattern).case_insensitive(true).build();
    built.map_err(|error| {
        // The last line says what is wrong; those before draw it.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        format!("the regex {pattern:?} is wrong: {}", last.trim_start_matches("error: "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Field;

    fn parsed(text: &str) -> Result<Vec<Vec<Term>>, String> {
        let column = |name: &str| match name {
            "rss" => Some(Metric::Field(Field::rss_kb)),
            "cpu%" => Some(Metric::TotalPct),
            _ => Metric::from_name(name),
        };
        alternatives(text.as_bytes(), &column)
    }

    fn number_of(text: &str) -> f64 {
        match &parsed(text).unwrap()[0][0].test {
            Test::Number(_, _, number) => *number,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn numbers_have_the_unit_of_their_column() {
        for (text, number) in [
            ("rss>10", 10.0),
            ("rss>10M", 10_240.0),
            ("rss>1g", 1_048_576.0),
            ("cpu%>5%", 5.0),
            ("cpu%>=.5", 0.5),
            ("cpu_ns>1.5s", 1.5e9),
            ("cpu_ns>2m", 120e9),
            ("ac_etime>1h", 3_600e6),
            ("nvcsw_per_sec>1K", 1000.0),
            ("read_bytes_per_sec>1K", 1024.0),
            ("ac_nice=-5", -5.0),
            ("rss > 10M", 10_240.0),
            ("rss >= 10", 10.0),
            ("rss> 10", 10.0),
            ("rss != 10 b", 10.0),
        ] {
            assert_eq!(number_of(text), number, "{text}");
        }
        assert!(parsed("rss>10%").is_err());
        assert!(parsed("ac_nice>1M").is_err());
    }

    #[test]
    fn terms_are_words_regexes_and_comparisons() {
        let all = parsed("a !\"b c\" /d e/|~f user=root").unwrap();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
        assert!(all[0][1].negated && !all[0][0].negated);
        assert!(matches!(&all[0][1].test, Test::Anywhere(Match::Part(part)) if part == b"b c"));
        assert!(matches!(&all[0][2].test, Test::Anywhere(Match::Pattern(_))));
        assert!(matches!(&all[1][1].test, Test::Text(Subject::User, Match::Whole(_))));
        assert!(!parsed("!!a").unwrap()[0][0].negated);
        // What is no column is a word, whatever is in it.
        for word in ["kworker/0:1", "/usr/bin", "a=b", "x:y", "(sd-pam)", "9>"] {
            let found = parsed(word);
            assert!(found.is_ok() || word.ends_with('>'), "{word}: {found:?}");
        }
        assert!(parsed(" \t ").unwrap().is_empty());
        // Blanks are around the operator of a column alone.
        let of_number = |text: &str| matches!(parsed(text).unwrap()[0][0].test, Test::Number(..));
        assert!(of_number("rss > 100M") && !of_number("a = b"));
        assert_eq!(parsed("user ~root").unwrap()[0].len(), 2);
        assert!(parsed("rss > ").is_err() && parsed("rss > | a").is_err());
    }
}
