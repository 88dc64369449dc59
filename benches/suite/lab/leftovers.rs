//! What is left when something of ours could not clean up behind itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{PREFIX, ip};

/// Removes what a run left that was killed before it could clean up: namespaces, directories, sockets.
pub fn remove_leftovers() {
    for (name, _) in orphans(Path::new("/run/netns")) {
        println!("removing {name}, left by a run that was killed");
        remove_namespace(&name);
    }
    // What of these cannot be removed is in nobody's way.
    for (_, path) in orphans(&std::env::temp_dir()) {
        let _ = fs::remove_dir_all(path);
    }
    for (_, path) in orphans(Path::new("/var/run/wireguard")) {
        let _ = fs::remove_file(path);
    }
}

/// Everything in a folder that carries the process id of a suite that is no more.
fn orphans(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .filter(|(name, _)| {
            owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
        })
        .collect()
}

/// The process id in `tmbb-1234-a`, `tmbb-1234-a-x7Fk2p` and `tmbb1234a.sock`.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// What still runs in a namespace of ours was started by what we started; namespaces go with their last process.
pub(super) fn remove_namespace(name: &str) {
    let pids = ip(&["netns", "pids", name]).unwrap_or_default();
    for pid in pids
        .split_whitespace()
        .filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?))
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let _ = ip(&["netns", "del", name]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_carries_the_prefix_and_a_process_id_is_ours() {
        let owners = [
            "tmbb-1234-a",
            "tmbb-1234-b-x7Fk2p",
            "tmbb1234a.sock",
            "tmbb-x",
            "tmbn-12-a",
            "wg0.sock",
        ]
        .map(owner);
        assert_eq!(
            owners,
            [Some(1234), Some(1234), Some(1234), None, None, None]
        );
    }
}
