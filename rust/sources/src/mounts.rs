//! Where file systems are mounted.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The directory where cgroup v2 is mounted (proc_pid_mountinfo(5)).
pub fn cgroup_mount() -> Option<PathBuf> {
    parse_cgroup_mount(&fs::read("/proc/self/mountinfo").ok()?)
}

fn parse_cgroup_mount(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|&byte| byte == b'\n').find_map(|line| {
        let mut words = line.split(|&byte| byte == b' ');
        let directory = words.nth(4)?;
        // Optional words end with a hyphen.
        words.find(|&word| word == b"-")?;
        (words.next()? == b"cgroup2").then(|| OsString::from_vec(unescaped(directory)).into())
    })
}

/// A word of mountinfo, where blanks and backslashes stand as three octal digits.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, after @ ..] = rest {
        let escaped = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let value = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        text.push(value.unwrap_or(*first));
        rest = if value.is_some() { &after[3..] } else { after };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_mount_is_found_with_blanks_in_its_name() {
        let mounts = b"29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - tmpfs tmpfs rw\n\
            31 29 0:27 / /mnt/a\\040b rw - cgroup2 cgroup rw,nsdelegate\n";
        assert_eq!(parse_cgroup_mount(mounts), Some(PathBuf::from("/mnt/a b")));
        assert_eq!(parse_cgroup_mount(b"29 23 0:26 / / rw - ext4 /dev/vda rw\n"), None);
    }
}
