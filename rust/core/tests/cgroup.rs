//! Names in the paths of cgroups, as each runtime makes them.

use precise_top_core::CgroupName;
use proptest::prelude::*;

const ID: &str = "3f2a1b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708";
const SHORT: &str = "3f2a1b4c5d6e";
const OTHER: &str = "aa0a1b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708";
const UID: &str = "8d9f7a52-1c2b-4e0d-9a3f-0b1c2d3e4f50";
const UNDERSCORED: &str = "8d9f7a52_1c2b_4e0d_9a3f_0b1c2d3e4f50";
const STATIC: &str = "0123456789abcdef0123456789abcdef";

fn names(path: &str) -> [String; 3] {
    CgroupName::ALL.map(|kind| String::from_utf8_lossy(&kind.of(path.as_bytes())).into_owned())
}

#[track_caller]
fn check(path: &str, container: &str, pod: &str, unit: &str) {
    let path = path.replace("ID", ID).replace("OTHER", OTHER);
    assert_eq!(names(&path), [container, pod, unit], "{path}");
}

#[test]
fn docker() {
    check("/docker/ID", SHORT, "", "");
    check("/system.slice/docker-ID.scope", SHORT, "", &format!("docker-{ID}.scope"));
    // A container that runs systemd, and docker in docker.
    check("/docker/ID/system.slice/nginx.service", SHORT, "", "nginx.service");
    check(&format!("/docker/{OTHER}/docker/ID"), SHORT, "", "");
    check("/system.slice/docker.service", "", "", "docker.service");
}

#[test]
fn podman() {
    let unit = format!("libpod-{ID}.scope");
    check("/machine.slice/libpod-ID.scope/container", SHORT, "", &unit);
    let user = "/user.slice/user-1000.slice/user@1000.service/user.slice";
    check(&format!("{user}/libpod-ID.scope"), SHORT, "", &unit);
    check("/libpod_parent/libpod-ID", SHORT, "", "");
    check("/libpod_parent/libpod-conmon-ID", "", "", "");
    let conmon = format!("libpod-conmon-{ID}.scope");
    check("/machine.slice/libpod-conmon-ID.scope", "", "", &conmon);
    let pod = format!("/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-ID.scope");
    check(&pod, SHORT, &OTHER[..12], &unit);
    check(&format!("/libpod_parent/{OTHER}/libpod-ID"), SHORT, &OTHER[..12], "");
    check(&format!("/libpod_parent/{OTHER}"), "", &OTHER[..12], "");
}

#[test]
fn kubernetes_with_the_driver_systemd() {
    let slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod";
    for (runtime, quality) in [("cri-containerd", "-burstable"), ("crio", "-besteffort")] {
        let slices = format!("/kubepods.slice/kubepods{quality}.slice/kubepods{quality}-pod");
        let unit = format!("{runtime}-{ID}.scope");
        check(&format!("{slices}{UNDERSCORED}.slice/{unit}"), SHORT, UID, &unit);
    }
    check(
        &format!("{slices}{STATIC}.slice"),
        "",
        STATIC,
        &format!("{}{STATIC}.slice", &slices[41..]),
    );
    let monitor = format!("crio-conmon-{ID}.scope");
    check(&format!("{slices}{UNDERSCORED}.slice/{monitor}"), "", UID, &monitor);
    // Guaranteed pods have no slice of their class; kind nests everything in docker.
    let unit = format!("cri-containerd-{ID}.scope");
    check(&format!("/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/{unit}"), SHORT, UID, &unit);
    let kind = format!("/system.slice/docker-{OTHER}.scope/kubelet.slice/kubelet-kubepods.slice");
    let kind = format!("{kind}/kubelet-kubepods-pod{UNDERSCORED}.slice/{unit}");
    check(&kind, SHORT, UID, &unit);
}

#[test]
fn kubernetes_with_the_driver_cgroupfs() {
    check(&format!("/kubepods/burstable/pod{UID}/ID"), SHORT, UID, "");
    check(&format!("/kubepods/pod{UID}/ID"), SHORT, UID, "");
    check(&format!("/kubepods/besteffort/pod{STATIC}/ID"), SHORT, STATIC, "");
    check(&format!("/kubepods/besteffort/pod{UID}/crio-ID"), SHORT, UID, "");
    // The driver of kubelet and that of containerd differ.
    let mixed = format!("kubepods-besteffort-pod{UNDERSCORED}.slice:cri-containerd:{ID}");
    check(&format!("/system.slice/containerd.service/{mixed}"), SHORT, UID, "containerd.service");
}

#[test]
fn other_runtimes() {
    check("/default/ID", SHORT, "", "");
    check("/system.slice/nerdctl-ID.scope", SHORT, "", &format!("nerdctl-{ID}.scope"));
    check("/ecs/ad1c6b9b58ed47ec9cb7bcd3bf07e2ba/ID", SHORT, "", "");
    check("/lxc.payload.web-1/init.scope", "web-1", "", "init.scope");
    check("/lxc/101/ns", "101", "", "");
    check("/lxc.monitor.web-1", "", "", "");
    check("/machine.slice/machine-web\\x2d1.scope/payload", "web-1", "", "machine-web\\x2d1.scope");
    let nspawn = "systemd-nspawn@web.service";
    check(&format!("/machine.slice/{nspawn}/payload"), "web", "", nspawn);
    let machine = "machine-qemu\\x2d1\\x2dvm.scope";
    check(&format!("/machine.slice/{machine}/libvirt"), "", "", machine);
}

#[test]
fn systemd() {
    check("/", "", "", "");
    check("/init.scope", "", "", "init.scope");
    check("/system.slice/ssh.service", "", "", "ssh.service");
    check("/system.slice/system-getty.slice/getty@tty1.service", "", "", "getty@tty1.service");
    check("/user.slice/user-0.slice/session-3.scope", "", "", "session-3.scope");
    let user = "/user.slice/user-1000.slice/user@1000.service";
    check(&format!("{user}/app.slice/app-firefox-12.scope"), "", "", "app-firefox-12.scope");
    check(&format!("{user}/init.scope"), "", "", "init.scope");
    check("/system.slice/dev-hugepages.mount", "", "", "dev-hugepages.mount");
    check("/user.slice", "", "", "user.slice");
    check("/system.slice/_cpu.service", "", "", "cpu.service");
    check("/a/.service", "", "", "");
}

#[test]
fn what_only_looks_like_a_name() {
    // Short ids, capital digits, digits that a word runs into.
    check("/docker/3f2a1b4c5d6e", "", "", "");
    check(&format!("/x/{}", ID.to_uppercase()), "", "", "");
    check("/x/cacheID", "", "", "");
    check("/x/pods/podium", "", "", "");
    check("/kubepods/burstable/podzzzzzzzz-1c2b-4e0d-9a3f-0b1c2d3e4f50", "", "", "");
}

proptest! {
    #[test]
    fn any_path_has_names_or_none(path in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in CgroupName::ALL {
            prop_assert!(kind.of(&path).len() <= path.len());
        }
    }
}
