//! `make install` and `make uninstall`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tombolo_tests::{overlay::binary, process::Said};

#[test]
fn install_puts_everything_in_place_and_uninstall_leaves_nothing() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let make = |target: &str| {
        let mut command = Command::new("make");
        command
            .args([
                "--no-print-directory",
                "-C",
                concat!(env!("CARGO_MANIFEST_DIR"), "/.."),
            ])
            .arg(target)
            .arg(format!("DESTDIR={}", root.path().display()))
            .arg("PREFIX=/usr")
            .arg(format!(
                "FROM={}",
                binary("node").parent().expect("a directory").display()
            ));
        Said::by(&mut command).ok();
    };

    make("install");

    let files = files_under(root.path());
    for wanted in [
        "usr/bin/tombolo",
        "usr/bin/node",
        "usr/bin/tombolo-controller",
        "usr/lib/systemd/system/tombolo.service",
        "usr/lib/systemd/system/tombolo-controller.service",
        "usr/share/man/man1/tombolo.1",
        "usr/share/man/man1/tombolo-controller.1",
        "usr/share/bash-completion/completions/tombolo",
    ] {
        assert!(
            files.contains(&root.path().join(wanted)),
            "{wanted} is missing in {files:#?}"
        );
    }
    let installed =
        Said::by(Command::new(root.path().join("usr/bin/tombolo")).arg("--version")).ok();
    assert!(installed.contains(env!("CARGO_PKG_VERSION")), "{installed}");
    let unit = std::fs::read_to_string(root.path().join("usr/lib/systemd/system/tombolo.service"))
        .expect("just installed");
    assert!(unit.contains("ExecStart=/usr/bin/tombolo up"), "{unit}");

    make("uninstall");

    assert_eq!(files_under(root.path()), Vec::<PathBuf>::new());
}

/// Everything below, directories too.
fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_under(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
