//! Numbers and names as text.

use precise_top_screen::text::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_name_can_steer_the_terminal(name in any::<String>()) {
        let shown = safe(&name);
        prop_assert!(!shown.chars().any(char::is_control));
        let unseen = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}');
        prop_assert!(!shown.chars().any(unseen));
        prop_assert_eq!(safe(&shown), &*shown);
    }

    #[test]
    fn a_fitted_text_has_exactly_its_cells(name in any::<String>(), cells in 0..40_usize, left: bool) {
        let side = if left { Side::Left } else { Side::Right };
        let mut line = format!("before{}", safe(&name));
        fit(&mut line, 6, cells, side);
        let fitted = line.strip_prefix("before").expect("what stands before stays");
        prop_assert_eq!(width(fitted), cells);
        let whole = safe(&name);
        let kept = fitted.trim();
        prop_assert!(whole.contains(kept) || whole.contains(kept.trim_end_matches('…')));
    }
}

#[test]
fn a_text_that_is_cut_has_a_mark() {
    let fitted = |text: &str, cells| {
        let mut line = text.to_owned();
        fit(&mut line, 0, cells, Side::Left);
        line
    };
    assert_eq!(fitted("1000000001", 8), "1000000…");
    assert_eq!(fitted("10000001", 8), "10000001");
    assert_eq!(fitted("postgres-a", 8), "postgre…");
    // Nothing is lost here.
    assert_eq!(fitted("root      ", 6), "root  ");
    assert_eq!(fitted("日本語", 5), "日本…");
    assert_eq!(fitted("日本語", 4), "日… ");
    assert_eq!(fitted("name", 1), "…");
    assert_eq!(fitted("name", 0), "");
}

fn made(push: impl FnOnce(&mut String)) -> String {
    let mut text = String::new();
    push(&mut text);
    text
}

#[test]
fn hostile_names() {
    assert_eq!(safe("a\x1b[2Jb"), "a\u{241b}[2Jb");
    assert_eq!(safe("\u{202e}evil\u{200b}"), "\u{fffd}evil\u{fffd}");
    assert_eq!(safe("\x7f\u{9b}"), "\u{2421}\u{fffd}");
    assert_eq!(safe("\u{3164}\u{ffa0}\u{115f}\u{d4e}x"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}x");
    assert_eq!(safe("e\u{301} \u{1112}\u{1161}"), "e\u{301} \u{1112}\u{1161}");
    assert_eq!(safe("日本 plain"), "日本 plain");
    let mut line = "日本".into();
    fit(&mut line, 0, 3, Side::Left);
    assert_eq!(line, "日…");
    fit(&mut line, 0, 70, Side::Right);
    assert_eq!(line, format!("{}日…", " ".repeat(67)));
}

#[test]
fn numbers() {
    for (value, text) in [
        (0.0, "0K"),
        (1023.0, "1023K"),
        (1024.0, "1.0M"),
        (1536.0, "1.5M"),
        (157_286_400.0, "150G"),
    ] {
        assert_eq!(made(|line| push_kibibytes(line, value)), text);
    }
    for (value, text) in [(0.0, "0"), (9.96, "10.0"), (12.0, "12"), (123_456.0, "123k")] {
        assert_eq!(made(|line| push_rate(line, value)), text);
    }
    for (value, text) in [(0.0, "0"), (1023.0, "1023"), (2048.0, "2K"), (2e6, "1.9M")] {
        assert_eq!(made(|line| push_bytes_rate(line, value)), text);
    }
    for (value, text) in [
        (99.996, "100.00"),
        (0.0, "0.00"),
        (0.004, "0.00"),
        (0.05, "0.05"),
        (-1.5, "-1.50"),
        (1e20, "100000000000000000000.00"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(made(|line| push_percent(line, value)), text);
    }
    for number in [0, 7, 10, 4_194_304, u64::MAX.into(), i128::MIN, -5, 1 << 70] {
        assert_eq!(made(|line| push_integer(line, number)), number.to_string());
    }
}

#[test]
fn durations() {
    for (value, text) in [
        (0.0, "0.00s"),
        (59.994, "59.99s"),
        (61.0, "1m01"),
        (3_600.0, "1h00"),
        (86_400.0 * 12.0 + 3.0 * 3600.0, "12d03"),
    ] {
        assert_eq!(made(|line| push_elapsed(line, value)), text);
    }
}

#[test]
fn times_of_day() {
    for (value, text) in
        [(0, "00:00:00"), (86_399, "23:59:59"), (-1, "23:59:59"), (90_061, "01:01:01")]
    {
        assert_eq!(made(|line| push_time_of_day(line, value)), text);
    }
}
