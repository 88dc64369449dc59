//! The daemon's side of its socket: who may speak, and one task per speaker.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, chown},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Answer, Request};
use crate::failure::FailureKind;

/// Longest request line: a join link with many controllers is far shorter.
const MAX_REQUEST: u64 = 64 * 1024;
/// Who says nothing for this long is hung up on.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that may wait for the daemon.
const QUEUE: usize = 64;
/// Its members may use the socket.
const GROUP: &str = "tombolo";

/// A request with the way back to who asked.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// The listening socket. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listening: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens; requests come out of the receiver.
    pub fn listen(path: &Path) -> anyhow::Result<(Self, mpsc::Receiver<Asked>)> {
        remove_stale(path)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("Failed to create {}", parent.display()))?;
        }
        let listener = UnixListener::bind(path)
            .with_context(|| format!("Failed to open the socket {}", path.display()))?;
        let group = group_id(GROUP);
        // Owner first, then mode: at no moment may others connect.
        if let Some(group) = group {
            chown(path, None, Some(group))
                .with_context(|| format!("Failed to give {} to {GROUP}", path.display()))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .with_context(|| format!("Failed to set the mode of {}", path.display()))?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let listening = tokio::spawn(accept_all(listener, group, sender));
        Ok((
            Self {
                path: path.to_owned(),
                listening,
            },
            receiver,
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
        // Another daemon may have taken the place already; then there is nothing of ours to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what a killed daemon left, but not the socket of a living one.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        bail!(
            "{} exists and is not a socket: remove it or choose another --socket",
            path.display()
        );
    }
    if StdUnixStream::connect(path).is_ok() {
        bail!(
            "the daemon is running already (it answers at {}): stop it first",
            path.display()
        );
    }
    fs::remove_file(path)
        .with_context(|| format!("Failed to remove the old socket {}", path.display()))
}

async fn accept_all(listener: UnixListener, group: Option<u32>, requests: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, group, requests.clone()));
            }
            Err(error) => {
                // Out of descriptors: the ones in use will be closed.
                tracing::warn!(%error, "Failed to accept on the local socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, group: Option<u32>, requests: mpsc::Sender<Asked>) {
    let may_use = stream.peer_cred().is_ok_and(|peer| may_use(&peer, group));
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader.take(MAX_REQUEST));
    let mut line = String::new();
    if !matches!(timeout(PATIENCE, lines.read_line(&mut line)).await, Ok(Ok(length)) if length > 0)
    {
        return;
    }
    let answer = if may_use {
        answer(&line, &requests).await
    } else {
        Answer::failed(
            FailureKind::Unreachable,
            "no permission: run as root or join the group tombolo",
        )
    };
    let Ok(mut text) = serde_json::to_vec(&answer) else {
        return;
    };
    text.push(b'\n');
    // If who asked has gone away, the answer is of no use.
    let _ = writer.write_all(&text).await;
}

async fn answer(line: &str, requests: &mpsc::Sender<Asked>) -> Answer {
    let request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => {
            return Answer::failed(
                FailureKind::Usage,
                format!("not a request of this version: {error}"),
            );
        }
    };
    let (sender, receiver) = oneshot::channel();
    let stopping = || Answer::failed(FailureKind::Unreachable, "the daemon is stopping");
    if requests
        .send(Asked {
            request,
            answer: sender,
        })
        .await
        .is_err()
    {
        return stopping();
    }
    receiver.await.unwrap_or_else(|_| stopping())
}

/// Root, the daemon's own user, and the group. The file's mode says the same; this holds even if somebody changes it.
fn may_use(peer: &UCred, group: Option<u32>) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() == 0 || peer.uid() == own {
        return true;
    }
    group.is_some_and(|group| peer.gid() == group || supplementary_groups(peer).contains(&group))
}

/// The peer's further groups, as the kernel tells them.
fn supplementary_groups(peer: &UCred) -> Vec<u32> {
    let Some(pid) = peer.pid() else {
        return Vec::new();
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap_or_default();
    groups
        .split_whitespace()
        .filter_map(|group| group.parse().ok())
        .collect()
}

fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(%error, "Failed to read /etc/group");
        }
        String::new()
    });
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}
