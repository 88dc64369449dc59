//! Container images made of what this machine has: busybox, a few programs and the libraries they need. No registry is
//! asked.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    overlay::{beside_the_test_program, binary},
    process::Said,
};

/// The image of ordinary containers on every host.
pub const IMAGE: &str = "tombolo-test";
/// What Tombolo's own images stand on, where Debian's cannot be had.
pub const BASE: &str = "tombolo-base";
/// The user in the controller's image.
const CONTROLLER: u32 = 9791;

/// [`IMAGE`] as a tar file for `docker import`; made once per test program.
///
/// # Panics
/// When a program that it is made of is missing.
#[track_caller]
pub fn tar() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| make("docker-image", |root| install(root, &["ip", "iperf3"])))
}

/// [`BASE`] in the same way.
///
/// # Panics
/// When a program that it is made of is missing.
#[track_caller]
pub fn base() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        make("docker-base", |root| {
            install(root, &["ip", "nft", "tini", "iptables", "ip6tables"]);
            install(root, &["iptables-save", "ip6tables-save"]);
            for program in ["node", "controller"] {
                copy_all(root, libraries(&binary(program)));
            }
            let modules = Said::by(Command::new("sh").args(["-c", "ls -d /usr/lib/*/xtables/*"]));
            copy_all(root, modules.ok().lines().map(PathBuf::from).collect());
            let state = root.join("var/lib/tombolo/controller");
            fs::create_dir_all(&state).expect("a fresh directory");
            chown(&state, Some(CONTROLLER), Some(CONTROLLER)).expect("root may");
        })
    })
}

/// An image with busybox and what `fill` puts into its root file system, as a tar file for `docker import`.
///
/// # Panics
/// When the disk refuses.
#[track_caller]
pub fn make(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let work = beside_the_test_program().join(format!("{name}-{}", std::process::id()));
    let root = work.join("root");
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "run"] {
        fs::create_dir_all(root.join(directory)).expect("the target directory is writable");
    }
    install(&root, &["busybox"]);
    fill(&root);
    let busybox = which("busybox");
    for applet in Said::by(Command::new(&busybox).arg("--list")).ok().lines() {
        let link = root.join("bin").join(applet);
        if applet != "busybox" && !link.exists() {
            symlink(&busybox, link).expect("a fresh directory");
        }
    }
    for (file, contents) in [
        ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("group", "root:x:0:\n"),
        ("nsswitch.conf", "hosts: files dns\n"),
    ] {
        fs::write(root.join("etc").join(file), contents).expect("a fresh directory");
    }
    let tar = beside_the_test_program().join(format!("{name}.tar"));
    pack(&root, &tar);
    fs::remove_dir_all(&work).expect("our own directory");
    tar
}

/// Puts programs of this machine and the libraries they need into a root file system.
///
/// # Panics
/// When one is missing.
#[track_caller]
pub fn install(root: &Path, programs: &[&str]) {
    for program in programs {
        let path = which(program);
        let mut files = libraries(&path);
        files.insert(path);
        copy_all(root, files);
    }
}

/// A static program has no libraries, and ldd says so by failing.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let libraries = Said::by(Command::new("ldd").arg(program)).stdout;
    libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[track_caller]
fn copy_all(root: &Path, files: BTreeSet<PathBuf>) {
    for file in files {
        let inside = root.join(file.strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(inside.parent().expect("not the root")).expect("a fresh directory");
        fs::copy(&file, &inside).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// Packs a directory, whole or not at all: several test programs may do it at once.
///
/// # Panics
/// When tar fails.
#[track_caller]
pub fn pack(root: &Path, tar: &Path) {
    let unfinished = tar.with_extension(std::process::id().to_string());
    Said::by(
        Command::new("tar")
            .arg("-C")
            .arg(root)
            .arg("-cf")
            .arg(&unfinished)
            .arg("."),
    )
    .ok();
    fs::rename(&unfinished, tar).expect("the same directory");
}

#[track_caller]
fn which(program: &str) -> PathBuf {
    let path = Said::by(Command::new("sh").args(["-c", &format!("command -v {program}")]));
    assert!(path.code == 0, "{program} is missing: make docker-tools");
    path.stdout.trim().into()
}
