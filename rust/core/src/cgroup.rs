//! Names in the paths of cgroups: container, pod and systemd unit.
//!
//! Design decisions
//!
//! * A path is all that there is: no runtime is asked. So a container is named as its runtime
//!   lists it, by the first 12 digits of its id; LXC, LXD and nspawn have names in the path.
//! * The innermost container, pod or unit counts, as that is where the task was put.
//! * A component has the form that the runtime gives it: a directory (driver cgroupfs), or a
//!   scope of systemd (driver systemd). Monitors (conmon, lxc.monitor) stand beside the container.

use std::borrow::Cow;

/// A name that a cgroup's path may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CgroupName {
    /// Of docker, podman, containerd, CRI-O, LXC, LXD and systemd-nspawn.
    Container,
    /// The uid of a Kubernetes pod, or the id of a podman pod.
    Pod,
    /// The unit of systemd; a slice only where the task is in no other unit.
    Unit,
}

/// Digits of an id.
const ID: usize = 64;
/// Digits of an id that runtimes show.
const SHORT: usize = 12;
/// The units that may have tasks, slices aside.
const UNITS: [&[u8]; 5] = [b".service", b".scope", b".mount", b".socket", b".swap"];

impl CgroupName {
    /// All names.
    pub const ALL: [CgroupName; 3] = [CgroupName::Container, CgroupName::Pod, CgroupName::Unit];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            CgroupName::Container => "container",
            CgroupName::Pod => "pod",
            CgroupName::Unit => "unit",
        }
    }

    /// The kind of that word.
    pub fn from_name(name: &str) -> Option<CgroupName> {
        CgroupName::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name in a path; empty where it has none.
    pub fn of(self, path: &[u8]) -> Cow<'_, [u8]> {
        let found = match self {
            CgroupName::Container => last(path, container),
            CgroupName::Pod => last(path, pod),
            CgroupName::Unit => unit(path).map(Cow::Borrowed),
        };
        found.unwrap_or_default()
    }
}

/// What `find` makes of the last component for which it is something, from the component
/// before it and the component.
fn last<'a>(
    path: &'a [u8],
    find: impl Fn(&'a [u8], &'a [u8]) -> Option<Cow<'a, [u8]>>,
) -> Option<Cow<'a, [u8]>> {
    // runc has written `slice:runtime:id` into one component.
    let parts: Vec<&[u8]> = path.split(|&byte| byte == b'/' || byte == b':').collect();
    parts.windows(2).rev().find_map(|pair| find(pair[0], pair[1]))
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id that a component ends with, and what stands before it.
fn id(component: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, id) = component.split_at_checked(component.len().checked_sub(ID)?)?;
    let is_apart = before.is_empty() || before.ends_with(b"-") || before.ends_with(b"_");
    (is_hex(id) && is_apart).then_some((before, &id[..SHORT]))
}

fn container<'a>(parent: &'a [u8], component: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let scope = component.strip_suffix(b".scope");
    if let Some((runtime, id)) = id(scope.unwrap_or(component)) {
        let is_pod = parent == b"libpod_parent" && runtime.is_empty();
        return (!runtime.ends_with(b"conmon-") && !is_pod).then_some(Cow::Borrowed(id));
    }
    let name = component
        .strip_prefix(b"lxc.payload.")
        .or_else(|| matches!(parent, b"lxc" | b"lxc.payload").then_some(component))
        .or_else(|| component.strip_prefix(b"systemd-nspawn@")?.strip_suffix(b".service"))
        // The other scopes of machines are virtual machines of libvirt.
        .or_else(|| {
            scope?.strip_prefix(b"machine-").filter(|name| !name.starts_with(b"qemu\\x2d"))
        })?;
    (!name.is_empty()).then(|| unescaped(name))
}

/// The text of which systemd made a part of a unit's name (systemd-escape(1)).
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let (mut text, mut rest) = (Vec::with_capacity(name.len()), name);
    while let [byte, after @ ..] = rest {
        let code = after.strip_prefix(b"x").and_then(|code| code.get(..2));
        let code = code.and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 16).ok());
        match code.filter(|_| *byte == b'\\') {
            Some(code) => {
                text.push(code);
                rest = &after[3..];
            }
            None => {
                text.push(*byte);
                rest = after;
            }
        }
    }
    Cow::Owned(text)
}

fn pod<'a>(parent: &'a [u8], component: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let slice = component.strip_suffix(b".slice");
    let name = slice.unwrap_or(component);
    if let Some((before, id)) = id(name) {
        let is_podman = before.ends_with(b"libpod_pod_")
            || (parent == b"libpod_parent" && before.is_empty() && slice.is_none());
        return is_podman.then_some(Cow::Borrowed(id));
    }
    let at = match slice {
        // The driver systemd: `kubepods-burstable-pod<uid>.slice`, dashes as underscores.
        Some(slice) => slice.windows(4).rposition(|part| part == b"-pod").map(|at| at + 1)?,
        None => 0,
    };
    let uid = name[at..].strip_prefix(b"pod")?;
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_');
    if !matches!(uid.len(), 32 | 36) || !uid.iter().all(is_digit) {
        return None;
    }
    if !uid.contains(&b'_') {
        return Some(Cow::Borrowed(uid));
    }
    Some(Cow::Owned(uid.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect()))
}

fn unit(path: &[u8]) -> Option<&[u8]> {
    let parts = || path.split(|&byte| byte == b'/').rev();
    let is = |part: &&[u8], suffix: &[u8]| part.len() > suffix.len() && part.ends_with(suffix);
    let named = parts().find(|part| UNITS.iter().any(|suffix| is(part, suffix)));
    let unit = named.or_else(|| parts().find(|part| is(part, b".slice")))?;
    // systemd puts an underscore before names that are files of a cgroup.
    Some(unit.strip_prefix(b"_").unwrap_or(unit))
}
