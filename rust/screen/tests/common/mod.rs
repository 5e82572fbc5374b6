//! What the tests of screens share.

use precise_top_core::{Filter, Metric};
use precise_top_screen::{Tabs, ViewSettings};

/// Settings that leave out nothing and choose nothing.
pub(crate) fn settings() -> ViewSettings {
    ViewSettings {
        sort: Metric::TotalPct,
        descending: true,
        filter: Filter::default(),
        user: String::new(),
        limit: None,
        top: 0,
        tree: None,
        group_by: String::new(),
        selected_key: None,
        selected: None,
        follow: false,
        tagged: Vec::new(),
        scroll: 0,
        paused: false,
        badge: String::new(),
        ascii: false,
        replay: String::new(),
        age_s: None,
        exact_s: None,
        lacks: String::new(),
        hidden: Vec::new(),
        disks: Vec::new(),
        networks: Vec::new(),
        tabs: Tabs::default(),
        key_bar: Vec::new(),
        prompt: None,
        notice: String::new(),
    }
}
