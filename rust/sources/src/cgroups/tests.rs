use super::*;
use precise_top_core::CgroupMetric as Of;

#[test]
fn files_say_what_the_kernel_writes() {
    assert_eq!(parse_cpu_max(b"max 100000\n").map(|max| max.quota_us), Some(Limit::Max));
    let half = CpuMax { quota_us: Limit::At(50_000), period_us: 100_000 };
    assert_eq!(parse_cpu_max(b"50000 100000\n"), Some(half));
    assert_eq!(parse_cpu_max(b"50000 0\n"), None);
    assert_eq!(parse_cpu_max(b""), None);
    let stat = b"usage_usec 5\nnr_periods 7\nnr_throttled 3\nthrottled_usec 99\n";
    assert_eq!(word(stat, b"nr_throttled"), Some(3));
    assert_eq!(word(b"usage_usec 5\n", b"nr_throttled"), None);
    assert_eq!(limit(b"max\n"), Some(Limit::Max));
    assert_eq!(limit(b"4096\n"), Some(Limit::At(4096)));
    assert_eq!(limit(b"-1\n"), None);
}

#[test]
fn io_is_that_of_the_disks() {
    let text = b"8:0 rbytes=10 wbytes=1 rios=1 wios=1 dbytes=0 dios=0\n254:0 rbytes=10 wbytes=1\n\
        8:16 \n8:32 rbytes=5 wbytes=2 rios=1\n";
    assert_eq!(parse_io_stat(text, |device| device == b"254:0"), Some((15, 3)));
    assert_eq!(parse_io_stat(b"", |_| false), Some((0, 0)));
    assert_eq!(parse_io_stat(b"8:0 rbytes=x wbytes=1\n", |_| false), None);
}

#[test]
fn controllers_on_v1_are_named() {
    let hybrid = b"4:memory:/x\n3:cpuset:/\n2:cpu,cpuacct:/\n0::/\n";
    assert_eq!(not_on_v2(true, hybrid), ["cpu", "memory"]);
    assert_eq!(not_on_v2(true, b"0::/user.slice\n"), [""; 0]);
    assert_eq!(not_on_v2(false, b"7:blkio:/\n"), ["cpu", "memory", "io"]);
}

/// A directory with the files of a cgroup.
fn write(folder: &std::path::Path, throttled: u64) {
    fs::create_dir_all(folder).unwrap();
    let stat = format!("nr_periods 9\nnr_throttled {throttled}\nthrottled_usec 5\n");
    fs::write(folder.join("cpu.stat"), stat).unwrap();
    fs::write(folder.join("cpu.max"), "50000 100000\n").unwrap();
    fs::write(folder.join("memory.max"), "max\n").unwrap();
}

#[test]
fn two_readings_make_an_increase_and_the_forgotten_have_none() {
    let mount = std::env::temp_dir().join(format!("cgroups-{}", std::process::id()));
    write(&mount.join("a"), 3);
    let mut reader = CgroupReader::new(Some(mount.clone()));
    let first = reader.part(b"/a", CgroupPart::Cpu);
    assert_eq!(first.value(Of::CpuMaxPct), Some(CgroupValue::Float(50.0)));
    assert_eq!(first.value(Of::NrThrottled), None, "there is nothing before the first reading");
    let memory = reader.part(b"/a", CgroupPart::Memory);
    assert_eq!(memory.value(Of::MemoryMax), Some(CgroupValue::Max));
    assert_eq!(memory.value(Of::MemoryCurrent), None, "a missing file is unknown");
    assert_eq!(reader.kept, 3);

    write(&mount.join("a"), 10);
    let same = reader.part(b"/a", CgroupPart::Cpu);
    assert_eq!(same.now.nr_throttled, Some(3), "a file is read once in a reading");
    reader.begin();
    let second = reader.part(b"/a", CgroupPart::Cpu);
    assert_eq!(second.value(Of::NrThrottled), Some(CgroupValue::Int(7)));
    // Nobody asks for it in the next reading.
    reader.begin();
    reader.begin();
    assert!(reader.known.is_empty() && reader.kept == 0);
    assert_eq!(reader.part(b"/a", CgroupPart::Cpu).value(Of::NrThrottled), None);

    for outside in [&b"/../etc"[..], b"//etc", b"etc", b"/a/../../etc", b""] {
        assert!(reader.directory(outside).is_none(), "{outside:?}");
    }
    assert_eq!(reader.stats(b"/gone"), CgroupStats::default());
    fs::remove_dir_all(mount).unwrap();
}

#[test]
fn values_are_those_of_the_snapshot_that_is_shown() {
    let mount = std::env::temp_dir().join(format!("cgroups-shown-{}", std::process::id()));
    write(&mount.join("a"), 3);
    let mut source = crate::open(Some(crate::SourceKind::Procfs)).expect("a source");
    let mut taken = || source.snapshot(&crate::Request::default()).expect("a snapshot");
    let [first, second, third] = [(); 3].map(|()| Arc::new(taken()));
    let boot_id = first.header().boot_id;
    let reader = CgroupReader::new(Some(mount.clone()));
    let shown = ShownCgroups(Arc::new(Mutex::new(Shown { reader, boot_id, shown_ns: 0 })));
    let begin = |from, to| {
        let interval = Interval::between(Arc::clone(from), Arc::clone(to));
        shown.begin(&interval).expect("cgroups of this machine")
    };
    let before = begin(&first, &second);
    assert_eq!(before.value(b"/a", Of::CpuMaxPct), Some(CgroupValue::Float(50.0)));
    assert_eq!(before.value(b"/a", Of::NrThrottled), None);
    write(&mount.join("a"), 10);
    let now = begin(&second, &third);
    assert_eq!(now.value(b"/a", Of::NrThrottled), Some(CgroupValue::Int(7)));
    assert_eq!(before.value(b"/a", Of::CpuMaxPct), None, "what is read now is of a later time");
    fs::remove_dir_all(mount).unwrap();
}
