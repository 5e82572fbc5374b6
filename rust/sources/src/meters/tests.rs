use super::*;

#[test]
fn pressure_is_read_with_and_without_full() {
    let text = b"some avg10=1.25 avg60=0.00 avg300=0.00 total=1234\n\
        full avg10=0.50 avg60=0.00 avg300=0.00 total=99\n";
    let some = Stall { avg10_centi: 125, total_us: 1234 };
    let full = Some(Stall { avg10_centi: 50, total_us: 99 });
    assert_eq!(parse_pressure(text), Some(Pressure { some, full }));
    // Linux before 5.13, for CPUs.
    let some_alone = &text[..text.iter().position(|&byte| byte == b'\n').expect("a line")];
    assert_eq!(parse_pressure(some_alone), Some(Pressure { some, full: None }));
    // A kernel without it refuses the read.
    assert_eq!(parse_pressure(b""), None);
    assert_eq!(parse_pressure(b"some avg10=1.25 total=x\n"), None);
}

#[test]
fn disks_count_in_bytes_and_unused_ones_are_left_out() {
    let text = b"   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n \
        254       0 vda 50 1 200 5 20 2 400 3 0 77 9 1 36 3 2 235 59\n \
        254       1 vda1 1 0 8\n";
    let disks = parse_disks(text);
    let counts = DiskCounts {
        reads: 50,
        read_bytes: 102_400,
        writes: 20,
        written_bytes: 204_800,
        busy_ms: 77,
    };
    assert_eq!(disks, [Disk { name: "vda".into(), counts }]);
}

#[test]
fn networks_are_read_without_the_loopback() {
    let text = b"Inter-|   Receive                    |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes ...\n    \
        lo: 607 11 0 0 0 0 0 0 607 11 0 0 0 0 0 0\n  \
        eth0:9451 203 1 2 0 0 0 0 1046 130 3 4 0 0 0 0\n";
    let counts = NetworkCounts {
        received_bytes: 9451,
        received_packets: 203,
        sent_bytes: 1046,
        sent_packets: 130,
        failed_packets: 10,
    };
    assert_eq!(parse_networks(text), [Network { name: "eth0".into(), counts }]);
}

#[test]
fn virtual_devices_count_where_there_are_no_others() {
    let class = |name: &&str| match *name {
        "sda" => Some(true),
        "dm-0" => Some(false),
        _ => None,
    };
    assert_eq!(known(vec!["sda", "sda1", "dm-0"], class), Some(vec!["sda"]));
    assert_eq!(known(vec!["dm-0"], class), Some(vec!["dm-0"]));
    // Without /sys no device is known: that is no zero.
    assert_eq!(known(vec!["sdb"], class), None);
    assert_eq!(known(vec![], class), Some(vec![]));
}

#[test]
fn the_smallest_limits_on_the_way_to_the_root_are_read() {
    let mount = std::env::temp_dir().join(format!("ptop-limits-{}", std::process::id()));
    let inner = mount.join("a/b");
    fs::create_dir_all(&inner).expect("a directory");
    let write = |path: &str, text: &str| fs::write(mount.join(path), text).expect("a file");
    write("a/cpu.max", "50000 100000\n");
    write("a/cpu.stat", "usage_usec 7\nnr_throttled 3\nthrottled_usec 4500\n");
    write("a/memory.max", "max\n");
    write("a/b/cpu.max", "100000 100000\n");
    write("a/b/memory.max", "4096\n");
    write("a/b/memory.current", "1024\n");
    let read = |path| Limits::of(&mount, path).read(&mut vec![0; 4096], &mut 0);
    let cpu = CgroupLimits {
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        nr_throttled: Some(3),
        throttled_us: Some(4500),
        ..CgroupLimits::default()
    };
    let memory_max_bytes = Some(4096);
    let both = CgroupLimits { memory_max_bytes, memory_current_bytes: Some(1024), ..cpu };
    assert_eq!(read("/a/b"), Some(both));
    assert_eq!(read("/a"), Some(cpu));
    assert_eq!(read("/"), None);
    assert_eq!(read("/../other"), None);
    fs::remove_dir_all(mount).expect("removed");
}
