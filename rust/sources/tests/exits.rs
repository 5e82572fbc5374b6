//! Exit events against a known number of deaths: none is lost unsaid.

use std::process::Command;

use precise_top_sources::{Event, Listener, has_net_admin};

/// That many shells that die at once, and then one on each CPU.
fn die(count: usize) {
    let status = Command::new("sh")
        .args(["-c", &format!("for i in $(seq {count}); do (:); done")])
        .status()
        .expect("sh runs");
    assert!(status.success());
}

fn on_each_cpu() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    for cpu in 0..cpus {
        let pinned = Command::new("taskset").args(["-c", &cpu.to_string(), "true"]).status();
        assert!(pinned.expect("taskset runs").success());
    }
}

fn listener() -> Option<Listener> {
    if !has_net_admin() {
        assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "CI has the privilege");
        return None;
    }
    Some(Listener::open().expect("exits can be had here"))
}

fn drained(listener: &mut Listener) -> Vec<Event> {
    let mut exits = Vec::new();
    listener.drain(&mut exits).expect("exits are read");
    exits
}

#[test]
fn all_exits_come_and_none_is_called_lost() {
    let Some(mut listener) = listener() else { return };
    die(2000);
    let exits = drained(&mut listener);
    assert!(exits.len() >= 2000, "{} of 2000", exits.len());
    assert_eq!(listener.lost(), 0);
}

#[test]
fn what_a_small_buffer_cannot_hold_is_counted() {
    let Some(mut listener) = listener() else { return };
    // The numbers of each CPU have to be known before any is lost.
    on_each_cpu();
    drained(&mut listener);
    listener.limit_receive_buffer(4096).expect("a smaller buffer");
    die(1000);
    let mut seen = drained(&mut listener).len() as u64;
    // The next event of a CPU has the number of those lost before it.
    on_each_cpu();
    seen += drained(&mut listener).len() as u64;
    assert!(listener.lost() > 0, "nothing lost in {seen}");
    assert!(seen + listener.lost() >= 1000, "{seen} seen, {} lost", listener.lost());
}
