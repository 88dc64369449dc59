//! What passes an interface, as tcpdump sees it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use super::Namespace;
use crate::process::{Process, Said, wait_for};

/// A running packet capture.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture on an interface (`any` for all); returns once the kernel hands packets over.
    ///
    /// # Panics
    /// When tcpdump does not start.
    #[track_caller]
    pub fn start(namespace: &Namespace, interface: &str, filter: &str, dir: &Path) -> Self {
        static CAPTURES: AtomicU32 = AtomicU32::new(0);
        let number = CAPTURES.fetch_add(1, Ordering::Relaxed);
        let file = dir.join(format!("capture{number}.pcap"));
        let process = Process::spawn(
            "tcpdump",
            namespace
                .command("tcpdump")
                .args(["-Z", "root", "-n", "-U", "--immediate-mode", "-s", "0"])
                .args(["-i", interface, "-w"])
                .arg(&file)
                .args(filter.split_whitespace()),
            &dir.join(format!("capture{number}.log")),
        );
        wait_for(
            "tcpdump to listen",
            std::time::Duration::from_secs(10),
            || process.log().contains("listening on").then_some(()),
        );
        Self { process, file }
    }

    /// Ends the capture and gives its raw bytes and its packets as tcpdump prints them, one a line.
    ///
    /// # Panics
    /// When tcpdump does not end.
    #[track_caller]
    #[must_use]
    pub fn stop(mut self) -> Captured {
        self.process.signal(rustix::process::Signal::INT);
        self.process.wait(std::time::Duration::from_secs(10));
        let listing = Said::by(
            Command::new("tcpdump")
                .args(["-Z", "root", "-nn", "-q", "-t", "-r"])
                .arg(&self.file),
        )
        .ok();
        Captured {
            bytes: fs::read(&self.file).expect("tcpdump wrote its file"),
            lines: listing.lines().map(str::to_owned).collect(),
        }
    }
}

/// What was captured.
#[derive(Debug)]
pub struct Captured {
    /// The file as it is.
    pub bytes: Vec<u8>,
    /// One line per packet.
    pub lines: Vec<String>,
}

impl Captured {
    /// Whether these bytes stand anywhere in any packet.
    #[must_use]
    pub fn shows(&self, marker: &[u8]) -> bool {
        self.bytes
            .windows(marker.len())
            .any(|window| window == marker)
    }
}
